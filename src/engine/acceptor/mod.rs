//! The one thread that accepts, waits and counts.
//!
//! A thin loop around the poller: the room decides, this does. It blocks nowhere but in the
//! poller, sends to nobody who could keep it waiting, reads no file and writes no log. Each
//! kind of work has a bound a turn, so that none starves the others.

mod arrive;
mod change;
mod drain;
mod linger;
mod listening;
mod relief;
mod turned_away;
mod waiting;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use crate::engine::acceptor::drain::Drain;
use crate::engine::acceptor::linger::Line;
use crate::engine::acceptor::listening::{Listening, Upkeep};
use crate::engine::acceptor::turned_away::TurnedAway;
use crate::engine::access_log::AccessLog;
use crate::engine::clock;
use crate::engine::connection::{Claim, Connection, Wake};
use crate::engine::home::{Home, Order};
use crate::engine::poller::Poller;
use crate::engine::queue::Task;
use crate::engine::room::{Room, Wait};
use crate::engine::service::Service;
use crate::engine::shares::Shares;
use crate::engine::sources::Sources;
use crate::engine::token::{Key, Token};
use crate::engine::worker::{Ended, Pool};
use crate::engine::{Limits, Prepared, Report};
use crate::exchange::outcome::Outcome;
use crate::inbox::Inbox;
use crate::metrics::Metrics;
use crate::reply::calendar::Calendar;

/// Messages taken from the inbox in one turn.
const MESSAGES_PER_TURN: usize = 256;

/// Deadlines that pass in one turn.
const EXPIRED_PER_TURN: usize = 64;

/// Boxes of closed connections kept for the next ones.
const SPARE_MAX: usize = 1024;

/// Longest sleep while a connection is in other hands: its end is told without waking us.
const SLEEP_MAX: Duration = Duration::from_millis(30);

/// Bytes received or thrown away at once.
const SCRATCH_BYTES: usize = 16 * 1024;

/// The state of the acceptor's thread.
#[derive(Debug)]
pub(super) struct Acceptor {
    poller: Poller,
    inbox: Inbox<Home>,
    room: Room,
    services: Vec<Arc<Service>>,

    /// By number. That of one that is closed is for another.
    listeners: Vec<Option<Listening>>,

    /// Those that the poller has told of in this turn.
    ready: Vec<usize>,
    turn: usize,
    upkeep: Upkeep,
    pools: Vec<Pool>,

    /// Dropped when the listeners that a change has retired are closed.
    closing: Option<Sender<Infallible>>,

    /// By slot of the room: those that wait. The others are with the workers.
    connections: Vec<Option<Box<Connection>>>,
    #[allow(
        clippy::vec_box,
        reason = "boxes travel; what is in them is not to be copied"
    )]
    spare: Vec<Box<Connection>>,

    /// Those that linger and are not in the poller yet.
    line: Line,
    turned_away: TurnedAway,

    /// When somebody last went for want of descriptors or memory.
    relieved_at: Option<Instant>,
    sources: Sources,
    shares: Shares,
    calendar: Calendar,
    scratch: Box<[u8]>,
    drain: Option<Drain>,
    metrics: Arc<Metrics>,
    access_log: Option<AccessLog>,
}

impl Acceptor {
    pub(super) fn new(
        inbox: Inbox<Home>,
        limits: Limits,
        access_log: Option<AccessLog>,
        metrics: Arc<Metrics>,
    ) -> io::Result<Self> {
        let poller = Poller::new()?;
        poller.watch(&inbox.source(), Key::Inbox)?;
        Ok(Self {
            room: Room::new(clock::now(), limits.max_connections),
            poller,
            inbox,
            services: Vec::new(),
            listeners: Vec::new(),
            ready: Vec::new(),
            turn: 0,
            upkeep: Upkeep::new(clock::now()),
            pools: Vec::new(),
            closing: None,
            connections: Vec::with_capacity(limits.max_connections),
            spare: Vec::with_capacity(SPARE_MAX),
            line: Line::new(limits.max_connections),
            turned_away: TurnedAway::new(limits.max_turned_away),
            relieved_at: None,
            sources: Sources::new(clock::now(), limits.max_connections),
            shares: Shares::new(clock::now()),
            calendar: Calendar::new(clock::time_of_day()),
            scratch: vec![0; SCRATCH_BYTES].into(),
            drain: None,
            metrics,
            access_log,
        })
    }

