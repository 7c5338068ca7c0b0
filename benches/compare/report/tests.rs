//! Reports of rounds that are made up, and their CSV.

use std::time::Duration;

use super::super::csv::csv;
use super::super::processor::Spent;
use super::*;

const AT_LEAST_TWICE: Pair = Pair {
    figure: Figure::Rate,
    of: "fast",
    to: "slow",
    bound: Some(Bound::AtLeast(2.0)),
};

/// So many replies in a second.
fn sample(round: u32, contender: &'static str, replies: u32, ending: Ending) -> Sample {
    let mut tally = Tally::new();
    for _ in 0..replies {
        tally.add(ending, Duration::from_micros(500));
    }
    tally.elapsed = Duration::from_secs(1);
    let spent = Spent {
        server: 0.1,
        machine: 0.4,
        others: 0.1,
    };
    Sample {
        round,
        clients: 4,
        contender,
        tally,
        spent,
    }
}

/// Rounds of another speed each, in which one is three times as fast as the other.
fn samples(ending: Ending) -> Vec<Sample> {
    let round = |round: u32| {
        let slow = sample(round, "slow", 10 + round, Ending::RepliedThenReset);
        [sample(round, "fast", 3 * (10 + round), ending), slow]
    };
    (0..6).flat_map(round).collect()
}

fn report(samples: &[Sample]) -> Report<'_> {
    const NO_FACTS: &Facts = &Facts::new();
    Report {
        title: "Fast beside slow",
        facts: NO_FACTS,
        samples,
        pairs: &[AT_LEAST_TWICE],
        faultless: &["fast"],
    }
}

#[test]
fn ratios_are_of_the_same_round() {
    let samples = samples(Ending::Replied);
    let report = report(&samples);
    let text = report.markdown();
    let row = "| 4 | rate, fast : slow | 3.00 | 3.00 to 3.00 | ≥ 2 | met |";
    assert!(text.contains(row), "{text}");
    assert!(
        text.contains("None of replyd's exchanges was lost"),
        "{text}"
    );
    assert!(report.is_good());
}

#[test]
fn a_bound_that_is_not_reached_is_no_good() {
    let swapped = Pair {
        of: "slow",
        to: "fast",
        ..AT_LEAST_TWICE
    };
    let samples = samples(Ending::Replied);
    let report = Report {
        pairs: &[swapped],
        ..report(&samples)
    };
    assert!(report.markdown().contains("| ≥ 2 | missed |"));
    assert!(!report.is_good());
}

#[test]
fn a_reset_behind_the_reply_is_no_good_where_none_may_be() {
    let samples = samples(Ending::RepliedThenReset);
    let report = report(&samples);
    assert!(!report.is_good(), "though it is fast enough");
    let text = report.markdown();
    assert!(text.contains("fast: 225 replied, then reset"), "{text}");
}

#[test]
fn who_was_not_measured_has_no_ratio() {
    let samples = [sample(0, "slow", 10, Ending::Replied)];
    assert!(report(&samples).ratios().is_empty());
}

#[test]
fn csv_has_a_value_for_each_column() {
    let samples = [sample(2, "slow", 10, Ending::RepliedThenReset)];
    let text = csv(&samples);
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
    let [columns, values] = &lines[..] else {
        panic!("a head and a line:\n{text}")
    };
    assert_eq!(columns.len(), values.len());
    let value = |column| {
        values[columns
            .iter()
            .position(|name| *name == column)
            .expect(column)]
    };
    assert_eq!(value("round"), "3");
    assert_eq!(value("server_cpu_us"), "10000.0");
    assert_eq!(value("replied_then_reset"), "10");
    assert_eq!(value("refused"), "0");
}
