//! What takes long, in rounds of their own: beside a crowd, system calls, memory.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::super::calls;
use super::super::crowd::Crowd;
use super::super::load::{self, Load};
use super::super::processes::memory;
use super::super::readings::{Quantity, Reading};
use super::super::rounds::{Contender, Course, Sample, measure, order, progress};
use super::super::scratch;
use super::super::statistics::ratio;
use super::contenders::Peer;
use super::kind::Kind;
use super::programs::Programs;

const CLIENTS: u16 = 64;

/// Silent connections that others are served beside.
const SILENT: u16 = 10_000;

/// Connections that are weighed.
const WEIGHED: u16 = 8000;

/// Before the weighing: what a server needs once, it has by then.
const WARM_UP: Duration = Duration::from_millis(300);

pub(super) const ALONE: Load = Load::Alone { clients: CLIENTS };
pub(super) const CROWDED: Load = Load::Crowded {
    clients: CLIENTS,
    silent: SILENT,
};

/// How often, and how long each time.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    pub(super) rounds: u32,
    pub(super) duration: Duration,
    pub(super) folder: &'a Path,
    pub(super) stop: &'a AtomicBool,
}

impl Plan<'_> {
    fn course(&self, count: usize) -> Course<'_> {
        let rounds = usize::try_from(self.rounds).unwrap_or(0);
        Course::new(count * rounds, self.stop)
    }

    /// Each alone and beside a crowd, and its system calls.
    pub(super) fn measure(&self, peers: &[Peer]) -> Result<(Vec<Sample>, Vec<Reading>), String> {
        let (mut samples, mut readings) = (Vec::new(), Vec::new());
        let mut course = self.course(peers.len());
        for round in 0..self.rounds {
            for index in order(peers.len(), round) {
                course.may_go_on()?;
                let peer = &peers[index];
                if peer.kind.holds_silent() {
                    samples.extend(self.alone_and_crowded(&peer.contender, round)?);
                }
                let counted = self.count(&peer.contender, round)?;
                course.step(&told(&samples, &counted, peer.contender.name, round));
                readings.extend(counted);
            }
        }
        Ok((samples, readings))
    }

    /// In the one order and, the next time, in the other.
    fn alone_and_crowded(&self, contender: &Contender, round: u32) -> Result<[Sample; 2], String> {
        let alone = || measure(contender, ALONE, round, self.duration);
        let crowded = || {
            let crowd = Crowd::open(&contender.target, contender.pid, SILENT)
                .map_err(|fault| format!("{}: {fault}", contender.name))?;
            let sample = measure(contender, CROWDED, round, self.duration)?;
            crowd.close()?;
            Ok::<_, String>(sample)
        };
        Ok(if round.is_multiple_of(2) {
            [alone()?, crowded()?]
        } else {
            [crowded()?, alone()?]
        })
    }

    /// None where perf can't count.
    fn count(&self, contender: &Contender, round: u32) -> Result<Vec<Reading>, String> {
        let load = Load::Closed { clients: CLIENTS };
        let ask = || {
            let tally = load::run(&contender.target, load, self.duration);
            tally.map_err(|error| format!("the load generator: {error}"))
        };
        let (calls, tally) = calls::count(contender.pid, self.folder, ask)?;
        let each = |count| ratio(count, ratio(tally.replies(), 1.0));
        let reading = |quantity, value| Reading {
            round,
            contender: contender.name,
            quantity,
            value,
        };
        Ok(calls.map_or_else(Vec::new, |calls| {
            vec![
                reading(Quantity::SystemCalls, each(calls.all)),
                reading(Quantity::EpollControls, each(calls.epoll_control)),
            ]
        }))
    }

    /// The memory of connections, of a new server each time: one that has had many keeps room for them.
    pub(super) fn weigh(
        &self,
        kinds: &[Kind],
        programs: &Programs,
    ) -> Result<Vec<Reading>, String> {
        let kinds = kinds.iter().filter(|kind| kind.holds_silent());
        let kinds: Vec<Kind> = kinds.copied().collect();
        let mut readings = Vec::new();
        let mut course = self.course(kinds.len());
        for round in 0..self.rounds {
            for index in order(kinds.len(), round) {
                course.may_go_on()?;
                let [silent, half] = weigh(kinds[index], programs)?;
                let contender = kinds[index].name();
                let reading = |quantity, value| Reading {
                    round,
                    contender,
                    quantity,
                    value,
                };
                readings.push(reading(Quantity::SilentBytes, silent));
                readings.push(reading(Quantity::HalfBytes, half));
                course.step(&format!(
                    "round {}, {contender}: {silent:.0} B a silent connection, {half:.0} B half a request",
                    round + 1
                ));
            }
        }
        Ok(readings)
    }
}

/// Bytes for a silent connection, and for one that has sent half a request.
fn weigh(kind: Kind, programs: &Programs) -> Result<[f64; 2], String> {
    let folder = scratch()?;
    let peer = Peer::start(kind, folder.path(), programs)?;
    let Contender { target, pid, .. } = &peer.contender;
    let load = Load::Closed { clients: CLIENTS };
    load::run(target, load, WARM_UP).map_err(|error| format!("the load generator: {error}"))?;
    let before = memory(*pid)?;
    let crowd = Crowd::open(target, *pid, WEIGHED)
        .map_err(|fault| format!("{}: {fault}", peer.contender.name))?;
    let silent = memory(*pid)?;
    crowd.say_half(&target.request)?;
    let half = memory(*pid)?;
    crowd.close()?;
    // What shrinks meanwhile has cost nothing.
    let each = |now: u64| ratio(now.saturating_sub(before), f64::from(WEIGHED));
    Ok([each(silent), each(half)])
}

fn told(samples: &[Sample], counted: &[Reading], contender: &str, round: u32) -> String {
    let of_this = |sample: &&Sample| sample.contender == contender && sample.round == round;
    let mut parts: Vec<String> = samples.iter().filter(of_this).map(progress).collect();
    if parts.is_empty() {
        parts.push(format!("round {}, {contender}", round + 1));
    }
    let counted = counted.iter().map(|reading| {
        let (quantity, value) = (reading.quantity, reading.value);
        format!("{} {}", quantity.text(value), quantity.name())
    });
    parts.extend(counted);
    parts.join("; ")
}
