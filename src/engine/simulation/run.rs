//! One run: what one seed makes of a server and its world, from the first listener to the last report.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Receiver;
use fastrand::Rng;

use crate::engine::acceptor::Acceptor;
use crate::engine::access_log::{AccessLog, AccessRecord, Recorded};
use crate::engine::change::Change;
use crate::engine::discipline::Waits;
use crate::engine::home::Home;
use crate::engine::simulation::orders::{self, Step};
use crate::engine::simulation::peers::Plan;
use crate::engine::simulation::promises::{self, Checks};
use crate::engine::simulation::services::{self, Service};
use crate::engine::simulation::trace::Trace;
use crate::engine::simulation::workers;
use crate::engine::simulation::world::{self, Event, World};
use crate::engine::tests::metrics;
use crate::engine::worker::{self, Pool, PoolOptions};
use crate::engine::{Limits, Report};
use crate::exchange::outcome::Outcome;
use crate::metrics::Metrics;

/// What a run has come to.
#[derive(Debug)]
pub(super) struct Summary {
    /// How many connections ended in each way.
    pub(super) outcomes: [u64; Outcome::ALL.len()],
    pub(super) trace: Trace,

    /// The promise that was broken, if one was.
    pub(super) broken: Option<String>,
}

/// Who comes in a run, at the most, and within what time.
const PEERS_MAX: usize = 60;
const COMING: Duration = Duration::from_secs(6);

/// What others do between two turns of the acceptor takes at the most.
const AWAKE_MAX: Duration = Duration::from_millis(2);

/// Runs `seed`.
pub(super) fn run(seed: u64, trace: Trace) -> Summary {
    world::begin(World::new(Rng::with_seed(seed), trace));
    let metrics = metrics();
    let mut server = Server::start(&metrics);
    add_peers();
    plan_orders();
    server.serve();
    let records: Vec<AccessRecord> = server.records.try_iter().collect();
    let stuck = world::within(|world| world.held());
    drop(server);
    // Peers hear the end of everything.
    while world::pass(None) {}
    world::within(|world| promises::judge_peers(world, &records, stuck));
    let world = world::end().expect("invariant: it was begun here");
    Summary {
        outcomes: Outcome::ALL.map(|outcome| world.closed_as(outcome)),
        broken: world.broken.clone(),
        trace: world.trace.clone(),
    }
}

/// The acceptor, and what it hands out.
struct Server {
    acceptor: Acceptor,
    records: Receiver<AccessRecord>,
}

impl Server {
    /// A server with services and workers of the world's choice.
    fn start(metrics: &Arc<Metrics>) -> Self {
        let limits = world::within(|world| Limits {
            max_connections: world.random.usize(1..=PEERS_MAX),
            max_turned_away: world.random.usize(1..=16),
        });
        let capacity = 2 * limits.max_connections + crate::engine::OTHER_MESSAGES;
        let (outbox, inbox) = crate::inbox::inbox::<Home>(capacity).expect("descriptors");
        let dropped = prometheus::IntCounter::new("dropped", "Records.").expect("a name");
        let (log, records) = AccessLog::new(2 * PEERS_MAX, dropped);
        log.set(Recorded::Everything);
        world::within(|world| {
            world.limits = limits;
            world.outbox = Some(outbox.clone());
        });
        let metrics_of_acceptor = Arc::clone(metrics);
        let acceptor = Acceptor::new(inbox, limits, Some(log), metrics_of_acceptor);
        let mut acceptor = acceptor.expect("descriptors");
        let pools: Vec<Pool> = (0..world::within(|world| world.random.usize(1..=2)))
            .map(|number| hire(number, limits.max_connections, metrics))
            .collect();
        world::within(|world| world.pools = pools.len());
        // What a server can't begin with it doesn't begin.
        let failures = world::within(|world| std::mem::take(&mut world.conditions.watch_failures));
        let change = first_change(metrics);
        acceptor.change(change, pools).expect("nothing fails here");
        world::within(|world| {
            world.conditions.watch_failures = failures;
            world
                .listeners
                .iter_mut()
                .for_each(|listener| listener.is_served = true);
        });
        Self { acceptor, records }
    }

    /// Turns until the stop is over, or a promise is broken.
    fn serve(&mut self) {
        let mut checks = Checks::default();
        while world::within(|world| world.broken.is_none()) {
            if let Some(report) = self.turn(&mut checks) {
                world::within(|world| checks.judge_report(world, report));
                return;
            }
        }
    }

