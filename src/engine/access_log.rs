//! The access log's beginning: one record an exchange, for whoever writes it down.
//!
//! The acceptor makes it when it counts the connection as closed, and never waits: a record that
//! finds no room is dropped, and counted. Nothing in it comes from what a peer has sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use crossbeam_channel::{Receiver, Sender};
use prometheus::IntCounter;

use crate::exchange::outcome::Outcome;
use crate::peer::Peer;

/// What became of one connection.
#[derive(Clone, Debug)]
pub struct AccessRecord {
    /// When it was counted as closed.
    pub at: SystemTime,

    /// The service's name.
    pub service: Arc<str>,

    /// Who it was.
    pub peer: Peer,

    /// How it ended.
    pub outcome: Outcome,

    /// Bytes received, what lingering threw away included.
    pub received_bytes: u64,

    /// Bytes of the reply that the kernel took.
    pub sent_bytes: u64,

    /// From accept to the end of the exchange; lingering is not part of that.
    pub duration: Duration,

    /// In the queue, before a worker took it for the first time.
    pub queue_wait: Duration,
}

/// Of which exchanges there are records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Recorded {
    /// Of none.
    Nothing,
    /// Of those that failed: see [`Outcome::is_failure`].
    Failures,
    /// Of all.
    Everything,
}

/// Takes records, as many as there is room for.
#[derive(Clone, Debug)]
pub struct AccessLog {
    records: Sender<AccessRecord>,

    /// A [`Recorded`]; all clones have the same.
    recorded: Arc<AtomicU8>,
    dropped: IntCounter,
}

impl AccessLog {
    /// An access log of nothing yet, and where its records come out. What finds no room among
    /// `records_max` is counted in `dropped`.
    #[must_use]
    pub fn new(records_max: usize, dropped: IntCounter) -> (Self, Receiver<AccessRecord>) {
        let (records, records_rx) = crossbeam_channel::bounded(records_max);
        let log = Self {
            records,
            recorded: Arc::new(AtomicU8::new(Recorded::Nothing as u8)),
            dropped,
        };
        (log, records_rx)
    }

    /// Records these from now on, here and in all clones.
    pub fn set(&self, recorded: Recorded) {
        self.recorded.store(recorded as u8, Relaxed);
    }

    /// Whether there may be records.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.recorded.load(Relaxed) != Recorded::Nothing as u8
    }

    /// Whether an exchange that ended so is recorded.
    pub(super) fn records(&self, outcome: Outcome) -> bool {
        let recorded = self.recorded.load(Relaxed);
        recorded == Recorded::Everything as u8
            || (recorded == Recorded::Failures as u8 && outcome.is_failure())
    }

    pub(super) fn add(&self, record: AccessRecord) {
        if self.records.try_send(record).is_err() {
            self.dropped.inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(outcome: Outcome) -> AccessRecord {
        AccessRecord {
            at: SystemTime::UNIX_EPOCH,
            service: "test".into(),
            peer: Peer::Unix,
            outcome,
            received_bytes: 0,
            sent_bytes: 0,
            duration: Duration::ZERO,
            queue_wait: Duration::ZERO,
        }
    }

    #[test]
    fn what_is_recorded_can_be_changed_while_it_runs() {
        let dropped = IntCounter::new("dropped", "Lines.").expect("a name");
        let (log, _records) = AccessLog::new(1, dropped);
        let acceptors = log.clone();
        let recorded = || {
            let all = Outcome::ALL.into_iter();
            all.filter(|outcome| acceptors.records(*outcome)).count()
        };
        assert_eq!((log.is_on(), recorded()), (false, 0));
        log.set(Recorded::Failures);
        assert_eq!((log.is_on(), recorded()), (true, 9));
        log.set(Recorded::Everything);
        assert_eq!((log.is_on(), recorded()), (true, 12));
        log.set(Recorded::Nothing);
        assert_eq!((log.is_on(), recorded()), (false, 0));
    }

    #[test]
    fn a_record_too_many_is_dropped_and_counted() {
        let dropped = IntCounter::new("dropped", "Lines.").expect("a name");
        let (log, records) = AccessLog::new(2, dropped.clone());
        for outcome in [Outcome::Replied, Outcome::Busy, Outcome::Failed] {
            log.add(record(outcome));
        }
        let outcomes: Vec<_> = records.try_iter().map(|record| record.outcome).collect();
        assert_eq!(outcomes, [Outcome::Replied, Outcome::Busy]);
        assert_eq!(dropped.get(), 1);
    }
}
