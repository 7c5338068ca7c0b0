//! Reports of rounds that are made up, and their CSV.

use std::time::Duration;

use super::super::csv::{self, csv};
use super::super::processor::Spent;
use super::*;

const LOAD: Load = Load::Closed { clients: 4 };

const FAST_TO_SLOW: Pair = Pair {
    figure: Figure::Rate,
    of: side("fast"),
    to: side("slow"),
};

const fn side(contender: &'static str) -> Side {
    Side {
        contender,
        load: LOAD,
    }
}

const AT_LEAST_TWICE: (Claim, Bound) = (Claim::Ratio(FAST_TO_SLOW), Bound::AtLeast(2.0));

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
        load: LOAD,
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
        readings: &[],
        bounds: &[AT_LEAST_TWICE],
        pairs: &[FAST_TO_SLOW],
        faultless: &["fast"],
    }
}

#[test]
fn ratios_are_of_the_same_round() {
    let samples = samples(Ending::Replied);
    let report = report(&samples);
    let text = report.markdown();
    let row = "| 4 clients | rate, fast : slow | 3.00 | 3.00 to 3.00 | ≥ 2 | met |";
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
        of: side("slow"),
        to: side("fast"),
        ..FAST_TO_SLOW
    };
    let samples = samples(Ending::Replied);
    let report = Report {
        bounds: &[(Claim::Ratio(swapped), Bound::AtLeast(2.0))],
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
    let report = report(&samples);
    assert!(report.ratio(&FAST_TO_SLOW).is_none());
    assert!(!report.markdown().contains("Ratios"));
    assert!(report.is_good(), "only those who take part are judged");
}

#[test]
fn each_that_is_compared_has_a_table_of_its_ratios() {
    let samples = samples(Ending::Replied);
    let text = report(&samples).markdown();
    let table = "## Ratios of fast to\n\n| load | figure | slow |\n| --- | --- | --- |\n\
                 | 4 clients | rate | 3.00 [3.00, 3.00] |\n";
    assert!(text.contains(table), "{text}");
}

#[test]
fn quantities_are_judged_by_their_values() {
    let samples = samples(Ending::Replied);
    let reading = |round| Reading {
        round,
        contender: "fast",
        quantity: Quantity::SystemCalls,
        value: 7.5,
    };
    let readings: Vec<Reading> = (0..6).map(reading).collect();
    let claim = Claim::Value("fast", Quantity::SystemCalls);
    let told = |most, readings| {
        let report = Report {
            bounds: &[(claim, Bound::AtMost(most))],
            readings,
            ..report(&samples)
        };
        (report.is_good(), report.markdown())
    };
    let (is_good, text) = told(8.0, &readings);
    let row = "|  | system calls an exchange, fast | 7.50 | 7.50 to 7.50 | ≤ 8 | met |";
    assert!(is_good && text.contains(row), "{text}");
    assert!(text.contains("| fast | 7.50 | – | – | – |"), "{text}");
    assert!(!told(7.0, &readings).0);
    let (is_good, text) = told(8.0, &[]);
    assert!(!is_good, "nobody knows");
    assert!(text.contains("| not measured |"), "{text}");
}

#[test]
fn one_is_told_beside_itself_alone() {
    const ALONE: Load = Load::Alone { clients: 4 };
    let mut samples = samples(Ending::Replied);
    let alone = samples.clone().into_iter().map(|sample| Sample {
        load: ALONE,
        ..sample
    });
    samples.extend(alone.collect::<Vec<_>>());
    let to = Side {
        load: ALONE,
        ..side("fast")
    };
    let itself = Pair { to, ..FAST_TO_SLOW };
    let report = Report {
        pairs: &[itself],
        bounds: &[(Claim::Ratio(itself), Bound::AtMost(1.0))],
        ..report(&samples)
    };
    let text = report.markdown();
    let table = "## Ratios to the same server alone\n\n| load | server | rate |\n| --- | --- | --- |\n\
                 | 4 clients | fast | 1.00 [1.00, 1.00] |\n";
    assert!(text.contains(table), "{text}");
    let row = "| 4 clients | rate, fast : 4 clients, alone | 1.00 | 1.00 to 1.00 | ≤ 1 | met |";
    assert!(text.contains(row), "{text}");
}

#[test]
fn readings_are_csv_too() {
    let reading = Reading {
        round: 1,
        contender: "slow",
        quantity: Quantity::SilentBytes,
        value: 250.0,
    };
    let text = csv::readings(&[reading]);
    assert!(text.ends_with("\n2,slow,bytes a silent connection,250.000\n"));
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
    assert_eq!(value("server_cpu_us"), "10000.00");
    assert_eq!(value("replied_then_reset"), "10");
    assert_eq!(value("refused"), "0");
}
