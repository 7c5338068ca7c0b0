//! Loads, and what came of them: clients that ask again as soon as they were answered, or askers that come by the clock.

mod generator;
mod pace;

use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::num::NonZeroU32;
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::exchange::{Ending, Target};
use super::statistics::ratio;
use generator::Generator;
use pace::{Pace, Window};

/// Latencies are held in nanoseconds, from 1 µs to 60 s, to three digits.
const LATENCY_NS: (u64, u64) = (1_000, 60_000_000_000);
const LATENCY_DIGITS: u8 = 3;

/// Of an open load: so many exchanges may be under way. More is overload, and their sockets are this process's.
const UNDER_WAY_MAX: usize = 8000;

/// Time for the threads to be there when the first exchange is due.
const LEAD: Duration = Duration::from_millis(2);

/// How a server is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Load {
    /// So many clients that ask again as soon as they were answered.
    Closed { clients: u16 },

    /// Exchanges that begin by the clock, whatever came of those before.
    Open {
        /// Per cent of what the rate was calibrated by.
        percent: u8,
        /// Exchanges a second.
        rate: NonZeroU32,
    },

    /// A closed loop in the rounds that have a crowd, without it
    Alone { clients: u16 },

    /// and with it: beside so many connections that say nothing.
    Crowded { clients: u16, silent: u16 },
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed { clients } => write!(f, "{}", count(*clients)),
            Self::Open { percent, rate } => write!(f, "open, {percent} %: {rate}/s"),
            Self::Alone { clients } => write!(f, "{}, alone", count(*clients)),
            Self::Crowded { clients, silent } => {
                write!(f, "{} beside {silent} silent", count(*clients))
            }
        }
    }
}

fn count(clients: u16) -> String {
    let plural = if clients == 1 { "" } else { "s" };
    format!("{clients} client{plural}")
}

/// What came of a load.
#[derive(Debug, Clone)]
pub(super) struct Tally {
    /// In nanoseconds, of those who got their reply: from before connect, or from when that was due, to after the end.
    latencies: Histogram<u32>,

    /// By [`Ending::ALL`].
    endings: [u64; Ending::ALL.len()],

    /// Replies while the load was on. The others are of those who had asked by then.
    replies_in_time: u64,

    /// How long the load was on.
    pub(super) elapsed: Duration,
}

impl Tally {
    pub(super) fn new() -> Self {
        let latencies = Histogram::new_with_bounds(LATENCY_NS.0, LATENCY_NS.1, LATENCY_DIGITS);
        Self {
            latencies: latencies.expect("bounds that it allows"),
            endings: [0; Ending::ALL.len()],
            replies_in_time: 0,
            elapsed: Duration::ZERO,
        }
    }

    /// One that ended while the load was on.
    pub(super) fn add(&mut self, ending: Ending, latency: Duration) {
        self.add_late(ending, latency);
        self.replies_in_time += u64::from(ending.has_reply());
    }

    /// One that ended afterwards: it is like the others, but is not part of the rate.
    pub(super) fn add_late(&mut self, ending: Ending, latency: Duration) {
        self.endings[ending as usize] += 1;
        if ending.has_reply() {
            let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
            self.latencies.saturating_record(nanoseconds);
        }
    }

    /// Takes in what another counted, at the same time or after.
    pub(super) fn merge(&mut self, other: &Self) {
        let merged = self.latencies.add(&other.latencies);
        merged.expect("the same bounds");
        for (own, others) in self.endings.iter_mut().zip(other.endings) {
            *own += others;
        }
        self.replies_in_time += other.replies_in_time;
    }

    pub(super) fn count(&self, ending: Ending) -> u64 {
        self.endings[ending as usize]
    }

    /// How many got their reply.
    pub(super) fn replies(&self) -> u64 {
        self.latencies.len()
    }

    /// Of all that didn't go as they should, how many of each kind.
    pub(super) fn faults(&self) -> impl Iterator<Item = (Ending, u64)> {
        let counts = Ending::ALL.into_iter().zip(self.endings);
        counts.filter(|(ending, count)| *ending != Ending::Replied && *count > 0)
    }

    /// p50, p99, p99.9 and the longest, in microseconds.
    pub(super) fn quantiles(&self) -> [f64; 4] {
        let nanoseconds = |part| self.latencies.value_at_quantile(part);
        [0.5, 0.99, 0.999, 1.0].map(|part| ratio(nanoseconds(part), 1000.0))
    }

    /// Replies a second, while the load was on.
    pub(super) fn rate(&self) -> f64 {
        ratio(self.replies_in_time, self.elapsed.as_secs_f64())
    }
}

/// Asks for so long, on as many threads as there are processors. Who has asked by then still gets its end, unless that takes too long.
pub(super) fn run(target: &Target, load: Load, duration: Duration) -> io::Result<Tally> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let window = Window::new(Instant::now() + LEAD, duration);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .filter_map(|number| {
                let pace = pace(load, number, threads, window)?;
                let sources = Sources::new(number, threads);
                Some(scope.spawn(move || Generator::new(target, sources, window)?.run(pace)))
            })
            .collect();
        let mut tally = Tally::new();
        for thread in threads {
            let own = thread.join().expect("no client panics")?;
            tally.merge(&own);
        }
        tally.elapsed = duration;
        Ok(tally)
    })
}

/// One exchange, alone.
pub(super) fn once(target: &Target) -> io::Result<Ending> {
    let window = Window::new(Instant::now(), Duration::MAX);
    let generator = Generator::new(target, Sources::new(0, 1), window)?;
    let tally = generator.run(Pace::Once)?;
    let counted = Ending::ALL
        .into_iter()
        .find(|ending| tally.count(*ending) > 0);
    Ok(counted.expect("it ended somehow"))
}

/// A thread's share of a load; none if there is nothing for it to do.
fn pace(load: Load, thread: usize, threads: usize, window: Window) -> Option<Pace> {
    match load {
        Load::Closed { clients } | Load::Alone { clients } | Load::Crowded { clients, .. } => {
            let clients = usize::from(clients);
            let share = clients / threads + usize::from(thread < clients % threads);
            (share > 0).then_some(Pace::Closed { clients: share })
        }
        Load::Open { rate, .. } => {
            let under_way_max = UNDER_WAY_MAX / threads;
            Some(Pace::open(window, rate, thread, threads, under_way_max))
        }
    }
}

/// A loopback address for each exchange: clients are many in real life, and one address has few ports. Of
/// 127.16.0.0 to 127.31.255.255, where no server is.
#[derive(Debug, Clone)]
pub(super) struct Sources {
    next: u32,
    step: u32,
}

impl Sources {
    const FIRST: Ipv4Addr = Ipv4Addr::new(127, 16, 0, 0);
    const COUNT: u32 = 1 << 20;

    /// Those of one thread, which no other one has.
    pub(super) fn new(thread: usize, threads: usize) -> Self {
        let number = |count| u32::try_from(count).expect("threads are few");
        Self {
            next: number(thread),
            step: number(threads),
        }
    }
}

impl Iterator for Sources {
    type Item = Ipv4Addr;

    fn next(&mut self) -> Option<Ipv4Addr> {
        let addr = Ipv4Addr::from_bits(Self::FIRST.to_bits() + self.next % Self::COUNT);
        self.next = self.next.wrapping_add(self.step);
        Some(addr)
    }
}

#[cfg(test)]
mod tests;
