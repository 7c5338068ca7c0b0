//! What has to be true of replyd, and which ratios are told.

use super::super::load::Load;
use super::super::readings::Quantity;
use super::super::report::{Claim, Figure, Pair, Side};
use super::super::statistics::Bound;
use super::kind::Kind;
use super::slow::{ALONE, CROWDED};

/// Of whom no exchange may be lost, cut or reset.
pub(super) const FAULTLESS: [&str; 4] = [
    Kind::Replyd.name(),
    Kind::ReplydUndeferred.name(),
    Kind::ReplydHttp.name(),
    Kind::ReplydHttpUndeferred.name(),
];

/// Those of the same kind of work, by the two of replyd that are as it is shipped.
const RAW: [Kind; 7] = [
    Kind::FloorPlain,
    Kind::FloorSafe,
    Kind::FloorBest,
    Kind::NginxStream,
    Kind::Xinetd,
    Kind::Tokio,
    Kind::ReplydUndeferred,
];
const HTTP: [Kind; 4] = [
    Kind::NginxHttp,
    Kind::Haproxy,
    Kind::Hyper,
    Kind::ReplydHttpUndeferred,
];

fn pair(figure: Figure, of: Kind, to: Kind, load: Load) -> Pair {
    let side = |kind: Kind| Side {
        contender: kind.name(),
        load,
    };
    let (of, to) = (side(of), side(to));
    Pair { figure, of, to }
}

/// What has to be true, of those loads that there are.
pub(super) fn bounds(loads: &[Load]) -> Vec<(Claim, Bound)> {
    let mut bounds: Vec<_> = loads.iter().flat_map(|&load| of_load(load)).collect();
    for kind in [Kind::Replyd, Kind::ReplydHttp] {
        let crowded = |figure, bound| (Claim::Ratio(beside_a_crowd(figure, kind)), bound);
        let value = |quantity, most| {
            let claim = Claim::Value(kind.name(), quantity);
            (claim, Bound::AtMost(most))
        };
        bounds.extend([
            crowded(Figure::ServerProcessor, Bound::AtMost(1.05)),
            crowded(Figure::Rate, Bound::AtLeast(0.95)),
            value(Quantity::SystemCalls, 8.0),
            value(Quantity::EpollControls, 0.1),
            value(Quantity::SilentBytes, 300.0),
            value(Quantity::HalfBytes, 4096.0),
        ]);
    }
    bounds
}

/// By itself alone.
fn beside_a_crowd(figure: Figure, kind: Kind) -> Pair {
    let side = |load| Side {
        contender: kind.name(),
        load,
    };
    Pair {
        figure,
        of: side(CROWDED),
        to: side(ALONE),
    }
}

fn of_load(load: Load) -> Vec<(Claim, Bound)> {
    use Figure::{P99, Rate, ServerProcessor};
    use Kind::{FloorBest, FloorPlain, NginxHttp, Replyd, ReplydHttp};

    let ratio = |figure, of, to, bound| (Claim::Ratio(pair(figure, of, to, load)), bound);
    let processor = |of, to, most| ratio(ServerProcessor, of, to, Bound::AtMost(most));
    match load {
        Load::Closed { clients: 1 } => vec![processor(Replyd, FloorPlain, 1.35)],
        Load::Closed { clients: 64 } => vec![
            processor(Replyd, FloorPlain, 1.0),
            processor(Replyd, FloorBest, 1.25),
            processor(ReplydHttp, NginxHttp, 0.7),
            ratio(Rate, Replyd, FloorPlain, Bound::AtLeast(1.0)),
            ratio(Rate, ReplydHttp, NginxHttp, Bound::AtLeast(1.0)),
        ],
        Load::Closed { clients: 400 } => vec![processor(Replyd, FloorPlain, 0.95)],
        Load::Open { percent: 50, .. } => {
            vec![ratio(P99, ReplydHttp, NginxHttp, Bound::AtMost(1.0))]
        }
        _ => Vec::new(),
    }
}

/// replyd to everyone, in every figure, under every load; and everyone beside a crowd.
pub(super) fn pairs(loads: &[Load]) -> Vec<Pair> {
    let raw = RAW.map(|to| (Kind::Replyd, to));
    let sides = raw.into_iter().chain(HTTP.map(|to| (Kind::ReplydHttp, to)));
    let sides: Vec<(Kind, Kind)> = sides.collect();
    let figures = [
        Figure::ServerProcessor,
        Figure::MachineProcessor,
        Figure::Rate,
        Figure::P99,
    ];
    let mut pairs = Vec::new();
    for &load in loads {
        for figure in figures {
            // Of an open load the rate is what was asked for.
            let is_told = figure != Figure::Rate || !matches!(load, Load::Open { .. });
            let each = sides.iter().filter(|_| is_told);
            pairs.extend(each.map(|&(of, to)| pair(figure, of, to, load)));
        }
    }
    for figure in figures {
        let kinds = Kind::ALL.into_iter().filter(|kind| kind.holds_silent());
        pairs.extend(kinds.map(|kind| beside_a_crowd(figure, kind)));
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loads_that_are_measured_are_judged() {
        let of = |clients| bounds(&[Load::Closed { clients }]).len() - bounds(&[]).len();
        assert_eq!([1, 16, 64, 400].map(of), [1, 0, 5, 1]);
    }

    #[test]
    fn everyone_is_told_beside_us() {
        let pairs = pairs(&[Load::Closed { clients: 1 }]);
        let others = Kind::ALL
            .into_iter()
            .filter(|kind| ![Kind::Replyd, Kind::ReplydHttp].contains(kind));
        for kind in others {
            let name = kind.name();
            let is_told = pairs.iter().any(|pair| pair.to.contender == name);
            assert!(is_told, "{name}");
        }
    }

    #[test]
    fn the_rate_of_an_open_load_is_no_news() {
        let rate = std::num::NonZeroU32::MIN;
        let pairs = pairs(&[Load::Open { percent: 50, rate }]);
        let mut open = pairs.iter().filter(|pair| pair.of.load != CROWDED);
        assert!(open.all(|pair| pair.figure != Figure::Rate));
    }
}
