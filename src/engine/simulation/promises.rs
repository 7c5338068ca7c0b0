//! What has to hold after every step: P1 to P7 of the design, as far as an engine has part in them, and
//! that nobody is forgotten.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::engine::Report;
use crate::engine::acceptor::Acceptor;
use crate::engine::acceptor::inspection::Inspection;
use crate::engine::access_log::AccessRecord;
use crate::engine::simulation::network::Stage;
use crate::engine::simulation::services::Service;
use crate::engine::simulation::world::World;
use crate::exchange::outcome::Outcome;

/// A deadline passes up to a tick of the wheel late; and what a few system calls take.
const TICK: Duration = Duration::from_millis(16);
const SLACK: Duration = Duration::from_millis(1);

/// How long a turn may take in which threads wait for their processor: it looks at the clock once.
pub(super) const TURN_MAX: Duration = Duration::from_millis(100);

/// How long a connection that was turned away is there at least, unless too many are.
const TURNED_AWAY_TIME: Duration = Duration::from_secs(1);

/// What each who lingers has before it makes room for others, as `engine::acceptor::linger` has it.
const LOOKED_AT: Duration = Duration::from_millis(30);

/// What the last of those who linger has at least when a stop doesn't wait for it.
const LAST_LINGER: Duration = Duration::from_millis(100);

/// How long a stop waits for requests.
const DRAIN_REQUEST: Duration = Duration::from_secs(1);

/// How long the first one in a queue that a successor will have waits at the most, and for how many
/// turns after that. P6: a restart stalls nobody for more than a second.
const QUEUED_MAX: Duration = Duration::from_millis(1_200);
const QUEUED_TURNS_MAX: usize = 5;

/// Turns that an acceptor may take for nothing: each event, order and order of the clock may give it
/// some. More is a spin.
const TURNS_PER_EVENT: u64 = 20;
const TURNS_PER_SECOND: u64 = 3_000;
const TURNS_MIN: u64 = 1_000;

/// How long it may go on turning when nothing happens around it: longer than any deadline.
const REST_MAX: Duration = Duration::from_secs(60);

/// What is looked at from one turn to the next.
#[derive(Debug, Default)]
pub(super) struct Checks {
    turns: u64,

    /// Since when connections are seen to be over their time.
    overdue: BTreeMap<(usize, Instant), Duration>,

    /// Who is the first in a queue that a successor will have: since when, and for how many
    /// turns too long.
    first_in_queue: BTreeMap<usize, (Duration, usize)>,

    /// When the last turn was over.
    turned_at: Duration,

    /// Turns that began after the stop had to be over.
    late_turns: usize,

    /// Connections closed before the stop began, at the least and at the most.
    closed_before: Option<(u64, u64)>,
    closed: u64,
}

impl Checks {
    /// Before a turn: it must not sleep past a deadline.
    pub(super) fn judge_sleep(&mut self, world: &mut World, acceptor: &Acceptor) {
        let now = world.instant(world.now);
        let (sleep, deadline) = acceptor.sleep(now);
        if let Some(deadline) = deadline {
            let latest = deadline.saturating_duration_since(now) + 2 * TICK;
            if sleep.is_none_or(|sleep| sleep > latest) {
                world.break_promise(&format!("it sleeps {sleep:?}, past a deadline"));
            }
        }
        if let Some(until) = world.orders.until.filter(|_| acceptor.is_draining()) {
            let latest = until.saturating_sub(world.now) + SLACK;
            if sleep.is_none_or(|sleep| sleep > latest) {
                world.break_promise(&format!("it sleeps {sleep:?}, past the grace period"));
            }
            self.late_turns += usize::from(world.now > until);
            if self.late_turns > 1 {
                world.break_promise("the grace period is over, and it goes on");
            }
        }
    }

    /// After a turn.
    pub(super) fn judge_turn(&mut self, world: &mut World, acceptor: &Acceptor) {
        let inspection = acceptor.inspect(world.instant(world.now.saturating_sub(TICK)));
        let (mut accepted, mut closed) = (0, 0);
        for service in &world.services {
            let counts = (service.accepted(), service.closed(), service.open());
            accepted += counts.0;
            closed += counts.1;
            let open = inspection.open_by_service[service.number];
            if service.max_connections > 0 && open > service.max_connections {
                world
                    .broken
                    .get_or_insert_with(|| format!("P5: {open} of {service:?}"));
            }
            if counts.0 != counts.1 + counts.2 || counts.2 != open as u64 {
                let number = service.number;
                return world.break_promise(&format!(
                    "P1: service {number}: accepted, closed, open are {counts:?}, and {open} are there"
                ));
            }
        }
        if accepted != world.accepted {
            let there_were = world.accepted;
            world.break_promise(&format!("P1: {accepted} counted, {there_were} accepted"));
        }
        Self::judge_sources(world);
        if let Some(table) = inspection.overgrown {
            world.break_promise(&format!("P5: {table} is beyond its bound"));
        }
        let sockets = world.descriptors - inspection.listeners;
        if sockets > inspection.open + inspection.turned_away {
            world.break_promise(&format!("{sockets} sockets for {inspection:?}"));
        }
        self.judge_overdue(world, &inspection);
        self.judge_queues(world);
        let latest = world.instant(world.now + DRAIN_REQUEST + TICK);
        if acceptor.is_stopping() && inspection.last_request > Some(latest) {
            world.break_promise("P7: it stops, and has more than a second for a request");
        }
        if acceptor.is_stopping() && self.closed_before.is_none() {
            self.closed_before = Some((self.closed, closed));
        }
        self.closed = closed;
        self.judge_pace(world);
    }

