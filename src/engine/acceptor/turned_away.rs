//! Turning away: one receive, one send, and the end of our side.
//!
//! Whom the limits don't let in, and who has waited too long in the queue. They count as closed at
//! once and take nobody's place: what becomes of their sockets is bounded by number and time.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::engine::acceptor::Acceptor;
use crate::engine::access_log::AccessRecord;
use crate::engine::clock;
use crate::engine::connection::Connection;
use crate::engine::room::Reason;
use crate::engine::service::Service;
use crate::engine::socket::Socket;
use crate::engine::transport::Transport;
use crate::exchange::outcome::Outcome;
use crate::peer::Peer;
use crate::reply::output::Output;
use crate::reply::page::Page;

/// How long those turned away are given to read why.
const TURNED_AWAY_TIME: Duration = Duration::from_secs(1);

/// How many of them are looked at in one turn.
const TURNED_AWAY_PER_TURN: usize = 32;

/// Connections that have their answer and are none of the room's.
#[derive(Debug)]
pub(super) struct TurnedAway {
    /// Of `connections`; one of those that are there longest makes room.
    pub(super) max: usize,
    max_when_short: usize,
    pub(super) connections: VecDeque<(Transport, Instant)>,
    buffer: Vec<u8>,
}

impl TurnedAway {
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            max_when_short: max,
            connections: VecDeque::with_capacity(max),
            buffer: Vec::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// `is_short`: there is no descriptor to spare.
    fn add(&mut self, transport: Transport, is_short: bool, now: Instant) {
        let max = if is_short {
            self.max_when_short
        } else {
            self.max
        };
        if self.connections.len() >= max {
            self.connections.pop_front();
        }
        self.connections
            .push_back((transport, now + TURNED_AWAY_TIME));
    }

    /// Descriptors have run out: there may be no more of them, for as long as that is so.
    pub(super) fn note_shortage(&mut self) {
        self.max_when_short = self.connections.len().max(1);
    }

    /// Closes one of those that are there longest. Whether there was one.
    pub(super) fn close_first(&mut self) -> bool {
        self.connections.pop_front().is_some()
    }
}

impl Acceptor {
    /// Turns away a connection that was just accepted.
    pub(super) fn turn_away(
        &mut self,
        service: &Service,
        socket: Socket,
        peer: Peer,
        reason: Reason,
        now: Instant,
    ) {
        let replies = &service.exchange.replies;
        let (outcome, page) = match reason {
            Reason::Acl => (Outcome::Denied, &replies.denied),
            _ => (Outcome::Busy, &replies.busy),
        };
        service.metrics.rejected[reason as usize].inc();
        service.metrics.closed[outcome.index()].inc();
        let (received_bytes, sent_bytes) = self.say(service, page, Transport::new(socket), now);
        if let Some(log) = self.logs(outcome) {
            log.add(AccessRecord {
                at: self.calendar.now(),
                service: Arc::clone(&service.exchange.service),
                peer,
                outcome,
                received_bytes: received_bytes as u64,
                sent_bytes: sent_bytes as u64,
                duration: clock::since(now),
                queue_wait: Duration::ZERO,
            });
        }
    }

    /// Turns away a connection that a worker came to too late.
    pub(super) fn shed(&mut self, mut connection: Box<Connection>, now: Instant) {
        let service = Arc::clone(&connection.service);
        service.metrics.rejected[Reason::QueueWait as usize].inc();
        if let Some(transport) = connection.turn_away(now) {
            let page = &service.exchange.replies.busy;
            let (received_bytes, sent_bytes) = self.say(&service, page, transport, now);
            connection.turned_away(received_bytes, sent_bytes);
        }
        self.count_closed(connection);
    }

    /// Says why, and ends our side. How many bytes were received and sent.
    fn say(
        &mut self,
        service: &Service,
        page: &Page,
        transport: Transport,
        now: Instant,
    ) -> (usize, usize) {
        let received_bytes = transport.receive(&mut self.scratch).unwrap_or_default();
        let mut output = Output::new(std::mem::take(&mut self.turned_away.buffer));
        page.write(&self.calendar, false, &mut output);
        let mut sent_bytes = 0;
        if !output.is_sent()
            && let Ok(count) = transport.send(output.left(), true)
        {
            sent_bytes = count;
            output.sent(count);
        }
        service.metrics.received_bytes.inc_by(received_bytes as u64);
        service.metrics.sent_bytes.inc_by(sent_bytes as u64);
        let is_sent = output.is_sent();
        self.turned_away.buffer = output.into_buffers().0;
        if !is_sent {
            // What the kernel doesn't take of so little is for a peer that is gone, or floods us.
            transport.reset_on_close();
        } else if transport.end().is_ok() {
            let is_short = self.room.is_short(now);
            self.turned_away.add(transport, is_short, now);
        }
        (received_bytes, sent_bytes)
    }

    /// Closes those turned away who have ended their side, or had their time.
    pub(super) fn dismiss(&mut self, now: Instant) {
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
