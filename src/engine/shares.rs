//! Who asks for more than its share of a pool's workers, by what has come and what was taken on lately.
//!
//! Under overload only those are turned away: of what a pool takes on, each service that asks may have
//! an equal part. So a flood of one makes nobody busy who asks for no more than that.

use std::time::{Duration, Instant};

/// How far back it is looked: this window, and the one before.
const WINDOW: Duration = Duration::from_millis(250);

/// What has been counted in this window, and in the one before.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    now: usize,
    before: usize,
}

impl Count {
    fn most(self) -> usize {
        self.now.max(self.before)
    }

    fn turn(&mut self) {
        self.before = std::mem::take(&mut self.now);
    }
}

/// What services ask of pools.
#[derive(Debug)]
pub(super) struct Shares {
    window_ends: Instant,

    /// Connections that came, by service.
    came: Vec<Count>,
    pools: Vec<Pool>,
}

/// One pool.
#[derive(Clone, Copy, Debug, Default)]
struct Pool {
    /// Connections that a worker took on.
    served: Count,

    /// Services that asked.
    asking: Count,
}

impl Shares {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            window_ends: now + WINDOW,
            came: Vec::new(),
            pools: Vec::new(),
        }
    }

    /// Takes a service, with the pool that serves it.
    pub(super) fn serve(&mut self, service: usize, pool: usize) {
        let services = self.came.len().max(service + 1);
        self.came.resize(services, Count::default());
        let pools = self.pools.len().max(pool + 1);
        self.pools.resize(pools, Pool::default());
    }

    /// A connection has come. Whether the service keeps to its share.
    pub(super) fn came(&mut self, service: usize, pool: usize, now: Instant) -> bool {
        self.turn(now);
        let came = &mut self.came[service];
        let pool = &mut self.pools[pool];
        pool.asking.now += usize::from(came.now == 0);
        came.now += 1;
        came.most() * pool.asking.most() <= pool.served.most()
    }

    /// A worker has taken a connection on.
    pub(super) fn served(&mut self, pool: usize) {
        self.pools[pool].served.now += 1;
    }

    fn turn(&mut self, now: Instant) {
        if now < self.window_ends {
            return;
        }
        // After a while without anyone, the window before was an empty one.
        let turns = if now < self.window_ends + WINDOW {
            1
        } else {
            2
        };
        for _ in 0..turns {
            self.came.iter_mut().for_each(Count::turn);
            for pool in &mut self.pools {
                pool.served.turn();
                pool.asking.turn();
            }
        }
        self.window_ends = now + WINDOW;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Windows of a pool that serves `capacity` in each, asked by two services; how many of the last
    /// window's connections of each kept to their share.
    fn kept(capacity: usize, came: [usize; 2]) -> [usize; 2] {
        let mut now = Instant::now();
        let mut shares = Shares::new(now);
        (0..2).for_each(|service| shares.serve(service, 0));
        let mut kept = [0; 2];
        for _ in 0..4 {
            kept = [0, 1].map(|service| {
                let keeps = |_: &usize| shares.came(service, 0, now);
                (0..came[service]).filter(keeps).count()
            });
            (0..capacity.min(came[0] + came[1])).for_each(|_| shares.served(0));
            now += WINDOW;
        }
        kept
    }

    #[test]
    fn a_flood_leaves_the_others_their_share() {
        assert_eq!(kept(100, [1000, 10]), [0, 10]);
        assert_eq!(kept(100, [10, 1000]), [10, 0]);
        assert_eq!(kept(100, [1000, 50]), [0, 50], "an equal part");
        assert_eq!(kept(100, [1000, 51]), [0, 0], "and not more");
    }

    #[test]
    fn who_is_alone_floods_only_itself() {
        assert_eq!(kept(100, [1000, 0]), [0, 0]);
        assert_eq!(kept(100, [60, 0]), [60, 0]);
    }

    #[test]
    fn those_who_keep_to_their_share_never_ask_for_more_than_is_served() {
        for first in (0..300).step_by(7) {
            for second in (0..300).step_by(11) {
                let kept = kept(100, [first, second]);
                assert!(kept[0] + kept[1] <= 100, "{first} {second} {kept:?}");
            }
        }
    }

    #[test]
    fn what_was_long_ago_does_not_count() {
        let now = Instant::now();
        let mut shares = Shares::new(now);
        shares.serve(0, 0);
        (0..100).for_each(|_| _ = shares.came(0, 0, now));
        (0..100).for_each(|_| shares.served(0));
        assert!(shares.came(0, 0, now + 10 * WINDOW) == (shares.pools[0].served.most() >= 1));
        assert_eq!(shares.came[0].most(), 1);
    }
}
