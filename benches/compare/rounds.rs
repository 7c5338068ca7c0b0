//! Interleaved rounds: in each, every server is measured once under every load, in another order.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::exchange::Target;
use super::load::{Tally, closed_loop};
use super::processor::{Moment, Spent};
use super::say;
use super::statistics::ratio;

/// The part of a measurement that comes before it and doesn't count.
const WARM_UP_PARTS: u32 = 5;

/// One of those that are compared.
#[derive(Debug, Clone)]
pub(super) struct Contender {
    pub(super) name: &'static str,
    pub(super) target: Target,

    /// The process that all of its processes descend from.
    pub(super) pid: u32,
}

/// One server under one load in one round.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    pub(super) round: u32,
    pub(super) clients: u16,
    pub(super) contender: &'static str,
    pub(super) tally: Tally,
    pub(super) spent: Spent,
}

impl Sample {
    /// Processor time of the server for each reply, in microseconds.
    pub(super) fn server_microseconds(&self) -> f64 {
        self.per_reply(self.spent.server)
    }

    /// Of the whole machine.
    pub(super) fn machine_microseconds(&self) -> f64 {
        self.per_reply(self.spent.machine)
    }

    fn per_reply(&self, seconds: f64) -> f64 {
        1e6 * seconds / ratio(self.tally.replies().max(1), 1.0)
    }
}

/// Measures them all, with progress on the terminal. Ends early with an error once `stop` is set.
pub(super) fn run(
    contenders: &[Contender],
    clients: &[u16],
    rounds: u32,
    duration: Duration,
    stop: &AtomicBool,
) -> Result<Vec<Sample>, String> {
    let mut samples = Vec::new();
    for round in 0..rounds {
        for &clients in clients {
            for index in order(contenders.len(), round) {
                if stop.load(Ordering::Relaxed) {
                    return Err("stopped by a signal; nothing was written".to_owned());
                }
                let sample = measure(&contenders[index], clients, round, duration)?;
                say(&progress(&sample, rounds));
                samples.push(sample);
            }
        }
    }
    Ok(samples)
}

/// Who goes first, second, … in a round: the first one changes, and every other time the direction, so that nobody always comes
/// after the same one.
fn order(count: usize, round: u32) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.rotate_left(usize::try_from(round).unwrap_or(0) % count.max(1));
    if round % 2 == 1 {
        order.reverse();
    }
    order
}

fn measure(
    contender: &Contender,
    clients: u16,
    round: u32,
    duration: Duration,
) -> Result<Sample, String> {
    let load = |duration| {
        let tally = closed_loop(&contender.target, clients, duration);
        tally.map_err(|error| format!("the load generator: {error}"))
    };
    let now = || Moment::now(contender.pid).map_err(|error| format!("processor time: {error}"));
    load(duration / WARM_UP_PARTS)?;
    let before = now()?;
    let tally = load(duration)?;
    let spent = now()?.since(&before);
    Ok(Sample {
        round,
        clients,
        contender: contender.name,
        tally,
        spent,
    })
}

fn progress(sample: &Sample, rounds: u32) -> String {
    let (round, clients, contender) = (sample.round + 1, sample.clients, sample.contender);
    let rate = sample.tally.rate();
    let mut line =
        format!("round {round} of {rounds}, {clients} clients, {contender}: {rate:.0}/s");
    for (ending, count) in sample.tally.faults() {
        let _written = write!(line, ", {count} {}", ending.name());
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn everyone_is_in_every_round() {
        for round in 0..12 {
            let names: BTreeSet<usize> = order(5, round).into_iter().collect();
            assert_eq!(names.len(), 5);
        }
    }

    #[test]
    fn everyone_goes_first_at_times() {
        let first: BTreeSet<usize> = (0..9).map(|round| order(5, round)[0]).collect();
        assert_eq!(first.len(), 5);
    }

    #[test]
    fn nobody_always_comes_after_the_same() {
        let before = |round, who| {
            let order = order(5, round);
            let place = order
                .iter()
                .position(|other| *other == who)
                .expect("all are");
            place.checked_sub(1).map(|place| order[place])
        };
        for who in 0..5 {
            let others: BTreeSet<_> = (0..9).map(|round| before(round, who)).collect();
            assert!(others.len() > 2, "{who}: {others:?}");
        }
    }
}
