//! The acceptor's decisions, without a descriptor: who is let in, who waits for what and until
//! when, who is over time, and what a drain leaves.
//!
//! Time is an argument everywhere, so that tests are exact. What a decision means for sockets is
//! the acceptor's business.

mod drain;
mod order;

use std::time::{Duration, Instant};

use crate::engine::deadlines::Deadlines;
use crate::engine::room::order::{Order, Place, Standing};
use crate::engine::tally::Age;
use crate::engine::token::Token;

/// What a waiting connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Wait {
    /// The rest of its request.
    Request,
    /// A reply that is still being made.
    Reply,
    /// Room for more of the reply.
    Write,
    /// The peer's end, after the reply.
    Linger,
}

impl Wait {
    /// The values of the label `for`, in the order of the variants.
    pub const LABELS: [&'static str; 4] = ["request", "reply", "write", "linger"];
}

/// Why a connection is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    /// The queue is full.
    QueueFull,
    /// It has waited in the queue for too long.
    QueueWait,
    /// The server, or the service, has as many connections as it may.
    MaxConnections,
    /// One source has as many connections to the service as it may.
    PerSource,
    /// One source connects to the service more often than it may.
    Rate,
    /// `allow` and `deny`.
    Acl,
    /// As many wait for a command to run as may.
    MaxWaiting,
}

impl Reason {
    /// The values of the label `reason`, in the order of the variants.
    pub const LABELS: [&'static str; 7] = [
        "queue_full",
        "queue_wait",
        "max_connections",
        "per_source",
        "rate",
        "acl",
        "max_waiting",
    ];
}

/// How long a shortage of descriptors counts after it was seen.
const SHORTAGE: Duration = Duration::from_secs(10);

/// Every open connection, and what the acceptor knows of it.
#[derive(Debug)]
pub(super) struct Room {
    slots: Vec<Slot>,
    free: Vec<u32>,
    deadlines: Deadlines,
    services: Vec<Counts>,
    changed: Vec<usize>,
    begun_at: Instant,
    max_connections: usize,

    /// How many there may be, and until when, as there are no descriptors for more.
    shortage: Option<(usize, Instant)>,
    waiting: usize,
    draining_since: Option<Instant>,

    /// Until when who has sent nothing must have, at the latest.
    hurry_until: Option<Instant>,

    /// Goes up each time that those who are there become the older ones.
    age: u32,

    /// The older ones that are still there.
    older: usize,
}

#[derive(Debug)]
struct Slot {
    /// Of the connection that has it, or will have it next.
    token: Token,
    service: u32,

    /// The room's when it was let in.
    age: u32,
    state: State,
    has_received: bool,
    place: Place,

    /// The room's age at that time.
    accepted_at: Age,
    deadline: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Free,
    /// In the queue, with a worker, or on the way home.
    Working,
    Waiting(Wait),
}

/// One service's connections.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    /// 0: no limit but the server's.
    max_connections: usize,
    pub(super) open: usize,
    pub(super) waiting: [usize; Wait::LABELS.len()],
    orders: [Order; Standing::COUNT],
    has_changed: bool,
}

impl Room {
    /// An empty room for `max_connections`, without a service.
    pub(super) fn new(now: Instant, max_connections: usize) -> Self {
        Self {
            // Reserved, not touched: pages nobody came for cost nothing.
            slots: Vec::with_capacity(max_connections),
            free: Vec::with_capacity(max_connections),
            deadlines: Deadlines::new(now),
            services: Vec::new(),
            changed: Vec::new(),
            begun_at: now,
            max_connections,
            shortage: None,
            waiting: 0,
            draining_since: None,
            hurry_until: None,
            age: 0,
            older: 0,
        }
    }

    /// Takes a service, the next one or one that is there, with its own limit; 0 is none.
    pub(super) fn serve(&mut self, service: usize, max_connections: usize) {
        if service == self.services.len() {
            self.services.push(Counts::default());
            // What changes in one turn is at most all of them.
            self.changed.reserve(self.services.len());
        }
        self.services[service].max_connections = max_connections;
    }

    /// Lets a connection in that was accepted at `now`, if the limits allow. It is at work then.
    ///
    /// `is_queue_full`: as many new ones wait in the queue as may.
    pub(super) fn admit(
        &mut self,
        now: Instant,
        service: usize,
        is_queue_full: bool,
    ) -> Result<Token, Reason> {
        if self.is_full(now) || self.is_service_full(service) {
            return Err(Reason::MaxConnections);
        }
        if is_queue_full {
            return Err(Reason::QueueFull);
        }
        let index = self.free.pop().unwrap_or_else(|| self.add_slot());
        let slot = &mut self.slots[index as usize];
        slot.service = u32::try_from(service).expect("invariant: fewer services than 2^32");
        slot.age = self.age;
        slot.state = State::Working;
        slot.accepted_at = now.saturating_duration_since(self.begun_at).into();
        let token = slot.token;
        self.services[service].open += 1;
        self.note_change(service);
        Ok(token)
    }

    /// The connection waits, until `deadline` at the longest. `has_received`: the peer has sent
    /// something. False if it is not at work, or unknown.
    pub(super) fn wait(
        &mut self,
        token: Token,
        wait: Wait,
        has_received: bool,
        deadline: Option<Instant>,
    ) -> bool {
        if self.state(token) != Some(State::Working) {
            return false;
        }
        let slot = &mut self.slots[token.index()];
        slot.state = State::Waiting(wait);
        if wait == Wait::Linger && slot.age != self.age {
            slot.age = self.age;
            self.older -= 1;
        }
        slot.has_received = has_received;
        slot.deadline = deadline;
        let service = slot.service as usize;
        self.waiting += 1;
        self.services[service].waiting[wait as usize] += 1;
        self.stand(token.index(), wait);
        self.note_change(service);
        self.set_deadline(token.index());
        true
    }

