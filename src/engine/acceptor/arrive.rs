//! Accepting, and turning away whom the limits don't let in.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::engine::acceptor::Acceptor;
use crate::engine::acceptor::listening::{ERRORS_IN_A_ROW_MAX, Stage};
use crate::engine::connection::{Claim, Connection, Wake};
use crate::engine::listener::{Accepted, Failure};
use crate::engine::room::Reason;
use crate::engine::service::Service;
use crate::engine::socket::Socket;
use crate::engine::token::Token;
use crate::peer::Peer;

/// Connections accepted from one listener in one turn.
const BATCH_MAX: usize = 16;

/// How long a listener rests after an error that may only come again: at first, and at most. Twice as
/// long after each one in a row. KERNEL K24.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(100);

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
            match listening.listener.accept() {
                Accepted::Connection(socket, peer) => {
                    listening.errors_in_a_row = 0;
                    let service = listening.service;
                    self.arrive(service, socket, peer, now);
                }
                Accepted::Nothing => {
                    listening.errors_in_a_row = 0;
                    return Ok(Batch::Last);
                }
                // Without a descriptor it fails before it looks whether anyone is there.
                Accepted::Failed(_, Failure::Exhausted) if listening.is_empty() => {
                    return Ok(Batch::Last);
                }
                Accepted::Failed(error, failure) => {
                    listening.errors_in_a_row += 1;
                    let (service, in_a_row) = (listening.service, listening.errors_in_a_row);
                    self.count_error(service, error);
                    if !self.goes_on(error, failure, in_a_row, now) {
                        self.pause(number, now + pause(in_a_row))?;
                        return Ok(Batch::Paused);
                    }
                }
                Accepted::Broken(error) => {
                    let addr = listening.listener.addr();
                    return Err(io::Error::other(format!(
                        "the listener on {addr} is broken: {error}"
                    )));
                }
            }
        }
        Ok(Batch::Full)
    }

    /// Whether to accept again at once, after so many errors in a row.
    fn goes_on(&mut self, error: Errno, failure: Failure, in_a_row: usize, now: Instant) -> bool {
        match failure {
            Failure::Gone => in_a_row <= ERRORS_IN_A_ROW_MAX,
            // Somebody who was freed is here now; where that doesn't help, it waits like the others.
            Failure::Exhausted => self.relieve(error, now) && in_a_row == 1,
            Failure::Refused => false,
        }
    }

    fn count_error(&self, service: usize, error: Errno) {
        let errno = nix::errno::Errno::from_raw(error.raw_os_error());
        let metrics = &self.services[service].metrics;
        metrics.accept_error(&format!("{errno:?}"));
    }

    fn arrive(&mut self, number: usize, socket: Socket, peer: Peer, now: Instant) {
        let service = Arc::clone(&self.services[number]);
        service.metrics.accepted.inc();
        if let Some(drain) = &mut self.drain {
            drain.report.drained += 1;
        }
        match self.admit(&service, number, peer, now) {
            Ok((token, claim)) => {
                (self.sources).entered(number, &service.source_limits, peer);
                let mut connection = Connection::new(service, token, socket, peer, now);
                connection.claim = claim;
                let connection = match self.spare.pop() {
                    Some(mut spare) => {
                        *spare = connection;
                        spare
                    }
                    None => Box::new(connection),
                };
                self.enqueue(connection, Wake::New, now);
            }
            Err(reason) => self.turn_away(&service, socket, peer, reason, now),
        }
    }

    /// Lets a connection in, if all limits allow, with what it may ask of the workers.
    fn admit(
        &mut self,
        service: &Service,
        number: usize,
        peer: Peer,
        now: Instant,
    ) -> Result<(Token, Claim), Reason> {
        if !service.access.admits(peer) {
            return Err(Reason::Acl);
        }
        (self.sources).admit(number, &service.source_limits, peer, now)?;
        // Of those who are let in: whoever is refused above asks nothing of the workers.
        let claim = if self.shares.came(number, service.pool, now) {
            Claim::WithinShare
        } else {
            Claim::BeyondShare
        };
        let pool = &self.pools[service.pool];
        // Who keeps to its share is not to wait for others to be served.
        let is_queue_full = claim != Claim::WithinShare && pool.queue.is_full(pool.queue_capacity);
        let admitted = self.room.admit(now, number, is_queue_full);
        if admitted != Err(Reason::MaxConnections) {
            return admitted.map(|token| (token, claim));
        }
        let is_room_full = self.room.is_full(now);
        let is_service_full = self.room.is_service_full(number);
        if self.close_ended(is_room_full, now)
            || (is_room_full && !is_service_full && self.make_room(now))
        {
            let admitted = self.room.admit(now, number, is_queue_full);
            return admitted.map(|token| (token, claim));
        }
        Err(Reason::MaxConnections)
    }

    /// An exchange is over, for the limits of its source.
    pub(super) fn leave_source(&mut self, service: usize, connection: &Connection) {
        let limits = &connection.service.source_limits;
        self.sources.left(service, limits, connection.peer);
    }
}

/// How long to rest after so many errors in a row.
fn pause(in_a_row: usize) -> Duration {
    let doublings = u32::try_from(in_a_row.saturating_sub(1)).unwrap_or(u32::MAX);
    let pause = PAUSE_MIN.saturating_mul(2_u32.saturating_pow(doublings));
    pause.min(PAUSE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_error_costs_little_time_and_many_little_work() {
        let pauses = [1, 2, 4, 5, 1000].map(|in_a_row| pause(in_a_row).as_millis());
        assert_eq!(pauses, [10, 20, 80, 100, 100]);
    }
}
