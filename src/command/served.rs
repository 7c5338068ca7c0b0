//! A service as the supervisor has it.

use std::sync::Arc;
use std::time::Instant;

use crate::command::children::{End, Ended};
use crate::command::flights::Flights;
use crate::command::options::Options;
use crate::command::report::{Report, RunResult};
use crate::command::supervisor::{Deliver, Joining};
use crate::complaint::Complaint;

/// A service that is served.
pub(super) struct Served {
    pub(super) options: Arc<Options>,
    pub(super) flights: Flights,
    /// Whether nothing is to be run by schedule.
    pub(super) rests: Box<dyn Fn() -> bool + Send>,
    pub(super) deliver: Deliver,
    complaint: Complaint,

    /// Nobody can ask anymore: it is forgotten with its last run.
    pub(super) is_forgotten: bool,
}

impl Served {
    pub(super) fn new(joining: Joining, now: Instant) -> Self {
        let Joining {
            options,
            cache,
            metrics,
            rests,
            deliver,
        } = joining;
        Self {
            flights: Flights::new(Arc::clone(&options), cache, metrics, now),
            options,
            rests,
            deliver,
            complaint: Complaint::new(now),
            is_forgotten: false,
        }
    }

    /// What a run that has ended by itself came to.
    pub(super) fn report_of(&self, ended: Ended) -> Report {
        let Ended {
            end,
            stdout,
            stderr,
            duration,
        } = ended;
        let is_answer = matches!(end, End::Exited(code) if self.is_answer(code));
        Report {
            stdout_bytes: stdout.len(),
            result: if is_answer {
                RunResult::Answered
            } else {
                RunResult::Failed
            },
            end: Some(end),
            stdout: if is_answer {
                stdout.into()
            } else {
                Arc::default()
            },
            stderr,
            duration,
        }
    }

    /// Says what went wrong: a script that fails at each request must not fill the log.
    pub(super) fn complain(&self, report: &Report, now: Instant) {
        if report.result == RunResult::Answered {
            return;
        }
        self.complaint.raise(now, |unsaid| {
            let service = &*self.options.service;
            let stderr = String::from_utf8_lossy(&report.stderr);
            let stderr = stderr.trim_end();
            tracing::warn!(service, how = %report, unsaid, stderr, "a command has failed");
        });
    }

    fn is_answer(&self, code: i32) -> bool {
        u8::try_from(code).is_ok_and(|code| self.options.answers.contains(&code))
    }
}
