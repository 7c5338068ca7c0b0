//! The access log's end: which of its records become lines.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, UNIX_EPOCH};

use crossbeam_channel::Receiver;
use prometheus::IntCounter;
use replyd::config::log::LogAccess;
use replyd::engine::access_log::{AccessLog, AccessRecord, Recorded};
use replyd::exchange::outcome::Outcome;

/// Records that wait to be written: those of [`INTERVAL`] at 200,000 a second.
const RECORDS_MAX: usize = 4096;

/// How often records are looked for. The acceptor wakes nobody: at thousands a second that would
/// cost it more than the record.
pub(super) const INTERVAL: Duration = Duration::from_millis(20);

/// Lines of one service and one outcome in a second, where not all are asked for.
const RATION: u32 = 10;

/// What is wanted of the access log. All clones have the same.
#[derive(Clone, Debug)]
pub(super) struct Access {
    log: AccessLog,
    is_rationed: Arc<AtomicBool>,
}

/// The records, on their way to become lines.
#[derive(Debug)]
pub(super) struct Lines {
    access: Access,
    records: Receiver<AccessRecord>,

    /// In Unix time: the second that `told` is about.
    second: u64,

    /// Lines of each service and outcome.
    told: HashMap<(Arc<str>, Outcome), u32>,
}

impl Access {
    /// Nothing is wanted yet. What finds no room is counted in `dropped`.
    pub(super) fn new(dropped: IntCounter) -> (Self, Lines) {
        let (log, records) = AccessLog::new(RECORDS_MAX, dropped);
        let access = Self {
            log,
            is_rationed: Arc::new(AtomicBool::new(true)),
        };
        let lines = Lines {
            access: access.clone(),
            records,
            second: 0,
            told: HashMap::new(),
        };
        (access, lines)
    }

    pub(super) fn set(&self, wanted: LogAccess) {
        self.is_rationed.store(wanted != LogAccess::All, Relaxed);
        self.log.set(match wanted {
            LogAccess::Off => Recorded::Nothing,
            LogAccess::Failures => Recorded::Failures,
            LogAccess::Sampled | LogAccess::All => Recorded::Everything,
        });
    }

    /// Where the engine puts its records.
    pub(super) fn log(&self) -> &AccessLog {
        &self.log
    }
}

impl Lines {
    /// Whether there may be any.
    pub(super) fn is_on(&self) -> bool {
        self.access.log.is_on()
    }

    /// Records that wait.
    pub(super) fn waiting(&self) -> usize {
        self.records.len()
    }

    /// Takes one of them. `None`: it is to become no line.
    pub(super) fn next(&mut self) -> Option<AccessRecord> {
        let record = self.records.try_recv().ok()?;
        let is_wanted = !self.access.is_rationed.load(Relaxed) || self.is_in_ration(&record);
        is_wanted.then_some(record)
    }

    fn is_in_ration(&mut self, record: &AccessRecord) -> bool {
        let second = record.at.duration_since(UNIX_EPOCH);
        let second = second.unwrap_or_default().as_secs();
        if second != self.second {
            self.second = second;
            self.told.clear();
        }
        let key = (Arc::clone(&record.service), record.outcome);
        let told = self.told.entry(key).or_default();
        *told += 1;
        *told <= RATION
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::SystemTime;

    use replyd::peer::Peer;

    use super::*;

    pub(in crate::cli::log) fn record(service: &str, outcome: Outcome, at: u64) -> AccessRecord {
        AccessRecord {
            at: SystemTime::UNIX_EPOCH + Duration::from_secs(at),
            service: service.into(),
            peer: Peer::Unix,
            outcome,
            received_bytes: 6,
            sent_bytes: 12,
            duration: Duration::from_micros(125),
            queue_wait: Duration::from_micros(3),
        }
    }

    /// How many of 25 records become lines.
    #[track_caller]
    fn check(lines: &mut Lines, service: &str, outcome: Outcome, at: u64, expected: u32) {
        let admitted = (0..25).filter(|_| lines.is_in_ration(&record(service, outcome, at)));
        assert_eq!(admitted.count(), expected as usize);
    }

    #[test]
    fn a_service_has_its_ration_of_each_outcome_each_second() {
        let dropped = IntCounter::new("dropped", "Lines.").expect("a name");
        let (_access, mut lines) = Access::new(dropped);
        check(&mut lines, "a", Outcome::Busy, 7, RATION);
        check(&mut lines, "a", Outcome::Busy, 7, 0);
        check(&mut lines, "a", Outcome::Failed, 7, RATION);
        check(&mut lines, "b", Outcome::Busy, 7, RATION);
        check(&mut lines, "a", Outcome::Busy, 8, RATION);
        assert_eq!(lines.told.len(), 1, "what is over is forgotten");
    }
}
