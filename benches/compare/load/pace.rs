//! When the exchanges of one thread begin.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// Whoever has asked when the load is over gets so long for its end.
const DRAIN_MAX: Duration = Duration::from_secs(2);

/// While a load is on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub(super) begin: Instant,

    /// None: without an end.
    end: Option<Instant>,
}

impl Window {
    pub(super) fn new(begin: Instant, duration: Duration) -> Self {
        Self {
            begin,
            end: begin.checked_add(duration),
        }
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.end.is_some_and(|end| now >= end)
    }

    /// Whether also those who had asked have had their time.
    pub(super) fn is_drained(&self, now: Instant) -> bool {
        self.end.is_some_and(|end| now >= end + DRAIN_MAX)
    }
}

/// What a thread does.
#[derive(Debug)]
pub(super) enum Pace {
    /// One exchange.
    Once,

    /// So many under way at any time.
    Closed { clients: usize },

    /// One at each of its instants.
    Open(Schedule),
}

/// The instants of one thread's exchanges: between those of the others, and all together in even steps.
#[derive(Debug)]
pub(super) struct Schedule {
    begin: Instant,
    rate: NonZeroU32,
    next: u64,
    step: u64,
    pub(super) under_way_max: usize,
}

impl Pace {
    pub(super) fn open(
        window: Window,
        rate: NonZeroU32,
        thread: usize,
        threads: usize,
        under_way_max: usize,
    ) -> Self {
        Self::Open(Schedule {
            begin: window.begin,
            rate,
            next: thread as u64,
            step: threads as u64,
            under_way_max,
        })
    }
}

impl Schedule {
    /// When the next one is to begin.
    pub(super) fn next(&self) -> Instant {
        let rate = u64::from(self.rate.get());
        // In two parts: a float would lose nanoseconds, and a product of all nanoseconds its head.
        let (seconds, rest) = (self.next / rate, self.next % rate);
        let nanoseconds = rest * 1_000_000_000 / rate;
        self.begin + Duration::from_secs(seconds) + Duration::from_nanos(nanoseconds)
    }

    pub(super) fn advance(&mut self) {
        self.next += self.step;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instants(begin: Instant, rate: u32, threads: usize, count: usize) -> Vec<Duration> {
        let window = Window::new(begin, Duration::from_secs(1));
        let rate = NonZeroU32::new(rate).expect("a rate");
        let mut instants = Vec::new();
        for thread in 0..threads {
            let Pace::Open(mut schedule) = Pace::open(window, rate, thread, threads, 1) else {
                panic!("it is open")
            };
            for _ in 0..count {
                instants.push(schedule.next() - begin);
                schedule.advance();
            }
        }
        instants.sort();
        instants
    }

    #[test]
    fn threads_share_even_steps() {
        let got = instants(Instant::now(), 1000, 3, 4);
        let wanted: Vec<_> = (0..12).map(Duration::from_millis).collect();
        assert_eq!(got, wanted);
    }

    #[test]
    fn a_rate_that_divides_no_second_does_not_drift() {
        let got = instants(Instant::now(), 7, 1, 15);
        assert_eq!(got[7], Duration::from_secs(1));
        assert_eq!(got[14], Duration::from_secs(2));
    }

    #[test]
    fn a_window_has_an_end_and_a_drain() {
        let begin = Instant::now();
        let window = Window::new(begin, Duration::from_secs(1));
        let at = |seconds| begin + Duration::from_secs_f64(seconds);
        assert!(!window.is_over(at(0.9)));
        assert!(window.is_over(at(1.0)) && !window.is_drained(at(2.9)));
        assert!(window.is_drained(at(3.0)));
        assert!(!Window::new(begin, Duration::MAX).is_over(at(1e6)));
    }
}
