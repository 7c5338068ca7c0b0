//! The world around an acceptor: its clock, what happens next, and whatever the seed decides.
//!
//! One a thread. Everybody in it lives on that thread: while the acceptor sleeps in its poller,
//! others have their turns, in the order of simulated time. What comes from outside, and would be
//! another the next time, is kept out of every decision.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fastrand::Rng;

use crate::engine::Limits;
use crate::engine::home::Home;
use crate::engine::simulation::conditions::Conditions;
use crate::engine::simulation::handles::SimulatedSource;
use crate::engine::simulation::listeners::ListeningSocket;
use crate::engine::simulation::network::TcpConnection;
use crate::engine::simulation::orders::{self, Orders};
use crate::engine::simulation::peers::Peer;
use crate::engine::simulation::poller::{Bell, Watch};
use crate::engine::simulation::services::{Bounds, Service};
use crate::engine::simulation::trace::Trace;
use crate::engine::simulation::workers::{self, SimulatedJob, SimulatedWorker};
use crate::inbox::{Inbox, Outbox};

/// What happens at some time, and to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    /// A peer acts.
    Peer(usize),
    /// Packets come to the server.
    ToUs(usize),
    /// Packets come to the peer.
    ToThem(usize),
    /// A handshake is through.
    Established(usize),
    /// The kernel keeps a silent connection to itself no longer.
    Deferred(usize),
    /// The kernel has had no acknowledgement for too long.
    GivenUp(usize),
    /// A worker takes a task, or is done with it.
    Worker(usize),
    /// A reply is made.
    Made(usize),
    /// Whoever runs the server gives the next order.
    Order,
}

/// Everything around the acceptor.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each comes on its own")]
pub(super) struct World {
    pub(super) random: Rng,
    pub(super) conditions: Conditions,
    pub(super) trace: Trace,

    /// Since the beginning.
    pub(super) now: Duration,
    beginning: Instant,
    events: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    events_scheduled: u64,
    pub(super) last_event_at: Duration,

    pub(super) connections: Vec<TcpConnection>,
    pub(super) listeners: Vec<ListeningSocket>,
    pub(super) peers: Vec<Peer>,
    pub(super) workers: Vec<SimulatedWorker>,
    pub(super) jobs: Vec<SimulatedJob>,
    pub(super) services: Vec<Service>,
    pub(super) bounds: Bounds,
    pub(super) orders: Orders,

    /// What the poller watches, and the inbox's bell.
    pub(super) watches: BTreeMap<SimulatedSource, Watch>,
    pub(super) bell: Option<Bell>,
    pub(super) outbox: Option<Outbox<Home>>,

    /// Somebody may have sent a message since the last look.
    pub(super) may_have_rung: bool,

    /// Somebody may have become ready since the last look.
    pub(super) is_ready: bool,

    /// The acceptor acts; else it is somebody else's turn.
    pub(super) is_acceptor: bool,

    /// Worker pools.
    pub(super) pools: usize,

    /// Open descriptors: listeners and accepted connections.
    pub(super) descriptors: usize,

    /// Connections accepted so far.
    pub(super) accepted: u64,

    /// Connections turned away that are not closed.
    pub(super) turned_away: usize,
    pub(super) limits: Limits,

    /// In this turn of the acceptor there was no room for somebody, or no descriptor or memory; and
    /// when that was for the last time.
    pub(super) is_pressed: bool,
    pub(super) pressed_at: Option<Duration>,

    /// Nothing will happen anymore by itself.
    pub(super) is_quiet: bool,

    /// The first promise that was broken.
    pub(super) broken: Option<String>,
}

thread_local! {
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
}

/// What time of day a run begins at. Any would do.
const BEGINNING: Duration = Duration::from_secs(1_700_000_000);

/// Puts a world onto this thread.
pub(super) fn begin(world: World) {
    WORLD.with_borrow_mut(|here| *here = Some(world));
}

/// Takes the world off this thread.
pub(super) fn end() -> Option<World> {
    WORLD.with_borrow_mut(Option::take)
}

/// What `act` says, where there is a world.
pub(super) fn with<T>(act: impl FnOnce(&mut World) -> T) -> Option<T> {
    WORLD.with_borrow_mut(|world| world.as_mut().map(act))
}

/// The same, where there surely is one.
pub(super) fn within<T>(act: impl FnOnce(&mut World) -> T) -> T {
    with(act).expect("invariant: only a simulation comes here")
}

/// Whether this thread is in a simulation.
pub(in crate::engine) fn is_there() -> bool {
    WORLD.with_borrow(Option::is_some)
}

/// The time in a simulation.
pub(in crate::engine) fn now() -> Option<Instant> {
    WORLD.with_borrow(|world| world.as_ref().map(|world| world.instant(world.now)))
}

/// The time of day in a simulation.
pub(in crate::engine) fn time_of_day() -> Option<SystemTime> {
    WORLD.with_borrow(|world| {
        world
            .as_ref()
            .map(|world| UNIX_EPOCH + BEGINNING + world.now)
    })
}

/// The next message, which somebody sends while time passes.
pub(in crate::engine) fn next_message<T>(inbox: &Inbox<T>, timeout: Duration) -> Option<T> {
    let until = within(|world| world.now + timeout);
    loop {
        if let Some(message) = inbox.next() {
            return Some(message);
        }
        if !pass(Some(until)) {
            return None;
        }
    }
}

