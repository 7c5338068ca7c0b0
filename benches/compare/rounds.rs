//! Interleaved rounds: in each, every server is measured once under every load, in another order.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::exchange::Target;
use super::load::{self, Load, Tally};
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

    /// Whether it is measured under open loads, too.
    pub(super) keeps_a_rate: bool,
}

impl Contender {
    fn takes(&self, load: Load) -> bool {
        self.keeps_a_rate || !matches!(load, Load::Open { .. })
    }
}

/// One server under one load in one round.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    pub(super) round: u32,
    pub(super) load: Load,
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

/// How much of something is done, and until when it may go on.
#[derive(Debug)]
pub(super) struct Course<'a> {
    done: usize,
    all: usize,
    began: Instant,
    stop: &'a AtomicBool,
}

impl<'a> Course<'a> {
    /// Of so many steps that take about as long as each other, until `stop` is set.
    pub(super) fn new(all: usize, stop: &'a AtomicBool) -> Self {
        Self {
            done: 0,
            all,
            began: Instant::now(),
            stop,
        }
    }

    /// Fails once it is to be stopped.
    pub(super) fn may_go_on(&self) -> Result<(), String> {
        if self.stop.load(Ordering::Relaxed) {
            return Err("stopped by a signal; nothing was written".to_owned());
        }
        Ok(())
    }

    /// Tells that a step is done, and how long the others will take.
    pub(super) fn step(&mut self, what: &str) {
        self.done += 1;
        let left = left(self.began.elapsed(), self.done, self.all);
        say(&format!(
            "{} of {}, {left} left: {what}",
            self.done, self.all
        ));
    }
}

/// What remains of so many steps, if it goes on like this.
fn left(elapsed: Duration, done: usize, all: usize) -> String {
    let part = ratio(all.saturating_sub(done) as u64, ratio(done as u64, 1.0));
    let seconds = elapsed.mul_f64(part).as_secs();
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

/// Measures them all, with progress on the terminal.
pub(super) fn run(
    contenders: &[Contender],
    loads: &[Load],
    rounds: u32,
    duration: Duration,
    stop: &AtomicBool,
) -> Result<Vec<Sample>, String> {
    let mut steps = Vec::new();
    for round in 0..rounds {
        for &load in loads {
            let order = order(contenders.len(), round).into_iter();
            let order = order.map(|index| &contenders[index]);
            steps.extend(
                order
                    .filter(|contender| contender.takes(load))
                    .map(|contender| (round, load, contender)),
            );
        }
    }
    let mut course = Course::new(steps.len(), stop);
    let mut samples = Vec::new();
    for (round, load, contender) in steps {
        course.may_go_on()?;
        let sample = measure(contender, load, round, duration)?;
        course.step(&progress(&sample));
        samples.push(sample);
    }
    Ok(samples)
}

/// Who goes first, second, … in a round: the first one changes, and every other time the direction, so that nobody always comes
/// after the same one.
pub(super) fn order(count: usize, round: u32) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.rotate_left(usize::try_from(round).unwrap_or(0) % count.max(1));
    if round % 2 == 1 {
        order.reverse();
    }
    order
}

/// One measurement, after a warm-up.
pub(super) fn measure(
    contender: &Contender,
    load: Load,
    round: u32,
    duration: Duration,
) -> Result<Sample, String> {
    let ask = |duration| {
        let tally = load::run(&contender.target, load, duration);
        tally.map_err(|error| format!("the load generator: {error}"))
    };
    let now = || Moment::now(contender.pid).map_err(|error| format!("processor time: {error}"));
    ask(duration / WARM_UP_PARTS)?;
    let before = now()?;
    let tally = ask(duration)?;
    let spent = now()?.since(&before);
    Ok(Sample {
        round,
        load,
        contender: contender.name,
        tally,
        spent,
    })
}

pub(super) fn progress(sample: &Sample) -> String {
    let (round, load, contender) = (sample.round + 1, sample.load, sample.contender);
    let (rate, cost) = (sample.tally.rate(), sample.server_microseconds());
    let mut line =
        format!("round {round}, {load}, {contender}: {rate:.0}/s, {cost:.1} µs of server CPU");
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

    #[test]
    fn what_is_left_is_as_slow_as_what_was_done() {
        assert_eq!(left(Duration::from_secs(60), 1, 3), "2:00");
        assert_eq!(left(Duration::from_secs(90), 9, 10), "0:10");
        assert_eq!(left(Duration::from_secs(9), 9, 9), "0:00");
    }

    #[test]
    fn a_course_ends_with_its_signal() {
        let stop = AtomicBool::new(false);
        let course = Course::new(1, &stop);
        assert!(course.may_go_on().is_ok());
        stop.store(true, Ordering::Relaxed);
        assert!(course.may_go_on().is_err());
    }
}
