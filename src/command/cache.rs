//! What runs have said, for those who may share it.
//!
//! The supervisor alone writes: it makes another table and puts it in the place of the one before.
//! A reader takes what is there, without a lock.

use std::hash::RandomState;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

use arc_swap::ArcSwap;
use hashbrown::Equivalent;

use crate::command::options::{Caching, Sharing};
use crate::command::report::{Report, RunResult};

/// Answers kept of one service; each is at most its request and `max_output_bytes`.
const ENTRIES_MAX: usize = 1024;

/// Who shares an answer: all whose keys are equal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Key {
    peer: Option<IpAddr>,
    request: Arc<[u8]>,
}

/// A key that is not worth to be made: of a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct KeyOf<'a> {
    pub(super) peer: Option<IpAddr>,
    pub(super) request: &'a [u8],
}

impl Equivalent<Key> for KeyOf<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.peer == key.peer && *self.request == *key.request
    }
}

impl From<KeyOf<'_>> for Key {
    fn from(KeyOf { peer, request }: KeyOf<'_>) -> Self {
        Self {
            peer,
            request: request.into(),
        }
    }
}

type Entries = hashbrown::HashMap<Key, Arc<Entry>, RandomState>;

/// What one run has said.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) report: Arc<Report>,
    made_at: Instant,

    /// `None`: until there is another.
    fresh_until: Option<Instant>,
    stale_until: Option<Instant>,

    /// Somebody has asked for a new run.
    is_renewed: AtomicBool,
}

/// How good an entry still is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    Fresh,
    Stale,
    Over,
}

/// One service's answers.
#[derive(Debug, Default)]
pub(super) struct Cache {
    entries: ArcSwap<Entries>,
}

impl Entry {
    pub(super) fn new(report: &Arc<Report>, sharing: Sharing, now: Instant) -> Self {
        let (fresh_until, stale_until) = match sharing {
            Sharing::Scheduled(_) => (None, None),
            Sharing::Nobody => (Some(now), None),
            Sharing::Cached(Caching {
                fresh,
                stale,
                failure,
                ..
            }) => match report.result {
                RunResult::Answered => (Some(now + fresh), Some(now + fresh + stale)),
                _ => (Some(now + failure), None),
            },
        };
        Self {
            report: Arc::clone(report),
            made_at: now,
            fresh_until,
            stale_until,
            is_renewed: AtomicBool::new(false),
        }
    }

    pub(super) fn age(&self, now: Instant) -> Age {
        match (self.fresh_until, self.stale_until) {
            (None, _) => Age::Fresh,
            (Some(until), _) if now < until => Age::Fresh,
            (_, Some(until)) if now < until => Age::Stale,
            _ => Age::Over,
        }
    }

    /// Whether the caller is the one to ask for a new run.
    pub(super) fn is_mine_to_renew(&self) -> bool {
        !self.is_renewed.load(Relaxed) && !self.is_renewed.swap(true, Relaxed)
    }

    /// Nothing came of it: the next one has to ask.
    pub(super) fn not_renewed(&self) {
        self.is_renewed.store(false, Relaxed);
    }
}

impl Cache {
    pub(super) fn get(&self, key: KeyOf<'_>) -> Option<Arc<Entry>> {
        self.entries.load().get(&key).cloned()
    }

    pub(super) fn of(&self, key: &Key) -> Option<Arc<Entry>> {
        self.entries.load().get(key).cloned()
    }

    /// Puts an entry in the place of the one before. If there are too many, those that are over
    /// go; if none is, the oldest.
    pub(super) fn put(&self, key: Key, entry: Entry, now: Instant) {
        let mut entries = Entries::clone(&self.entries.load());
        if entries.len() >= ENTRIES_MAX && !entries.contains_key(&key) {
            entries.retain(|_, entry| entry.age(now) != Age::Over);
            if entries.len() >= ENTRIES_MAX {
                let oldest = entries.iter().min_by_key(|(_, entry)| entry.made_at);
                if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                    entries.remove(&oldest);
                }
            }
        }
        entries.insert(key, Arc::new(entry));
        self.entries.store(Arc::new(entries));
    }

    pub(super) fn remove(&self, key: &Key) {
        if self.entries.load().contains_key(key) {
            let mut entries = Entries::clone(&self.entries.load());
            entries.remove(key);
            self.entries.store(Arc::new(entries));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn report(result: RunResult) -> Arc<Report> {
        Arc::new(Report {
            result,
            end: None,
            stdout: Arc::default(),
            stdout_bytes: 0,
            stderr: Vec::new(),
            duration: Duration::ZERO,
        })
    }

    fn sharing() -> Sharing {
        Sharing::Cached(Caching {
            fresh: Duration::from_secs(10),
            stale: Duration::from_secs(5),
            failure: Duration::from_secs(2),
            by_request: true,
            by_peer: false,
        })
    }

    fn key(number: usize) -> Key {
        let request = number.to_string();
        Key::from(KeyOf {
            peer: None,
            request: request.as_bytes(),
        })
    }

    #[track_caller]
    fn check(result: RunResult, after_seconds: u64, expected: Age) {
        let now = Instant::now();
        let entry = Entry::new(&report(result), sharing(), now);
        assert_eq!(
            entry.age(now + Duration::from_secs(after_seconds)),
            expected,
            "{result:?}"
        );
    }

    #[test]
    fn an_answer_is_fresh_then_stale_then_over_and_a_failure_just_over() {
        check(RunResult::Answered, 9, Age::Fresh);
        check(RunResult::Answered, 10, Age::Stale);
        check(RunResult::Answered, 14, Age::Stale);
        check(RunResult::Answered, 15, Age::Over);
        check(RunResult::TimedOut, 1, Age::Fresh);
        check(RunResult::TimedOut, 2, Age::Over);
    }

    #[test]
    fn one_of_those_who_see_a_stale_answer_asks_for_a_new_run() {
        let entry = Entry::new(&report(RunResult::Answered), sharing(), Instant::now());
        assert!(entry.is_mine_to_renew());
        assert!(!entry.is_mine_to_renew());
        entry.not_renewed();
        assert!(entry.is_mine_to_renew());
    }

    #[test]
    fn entries_are_bounded_and_the_oldest_goes_first() {
        let cache = Cache::default();
        let begun = Instant::now();
        let entry = |now| Entry::new(&report(RunResult::Answered), sharing(), now);
        for number in 0..=ENTRIES_MAX {
            let now = begun + Duration::from_millis(number as u64);
            cache.put(key(number), entry(now), now);
        }
        assert_eq!(cache.entries.load().len(), ENTRIES_MAX);
        assert!(cache.of(&key(0)).is_none() && cache.of(&key(1)).is_some());

        let later = begun + Duration::from_secs(60);
        cache.put(key(ENTRIES_MAX + 1), entry(later), later);
        assert_eq!(cache.entries.load().len(), 1, "all others were over");
    }
}