    /// Ends the workers, once their queues are empty: what tells the end of each pool's.
    pub(super) fn dismiss_workers(self) -> Vec<Ended> {
        self.pools.into_iter().map(|pool| pool.ended).collect()
    }

    /// Runs until a drain is over.
    ///
    /// # Errors
    /// * the poller or a listener is broken, which only a bug can do
    pub(super) fn run(&mut self) -> io::Result<Report> {
        // Ends with a drain.
        loop {
            if let Some(report) = self.turn()? {
                return Ok(report);
            }
        }
    }

    /// Sleeps until there is something to do, and does it. The report, when a drain is over.
    pub(super) fn turn(&mut self) -> io::Result<Option<Report>> {
        let may_sleep = self.inbox.lie_down();
        let timeout = if may_sleep {
            self.sleep_max(clock::now())
        } else {
            Some(Duration::ZERO)
        };
        self.poller.wait(timeout)?;
        self.inbox.get_up();
        crate::failpoint::reach("turn");
        let now = clock::now();
        self.calendar.turn(clock::time_of_day());
        self.take_events(now);
        // Before anything sets a deadline that has passed already: whom that is for may be ready, and
        // the poller has to be asked first.
        self.expire(now);
        self.take_messages(now);
        self.accept(now)?;
        self.linger(now);
        self.publish(now);
        self.note_closed();
        self.drained(now)
    }

