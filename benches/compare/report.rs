//! What was measured, for people, in Markdown: ratios with their intervals and verdicts, then the figures themselves.

use super::exchange::Ending;
use super::load::Tally;
use super::machine::Facts;
use super::rounds::Sample;
use super::statistics::{Bound, Estimate, Verdict, median};

/// A figure of a sample.
#[derive(Debug, Clone, Copy)]
pub(super) enum Figure {
    /// Replies a second.
    Rate,
    /// Processor time of the server for each reply.
    ServerProcessor,
}

impl Figure {
    fn of(self, sample: &Sample) -> f64 {
        match self {
            Self::Rate => sample.tally.rate(),
            Self::ServerProcessor => sample.server_microseconds(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::ServerProcessor => "server CPU",
        }
    }
}

/// One contender's figure by another's, round by round.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair {
    pub(super) figure: Figure,
    pub(super) of: &'static str,
    pub(super) to: &'static str,
    pub(super) bound: Option<Bound>,
}

/// All that was measured, to be told.
#[derive(Debug)]
pub(super) struct Report<'a> {
    pub(super) title: &'a str,
    pub(super) facts: &'a Facts,
    pub(super) samples: &'a [Sample],
    pub(super) pairs: &'a [Pair],

    /// Those of whom every exchange has to end cleanly.
    pub(super) faultless: &'a [&'static str],
}

/// A pair under one load.
struct Ratio<'a> {
    clients: u16,
    pair: &'a Pair,
    estimate: Estimate,
    verdict: Option<Verdict>,
}

impl Report<'_> {
    /// Whether every bound is met, and nothing was lost.
    pub(super) fn is_good(&self) -> bool {
        let mut verdicts = self.ratios().into_iter().filter_map(|ratio| ratio.verdict);
        verdicts.all(|verdict| verdict == Verdict::Met) && self.faults().is_empty()
    }

    pub(super) fn markdown(&self) -> String {
        let mut lines = vec![format!("# {}", self.title), String::new()];
        let facts = self.facts.iter();
        lines.extend(facts.map(|(name, value)| format!("- {name}: {value}")));
        lines.push(self.quiet());
        lines.extend(
            [
                "",
                "## Ratios",
                "",
                "Medians of the ratios of each round.",
                "",
            ]
            .map(str::to_owned),
        );
        lines.extend(self.ratio_table());
        lines.push(String::new());
        lines.push(self.faultlessness());
        lines.extend(["", "## Figures", ""].map(str::to_owned));
        lines.extend(self.figure_table());
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

    /// Each pair whose contenders were both measured, under each load.
    fn ratios(&self) -> Vec<Ratio<'_>> {
        let loads = self.clients().into_iter();
        let each = loads.flat_map(|clients| self.pairs.iter().map(move |pair| (clients, pair)));
        each.filter_map(|(clients, pair)| {
            let figures = |contender| {
                self.of(contender, clients)
                    .map(|sample| pair.figure.of(sample))
            };
            let mut ratios = figures(pair.of)
                .zip(figures(pair.to))
                .map(|(of, to)| of / to)
                .peekable();
            ratios.peek()?;
            let estimate = Estimate::of(ratios);
            Some(Ratio {
                clients,
                pair,
                estimate,
                verdict: pair.bound.map(|bound| estimate.verdict(bound)),
            })
        })
        .collect()
    }

    fn ratio_table(&self) -> Vec<String> {
        let mut rows = head(&[
            "clients",
            "ratio",
            "median",
            "95 % interval",
            "has to be",
            "is it",
        ]);
        rows.extend(self.ratios().iter().map(|ratio| {
            let Pair {
                figure,
                of,
                to,
                bound,
            } = ratio.pair;
            let interval = ratio.estimate.interval;
            row(&[
                ratio.clients.to_string(),
                format!("{}, {of} : {to}", figure.name()),
                format!("{:.2}", ratio.estimate.median),
                interval.map_or("too few rounds".to_owned(), |(low, high)| {
                    format!("{low:.2} to {high:.2}")
                }),
                bound.map(|bound| bound.to_string()).unwrap_or_default(),
                ratio
                    .verdict
                    .map(|verdict| verdict.to_string())
                    .unwrap_or_default(),
            ])
        }));
        rows
    }

    fn figure_table(&self) -> Vec<String> {
        let mut rows = head(&[
            "clients",
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
        for clients in self.clients() {
            for contender in self.contenders() {
                rows.push(row(&self.figures(contender, clients)));
            }
        }
        rows
    }

    /// Medians of the rounds, but quantiles and counts of all rounds together.
    fn figures(&self, contender: &str, clients: u16) -> Vec<String> {
        let samples = || self.of(contender, clients);
        let tally = together(samples());
        let mut figures = vec![
            clients.to_string(),
            contender.to_owned(),
            format!("{:.0}", median(samples().map(|sample| sample.tally.rate()))),
            format!("{:.0}", median(samples().map(Sample::server_microseconds))),
            format!("{:.0}", median(samples().map(Sample::machine_microseconds))),
        ];
        let milliseconds = tally.quantiles().map(|time| time / 1000.0);
        figures.extend(milliseconds.map(|time| format!("{time:.2}")));
        figures.push(tally.replies().to_string());
        figures.push(tally.count(Ending::RepliedThenReset).to_string());
        figures.push(lost(&tally));
        figures
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
    fn of(&self, contender: &str, clients: u16) -> impl Iterator<Item = &Sample> {
        let is_it =
            move |sample: &&Sample| sample.contender == contender && sample.clients == clients;
        self.samples.iter().filter(is_it)
    }

    /// Each load, from the lightest.
    fn clients(&self) -> Vec<u16> {
        let mut clients: Vec<u16> = self.samples.iter().map(|sample| sample.clients).collect();
        clients.sort_unstable();
        clients.dedup();
        clients
    }

    /// In the order of the first round.
    fn contenders(&self) -> Vec<&'static str> {
        let mut contenders = Vec::new();
        for sample in self.samples {
            if !contenders.contains(&sample.contender) {
                contenders.push(sample.contender);
            }
        }
        contenders
    }
}

fn together<'a>(samples: impl Iterator<Item = &'a Sample>) -> Tally {
    let mut tally = Tally::new();
    for sample in samples {
        tally.merge(&sample.tally);
    }
    tally
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

fn head(columns: &[&str]) -> Vec<String> {
    let rule = vec!["---".to_owned(); columns.len()];
    vec![
        row(&columns.iter().map(ToString::to_string).collect::<Vec<_>>()),
        row(&rule),
    ]
}

fn row(cells: &[String]) -> String {
    format!("| {} |", cells.join(" | "))
}

#[cfg(test)]
mod tests;
