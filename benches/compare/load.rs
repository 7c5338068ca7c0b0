//! The load generator: so many clients at once, each asking again as soon as it was answered.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::exchange::{Ending, Target, exchange};
use super::statistics::ratio;

/// Latencies are held in nanoseconds, from 1 µs to 60 s, to three digits.
const LATENCY_NS: (u64, u64) = (1_000, 60_000_000_000);
const LATENCY_DIGITS: u8 = 3;

/// What came of a load.
#[derive(Debug, Clone)]
pub(super) struct Tally {
    /// From before connect to after the end, in nanoseconds, of those who got their reply.
    latencies: Histogram<u64>,

    /// By [`Ending::ALL`].
    endings: [u64; Ending::ALL.len()],

    /// From the start to the last one's end.
    pub(super) elapsed: Duration,
}

impl Tally {
    pub(super) fn new() -> Self {
        let latencies = Histogram::new_with_bounds(LATENCY_NS.0, LATENCY_NS.1, LATENCY_DIGITS);
        Self {
            latencies: latencies.expect("bounds that it allows"),
            endings: [0; Ending::ALL.len()],
            elapsed: Duration::ZERO,
        }
    }

    pub(super) fn add(&mut self, ending: Ending, latency: Duration) {
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

    /// Replies a second.
    pub(super) fn rate(&self) -> f64 {
        ratio(self.replies(), self.elapsed.as_secs_f64())
    }
}

/// `clients` in a closed loop. Who has asked when `duration` is over still gets its end.
pub(super) fn closed_loop(target: &Target, clients: u16, duration: Duration) -> io::Result<Tally> {
    let ready = Barrier::new(usize::from(clients) + 1);
    thread::scope(|scope| {
        let client = |number| {
            let ready = &ready;
            move || {
                ready.wait();
                ask_again_and_again(target, number, Instant::now() + duration)
            }
        };
        let threads: Vec<_> = (0..clients)
            .map(|number| scope.spawn(client(number)))
            .collect();
        // Before they begin: a rate must not be told too high where this thread is late.
        let began = Instant::now();
        ready.wait();
        let mut tally = Tally::new();
        for thread in threads {
            let own = thread.join().expect("no client panics")?;
            tally.merge(&own);
        }
        tally.elapsed = began.elapsed();
        Ok(tally)
    })
}

fn ask_again_and_again(target: &Target, client: u16, until: Instant) -> io::Result<Tally> {
    let mut tally = Tally::new();
    let mut began = Instant::now();
    let mut sequence: u16 = 0;
    while began < until {
        let ending = exchange(target, source(client, sequence))?;
        let ended = Instant::now();
        tally.add(ending, ended - began);
        began = ended;
        sequence = sequence.wrapping_add(1);
    }
    Ok(tally)
}

/// A loopback address for each exchange: clients are many in real life, and one address has few ports. Of
/// 127.16.0.0 to 127.31.255.255, where no server is.
fn source(client: u16, sequence: u16) -> Ipv4Addr {
    let [high, low] = sequence.to_be_bytes();
    let block = u8::try_from(client % 16).expect("below 16");
    Ipv4Addr::new(127, 16 + block, high, low)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    #[test]
    fn a_tally_counts_each_kind_and_times_those_with_a_reply() {
        let mut tally = Tally::new();
        tally.add(Ending::Replied, Duration::from_micros(100));
        tally.add(Ending::RepliedThenReset, Duration::from_micros(300));
        tally.add(Ending::Reset, Duration::from_secs(1));
        let mut both = tally.clone();
        both.merge(&tally);
        both.elapsed = Duration::from_secs(2);
        assert_eq!(both.replies(), 4);
        assert!((both.rate() - 2.0).abs() < 1e-9);
        let faults: Vec<_> = both.faults().collect();
        assert_eq!(faults, [(Ending::RepliedThenReset, 2), (Ending::Reset, 2)]);
        assert!(both.quantiles()[3] < 310.0, "a failure has no latency");
    }

    #[test]
    fn endings_are_counted_under_their_own_name() {
        for (number, ending) in Ending::ALL.into_iter().enumerate() {
            assert_eq!(ending as usize, number, "{}", ending.name());
        }
    }

    #[test]
    fn each_exchange_has_an_address_of_its_own() {
        assert_eq!(source(0, 0), Ipv4Addr::new(127, 16, 0, 0));
        assert_eq!(source(15, u16::MAX), Ipv4Addr::new(127, 31, 255, 255));
        assert_ne!(source(1, 258), source(1, 1));
    }

    #[test]
    fn clients_ask_until_the_time_is_over() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let addr = listener.local_addr().expect("its address");
        let target = Target::new(addr, "?", "!");
        // It ends with the process: nobody can tell how many will come.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                stream.read_exact(&mut [0]).expect("the request");
                stream.write_all(b"!").expect("it is sent");
            }
        });
        let duration = Duration::from_millis(20);
        let tally = closed_loop(&target, 3, duration).expect("the machine can");
        assert!(tally.count(Ending::Replied) >= 3, "each asks at least once");
        assert_eq!(tally.faults().count(), 0);
        assert!(tally.elapsed >= duration);
    }
}