    /// One turn, and what is seen after it. The report, when a stop is over.
    fn turn(&mut self, checks: &mut Checks) -> Option<Report> {
        let acceptor = &mut self.acceptor;
        // Others have their turns while the acceptor is awake, too.
        let until = world::within(|world| {
            let is_preempted = world.random.u8(0..4) == 0;
            is_preempted.then(|| world.now + world.up_to(AWAKE_MAX))
        });
        if until.is_some() {
            while world::pass(until) {}
        }
        world::within(|world| {
            world.wake_workers();
            checks.judge_sleep(world, acceptor);
        });
        let report = match acceptor.turn() {
            Ok(report) => report,
            Err(error) => {
                world::within(|world| {
                    world.break_promise(&format!("P4: the acceptor ends: {error}"));
                });
                return None;
            }
        };
        world::within(|world| {
            world.take_answers();
            if report.is_none() {
                checks.judge_turn(world, acceptor);
            }
            if std::mem::take(&mut world.is_quiet) && report.is_none() {
                promises::judge_rest(world, acceptor);
                stop_now(world);
            }
        });
        report
    }
}

/// Hires the workers of a pool.
fn hire(number: usize, max_connections: usize, metrics: &Metrics) -> Pool {
    let (options, outbox) = world::within(|world| {
        let options = PoolOptions {
            name: format!("pool-{number}"),
            threads: world.random.usize(1..=3),
            queue_capacity: world.random.usize(1..=32),
            waits: Waits {
                target: Duration::from_millis(world.random.u64(0..20)),
                max: Duration::from_millis(world.random.u64(20..1_000)),
            },
        };
        (
            options,
            world.outbox.clone().expect("invariant: set before"),
        )
    });
    let (pool, worker) = worker::without_threads(&options, max_connections, &outbox, metrics);
    workers::hire(worker, options.threads);
    pool
}

/// The services that a server begins with, each with a listener or two.
fn first_change(metrics: &Metrics) -> Change {
    let mut change = Change::default();
    for number in 0..world::within(|world| world.random.usize(1..=4)) {
        let counters = metrics.service(&services::name(number));
        let (service, listeners) = world::within(|world| {
            let pool = world.random.usize(0..world.pools);
            let mut service = Service::new(&mut world.random, number, pool, counters);
            let first = service.next(&world.bounds, world.now);
            service.versions[0].served_at = Some(world.now);
            world.note(|_| {
                format!(
                    "service {number}: {:?}, {:?}",
                    service.kind, service.half_close
                )
            });
            world.services.push(service);
            (first, world.random.usize(1..=2))
        });
        change.services.push((number, service));
        for _ in 0..listeners {
            change.added.push((orders::open(number).1, number));
        }
    }
    change
}

/// Everybody who is going to come.
fn add_peers() {
    world::within(|world| {
        let crowd = world.random.usize(1..=PEERS_MAX);
        let coming = world.up_to(COMING);
        for number in 0..crowd {
            let listener = world.random.usize(0..world.listeners.len());
            let kind = world.services[world.service_of(listener)].kind;
            let plan = Plan::new(&mut world.random, listener, kind);
            let source = world.random.u8(1..=5);
            let network = if world.random.u8(0..16) == 0 { 100 } else { 7 };
            let port = u16::try_from(10_000 + number).expect("invariant: few");
            let addr = SocketAddr::from(([198, 51, network, source], port));
            let after = world.up_to(coming);
            world.add_peer(plan, addr, after);
        }
    });
}

/// What whoever runs the server is going to order.
fn plan_orders() {
    world::within(|world| {
        for _ in 0..world.random.usize(0..4) {
            let step = [Step::Change, Step::CloseRetired, Step::Probe];
            let step = *world.random.choice(&step).expect("invariant: some");
            world.orders.steps.push_back(step);
        }
        if world.random.bool() {
            world
                .orders
                .steps
                .extend([Step::StopNewcomers, Step::Drain]);
        }
        for _ in 0..world.orders.steps.len() {
            let after = world.up_to(COMING);
            world.schedule(after, Event::Order);
        }
    });
}

/// Nothing happens anymore: stops.
fn stop_now(world: &mut World) {
    if world.orders.began.is_none() && world.broken.is_none() {
        world.orders.steps = [Step::StopNewcomers, Step::Drain].into();
        world.schedule(Duration::ZERO, Event::Order);
    }
}
