//! Runs of many seeds, and of one.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::engine::simulation::run::{self, Summary};
use crate::engine::simulation::trace::Trace;
use crate::engine::simulation::world;
use crate::exchange::outcome::Outcome;

/// How many seeds there are, where `REPLYD_SEEDS` doesn't say.
const SEEDS: u64 = 2_000;

/// Seeds of runs that are looked at twice.
const TWICE: Range<u64> = 0..20;

/// Lines of the trace that a failure shows.
const LINES_SHOWN: usize = 60;

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().expect("a number"))
}

/// Runs a seed. A panic is a broken promise, too.
fn run(seed: u64, trace: Trace) -> Summary {
    let summary = catch_unwind(AssertUnwindSafe(|| run::run(seed, trace)));
    summary.unwrap_or_else(|panic| {
        let trace = world::end().map_or(Trace::Off, |world| world.trace);
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Summary {
            outcomes: [0; Outcome::ALL.len()],
            trace,
            broken: Some(format!("a panic: {}", text.unwrap_or_default())),
        }
    })
}

/// Runs the seed once more, and fails with what has happened in the end.
fn fail(seed: u64) -> ! {
    let Summary { trace, broken, .. } = run(seed, Trace::kept());
    let lines = trace.lines();
    let lines = &lines[lines.len().saturating_sub(LINES_SHOWN)..];
    panic!(
        "seed {seed}: {}\nagain: REPLYD_SEED={seed} cargo test simulation -- --nocapture\n{}",
        broken.as_deref().unwrap_or("it passes the second time"),
        lines.join("\n")
    );
}

/// Runs seeds on all processors. How many connections ended in each way.
fn run_all(seeds: Range<u64>) -> [u64; Outcome::ALL.len()] {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let run_part = |first: u64| {
            let mut outcomes = [0; Outcome::ALL.len()];
            for seed in seeds
                .clone()
                .skip(usize::try_from(first).expect("few"))
                .step_by(threads)
            {
                let summary = run(seed, Trace::Off);
                if summary.broken.is_some() {
                    fail(seed);
                }
                for (all, one) in outcomes.iter_mut().zip(summary.outcomes) {
                    *all += one;
                }
            }
            outcomes
        };
        let parts: Vec<_> = (0..threads as u64)
            .map(|first| scope.spawn(move || run_part(first)))
            .collect();
        let mut outcomes = [0; Outcome::ALL.len()];
        for part in parts {
            let part = part
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            for (all, one) in outcomes.iter_mut().zip(part) {
                *all += one;
            }
        }
        outcomes
    })
}

#[allow(
    clippy::print_stdout,
    reason = "who runs one seed by simulated wants to read it"
)]
fn show(trace: &Trace) {
    for line in trace.lines() {
        println!("{line}");
    }
}

#[test]
fn simulation_keeps_its_promises_whatever_the_seed() {
    if let Some(seed) = number("REPLYD_SEED") {
        let summary = run(seed, Trace::kept());
        show(&summary.trace);
        assert_eq!(summary.broken, None, "seed {seed}");
        return;
    }
    let outcomes = run_all(0..number("REPLYD_SEEDS").unwrap_or(SEEDS));
    for (label, count) in Outcome::LABELS.iter().zip(outcomes) {
        assert!(count > 0, "no connection ended as `{label}`");
    }
}

#[test]
fn simulation_of_a_seed_is_the_same_each_time() {
    let hashes = || TWICE.map(|seed| run(seed, Trace::hashed()).trace.hash());
    let first: Vec<_> = hashes().collect();
    assert!(first.iter().all(Option::is_some), "no run may fail");
    assert_eq!(first, hashes().collect::<Vec<_>>());
    let different: std::collections::BTreeSet<_> = first.iter().collect();
    assert_eq!(different.len(), first.len(), "each seed is another run");
}