    /// Sets another deadline for a connection that waits.
    pub(super) fn wait_until(&mut self, token: Token, deadline: Instant) {
        if matches!(self.state(token), Some(State::Waiting(_))) {
            self.slots[token.index()].deadline = Some(deadline);
            self.set_deadline(token.index());
        }
    }

    /// Whether a connection waits until a certain time.
    pub(super) fn has_deadline(&self, token: Token) -> bool {
        let slot = self.slots.get(token.index());
        self.state(token).is_some() && slot.is_some_and(|slot| slot.deadline.is_some())
    }

    /// What a connection waits for; `None` if it doesn't, or is gone.
    pub(super) fn waits_for(&self, token: Token) -> Option<Wait> {
        match self.state(token) {
            Some(State::Waiting(wait)) => Some(wait),
            _ => None,
        }
    }

    /// The waiting connection is at work again.
    pub(super) fn resume(&mut self, token: Token) {
        let Some(State::Waiting(wait)) = self.state(token) else {
            return;
        };
        let slot = &mut self.slots[token.index()];
        slot.state = State::Working;
        slot.deadline = None;
        let service = slot.service as usize;
        self.deadlines.clear(token.index());
        self.leave_order(token.index());
        self.waiting -= 1;
        self.services[service].waiting[wait as usize] -= 1;
        self.note_change(service);
    }

    /// The connection is closed; its slot is for another. False if it was closed before.
    pub(super) fn close(&mut self, token: Token) -> bool {
        if self.state(token).is_none() {
            return false;
        }
        self.resume(token);
        let slot = &mut self.slots[token.index()];
        slot.state = State::Free;
        slot.token = slot.token.next();
        self.older -= usize::from(slot.age != self.age);
        let service = slot.service as usize;
        self.services[service].open -= 1;
        self.note_change(service);
        self.free
            .push(u32::try_from(token.index()).expect("invariant: it came from a u32"));
        true
    }

    /// A connection whose deadline has passed, and what it waited for. It still waits, without a
    /// deadline.
    pub(super) fn expire(&mut self, now: Instant) -> Option<(Token, Wait)> {
        while let Some(index) = self.deadlines.pop(now) {
            let slot = &mut self.slots[index];
            slot.deadline = None;
            if let State::Waiting(wait) = slot.state {
                return Some((slot.token, wait));
            }
        }
        None
    }

    /// When the next deadline may pass, at the earliest.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// Whether nobody is let in anymore, whatever the service.
    pub(super) fn is_full(&self, now: Instant) -> bool {
        let max = match self.shortage {
            Some((max, _)) if self.is_short(now) => max,
            _ => self.max_connections,
        };
        self.open() >= max
    }

    /// Whether there is no descriptor to spare.
    pub(super) fn is_short(&self, now: Instant) -> bool {
        self.shortage.is_some_and(|(_, until)| now < until)
    }

    /// Whether a service has as many connections as it may.
    pub(super) fn is_service_full(&self, service: usize) -> bool {
        let counts = &self.services[service];
        counts.max_connections > 0 && counts.open >= counts.max_connections
    }

    /// Descriptors have run out: for a while there may be no more connections than `max`.
    pub(super) fn note_shortage(&mut self, max: usize, now: Instant) {
        self.shortage = Some((max.min(self.max_connections), now + SHORTAGE));
    }

    /// Connections let in and not closed.
    pub(super) fn open(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Connections in the queue, with a worker, or on the way home.
    pub(super) fn working(&self) -> usize {
        self.open() - self.waiting
    }

    /// The connections that are open.
    pub(super) fn open_tokens(&self) -> Vec<Token> {
        let open = self.slots.iter().filter(|slot| slot.state != State::Free);
        open.map(|slot| slot.token).collect()
    }

    /// The service of an open connection.
    pub(super) fn service(&self, token: Token) -> usize {
        self.slots[token.index()].service as usize
    }

    /// Hands out the counts that have changed since the last call.
    pub(super) fn publish(&mut self, mut publish: impl FnMut(usize, &Counts)) {
        for service in self.changed.drain(..) {
            self.services[service].has_changed = false;
            publish(service, &self.services[service]);
        }
    }

    fn add_slot(&mut self) -> u32 {
        let index = u32::try_from(self.slots.len()).expect("invariant: fewer slots than 2^32");
        self.slots.push(Slot {
            token: Token::new(index, 0),
            service: 0,
            age: 0,
            state: State::Free,
            has_received: false,
            place: Place::NOWHERE,
            accepted_at: Age::default(),
            deadline: None,
        });
        index
    }

    /// `None` for a connection that is gone.
    fn state(&self, token: Token) -> Option<State> {
        let slot = self.slots.get(token.index())?;
        let is_it = slot.token == token && slot.state != State::Free;
        is_it.then_some(slot.state)
    }

    fn set_deadline(&mut self, index: usize) {
        let slot = &self.slots[index];
        let by_drain = self.request_deadline(slot);
        let soonest = [slot.deadline, by_drain].into_iter().flatten().min();
        match soonest {
            Some(deadline) => self.deadlines.set(index, deadline),
            None => self.deadlines.clear(index),
        }
    }

    fn note_change(&mut self, service: usize) {
        let counts = &mut self.services[service];
        if !counts.has_changed {
            counts.has_changed = true;
            self.changed.push(service);
        }
    }
}

const _: () = assert!(size_of::<Slot>() <= 56, "every open connection has one");

#[cfg(test)]
mod inspection;
#[cfg(test)]
mod tests;
