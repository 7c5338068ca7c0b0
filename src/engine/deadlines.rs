//! Deadlines of waiting connections: a wheel of coarse ticks.
//!
//! Setting and clearing one is a few writes, whatever the number of others, and the memory is a
//! link a slot: it follows from the number of connections, not from their rate. A deadline beyond
//! the wheel's turn stays in its bucket and is looked at once a turn.

use std::time::{Duration, Instant};

/// Length of a tick. A deadline passes up to this much late, never early.
const TICK: Duration = Duration::from_millis(16);

/// Buckets: one turn is 16.4 s, longer than most deadlines.
const BUCKETS: usize = 1024;

/// No slot.
const NONE: u32 = u32::MAX;

/// One deadline for each slot, at most.
#[derive(Debug)]
pub(super) struct Deadlines {
    start: Instant,
    links: Vec<Link>,
    buckets: Box<[u32]>,

    /// A bit for each bucket that has a slot.
    occupied: [u64; BUCKETS / 64],

    /// All ticks before this one have been looked at.
    next_tick: u64,
    count: usize,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    /// `None`: this slot has no deadline.
    tick: Option<std::num::NonZeroU64>,
    before: u32,
    after: u32,
}

const FREE: Link = Link {
    tick: None,
    before: NONE,
    after: NONE,
};

impl Deadlines {
    /// None set. Time begins at `start`.
    pub(super) fn new(start: Instant) -> Self {
        Self {
            start,
            links: Vec::new(),
            buckets: vec![NONE; BUCKETS].into(),
            occupied: [0; BUCKETS / 64],
            next_tick: 1,
            count: 0,
        }
    }

    /// Sets the deadline of `slot`, instead of the one it had.
    pub(super) fn set(&mut self, slot: usize, at: Instant) {
        self.clear(slot);
        if slot >= self.links.len() {
            self.links.resize(slot + 1, FREE);
        }
        // Up, and never into the past: it passes with the next tick that is looked at.
        let since = at.saturating_duration_since(self.start).as_nanos();
        let tick = u64::try_from(since.div_ceil(TICK.as_nanos())).unwrap_or(u64::MAX);
        let tick = tick.max(self.next_tick);
        let bucket = bucket_of(tick);
        let first = self.buckets[bucket];
        let slot_number = u32::try_from(slot).expect("invariant: fewer slots than 2^32");
        self.links[slot] = Link {
            tick: std::num::NonZeroU64::new(tick),
            before: NONE,
            after: first,
        };
        if first != NONE {
            self.links[first as usize].before = slot_number;
        }
        self.buckets[bucket] = slot_number;
        self.occupied[bucket / 64] |= 1 << (bucket % 64);
        self.count += 1;
    }

    /// Takes the deadline of `slot` away, if it has one.
    pub(super) fn clear(&mut self, slot: usize) {
        let Some(link) = self.links.get(slot).copied() else {
            return;
        };
        let Some(tick) = link.tick else { return };
        let bucket = bucket_of(tick.get());
        if link.before == NONE {
            self.buckets[bucket] = link.after;
            if link.after == NONE {
                self.occupied[bucket / 64] &= !(1 << (bucket % 64));
            }
        } else {
            self.links[link.before as usize].after = link.after;
        }
        if link.after != NONE {
            self.links[link.after as usize].before = link.before;
        }
        self.links[slot] = FREE;
        self.count -= 1;
    }

    /// A slot whose deadline has passed at `now`; it has none after this.
    pub(super) fn pop(&mut self, now: Instant) -> Option<usize> {
        let now_tick = self.tick_at(now);
        while self.next_tick <= now_tick {
            if let Some(slot) = self.due_in_bucket(now_tick) {
                self.clear(slot);
                return Some(slot);
            }
            // A clock that jumped far ahead needs one turn of the wheel, not every tick.
            let behind = now_tick - self.next_tick;
            let turns = behind / BUCKETS as u64;
            self.next_tick += 1 + turns.saturating_sub(1) * BUCKETS as u64;
        }
        None
    }

