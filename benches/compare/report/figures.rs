//! The figures themselves: of each server under each load, and what was counted and weighed.

use super::super::exchange::Ending;
use super::super::load::Tally;
use super::super::readings::Quantity;
use super::super::rounds::Sample;
use super::super::statistics::median;
use super::table::{head, row};
use super::{Report, Side, together};

impl Report<'_> {
    pub(super) fn figure_table(&self) -> Vec<String> {
        let mut rows = head(&[
            "load",
            "server",
            "replies/s",
            "server CPU, µs",
            "machine CPU, µs",
            "p50, ms",
            "p99, ms",
            "p99.9, ms",
            "max, ms",
            "replies",
            "then reset",
            "lost",
        ]);
        for load in self.loads() {
            for contender in self.contenders() {
                let side = Side { contender, load };
                if self.of(side).next().is_some() {
                    rows.push(row(&self.figures(side)));
                }
            }
        }
        rows
    }

    /// Medians of the rounds, but quantiles and counts of all rounds together.
    fn figures(&self, side: Side) -> Vec<String> {
        let samples = || self.of(side);
        let tally = together(samples());
        let mut figures = vec![
            side.load.to_string(),
            side.contender.to_owned(),
            format!("{:.0}", median(samples().map(|sample| sample.tally.rate()))),
            format!("{:.1}", median(samples().map(Sample::server_microseconds))),
            format!("{:.1}", median(samples().map(Sample::machine_microseconds))),
        ];
        let milliseconds = tally.quantiles().map(|time| time / 1000.0);
        figures.extend(milliseconds.map(|time| format!("{time:.2}")));
        figures.push(tally.replies().to_string());
        figures.push(tally.count(Ending::RepliedThenReset).to_string());
        figures.push(lost(&tally));
        figures
    }

    /// A line for each server of which something was counted or weighed.
    pub(super) fn quantity_table(&self) -> Vec<String> {
        if self.readings.is_empty() {
            return Vec::new();
        }
        let mut columns = vec!["server"];
        columns.extend(Quantity::ALL.map(Quantity::name));
        let mut rows = vec![
            String::new(),
            "## Counts and memory".to_owned(),
            String::new(),
        ];
        rows.extend(head(&columns));
        for contender in self.contenders() {
            let mut cells = vec![contender.to_owned()];
            cells.extend(Quantity::ALL.map(|quantity| {
                let estimate = self.quantity(contender, quantity);
                estimate.map_or_else(|| "–".to_owned(), |estimate| quantity.text(estimate.median))
            }));
            rows.push(row(&cells));
        }
        rows
    }
}

/// Those without a whole reply, by kind.
fn lost(tally: &Tally) -> String {
    let lost = tally.faults().filter(|(ending, _)| !ending.has_reply());
    let lost: Vec<String> = lost
        .map(|(ending, count)| format!("{count} {}", ending.name()))
        .collect();
    if lost.is_empty() {
        "0".to_owned()
    } else {
        lost.join(", ")
    }
}
