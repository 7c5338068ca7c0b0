//! A constant reply, of raw TCP and of HTTP: replyd beside C programs that do nothing else, nginx, HAProxy, xinetd, tokio and hyper.

mod claims;
mod contenders;
mod kind;
mod picture;
mod programs;
mod slow;

use std::num::NonZeroU32;
use std::time::Duration;

use super::arguments;
use super::load::{self, Load};
use super::machine::{self, Facts};
use super::report::Report;
use super::rounds::{self, Contender};
use super::{csv, say, scratch, servers, stopped_by_signals, wanted, write_results};
use contenders::Peer;
use kind::Kind;
use programs::Programs;
use slow::Plan;

/// What open loads are told in per cent of: the plain floor's rate with so many clients, measured for so long.
const CALIBRATION: (u16, Duration) = (64, Duration::from_secs(3));

const PACKAGES: [&str; 5] = [
    "nginx-light",
    "libnginx-mod-stream",
    "haproxy",
    "xinetd",
    "gcc",
];

/// Runs the comparison and writes the results. Whether everything was as it has to be.
pub(super) fn run(peers: &arguments::Peers) -> Result<bool, String> {
    let options = &peers.options;
    let wanted = wanted(&Kind::ALL.map(Kind::name), &options.only)?;
    let kinds = Kind::ALL.into_iter();
    let kinds: Vec<Kind> = kinds.filter(|kind| wanted.contains(&kind.name())).collect();
    let stop = stopped_by_signals()?;
    servers::limit_descriptors()?;
    let mut facts = machine::facts(&options.replyd, &PACKAGES);
    let folder = scratch()?;
    let programs = Programs::build(&kinds, folder.path(), &options.replyd)?;
    let loads = loads(peers, &programs, &mut facts)?;
    let plan = Plan {
        rounds: peers.crowd_rounds,
        duration: peers.seconds,
        folder: folder.path(),
        stop: &stop,
    };
    say("weighing connections, of new servers each time");
    let mut readings = plan.weigh(&kinds, &programs)?;
    let samples = {
        let running = contenders::start_all(&kinds, folder.path(), &programs)?;
        let contenders: Vec<Contender> =
            running.iter().map(|peer| peer.contender.clone()).collect();
        say("closed and open loads");
        let mut samples = rounds::run(&contenders, &loads, peers.rounds, peers.seconds, &stop)?;
        say("beside a crowd, and counting system calls");
        let (crowded, counted) = plan.measure(&running)?;
        samples.extend(crowded);
        readings.extend(counted);
        samples
    };
    let (bounds, pairs) = (claims::bounds(&loads), claims::pairs(&loads));
    let report = Report {
        title: "A constant reply: replyd beside its peers",
        facts: &facts,
        samples: &samples,
        readings: &readings,
        bounds: &bounds,
        pairs: &pairs,
        faultless: &claims::FAULTLESS,
    };
    let mut files = vec![
        ("peers.md", report.markdown()),
        ("peers.csv", csv::csv(&samples)),
        ("peers-counts.csv", csv::readings(&readings)),
    ];
    files.extend(picture::svg(&samples).map(|svg| ("peers.svg", svg)));
    write_results(&options.output, &files)?;
    Ok(report.is_good())
}

/// The closed ones, and the open ones at the rates that are right here.
fn loads(
    peers: &arguments::Peers,
    programs: &Programs,
    facts: &mut Facts,
) -> Result<Vec<Load>, String> {
    let closed = peers.clients.iter();
    let mut loads: Vec<Load> = closed.map(|&clients| Load::Closed { clients }).collect();
    if peers.open.0.is_empty() {
        return Ok(loads);
    }
    let rate = calibrate(programs)?;
    facts.push((
        "100 % of the open loads",
        format!("{rate:.0}/s, floor-plain with {} clients", CALIBRATION.0),
    ));
    loads.extend(peers.open.0.iter().map(|&percent| Load::Open {
        percent,
        rate: part(rate, percent),
    }));
    Ok(loads)
}

/// What the plain floor does here.
fn calibrate(programs: &Programs) -> Result<f64, String> {
    say("calibrating the open loads by the plain floor");
    let folder = scratch()?;
    let floor = Peer::start(Kind::FloorPlain, folder.path(), programs)?;
    let (clients, duration) = CALIBRATION;
    let tally = load::run(&floor.contender.target, Load::Closed { clients }, duration);
    let tally = tally.map_err(|error| format!("the load generator: {error}"))?;
    Ok(tally.rate())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate is positive, and far below 2^32"
)]
fn part(rate: f64, percent: u8) -> NonZeroU32 {
    let rate = (rate * f64::from(percent) / 100.0).round() as u32;
    NonZeroU32::new(rate).unwrap_or(NonZeroU32::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_load_is_a_part_of_the_rate() {
        assert_eq!(part(20_001.0, 50).get(), 10_001);
        assert_eq!(part(0.0, 50).get(), 1, "a rate of none can't be kept");
    }
}
