//! Accepting, and turning away whom the limits don't let in.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::engine::acceptor::{Acceptor, number};
use crate::engine::connection::{Connection, Wake};
use crate::engine::listener::{Accepted, Listener};
use crate::engine::poller::Poller;
use crate::engine::room::Reason;
use crate::engine::service::Service;
use crate::engine::token::{Key, Token};
use crate::engine::transport::Transport;
use crate::exchange::outcome::Outcome;
use crate::metrics::{ListenerMetrics, Metrics};
use crate::peer::Peer;
use crate::reply::output::Output;

/// Connections accepted from one listener in one turn.
const BATCH_MAX: usize = 16;

/// Errors of accept(2) in a row that make even harmless ones suspicious.
const ERRORS_IN_A_ROW_MAX: usize = 16;

/// How long a listener rests after an error that would only come again. KERNEL K24.
const PAUSE: Duration = Duration::from_millis(100);

/// How often the kernel's queue is looked at.
const MEASURE_INTERVAL: Duration = Duration::from_millis(100);

/// How long those turned away are given to read why.
const TURNED_AWAY_TIME: Duration = Duration::from_secs(1);

/// How many of them are looked at in one turn.
const TURNED_AWAY_PER_TURN: usize = 32;

/// How a batch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Batch {
    /// There may be more.
    Full,
    /// There is no more.
    Last,
    /// An error that would only come again.
    Paused,
}

/// A listener in the acceptor's hands.
#[derive(Debug)]
pub(super) struct Listening {
    pub(super) listener: Listener,
    service: usize,
    metrics: Option<ListenerMetrics>,
    is_ready: bool,

    /// How many to accept this time: it grows while there are more, since an accept(2) that finds
    /// nothing costs more than one that succeeds.
    batch: usize,
    errors_in_a_row: usize,
    paused_until: Option<Instant>,
    measured_at: Instant,
    has_queue: bool,
}

/// Connections that have their answer and are none of the room's.
#[derive(Debug)]
pub(super) struct TurnedAway {
    /// Of `connections`; the oldest goes first.
    max: usize,
    connections: VecDeque<(Transport, Instant)>,
    buffer: Vec<u8>,
}

impl Listening {
    pub(super) fn new(
        listener: Listener,
        service: usize,
        service_name: &str,
        number: usize,
        poller: &Poller,
        metrics: &Metrics,
    ) -> io::Result<Self> {
        poller.watch(&listener, key(number))?;
        let metrics = listener.queue().map(|queue| {
            let metrics = metrics.listener(service_name, &listener.addr().to_string());
            metrics.queue_limit.set(i64::from(queue.limit));
            metrics
        });
        let listening = Self {
            listener,
            service,
            metrics,
            is_ready: false,
            batch: 1,
            errors_in_a_row: 0,
            paused_until: None,
            measured_at: Instant::now(),
            has_queue: false,
        };
        Ok(listening)
    }
}

impl Listening {
    pub(super) fn is_paused(&self, now: Instant) -> bool {
        self.paused_until.is_some_and(|until| now < until)
    }
}

impl TurnedAway {
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            connections: VecDeque::with_capacity(max),
            buffer: Vec::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }
}

impl Acceptor {
    pub(super) fn listener_is_ready(&mut self, number: u32) {
        if let Some(listening) = self.listeners.get_mut(number as usize) {
            listening.is_ready = true;
        }
    }

    /// When a listener wants something, at the latest.
    pub(super) fn listeners_due(&self) -> Option<Instant> {
        let due = |listening: &Listening| {
            let measure = listening
                .has_queue
                .then(|| listening.measured_at + MEASURE_INTERVAL);
            [listening.paused_until, measure]
                .into_iter()
                .flatten()
                .min()
        };
        self.listeners.iter().filter_map(due).min()
    }

