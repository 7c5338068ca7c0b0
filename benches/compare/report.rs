//! What was measured, for people, in Markdown: bounds and their verdicts, ratios with their intervals, then the figures themselves.

mod figures;
mod table;

use super::exchange::Ending;
use super::load::{Load, Tally};
use super::machine::Facts;
use super::readings::{Quantity, Reading};
use super::rounds::Sample;
use super::statistics::{Bound, Estimate, Verdict, median};
use table::{head, row};

/// A figure of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Figure {
    /// Replies a second.
    Rate,
    /// Processor time of the server for each reply.
    ServerProcessor,
    /// Processor time of the whole machine for each reply.
    MachineProcessor,
    /// The latency that one of a hundred exceeds.
    P99,
}

impl Figure {
    pub(super) fn of(self, sample: &Sample) -> f64 {
        match self {
            Self::Rate => sample.tally.rate(),
            Self::ServerProcessor => sample.server_microseconds(),
            Self::MachineProcessor => sample.machine_microseconds(),
            Self::P99 => sample.tally.quantiles()[1],
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::ServerProcessor => "server CPU",
            Self::MachineProcessor => "machine CPU",
            Self::P99 => "p99",
        }
    }
}

/// A contender under a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Side {
    pub(super) contender: &'static str,
    pub(super) load: Load,
}

/// One side's figure by another's, round by round.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair {
    pub(super) figure: Figure,
    pub(super) of: Side,
    pub(super) to: Side,
}

/// What has to be true.
#[derive(Debug, Clone, Copy)]
pub(super) enum Claim {
    Ratio(Pair),
    Value(&'static str, Quantity),
}

/// All that was measured, to be told.
#[derive(Debug)]
pub(super) struct Report<'a> {
    pub(super) title: &'a str,
    pub(super) facts: &'a Facts,
    pub(super) samples: &'a [Sample],
    pub(super) readings: &'a [Reading],

    pub(super) bounds: &'a [(Claim, Bound)],

    /// What else is worth a ratio.
    pub(super) pairs: &'a [Pair],

    /// Those of whom every exchange has to end cleanly.
    pub(super) faultless: &'a [&'static str],
}

