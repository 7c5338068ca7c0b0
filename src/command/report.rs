//! What a run came to.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::command::children::{End, Failed, Failure};

/// A run that is over, as far as its reply goes.
#[derive(Debug)]
pub struct Report {
    /// In a word.
    pub result: RunResult,

    /// How its first process ended; `None` if it had to be ended, or never began.
    pub end: Option<End>,

    /// All that it said; empty unless it has answered.
    pub stdout: Arc<[u8]>,

    /// How much it had said, answer or not; at most what it may.
    pub stdout_bytes: usize,

    /// The last of what it complained about, or why it could not start.
    pub stderr: Vec<u8>,

    /// From its start.
    pub duration: Duration,
}

impl Report {
    /// Of a run that could not be started.
    pub(super) fn not_started(error: &io::Error) -> Self {
        Self {
            result: RunResult::NotStarted,
            end: None,
            stdout: Arc::default(),
            stdout_bytes: 0,
            stderr: error.to_string().into_bytes(),
            duration: Duration::ZERO,
        }
    }
}

impl From<Failed> for Report {
    fn from(failed: Failed) -> Self {
        let Failed {
            failure,
            stdout_bytes,
            stderr,
            duration,
        } = failed;
        Self {
            result: match failure {
                Failure::TimedOut => RunResult::TimedOut,
                Failure::TooLarge => RunResult::TooLarge,
            },
            end: None,
            stdout: Arc::default(),
            stdout_bytes,
            stderr,
            duration,
        }
    }
}

/// In a few words, for people.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.end, self.result) {
            (Some(End::Exited(code)), _) => write!(f, "exit status {code}"),
            (Some(End::Signaled(signal)), _) => write!(f, "killed by signal {signal}"),
            (None, RunResult::TimedOut) => f.write_str("over its time"),
            (None, RunResult::TooLarge) => f.write_str("over its output"),
            (None, RunResult::NotStarted) => f.write_str("could not be started"),
            (None, _) => f.write_str("ended for nobody"),
        }
    }
}

/// What a run came to, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RunResult {
    /// Its output is the reply.
    Answered,
    /// It ended in a way that is no answer: another exit code, or a signal.
    Failed,
    /// It took too long.
    TimedOut,
    /// It said too much.
    TooLarge,
    /// It could not be started.
    NotStarted,
    /// All who waited for it have left.
    Cancelled,
}

impl RunResult {
    /// The values of the label `result`, in the order of the variants.
    pub const LABELS: [&'static str; 6] = [
        "answered",
        "failed",
        "timed_out",
        "too_large",
        "not_started",
        "cancelled",
    ];
}

/// Where an answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Source {
    /// The cache.
    Hit,
    /// The cache, as long as a new run is under way.
    Stale,
    /// A run of its own.
    Miss,
    /// A run that others had begun.
    Coalesced,
}

impl Source {
    /// The values of the label `result`, in the order of the variants.
    pub const LABELS: [&'static str; 4] = ["hit", "stale", "miss", "coalesced"];
}