    /// How long nothing has to be done if nothing happens; `None` is for ever.
    fn sleep_max(&self, now: Instant) -> Option<Duration> {
        let until = |at: Instant| at.saturating_duration_since(now);
        let is_watching =
            self.line.is_empty() && self.turned_away.is_empty() && self.room.working() == 0;
        [
            (!is_watching).then_some(SLEEP_MAX),
            self.line.due_in_a_crowd().map(until),
            self.room.next_deadline().map(until),
            self.upkeep.due().map(until),
            self.drain_due(now).map(until),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn take_events(&mut self, now: Instant) {
        for index in 0..self.poller.len() {
            match self.poller.event(index) {
                Key::Inbox => self.inbox.hush(),
                Key::Listener(number) => self.listener_is_ready(number),
                Key::Connection(token) => match self.room.waits_for(token) {
                    Some(Wait::Linger) => self.linger_on(token, now),
                    Some(Wait::Reply) => self.resume(token, Wake::Left, now),
                    Some(Wait::Request | Wait::Write) => self.resume(token, Wake::Ready, now),
                    // It has gone since.
                    None => {}
                },
            }
        }
        if self.poller.is_full() {
            self.look_at_listeners();
        }
    }

    fn take_messages(&mut self, now: Instant) {
        for _ in 0..MESSAGES_PER_TURN {
            let Some(message) = self.inbox.next() else {
                return;
            };
            match message {
                Home::Waits(mut connection, wait) => {
                    self.note_begun(&mut connection);
                    self.wait(connection, wait, now);
                }
                Home::Again(mut connection) => {
                    self.note_begun(&mut connection);
                    self.enqueue(connection, Wake::Ready, now);
                }
                Home::Lingers(mut connection) => {
                    self.note_begun(&mut connection);
                    self.linger_from_now(connection, now);
                }
                Home::Closed(mut connection) => {
                    self.note_begun(&mut connection);
                    self.count_closed(connection);
                }
                Home::Shed(connection) => self.shed(connection, now),
                Home::Answer(service, token, made) => self.answer(service, token, made, now),
                Home::Order(order) => self.obey(order, now),
            }
        }
    }

    /// It comes from a worker that took it on, whatever came of that.
    fn note_begun(&mut self, connection: &mut Connection) {
        if std::mem::replace(&mut connection.claim, Claim::Begun) != Claim::Begun {
            self.shares.served(connection.service.pool);
        }
    }

    fn obey(&mut self, order: Order, now: Instant) {
        match order {
            Order::Change(prepared, done) => {
                let Prepared { change, pools } = *prepared;
                // Full or disconnected: nobody waits for it.
                let _told = done.try_send(self.change(change, pools));
            }
            Order::CloseRetired(closed) => {
                self.closing = Some(closed);
                self.close_retired();
            }
            Order::Probe(back) => {
                for pool in &mut self.pools {
                    // Full: it does not come back then, which tells what it is to tell.
                    let _sent = pool.queue.try_send(Task::Probe(back.clone()));
                }
            }
            Order::StopNewcomers => self.stop_newcomers(now),
            Order::Drain { until } => self.drain_until(until),
        }
    }

    fn expire(&mut self, now: Instant) {
        for _ in 0..EXPIRED_PER_TURN {
            match self.room.expire(now) {
                Some((token, Wait::Linger)) => self.close(token),
                Some((token, _)) => self.resume(token, Wake::Expired, now),
                None => return,
            }
        }
    }

    /// Gives a waiting connection to a worker.
    fn resume(&mut self, token: Token, wake: Wake, now: Instant) {
        let has_asked = self.room.waits_for(token) == Some(Wait::Reply);
        if let Some(connection) = self.take(token) {
            if has_asked && wake != Wake::Answered {
                connection.service.leave(token);
            }
            self.room.resume(token);
            self.enqueue(connection, wake, now);
        }
    }

    fn enqueue(&mut self, mut connection: Box<Connection>, wake: Wake, now: Instant) {
        connection.queued(wake, now);
        let pool = &mut self.pools[connection.service.pool];
        if let Err(task) = pool.queue.try_send(Task::Serve(connection))
            && let Task::Serve(mut connection) = task
        {
            // The queue holds all connections there can be, so it is closed.
            connection.abort(Outcome::Failed);
            self.count_closed(connection);
        }
    }

    fn keep(&mut self, connection: Box<Connection>) {
        let index = connection.token.index();
        if index >= self.connections.len() {
            self.connections.resize_with(index + 1, || None);
        }
        self.connections[index] = Some(connection);
    }

    /// A connection that waits. Its slot may have had others, and may have another one now.
    fn waiting(&mut self, token: Token) -> Option<&mut Box<Connection>> {
        let connection = self.connections.get_mut(token.index())?.as_mut()?;
        (connection.token == token).then_some(connection)
    }

    /// Takes a connection that waits, and leaves its place empty.
    fn take(&mut self, token: Token) -> Option<Box<Connection>> {
        self.waiting(token)?;
        self.connections[token.index()].take()
    }

    /// Closes a connection that waits.
    fn close(&mut self, token: Token) {
        if let Some(mut connection) = self.take(token) {
            connection.close();
            self.count_closed(connection);
        }
    }

    /// Counts a connection whose socket is closed.
    fn count_closed(&mut self, connection: Box<Connection>) {
        let service = self.room.service(connection.token);
        let has_left = self.room.waits_for(connection.token) == Some(Wait::Linger);
        if self.room.close(connection.token) {
            if !has_left {
                self.leave_source(service, &connection);
            }
            let outcome = connection.outcome();
            connection.service.metrics.closed[outcome.index()].inc();
            if let Some(log) = self.logs(outcome) {
                log.add(connection.access_record(self.calendar.now()));
            }
        }
        // A spare one of a service that has changed would keep that alive.
        let is_current = Arc::ptr_eq(&connection.service, &self.services[service]);
        if is_current && self.spare.len() < SPARE_MAX {
            self.spare.push(connection);
        }
    }

    /// The access log, if it is to have a record of what ended so.
    fn logs(&self, outcome: Outcome) -> Option<&AccessLog> {
        self.access_log.as_ref().filter(|log| log.records(outcome))
    }

    fn publish(&mut self, now: Instant) {
        let services = &self.services;
        self.room.publish(|service, counts| {
            let metrics = &services[service].metrics;
            metrics.open.set(number(counts.open));
            for (gauge, count) in metrics.waiting.iter().zip(counts.waiting) {
                gauge.set(number(count));
            }
        });
        self.measure_listeners(now);
    }
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
pub(super) mod inspection;
#[cfg(test)]
mod tests;