    /// Accepts, and dismisses those turned away who have had their time.
    pub(super) fn accept(&mut self, now: Instant) -> io::Result<()> {
        if self.is_closing() {
            self.accept_last(now)?;
        } else {
            self.accept_in_turn(now)?;
        }
        self.dismiss(now);
        Ok(())
    }

    /// A batch from each listener that is ready, beginning with another one each turn.
    fn accept_in_turn(&mut self, now: Instant) -> io::Result<()> {
        let count = self.listeners.len();
        for offset in 0..count {
            let number = (self.first_listener + offset) % count;
            self.unpause(number, now)?;
            let listening = &mut self.listeners[number];
            if std::mem::take(&mut listening.is_ready) {
                let batch = listening.batch;
                let ended = self.accept_batch(number, batch, now)?;
                self.listeners[number].batch = match ended {
                    Batch::Full => (2 * batch).min(BATCH_MAX),
                    Batch::Last | Batch::Paused => 1,
                };
            } else {
                listening.batch = 1;
            }
        }
        self.first_listener = (self.first_listener + 1) % count.max(1);
        Ok(())
    }

    /// Accepts up to `batch`.
    ///
    /// # Errors
    /// * the listener is broken
    pub(super) fn accept_batch(
        &mut self,
        number: usize,
        batch: usize,
        now: Instant,
    ) -> io::Result<Batch> {
        for _ in 0..batch {
            let listening = &mut self.listeners[number];
            let error = match listening.listener.accept() {
                Accepted::Connection(socket, peer) => {
                    listening.errors_in_a_row = 0;
                    self.arrive(number, socket, peer, now);
                    continue;
                }
                Accepted::Nothing => return Ok(Batch::Last),
                Accepted::Gone(error) if listening.errors_in_a_row < ERRORS_IN_A_ROW_MAX => {
                    listening.errors_in_a_row += 1;
                    error
                }
                Accepted::Gone(error) | Accepted::Exhausted(error) => {
                    self.pause(number, now)?;
                    self.count_error(number, error);
                    return Ok(Batch::Paused);
                }
                Accepted::Broken(error) => {
                    self.count_error(number, error);
                    let addr = self.listeners[number].listener.addr();
                    return Err(io::Error::other(format!(
                        "the listener on {addr} is broken: {error}"
                    )));
                }
            };
            self.count_error(number, error);
        }
        Ok(Batch::Full)
    }

    fn count_error(&self, number: usize, error: rustix::io::Errno) {
        let errno = nix::errno::Errno::from_raw(error.raw_os_error());
        let service = &self.services[self.listeners[number].service];
        service.metrics.accept_error(&format!("{errno:?}"));
    }

    fn arrive(&mut self, number: usize, socket: OwnedFd, peer: Peer, now: Instant) {
        let service_number = self.listeners[number].service;
        let service = Arc::clone(&self.services[service_number]);
        service.metrics.accepted.inc();
        if let Some(drain) = &mut self.drain {
            drain.report.drained += 1;
        }
        if !service.access.admits(peer) {
            return self.turn_away(&service, socket, Outcome::Denied, Reason::Acl, now);
        }
        match self.admit(&service, service_number, now) {
            Ok(token) => {
                let connection = Connection::new(service, token, socket, peer, now);
                let connection = match self.spare.pop() {
                    Some(mut spare) => {
                        *spare = connection;
                        spare
                    }
                    None => Box::new(connection),
                };
                self.enqueue(connection, Wake::New, now);
            }
            Err(reason) => self.turn_away(&service, socket, Outcome::Busy, reason, now),
        }
    }

    fn admit(&mut self, service: &Service, number: usize, now: Instant) -> Result<Token, Reason> {
        let (queued, capacity) = {
            let pool = &self.pools[service.pool];
            (pool.queue.len(), pool.queue_capacity)
        };
        let admitted = self.room.admit(now, number, queued, capacity);
        if admitted == Err(Reason::MaxConnections) && self.evicts && self.evict() {
            return self.room.admit(now, number, queued, capacity);
        }
        admitted
    }