    /// Who has come by a listener that outlives us waits for the successor, but not for long.
    fn judge_queues(&mut self, world: &mut World) {
        if !world.conditions.accepts_always() {
            return;
        }
        let before = std::mem::take(&mut self.first_in_queue);
        for listener in world
            .listeners
            .iter()
            .filter(|listener| listener.outlives_us && !listener.is_shut)
        {
            let Some(first) = listener.queue.front() else {
                continue;
            };
            let (since, turns) = before.get(first).copied().unwrap_or((world.now, 0));
            let is_late = world.now > since + QUEUED_MAX;
            let waits = (since, turns + usize::from(is_late));
            self.first_in_queue.insert(*first, waits);
        }
        let mut waits = self.first_in_queue.values();
        if waits.any(|(_, turns)| *turns > QUEUED_TURNS_MAX) {
            world.break_promise("P6: somebody waits for the successor for too long");
        }
    }

    /// No source has more exchanges with a service than it may.
    fn judge_sources(world: &mut World) {
        let mut exchanges = BTreeMap::new();
        for connection in &world.connections {
            let is_exchange =
                connection.stage == Stage::Open && connection.history.ended_at.is_none();
            // One that was of several services says nothing about either.
            if let ([service], true) =
                (&*world.listeners[connection.listener].services, is_exchange)
            {
                let source = (*service, world.peers[connection.peer].addr.ip());
                *exchanges.entry(source).or_insert(0) += 1;
            }
        }
        let is_too_many = |((service, _), count): &(&(usize, IpAddr), &usize)| {
            let max = world.services[*service].source_limits.max_connections;
            max > 0 && **count > max
        };
        if let Some((source, count)) = exchanges.iter().find(is_too_many) {
            let what = format!("P5: {count} exchanges of {source:?}");
            world.break_promise(&what);
        }
    }

    /// Who is seen to be over time at the end of a turn must not be so after one that began a tick
    /// later.
    fn judge_overdue(&mut self, world: &mut World, inspection: &Inspection) {
        let before = std::mem::take(&mut self.overdue);
        for overdue in &inspection.overdue {
            let since = before.get(overdue).copied().unwrap_or(world.now);
            if self.turned_at > since + 2 * TICK {
                world.break_promise(&format!("slot {} waits past its deadline", overdue.0));
            }
            self.overdue.insert(*overdue, since);
        }
        self.turned_at = world.now;
    }

    /// It must not turn for nothing, and not for ever.
    fn judge_pace(&mut self, world: &mut World) {
        self.turns += 1;
        let allowed = TURNS_MIN
            + TURNS_PER_EVENT * world.events_scheduled()
            + TURNS_PER_SECOND * world.now.as_secs();
        if self.turns > allowed {
            world.break_promise(&format!("P4: {} turns, it spins", self.turns));
        }
        if world.now > world.last_event_at + REST_MAX {
            world.break_promise("nothing happens anymore, and it doesn't come to rest");
        }
    }

    /// After the last turn of a stop.
    pub(super) fn judge_report(&self, world: &mut World, report: Report) {
        let (accepted, abandoned) = (world.accepted, world.closed_as(Outcome::Abandoned));
        let open: u64 = world
            .services
            .iter()
            .map(|service| service.accepted() - service.closed())
            .sum();
        if open > 0 {
            world.break_promise(&format!("P1: {open} have no outcome at the end"));
        }
        let closed = world.services.iter().map(Service::closed).sum();
        let (least, most) = self.closed_before.unwrap_or((self.closed, closed));
        let drained = report.drained as u64;
        if !(accepted - most..=accepted - least).contains(&drained) {
            world.break_promise(&format!(
                "P7: {report:?}, of {accepted} accepted and {least} to {most} closed before"
            ));
        }
        if report.abandoned as u64 != abandoned {
            world.break_promise(&format!("P7: {report:?}, and {abandoned} abandoned"));
        }
        let is_early = world.orders.until.is_some_and(|until| world.now < until);
        if is_early && report.abandoned > 0 {
            world.break_promise("P7: abandoned before the grace period was over");
        }
    }
}