    /// When to look again, at the latest; `None` when there is no deadline.
    pub(super) fn next(&self) -> Option<Instant> {
        if self.count == 0 {
            return None;
        }
        let first = bucket_of(self.next_tick);
        let ahead = (0..=self.occupied.len()).find_map(|step| {
            let word = (first / 64 + step) % self.occupied.len();
            // In the first word only what is not behind; it comes round again at the end.
            let mask = if step == 0 {
                u64::MAX << (first % 64)
            } else {
                u64::MAX
            };
            let bits = self.occupied[word] & mask;
            (bits != 0).then(|| {
                let bucket = word * 64 + bits.trailing_zeros() as usize;
                (bucket + BUCKETS - first) % BUCKETS
            })
        })?;
        let tick = self.next_tick + ahead as u64;
        Some(self.start + Duration::from_nanos(TICK_NANOSECONDS.saturating_mul(tick)))
    }

    fn tick_at(&self, now: Instant) -> u64 {
        let ticks = now.saturating_duration_since(self.start).as_nanos() / TICK.as_nanos();
        u64::try_from(ticks).unwrap_or(u64::MAX)
    }

    fn due_in_bucket(&self, now_tick: u64) -> Option<usize> {
        let mut slot = self.buckets[bucket_of(self.next_tick)];
        while slot != NONE {
            let link = self.links[slot as usize];
            if link.tick.is_some_and(|tick| tick.get() <= now_tick) {
                return Some(slot as usize);
            }
            slot = link.after;
        }
        None
    }
}

const TICK_NANOSECONDS: u64 = 16_000_000;
const _: () = assert!(TICK.as_nanos() == TICK_NANOSECONDS as u128);

#[allow(clippy::cast_possible_truncation, reason = "below BUCKETS")]
fn bucket_of(tick: u64) -> usize {
    (tick % BUCKETS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Action {
        Set(usize, u64),
        Clear(usize),
        Pass(u64),
    }

    fn actions() -> impl Strategy<Value = Vec<Action>> {
        let action = prop_oneof![
            (0..20_usize, 0..60_000_u64).prop_map(|(slot, after)| Action::Set(slot, after)),
            (0..20_usize).prop_map(Action::Clear),
            (0..40_000_u64).prop_map(Action::Pass),
        ];
        prop::collection::vec(action, 1..60)
    }

    fn milliseconds(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    proptest! {
        /// Against a plain list: no deadline passes early, none more than a tick late, none is
        /// lost, and the next one is never told too late.
        #[test]
        fn the_wheel_does_what_a_list_would(actions in actions()) {
            let start = Instant::now();
            let mut wheel = Deadlines::new(start);
            let mut list = [None; 20];
            let mut now = start;
            for action in actions {
                match action {
                    Action::Set(slot, after) => {
                        wheel.set(slot, now + milliseconds(after));
                        list[slot] = Some(now + milliseconds(after));
                    }
                    Action::Clear(slot) => {
                        wheel.clear(slot);
                        list[slot] = None;
                    }
                    Action::Pass(by) => {
                        now += milliseconds(by);
                        while let Some(slot) = wheel.pop(now) {
                            let at = list[slot].take();
                            prop_assert!(at.is_some_and(|at| at <= now), "slot {slot} is early");
                        }
                        let late = list.iter().flatten().any(|at| *at + 2 * TICK < now);
                        prop_assert!(!late, "a deadline was lost");
                    }
                }
                let soonest = list.iter().flatten().min();
                prop_assert_eq!(soonest.is_some(), wheel.next().is_some());
                if let (Some(soonest), Some(next)) = (soonest, wheel.next()) {
                    prop_assert!(next <= *soonest + 2 * TICK, "told too late");
                }
            }
        }
    }

    #[test]
    fn a_far_jump_of_time_is_quick() {
        let start = Instant::now();
        let mut wheel = Deadlines::new(start);
        wheel.set(3, start + Duration::from_secs(3600));
        let later = start + Duration::from_secs(60 * 60 * 24 * 365);
        assert_eq!(wheel.pop(later), Some(3));
        assert_eq!(wheel.pop(later), None);
        assert_eq!(wheel.next(), None);
    }
}
