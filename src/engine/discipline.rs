//! The queue's discipline: how long a new connection may have waited when a worker gets it.
//!
//! Bounded by time, not by length, since what matters to who waits is time: a burst may wait, but if
//! nobody has waited less than the aim for a whole interval, the queue only makes everyone late, and
//! who has waited twice the aim is shed. Then the others are served in time, as many as can be.
//! But only where that is cheaper than serving them: of replies that are made at once, a queue is
//! served as fast as it is turned away, and nobody is.
//! Source: controlled delay (RFC 8289), in the form that folly's `Codel` gave it for requests.

use std::time::{Duration, Instant};

/// How long a burst may last.
const INTERVAL: Duration = Duration::from_millis(100);

/// What a connection has to take of a worker's time for its being turned away to be worth it: that
/// takes about a quarter of this.
const WORTH_SHEDDING: Duration = Duration::from_micros(100);

/// What counts of one turn at the most: a worker may have lost its processor in the middle.
const TURN_MAX: Duration = Duration::from_millis(1);

/// The mean of turns goes by this part of the difference towards each.
const MEAN_PARTS: u64 = 64;

/// How long new connections may wait.
#[derive(Clone, Copy, Debug)]
pub struct Waits {
    /// The aim under overload; zero: only the bound counts.
    pub target: Duration,

    /// The bound, always.
    pub max: Duration,
}

/// What one worker sees of the queue.
#[derive(Debug)]
pub(super) struct Discipline {
    waits: Waits,
    interval_ends: Instant,

    /// In this interval.
    shortest_wait: Duration,
    is_overloaded: bool,

    /// What a new connection takes of this worker's time.
    mean_turn_nanoseconds: u64,
}

impl Discipline {
    pub(super) fn new(now: Instant, waits: Waits) -> Self {
        Self {
            waits,
            interval_ends: now,
            shortest_wait: Duration::ZERO,
            is_overloaded: false,
            mean_turn_nanoseconds: 0,
        }
    }

    /// A new connection has had its first turn.
    pub(super) fn took(&mut self, turn: Duration) {
        // Below a second, so all of it.
        let turn = u64::from(turn.min(TURN_MAX).subsec_nanos());
        self.mean_turn_nanoseconds += turn / MEAN_PARTS;
        self.mean_turn_nanoseconds -= self.mean_turn_nanoseconds / MEAN_PARTS;
    }

    /// Whether a connection that has `waited` is to be shed. One whose service keeps to its share is
    /// shed only at the bound.
    pub(super) fn sheds(&mut self, waited: Duration, keeps_to_share: bool, now: Instant) -> bool {
        let Waits { target, max } = self.waits;
        if now < self.interval_ends {
            self.shortest_wait = self.shortest_wait.min(waited);
        } else {
            // An interval that nobody came in tells that there is no queue.
            let is_recent = now < self.interval_ends + INTERVAL;
            self.is_overloaded = is_recent && !target.is_zero() && self.shortest_wait > target;
            self.interval_ends = now + INTERVAL;
            self.shortest_wait = waited;
        }
        // A queue in which one has waited for an interval has stood for one.
        let is_overloaded = self.is_overloaded || (waited > INTERVAL && !target.is_zero());
        let is_late = is_overloaded && waited > 2 * target;
        let is_worth_it = Duration::from_nanos(self.mean_turn_nanoseconds) >= WORTH_SHEDDING;
        waited > max || (is_late && is_worth_it && !keeps_to_share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);
    const WAITS: Waits = Waits {
        target: Duration::from_millis(10),
        max: Duration::from_millis(500),
    };

    /// A discipline whose connections take this long.
    fn discipline(now: Instant, waits: Waits, turn: Duration) -> Discipline {
        let mut discipline = Discipline::new(now, waits);
        (0..1000).for_each(|_| discipline.took(turn));
        discipline
    }

    /// One that comes every millisecond for so long, each having waited so long: how many are shed.
    fn shed(discipline: &mut Discipline, now: &mut Instant, count: u32, waited: u32) -> usize {
        let sheds = |_: &u32| {
            *now += MILLISECOND;
            discipline.sheds(waited * MILLISECOND, false, *now)
        };
        (0..count).filter(sheds).count()
    }

    #[test]
    fn a_burst_waits_and_a_standing_queue_is_shed() {
        let mut now = Instant::now();
        let mut slow = discipline(now, WAITS, MILLISECOND);
        assert_eq!(shed(&mut slow, &mut now, 100, 50), 0, "a burst");
        assert_eq!(shed(&mut slow, &mut now, 50, 50), 50, "it stands");
        assert_eq!(shed(&mut slow, &mut now, 50, 20), 0, "twice the aim");
    }

    #[test]
    fn one_that_was_served_in_time_ends_the_overload_with_the_interval() {
        let mut now = Instant::now();
        let mut slow = discipline(now, WAITS, MILLISECOND);
        shed(&mut slow, &mut now, 250, 50);
        assert_eq!(shed(&mut slow, &mut now, 1, 5), 0);
        shed(&mut slow, &mut now, 100, 50);
        assert_eq!(shed(&mut slow, &mut now, 40, 50), 0);
    }

    #[test]
    fn nobody_waits_longer_than_the_bound() {
        let mut now = Instant::now();
        let mut slow = discipline(now, WAITS, MILLISECOND);
        assert_eq!(shed(&mut slow, &mut now, 1, 100), 0, "a burst");
        assert_eq!(
            shed(&mut slow, &mut now, 3, 101),
            3,
            "longer than one lasts"
        );
        assert!(!slow.sheds(500 * MILLISECOND, true, now));
        assert!(slow.sheds(501 * MILLISECOND, true, now));
        let target = Duration::ZERO;
        let mut without_aim = discipline(now, Waits { target, ..WAITS }, MILLISECOND);
        assert_eq!(shed(&mut without_aim, &mut now, 300, 500), 0);
        assert_eq!(shed(&mut without_aim, &mut now, 3, 501), 3);
    }

    #[test]
    fn a_quiet_time_ends_an_overload() {
        let mut now = Instant::now();
        let mut slow = discipline(now, WAITS, MILLISECOND);
        assert!(shed(&mut slow, &mut now, 150, 50) > 0);
        now += 3 * INTERVAL;
        assert_eq!(shed(&mut slow, &mut now, 90, 50), 0, "a burst again");
    }

    #[test]
    fn who_keeps_to_its_share_is_shed_only_at_the_bound() {
        let mut now = Instant::now();
        let mut slow = discipline(now, WAITS, MILLISECOND);
        assert!(shed(&mut slow, &mut now, 150, 50) > 0);
        assert!(!slow.sheds(50 * MILLISECOND, true, now));
        assert!(slow.sheds(501 * MILLISECOND, true, now));
    }

    #[test]
    fn nobody_is_turned_away_who_is_served_as_quickly() {
        let mut now = Instant::now();
        let mut quick = discipline(now, WAITS, WORTH_SHEDDING / 4);
        quick.took(Duration::from_secs(1));
        assert_eq!(shed(&mut quick, &mut now, 300, 50), 0);
        assert_eq!(shed(&mut quick, &mut now, 3, 501), 3, "but for the bound");
    }
}
