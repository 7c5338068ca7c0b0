//! Whoever runs the server: changes of what it serves, probes, and the stop, in the order and with the
//! patience that `server` has.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::time::Duration;

use crossbeam_channel::{Receiver, TryRecvError};
use rustix::event::EventfdFlags;

use crate::engine::Prepared;
use crate::engine::change::{Change, Kept, Retired};
use crate::engine::home::{Home, Order};
use crate::engine::listener::{ListenAddr, Listener, ListenerOptions};
use crate::engine::simulation::world::{self, Event, World};

/// Orders to come, and what has come of the others.
#[derive(Debug, Default)]
pub(super) struct Orders {
    pub(super) steps: VecDeque<Step>,
    changes: Vec<Ordered>,
    closing: Vec<Receiver<Infallible>>,
    probe: Option<(Receiver<()>, usize)>,

    /// When the stop began, and when it has to be over.
    pub(super) began: Option<Duration>,
    pub(super) until: Option<Duration>,
}

/// The next thing to be ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Change,
    CloseRetired,
    Probe,
    StopNewcomers,
    Drain,
}

/// A change that was not answered yet.
#[derive(Debug)]
struct Ordered {
    done: Receiver<io::Result<()>>,
    services: Vec<usize>,
    added: Vec<usize>,
    retired: Vec<usize>,
    reassigned: Vec<usize>,
}

/// As `server` has them.
const ON_THE_WAY: Duration = Duration::from_millis(50);
const HALF_OPEN_MAX: Duration = Duration::from_secs(1);

/// Options that mean nothing here.
const OPTIONS: ListenerOptions = ListenerOptions {
    backlog: 64,
    defer_accept: Duration::ZERO,
    keepalive: Duration::ZERO,
    user_timeout: Duration::ZERO,
};

/// Gives the next order.
pub(super) fn give() {
    let Some(step) = world::within(|world| world.orders.steps.pop_front()) else {
        return;
    };
    world::within(|world| world.note(|_| format!("order: {step:?}")));
    let order = match step {
        Step::Change => Some(change()),
        Step::CloseRetired => world::within(World::close_retired),
        Step::Probe => world::within(World::probe),
        Step::StopNewcomers => {
            world::within(|world| {
                world.orders.began = Some(world.now);
                world.schedule(ON_THE_WAY, Event::Order);
            });
            Some(Order::StopNewcomers)
        }
        Step::Drain => world::within(World::drain),
    };
    let outbox = world::within(|world| world.outbox.clone());
    if let (Some(order), Some(outbox)) = (order, outbox) {
        // An engine that has ended needs no orders.
        let _sent = outbox.send(Home::Order(order));
    }
}

fn change() -> Order {
    let (mut change, mut ordered) = world::within(World::draw_change);
    let added = world::within(|world| {
        let is_adding = world.random.u8(0..3) == 0;
        is_adding.then(|| world.random.usize(0..world.services.len()))
    });
    if let Some(service) = added {
        let (number, listener) = open(service);
        change.added.push((listener, service));
        ordered.added.push(number);
    }
    let (done_tx, done) = crossbeam_channel::bounded(1);
    world::within(|world| {
        world.note(|_| format!("changes {ordered:?}"));
        world.orders.changes.push(Ordered { done, ..ordered });
    });
    let pools = Vec::new();
    Order::Change(Box::new(Prepared { change, pools }), done_tx)
}

/// A listener for a service, and its number; others hold it too, now and then.
pub(super) fn open(service: usize) -> (usize, Listener) {
    let (number, simulated) = world::within(|world| {
        let defers = world.random.u8(0..3) == 0;
        let outlives_us = world.random.u8(0..4) == 0;
        world.open_listener(service, defers, outlives_us)
    });
    let (addr, outlives_us) = world::within(|world| {
        let listener = &world.listeners[number];
        (listener.addr, listener.outlives_us)
    });
    let fd = rustix::event::eventfd(0, EventfdFlags::CLOEXEC).expect("descriptors");
    let listener = Listener::simulate(fd, addr, simulated);
    if outlives_us {
        (number, listener.kept_by_others())
    } else {
        (number, listener)
    }
}

impl World {
    /// A change at random, but for new listeners.
    fn draw_change(&mut self) -> (Change, Ordered) {
        let mut change = Change::default();
        let mut ordered = Ordered {
            done: crossbeam_channel::never(),
            services: Vec::new(),
            added: Vec::new(),
            retired: Vec::new(),
            reassigned: Vec::new(),
        };
        for number in 0..self.services.len() {
            if self.random.bool() {
                let service = self.services[number].next(&self.bounds, self.now);
                change.services.push((number, service));
                ordered.services.push(number);
            }
        }
        for number in 0..self.listeners.len() {
            let listener = &self.listeners[number];
            if !listener.is_served || listener.is_retired {
                continue;
            }
            let addr = ListenAddr::Tcp(listener.addr);
            match self.random.u8(0..6) {
                0 => {
                    let is_shared = self.listeners[number].outlives_us;
                    change.retired.push(Retired { addr, is_shared });
                    self.listeners[number].is_retired = true;
                    ordered.retired.push(number);
                }
                1 => {
                    let service = self.successor(number);
                    self.listeners[number].services.push(service);
                    ordered.reassigned.push(number);
                    change.kept.push(Kept {
                        addr,
                        service,
                        options: OPTIONS,
                    });
                }
                _ => {}
            }
        }
        (change, ordered)
    }