/// Lets the next thing happen that happens until then. False: nothing does, and it is then.
pub(super) fn pass(until: Option<Duration>) -> bool {
    let Some(event) = within(|world| world.next_event(until)) else {
        return false;
    };
    within(|world| {
        world.is_acceptor = false;
        world.may_have_rung |= matches!(event, Event::Worker(_) | Event::Made(_) | Event::Order);
    });
    match event {
        Event::Worker(number) => workers::work(number),
        Event::Made(number) => workers::answer(number),
        Event::Order => orders::give(),
        event => within(|world| match event {
            Event::Peer(number) => world.peer_acts(number),
            Event::ToUs(connection) => world.deliver_to_us(connection),
            Event::ToThem(connection) => world.deliver_to_them(connection),
            Event::Established(connection) => world.establish(connection),
            Event::Deferred(connection) => world.end_deferral(connection),
            Event::GivenUp(connection) => world.give_up(connection),
            Event::Worker(_) | Event::Made(_) | Event::Order => {}
        }),
    }
    within(|world| world.is_acceptor = true);
    true
}

impl World {
    /// A world in which nothing has happened yet.
    pub(super) fn new(mut random: Rng, trace: Trace) -> Self {
        Self {
            conditions: Conditions::new(&mut random),
            bounds: Bounds::new(&mut random),
            random,
            trace,
            now: Duration::ZERO,
            beginning: Instant::now(),
            events: BinaryHeap::new(),
            events_scheduled: 0,
            last_event_at: Duration::ZERO,
            connections: Vec::new(),
            listeners: Vec::new(),
            peers: Vec::new(),
            workers: Vec::new(),
            jobs: Vec::new(),
            services: Vec::new(),
            orders: Orders::default(),
            watches: BTreeMap::new(),
            bell: None,
            outbox: None,
            may_have_rung: false,
            is_ready: false,
            is_acceptor: true,
            pools: 0,
            descriptors: 0,
            accepted: 0,
            turned_away: 0,
            limits: Limits {
                max_connections: 0,
                max_turned_away: 0,
            },
            is_pressed: false,
            pressed_at: None,
            is_quiet: false,
            broken: None,
        }
    }

    /// The server's name for a time.
    pub(super) fn instant(&self, time: Duration) -> Instant {
        self.beginning + time
    }

    /// Something happens after so long.
    pub(super) fn schedule(&mut self, after: Duration, event: Event) {
        self.events_scheduled += 1;
        let entry = (self.now + after, self.events_scheduled, event);
        self.events.push(Reverse(entry));
    }

    /// How many things were to happen so far.
    pub(super) fn events_scheduled(&self) -> u64 {
        self.events_scheduled
    }

    /// Goes on to the next event, if that comes by `until`; else to `until`.
    fn next_event(&mut self, until: Option<Duration>) -> Option<Event> {
        let next = self.events.peek().map(|Reverse((at, ..))| *at);
        if self.broken.is_none()
            && let Some(at) = next.filter(|at| until.is_none_or(|until| *at <= until))
        {
            self.now = self.now.max(at);
            self.last_event_at = self.now;
            return self.events.pop().map(|Reverse((_, _, event))| event);
        }
        match until {
            Some(until) => self.now = self.now.max(until),
            None => self.is_quiet = true,
        }
        None
    }

    /// Notes in the trace what happens.
    pub(super) fn note(&mut self, what: impl FnOnce(&Self) -> String) {
        if self.trace.is_on() && self.broken.is_none() {
            let line = format!("{:>12?} {}", self.now, what(self));
            self.trace.add(&line);
        }
    }

    /// A promise is broken: the run ends.
    pub(super) fn break_promise(&mut self, what: &str) {
        self.note(|_| format!("BROKEN: {what}"));
        let now = self.now;
        self.broken
            .get_or_insert_with(|| format!("at {now:?}: {what}"));
    }

    /// Somebody may be ready: the poller looks.
    pub(super) fn note_readiness(&mut self) {
        self.is_ready = true;
    }

    /// A system call takes its time.
    pub(super) fn spend(&mut self) {
        let nanoseconds = self.random.u64(300..20_000);
        self.now += Duration::from_nanos(nanoseconds);
        if self.chance(self.conditions.preemptions) {
            let time = self.up_to(Duration::from_millis(3));
            self.now += time;
        }
    }

    /// Whether something happens that does so many times in a million.
    pub(super) fn chance(&mut self, in_a_million: u32) -> bool {
        in_a_million > 0 && self.random.u32(0..1_000_000) < in_a_million
    }

    /// Some time up to `max`: often little.
    pub(super) fn up_to(&mut self, max: Duration) -> Duration {
        up_to(&mut self.random, max)
    }

    /// How long packets are under way.
    pub(super) fn latency(&mut self) -> Duration {
        let max = self.conditions.latency_max;
        Duration::from_micros(1) + self.up_to(max)
    }

    /// How many bytes go at once, at the most.
    pub(super) fn piece(&mut self) -> usize {
        if self.chance(self.conditions.small_pieces) {
            self.random.usize(1..=64)
        } else {
            usize::MAX
        }
    }
}

/// Some time up to `max`: often little.
pub(super) fn up_to(random: &mut Rng, max: Duration) -> Duration {
    let shift = random.u32(0..8);
    let nanoseconds = u64::try_from(max.as_nanos()).unwrap_or(u64::MAX) >> shift;
    Duration::from_nanos(random.u64(0..=nanoseconds))
}
