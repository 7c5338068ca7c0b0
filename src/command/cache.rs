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

/// Answers kept of one service.
const ENTRIES_MAX: usize = 1024;

/// Bytes of them and of what was asked, but for the newest.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// Who shares an answer: all whose keys are equal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Key {
    peer: Option<IpAddr>,
    is_head: bool,
    request: Arc<[u8]>,
}

/// A key that is not worth to be made: of a look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct KeyOf<'a> {
    pub(super) peer: Option<IpAddr>,

    /// HTTP's HEAD: a command that is shown the request has no body for it.
    pub(super) is_head: bool,
    pub(super) request: &'a [u8],
}

impl Equivalent<Key> for KeyOf<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        (self.peer, self.is_head) == (key.peer, key.is_head) && *self.request == *key.request
    }
}

impl From<KeyOf<'_>> for Key {
    fn from(key: KeyOf<'_>) -> Self {
        let KeyOf {
            peer,
            is_head,
            request,
        } = key;
        Self {
            peer,
            is_head,
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

    fresh_until: Instant,
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
            Sharing::Scheduled { good_for, .. } => (now + good_for, None),
            Sharing::Nobody => (now, None),
            Sharing::Cached(Caching {
                fresh,
                stale,
                failure,
                ..
            }) => match report.result {
                RunResult::Answered => (now + fresh, Some(now + fresh + stale)),
                _ => (now + failure, None),
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
        if now < self.fresh_until {
            Age::Fresh
        } else if self.stale_until.is_some_and(|until| now < until) {
            Age::Stale
        } else {
            Age::Over
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

    /// Puts an entry in the place of the one before. Those that are over go, and if there are too
    /// many left or they are too large, the oldest.
    pub(super) fn put(&self, key: Key, entry: Entry, now: Instant) {
        let mut entries = Entries::clone(&self.entries.load());
        entries.retain(|_, entry| entry.age(now) != Age::Over);
        entries.remove(&key);
        let mut bytes: usize = entries.iter().map(|(key, it)| bytes(key, it)).sum();
        while entries.len() >= ENTRIES_MAX || bytes > BYTES_MAX {
            let oldest = entries.iter().min_by_key(|(_, entry)| entry.made_at);
            let Some((oldest, its_bytes)) =
                oldest.map(|(key, it)| (key.clone(), self::bytes(key, it)))
            else {
                break;
            };
            entries.remove(&oldest);
            bytes -= its_bytes;
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

fn bytes(key: &Key, entry: &Entry) -> usize {
    key.request.len() + entry.report.stdout.len()
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
            is_head: false,
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
    fn an_answer_by_schedule_is_over_when_no_other_has_come() {
        let scheduled = Sharing::Scheduled {
            every: Duration::from_secs(1),
            good_for: Duration::from_secs(3),
        };
        let now = Instant::now();
        let entry = Entry::new(&report(RunResult::Answered), scheduled, now);
        assert_eq!(entry.age(now + Duration::from_secs(2)), Age::Fresh);
        assert_eq!(entry.age(now + Duration::from_secs(3)), Age::Over);
    }

    #[test]
    fn answers_are_bounded_in_bytes_too() {
        let cache = Cache::default();
        let now = Instant::now();
        for number in 0..5 {
            let large = Report {
                result: RunResult::Answered,
                end: None,
                stdout: vec![0; BYTES_MAX / 2].into(),
                stdout_bytes: BYTES_MAX / 2,
                stderr: Vec::new(),
                duration: Duration::ZERO,
            };
            let now = now + Duration::from_millis(number as u64);
            cache.put(key(number), Entry::new(&large.into(), sharing(), now), now);
        }
        let kept = cache.entries.load().len();
        assert!((1..=3).contains(&kept), "{kept} of half the bound are kept");
        assert!(cache.of(&key(4)).is_some(), "the newest is there");
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