    /// A service that is like that of a listener: itself, if there is no other.
    fn successor(&mut self, listener: usize) -> usize {
        let kind = self.services[self.service_of(listener)].kind;
        let alike = self.services.iter().filter(|service| service.kind == kind);
        let alike: Vec<usize> = alike.map(|service| service.number).collect();
        *self.random.choice(&alike).expect("invariant: itself")
    }

    /// The service of a listener, as far as it was ordered.
    pub(super) fn service_of(&self, listener: usize) -> usize {
        *self.listeners[listener]
            .services
            .last()
            .expect("invariant: the first one stays")
    }

    fn close_retired(&mut self) -> Option<Order> {
        if !self.orders.changes.is_empty() {
            // Not before the server has said that it has changed.
            self.orders.steps.push_front(Step::CloseRetired);
            self.schedule(ON_THE_WAY, Event::Order);
            return None;
        }
        let (closed_tx, closed_rx) = crossbeam_channel::bounded(0);
        self.orders.closing.push(closed_rx);
        Some(Order::CloseRetired(closed_tx))
    }

    fn probe(&mut self) -> Option<Order> {
        if self.orders.probe.is_some() {
            return None;
        }
        let pools = self.pools;
        let (back_tx, back) = crossbeam_channel::bounded(pools);
        self.orders.probe = Some((back, pools));
        Some(Order::Probe(back_tx))
    }

    fn drain(&mut self) -> Option<Order> {
        let began = self.orders.began.unwrap_or(self.now);
        let half_open_max = HALF_OPEN_MAX.min(self.bounds.grace_period);
        if self.now < began + half_open_max && self.is_anyone_half_open() {
            self.orders.steps.push_front(Step::Drain);
            self.schedule(ON_THE_WAY, Event::Order);
            return None;
        }
        let until = began + self.bounds.grace_period;
        self.orders.until = Some(until);
        let until = self.instant(until);
        Some(Order::Drain { until })
    }

    /// Takes in what has come of orders.
    pub(super) fn take_answers(&mut self) {
        let mut changes = std::mem::take(&mut self.orders.changes);
        changes.retain(|ordered| match ordered.done.try_recv() {
            Ok(Ok(())) => {
                self.note_taken(ordered);
                false
            }
            Ok(Err(error)) => {
                self.note_refused(ordered, &error);
                false
            }
            Err(TryRecvError::Empty) => true,
            Err(TryRecvError::Disconnected) => {
                self.break_promise("a change was not answered");
                false
            }
        });
        self.orders.changes = changes;
        self.orders
            .closing
            .retain(|closing| closing.try_recv() == Err(TryRecvError::Empty));
        if let Some((back, missing)) = &mut self.orders.probe {
            *missing -= back.try_iter().count();
            if *missing == 0 {
                self.orders.probe = None;
            }
        }
    }

    fn note_taken(&mut self, ordered: &Ordered) {
        for number in &ordered.services {
            // Changes are answered in the order in which they were ordered.
            let mut versions = self.services[*number].versions.iter_mut();
            let first = versions.find(|version| version.is_open());
            if let Some(version) = first {
                version.served_at = Some(self.now);
            }
        }
        for listener in &ordered.added {
            self.listeners[*listener].is_served = true;
        }
        self.note(|_| "the change is taken".to_owned());
    }

    fn note_refused(&mut self, ordered: &Ordered, error: &io::Error) {
        for number in &ordered.services {
            let mut versions = self.services[*number].versions.iter_mut();
            let first = versions.find(|version| version.is_open());
            if let Some(version) = first {
                version.is_refused = true;
            }
        }
        for listener in &ordered.retired {
            self.listeners[*listener].is_retired = false;
        }
        let mut added = ordered.added.iter();
        if added.any(|listener| !self.listeners[*listener].is_shut) {
            self.break_promise("a change was refused, and a listener of it is still there");
        }
        self.note(|_| format!("the change is refused: {error}"));
    }

    /// Whether every order has been done as far as that can be seen.
    pub(super) fn are_orders_done(&self) -> bool {
        self.orders.changes.is_empty()
            && self.orders.closing.is_empty()
            && self.orders.probe.is_none()
    }
}