/// When nothing happens anymore by itself, nothing may be left.
pub(super) fn judge_rest(world: &mut World, acceptor: &Acceptor) {
    let inspection = acceptor.inspect(world.instant(world.now));
    let queued = world
        .listeners
        .iter()
        .any(|listener| !listener.is_shut && !listener.queue.is_empty());
    let tasks: usize = acceptor.queue_lengths().iter().sum();
    let left = inspection.open + inspection.turned_away + inspection.exchanges + tasks;
    if left > 0 || queued {
        world.break_promise(&format!(
            "at rest, and {inspection:?}; in a queue: {queued}"
        ));
    }
    if world.descriptors != inspection.listeners {
        let descriptors = world.descriptors;
        world.break_promise(&format!("at rest, and {descriptors} descriptors"));
    }
    if let Some(work) = world.jobs.iter().find(|work| work.is_forgotten()) {
        let what = format!("at rest, and whoever makes this was not told to leave it: {work:?}");
        world.break_promise(&what);
    }
    if !world.are_orders_done() {
        world.break_promise(&format!(
            "at rest, and orders are not done: {:?}",
            world.orders
        ));
    }
}

/// Whoever was there must have had what the server says.
pub(super) fn judge_peers(world: &mut World, records: &[AccessRecord], stuck: usize) {
    let mut by_port = BTreeMap::new();
    for record in records {
        let port = record.peer.port().unwrap_or_default();
        if by_port.insert(port, record).is_some() {
            world.break_promise(&format!("P1: two outcomes of port {port}"));
        }
    }
    let mut without = 0;
    for number in 0..world.peers.len() {
        let peer = &world.peers[number];
        let Some(id) = peer.connection else { continue };
        let record = by_port.remove(&peer.addr.port());
        let is_accepted = world.connections[id].history.accepted_at.is_some();
        without += usize::from(is_accepted && record.is_none());
        let wrong = record.and_then(|record| world.judge_peer(number, id, record));
        if let Some(wrong) = wrong {
            let outcome = record.map(|record| record.outcome);
            world.break_promise(&format!(
                "peer {number}, connection {id}, {outcome:?}: {wrong}"
            ));
        }
    }
    if without > stuck || !by_port.is_empty() {
        world.break_promise(&format!(
            "P1: {without} without an outcome, {by_port:?} unknown"
        ));
    }
}

impl World {
    /// Whether connections may be cut that have not ended, since a stop has to be over.
    pub(super) fn may_cut(&self) -> bool {
        self.orders
            .until
            .is_some_and(|until| until <= self.now + SLACK)
    }

    /// Connections of all services that ended so.
    pub(super) fn closed_as(&self, outcome: Outcome) -> u64 {
        let services = self.services.iter();
        services
            .map(|service| service.metrics.closed[outcome.index()].get())
            .sum()
    }

    /// P3: what was sent whole must not be destroyed by the close.
    pub(super) fn judge_close(&mut self, id: usize) {
        let bound = self.bound(id);
        let connection = &mut self.connections[id];
        let (ours, history) = (&connection.ours, &mut connection.history);
        history.bound = bound;
        if history.sent_bytes == 0 || history.has_seen_end || history.has_failed || ours.is_broken {
            return;
        }
        let wrong = match history.ended_at {
            None if ours.resets_on_close => return,
            None => "P3: it is closed, and our side was not ended",
            Some(_) if bound.is_some() && !ours.resets_on_close => return,
            Some(_) if ours.resets_on_close => "P3: it is reset, and all was sent",
            Some(_) => "P3: it is closed before the peer has ended its side",
        };
        self.break_promise(&format!("connection {id}: {wrong}"));
    }

    /// What allows the server to linger no longer.
    fn bound(&self, id: usize) -> Option<&'static str> {
        let history = &self.connections[id].history;
        let ended_at = history.ended_at?;
        let lingered = self.now.saturating_sub(ended_at) + TURN_MAX;
        let silent = self.now.saturating_sub(history.heard_at.max(ended_at)) + TURN_MAX;
        let linger = &self.bounds.linger;
        if self.may_cut() {
            return Some("the grace period is over");
        }
        let is_draining = self.orders.until.is_some();
        if is_draining
            && self.now + SLACK >= ended_at + LAST_LINGER
            && self.listeners.iter().any(|listener| listener.outlives_us)
        {
            return Some("a successor waits");
        }
        if self.is_pressed && self.now + SLACK >= ended_at + LOOKED_AT {
            return Some("others need its place");
        }
        if history.is_turned_away {
            let are_too_many = self.turned_away > self.limits.max_turned_away;
            let are_short = self.is_pressed || self.is_short();
            let is_over = lingered >= TURNED_AWAY_TIME || are_too_many || are_short;
            return is_over.then_some("turned away for long enough");
        }
        let is_over = lingered >= linger.total
            || silent >= linger.idle
            || history.lingered_bytes as u64 > linger.max_bytes;
        is_over.then_some("it has lingered for long enough")
    }
}
