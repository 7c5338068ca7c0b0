//! What README shows: the cost of an exchange and the rate, of everyone.

use super::super::chart::{Bar, Chart, Panel};
use super::super::load::Load;
use super::super::report::Figure;
use super::super::rounds::Sample;
use super::super::statistics::Estimate;
use super::kind::Kind;

const LOAD: Load = Load::Closed { clients: 64 };

/// None if that load was not measured.
pub(super) fn svg(samples: &[Sample]) -> Option<String> {
    let panels = [
        panel(
            samples,
            Figure::ServerProcessor,
            "Server CPU, µs an exchange (user + system; less is better)",
        ),
        panel(
            samples,
            Figure::Rate,
            "Exchanges a second (more is better), client and server on the same processors",
        ),
    ];
    let chart = Chart {
        title: "One connection, one exchange: 64 clients in a closed loop over loopback",
        subtitle: "A request of a few bytes and a constant reply. Medians of interleaved rounds, with the 95 % interval of the sign test.",
        panels: &panels,
    };
    let has_bars = panels.iter().all(|panel| !panel.bars.is_empty());
    has_bars.then(|| chart.svg())
}

fn panel(samples: &[Sample], figure: Figure, title: &str) -> Panel {
    let bars = Kind::ALL.into_iter().filter_map(|kind| {
        let is_it = |sample: &&Sample| sample.contender == kind.name() && sample.load == LOAD;
        let values: Vec<f64> = samples
            .iter()
            .filter(is_it)
            .map(|sample| figure.of(sample))
            .collect();
        let estimate = (!values.is_empty()).then(|| Estimate::of(values))?;
        Some(Bar {
            label: kind.name().to_owned(),
            value: estimate.median,
            interval: estimate.interval,
            is_accented: kind.is_replyd(),
            is_first: kind == Kind::NginxHttp,
        })
    });
    Panel {
        title: title.to_owned(),
        bars: bars.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::exchange::Ending;
    use super::super::super::load::Tally;
    use super::super::super::processor::Spent;
    use super::*;
    use std::time::Duration;

    fn sample(contender: &'static str, load: Load) -> Sample {
        let mut tally = Tally::new();
        tally.add(Ending::Replied, Duration::from_micros(500));
        tally.elapsed = Duration::from_secs(1);
        let spent = Spent {
            server: 0.000_02,
            machine: 0.0,
            others: 0.0,
        };
        Sample {
            round: 0,
            load,
            contender,
            tally,
            spent,
        }
    }

    #[test]
    fn everyone_who_was_measured_has_a_bar_in_each_panel() {
        let samples = [sample("replyd", LOAD), sample("floor-plain", LOAD)];
        let svg = svg(&samples).expect("there are bars");
        assert_eq!(svg.matches(">replyd<").count(), 2);
        assert_eq!(svg.matches(">20.0<").count(), 2);
        assert!(!svg.contains("nginx"));
    }

    #[test]
    fn without_that_load_there_is_no_picture() {
        let other = Load::Closed { clients: 1 };
        assert_eq!(svg(&[sample("replyd", other)]), None);
    }
}