impl Report<'_> {
    /// Whether every bound is met, and nothing was lost.
    pub(super) fn is_good(&self) -> bool {
        let mut bounds = self.bounds.iter();
        let is_met = |(claim, bound): &(Claim, Bound)| match self.estimate(claim) {
            Some(estimate) => estimate.verdict(*bound) == Verdict::Met,
            None => !self.takes_part(claim),
        };
        bounds.all(is_met) && self.faults().is_empty()
    }

    pub(super) fn markdown(&self) -> String {
        let mut lines = vec![format!("# {}", self.title), String::new()];
        let facts = self.facts.iter();
        lines.extend(facts.map(|(name, value)| format!("- {name}: {value}")));
        lines.push(self.quiet());
        let paragraphs = [
            "",
            "## What it has to show",
            "",
            "Of ratios the median of those of each round.",
            "",
        ];
        lines.extend(paragraphs.map(str::to_owned));
        lines.extend(self.bound_table());
        lines.extend([String::new(), self.faultlessness()]);
        lines.extend(self.ratio_tables());
        lines.extend(self.crowd_table());
        lines.extend(["", "## Figures", ""].map(str::to_owned));
        lines.extend(self.figure_table());
        lines.extend(self.quantity_table());
        lines.push(String::new());
        lines.join("\n")
    }

    /// How much the machine had to do besides.
    fn quiet(&self) -> String {
        let spent = self.samples.iter().map(|sample| &sample.spent);
        let others = median(spent.map(|spent| spent.others / spent.machine.max(0.01)));
        format!(
            "- others' part of the processor time meanwhile, median: {:.0} %",
            100.0 * others
        )
    }

    /// Of a pair, the ratios of those rounds in which both sides were measured.
    fn ratio(&self, pair: &Pair) -> Option<Estimate> {
        let of = self.of(pair.of);
        let ratios = of.filter_map(|sample| {
            let mut others = self.of(pair.to);
            let other = others.find(|other| other.round == sample.round)?;
            let other = pair.figure.of(other);
            // Of none there is no ratio: nobody got a reply.
            (other > 0.0).then(|| pair.figure.of(sample) / other)
        });
        let ratios: Vec<f64> = ratios.collect();
        (!ratios.is_empty()).then(|| Estimate::of(ratios))
    }

    fn quantity(&self, contender: &str, quantity: Quantity) -> Option<Estimate> {
        let is_it =
            |reading: &&Reading| reading.contender == contender && reading.quantity == quantity;
        let readings = self.readings.iter().filter(is_it);
        let values: Vec<f64> = readings.map(|reading| reading.value).collect();
        (!values.is_empty()).then(|| Estimate::of(values))
    }

    fn estimate(&self, claim: &Claim) -> Option<Estimate> {
        match claim {
            Claim::Ratio(pair) => self.ratio(pair),
            Claim::Value(contender, quantity) => self.quantity(contender, *quantity),
        }
    }

    fn bound_table(&self) -> Vec<String> {
        let mut rows = head(&[
            "load",
            "what",
            "median",
            "95 % interval",
            "has to be",
            "is it",
        ]);
        for (claim, bound) in self.bounds {
            let (load, what, digits): (_, _, &dyn Fn(f64) -> String) = match claim {
                Claim::Ratio(pair) => (pair.of.load.to_string(), ratio_name(pair), &|value| {
                    format!("{value:.2}")
                }),
                Claim::Value(contender, quantity) => (
                    String::new(),
                    format!("{}, {contender}", quantity.name()),
                    &|value| quantity.text(value),
                ),
            };
            let estimate = self.estimate(claim);
            if estimate.is_none() && !self.takes_part(claim) {
                continue;
            }
            let not_measured = || "not measured".to_owned();
            let interval = estimate.map(|estimate| match estimate.interval {
                Some((low, high)) => format!("{} to {}", digits(low), digits(high)),
                None => "too few rounds".to_owned(),
            });
            let verdict = estimate.map(|estimate| estimate.verdict(*bound).to_string());
            rows.push(row(&[
                load,
                what,
                estimate.map_or_else(not_measured, |estimate| digits(estimate.median)),
                interval.unwrap_or_default(),
                bound.to_string(),
                verdict.unwrap_or_else(not_measured),
            ]));
        }
        rows
    }

    /// Whether it could have been measured.
    fn takes_part(&self, claim: &Claim) -> bool {
        match claim {
            Claim::Ratio(_) => false,
            Claim::Value(contender, _) => self.contenders().contains(contender),
        }
    }

    /// Of those pairs that were measured.
    fn estimates(&self, is_wanted: impl Fn(&Pair) -> bool) -> Vec<(&Pair, Estimate)> {
        let pairs = self.pairs.iter().filter(|pair| is_wanted(pair));
        pairs
            .filter_map(|pair| Some((pair, self.ratio(pair)?)))
            .collect()
    }

    /// A table for each that is compared: a line for each load and figure, a column for each other.
    fn ratio_tables(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for of in self.contenders() {
            let is_of = |pair: &Pair| pair.of.contender == of && pair.to.contender != of;
            let estimates = self.estimates(is_of);
            if estimates.is_empty() {
                continue;
            }
            let others = distinct(estimates.iter().map(|(pair, _)| pair.to.contender));
            let rows = distinct(
                estimates
                    .iter()
                    .map(|(pair, _)| (pair.of.load, pair.figure)),
            );
            lines.extend([
                String::new(),
                format!("## Ratios of {of} to"),
                String::new(),
            ]);
            let mut columns = vec!["load", "figure"];
            columns.extend(&others);
            lines.extend(head(&columns));
            for (load, figure) in rows {
                let mut cells = vec![load.to_string(), figure.name().to_owned()];
                cells.extend(others.iter().map(|other| {
                    short_of(&estimates, |pair| {
                        (pair.of.load, pair.figure, pair.to.contender) == (load, figure, *other)
                    })
                }));
                lines.push(row(&cells));
            }
        }
        lines
    }

    /// Those under one load by themselves under another one: a line each, a column for each figure.
    fn crowd_table(&self) -> Vec<String> {
        let is_of_itself = |pair: &Pair| pair.of.contender == pair.to.contender;
        let estimates = self.estimates(is_of_itself);
        let figures = distinct(estimates.iter().map(|(pair, _)| pair.figure));
        let sides = distinct(estimates.iter().map(|(pair, _)| pair.of));
        if sides.is_empty() {
            return Vec::new();
        }
        let mut lines = ["", "## Ratios to the same server alone", ""]
            .map(str::to_owned)
            .to_vec();
        let mut columns = vec!["load", "server"];
        columns.extend(figures.iter().map(|figure| figure.name()));
        lines.extend(head(&columns));
        for side in sides {
            let mut cells = vec![side.load.to_string(), side.contender.to_owned()];
            cells.extend(figures.iter().map(|figure| {
                short_of(&estimates, |pair| (pair.of, pair.figure) == (side, *figure))
            }));
            lines.push(row(&cells));
        }
        lines
    }

    fn faultlessness(&self) -> String {
        let faults = self.faults();
        if faults.is_empty() {
            "None of replyd's exchanges was lost, cut or reset.".to_owned()
        } else {
            format!("**Lost, cut or reset:** {}.", faults.join("; "))
        }
    }

    /// What went wrong with those with whom nothing may.
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for contender in self.faultless {
            let samples = self
                .samples
                .iter()
                .filter(|sample| sample.contender == *contender);
            for (ending, count) in together(samples).faults() {
                faults.push(format!("{contender}: {count} {}", ending.name()));
            }
        }
        faults
    }

    /// Of one contender under one load, by round.
    fn of(&self, side: Side) -> impl Iterator<Item = &Sample> {
        let is_it =
            move |sample: &&Sample| sample.contender == side.contender && sample.load == side.load;
        self.samples.iter().filter(is_it)
    }

    /// Each load, from the lightest.
    fn loads(&self) -> Vec<Load> {
        let mut loads: Vec<Load> = self.samples.iter().map(|sample| sample.load).collect();
        loads.sort_unstable();
        loads.dedup();
        loads
    }

    /// In the order of the first round.
    fn contenders(&self) -> Vec<&'static str> {
        distinct(self.samples.iter().map(|sample| sample.contender))
    }
}

