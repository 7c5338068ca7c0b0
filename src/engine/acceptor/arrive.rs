//! Accepting, and turning away whom the limits don't let in.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::engine::acceptor::Acceptor;
use crate::engine::acceptor::listening::Stage;
use crate::engine::access_log::AccessRecord;
use crate::engine::connection::{Connection, Wake};
use crate::engine::listener::Accepted;
use crate::engine::room::Reason;
use crate::engine::service::Service;
use crate::engine::token::Token;
use crate::engine::transport::Transport;
use crate::exchange::outcome::Outcome;
use crate::peer::Peer;
use crate::reply::output::Output;

/// Connections accepted from one listener in one turn.
const BATCH_MAX: usize = 16;

/// Errors of accept(2) in a row that make even harmless ones suspicious.
const ERRORS_IN_A_ROW_MAX: usize = 16;

/// How long a listener rests after an error that would only come again. KERNEL K24.
const PAUSE: Duration = Duration::from_millis(100);

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

/// Connections that have their answer and are none of the room's.
#[derive(Debug)]
pub(super) struct TurnedAway {
    /// Of `connections`; the oldest goes first.
    max: usize,
    connections: VecDeque<(Transport, Instant)>,
    buffer: Vec<u8>,
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
    /// Accepts from each listener that is ready or closing, ends pauses that are over, and dismisses
    /// those turned away who have had their time.
    pub(super) fn accept(&mut self, now: Instant) -> io::Result<()> {
        let mut ready = std::mem::take(&mut self.ready);
        // The poller tells of those that are always ready in an order of its own, always the same:
        // each is to be the first at times, or the first one takes all the room there is.
        self.turn = self.turn.wrapping_add(1);
        let first = self.turn % ready.len().max(1);
        ready.rotate_left(first);
        for number in ready.drain(..) {
            self.accept_from_ready(number, now)?;
        }
        self.ready = ready;
        self.accept_from_closing(now)?;
        self.unpause(now)?;
        self.dismiss(now);
        Ok(())
    }

    /// A batch, if the listener is one to accept from.
    fn accept_from_ready(&mut self, number: usize, now: Instant) -> io::Result<()> {
        let are_others_about = self.room.working() > 0 || !self.turned_away.is_empty();
        let Some(listening) = self.listening(number) else {
            return Ok(());
        };
        if !matches!(listening.stage, Stage::Open | Stage::Retired) {
            return Ok(());
        }
        let batch = listening.batch;
        let ended = self.accept_batch(number, batch, now)?;
        if let Some(listening) = self.listening(number) {
            listening.batch = match ended {
                // Where nobody else was there, the next one would only be looked for in vain.
                Batch::Full if are_others_about => (2 * batch).min(BATCH_MAX),
                Batch::Full => batch,
                Batch::Last | Batch::Paused => 1,
            };
        }
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
            let Some(listening) = self.listening(number) else {
                return Ok(Batch::Last);
            };
            let error = match listening.listener.accept() {
                Accepted::Connection(socket, peer) => {
                    listening.errors_in_a_row = 0;
                    let service = listening.service;
                    self.arrive(service, socket, peer, now);
                    continue;
                }
                Accepted::Nothing => return Ok(Batch::Last),
                Accepted::Gone(error) if listening.errors_in_a_row < ERRORS_IN_A_ROW_MAX => {
                    listening.errors_in_a_row += 1;
                    error
                }
                Accepted::Gone(error) | Accepted::Exhausted(error) => {
                    let service = listening.service;
                    self.count_error(service, error);
                    self.pause(number, now + PAUSE)?;
                    return Ok(Batch::Paused);
                }
                Accepted::Broken(error) => {
                    let addr = listening.listener.addr();
                    return Err(io::Error::other(format!(
                        "the listener on {addr} is broken: {error}"
                    )));
                }
            };
            let service = listening.service;
            self.count_error(service, error);
        }
        Ok(Batch::Full)
    }

    fn count_error(&self, service: usize, error: rustix::io::Errno) {
        let errno = nix::errno::Errno::from_raw(error.raw_os_error());
        let metrics = &self.services[service].metrics;
        metrics.accept_error(&format!("{errno:?}"));
    }

    fn arrive(&mut self, service_number: usize, socket: OwnedFd, peer: Peer, now: Instant) {
        let service = Arc::clone(&self.services[service_number]);
        service.metrics.accepted.inc();
        if let Some(drain) = &mut self.drain {
            drain.report.drained += 1;
        }
        if !service.access.admits(peer) {
            return self.turn_away(&service, socket, peer, (Outcome::Denied, Reason::Acl), now);
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
            Err(reason) => self.turn_away(&service, socket, peer, (Outcome::Busy, reason), now),
        }
    }

    fn admit(&mut self, service: &Service, number: usize, now: Instant) -> Result<Token, Reason> {
        let (queued, capacity) = {
            let pool = &self.pools[service.pool];
            (pool.queue.len(), pool.queue_capacity)
        };
        let admitted = self.room.admit(now, number, queued, capacity);
        if admitted != Err(Reason::MaxConnections) {
            return admitted;
        }
        let is_room_full = self.room.is_full();
        if self.close_ended(is_room_full, now) || (is_room_full && self.evicts && self.evict()) {
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
        peer: Peer,
        (outcome, reason): (Outcome, Reason),
        now: Instant,
    ) {
        service.metrics.rejected[reason as usize].inc();
        service.metrics.closed[outcome.index()].inc();
        let transport = Transport::new(socket);
        let received_bytes = transport.receive(&mut self.scratch).unwrap_or_default() as u64;
        service.metrics.received_bytes.inc_by(received_bytes);
        let replies = &service.exchange.replies;
        let page = if outcome == Outcome::Denied {
            &replies.denied
        } else {
            &replies.busy
        };
        let mut output = Output::new(std::mem::take(&mut self.turned_away.buffer));
        page.write(&self.calendar, false, &mut output);
        let mut sent_bytes = 0;
        if !output.is_sent()
            && let Ok(count) = transport.send(output.left(), true)
        {
            sent_bytes = count as u64;
            service.metrics.sent_bytes.inc_by(sent_bytes);
            output.sent(count);
        }
        if let Some(log) = self.logs(outcome) {
            log.add(AccessRecord {
                at: self.calendar.now(),
                service: Arc::clone(&service.exchange.service),
                peer,
                outcome,
                received_bytes,
                sent_bytes,
                duration: now.elapsed(),
                queue_wait: Duration::ZERO,
            });
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
}