    /// Makes room. Whether there was anyone to go.
    fn evict(&mut self) -> bool {
        let evicted = self
            .room
            .longest_asking()
            .and_then(|token| self.take(token));
        let Some(mut connection) = evicted else {
            return false;
        };
        connection.abort(Outcome::Evicted);
        self.count_closed(connection);
        true
    }

    /// One receive, one send, and the end of our side. It counts as closed at once: what becomes
    /// of the socket is bounded by number and time and changes nothing.
    fn turn_away(
        &mut self,
        service: &Service,
        socket: OwnedFd,
        outcome: Outcome,
        reason: Reason,
        now: Instant,
    ) {
        service.metrics.rejected[reason as usize].inc();
        service.metrics.closed[outcome.index()].inc();
        let transport = Transport::new(socket);
        if let Ok(count) = transport.receive(&mut self.scratch) {
            service.metrics.received_bytes.inc_by(count as u64);
        }
        let replies = &service.exchange.replies;
        let page = if outcome == Outcome::Denied {
            &replies.denied
        } else {
            &replies.busy
        };
        let mut output = Output::new(std::mem::take(&mut self.turned_away.buffer));
        page.write(&self.calendar, false, &mut output);
        if !output.is_sent()
            && let Ok(count) = transport.send(output.left(), true)
        {
            service.metrics.sent_bytes.inc_by(count as u64);
            output.sent(count);
        }
        let is_sent = output.is_sent();
        self.turned_away.buffer = output.into_buffers().0;
        if !is_sent {
            // What the kernel doesn't take of so little is for a peer that is gone, or floods us.
            transport.reset_on_close();
        } else if transport.end().is_ok() {
            let TurnedAway {
                max, connections, ..
            } = &mut self.turned_away;
            if connections.len() == *max {
                connections.pop_front();
            }
            connections.push_back((transport, now + TURNED_AWAY_TIME));
        }
    }

    /// Closes those turned away who have ended their side, or had their time.
    fn dismiss(&mut self, now: Instant) {
        let connections = &mut self.turned_away.connections;
        for _ in 0..connections.len().min(TURNED_AWAY_PER_TURN) {
            let Some((transport, until)) = connections.pop_front() else {
                return;
            };
            let has_ended = match transport.discard(&mut self.scratch) {
                Ok(count) => count == 0,
                Err(error) => error.kind() != io::ErrorKind::WouldBlock,
            };
            if !has_ended && now < until {
                connections.push_back((transport, until));
            }
        }
    }

    fn pause(&mut self, number: usize, now: Instant) -> io::Result<()> {
        let listening = &mut self.listeners[number];
        listening.paused_until = Some(now + PAUSE);
        self.poller.pause(&listening.listener, key(number), true)
    }

    fn unpause(&mut self, number: usize, now: Instant) -> io::Result<()> {
        let listening = &mut self.listeners[number];
        if listening.paused_until.is_some_and(|until| until <= now) {
            listening.paused_until = None;
            listening.errors_in_a_row = 0;
            // It is not known to be ready, but it was.
            listening.is_ready = true;
            self.poller.pause(&listening.listener, key(number), false)?;
        }
        Ok(())
    }

    /// Looks at the kernel's queues, now and then, and as long as there is something in them.
    pub(super) fn measure_listeners(&mut self, now: Instant) {
        for listening in &mut self.listeners {
            let Some(metrics) = &listening.metrics else {
                continue;
            };
            if now.saturating_duration_since(listening.measured_at) < MEASURE_INTERVAL {
                continue;
            }
            listening.measured_at = now;
            if let Some(queue) = listening.listener.queue() {
                listening.has_queue = queue.length > 0;
                metrics.queue_length.set(number(queue.length as usize));
                metrics.queue_limit.set(number(queue.limit as usize));
            }
        }
    }
}

fn key(number: usize) -> Key {
    Key::Listener(u32::try_from(number).expect("invariant: fewer listeners than 2^32"))
}