/// Each once, in the order of its first.
fn distinct<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut distinct = Vec::new();
    for value in values {
        if !distinct.contains(&value) {
            distinct.push(value);
        }
    }
    distinct
}

fn ratio_name(pair: &Pair) -> String {
    let (figure, of, to) = (pair.figure.name(), pair.of, pair.to);
    if of.contender == to.contender {
        format!("{figure}, {} : {}", of.contender, to.load)
    } else {
        format!("{figure}, {} : {}", of.contender, to.contender)
    }
}

/// The one that is it, in short; nothing if it was not measured.
fn short_of(estimates: &[(&Pair, Estimate)], is_it: impl Fn(&Pair) -> bool) -> String {
    let found = estimates.iter().find(|(pair, _)| is_it(pair));
    found
        .map(|(_, estimate)| short(estimate))
        .unwrap_or_default()
}

fn short(estimate: &Estimate) -> String {
    let interval = estimate
        .interval
        .map(|(low, high)| format!(" [{low:.2}, {high:.2}]"));
    format!("{:.2}{}", estimate.median, interval.unwrap_or_default())
}

fn together<'a>(samples: impl Iterator<Item = &'a Sample>) -> Tally {
    let mut tally = Tally::new();
    for sample in samples {
        tally.merge(&sample.tally);
    }
    tally
}

#[cfg(test)]
mod tests;
