//! After the reply: waiting for the peer's end, so that our close destroys nothing.
//!
//! Most peers end their side at once, so a lingering connection is looked at again once a turn,
//! with a plain receive; only one that is still open after a while costs a place in the poller
//! and a deadline. It never goes back through the queue.

use std::time::{Duration, Instant};

use crate::engine::acceptor::Acceptor;
use crate::engine::connection::Connection;
use crate::engine::room::Wait;
use crate::engine::token::Token;

/// When a lingering connection is first looked at: before, hardly any peer has ended its side.
/// Measured with 64 clients: 3.0 to 3.7 receives an exchange without this, 2.9 with it.
const FIRST_LOOK: Duration = Duration::from_micros(500);

/// How long a lingering connection is looked at each turn before the poller has it.
const LOOKED_AT: Duration = Duration::from_millis(30);

/// How many are looked at in one turn.
const LOOKS_PER_TURN: usize = 64;

impl Acceptor {
    /// The reply is out. It is looked at a little later: at this moment it hardly ever is over.
    pub(super) fn linger_from_now(&mut self, connection: Box<Connection>) {
        let token = connection.token;
        let was_working = self.room.wait(token, Wait::Linger, true, None);
        debug_assert!(was_working, "a connection has come home twice");
        self.keep(connection);
        self.lingering.push_back(token);
    }

    /// Looks at those that linger, the longest first. One looked at in vain goes to the end of the
    /// line, so the line is not quite in order of time; a millisecond doesn't matter here.
    pub(super) fn linger(&mut self, now: Instant) {
        for _ in 0..self.lingering.len().min(LOOKS_PER_TURN) {
            let Some(token) = self.lingering.front().copied() else {
                return;
            };
            let Some(lingered) = self.lingers_in_line(token, now) else {
                self.lingering.pop_front();
                continue;
            };
            if lingered < FIRST_LOOK {
                return;
            }
            self.lingering.pop_front();
            if self.discard(token) {
                continue;
            }
            if lingered >= LOOKED_AT {
                self.watch_linger(token, now);
            } else {
                self.lingering.push_back(token);
            }
        }
    }

    /// Whether there are more in line than one turn looks at.
    pub(super) fn lingers_in_crowds(&self) -> bool {
        self.lingering.len() > LOOKS_PER_TURN
    }

    /// The poller says that something came from a peer that is lingered for. If it is still in
    /// line (the poller has been watching since an earlier wait), it is the poller's from here.
    pub(super) fn linger_on(&mut self, token: Token, now: Instant) {
        if !self.discard(token) {
            self.watch_linger(token, now);
        }
    }

    /// How long it has lingered; `None` for one that is closed, or that the poller has.
    fn lingers_in_line(&mut self, token: Token, now: Instant) -> Option<Duration> {
        if self.room.waits_for(token) != Some(Wait::Linger) || self.room.has_deadline(token) {
            return None;
        }
        let connection = self.waiting(token)?;
        Some(now.saturating_duration_since(connection.lingers_since()))
    }

    /// Throws away what is there. Whether the connection is closed now.
    fn discard(&mut self, token: Token) -> bool {
        let mut scratch = std::mem::take(&mut self.scratch);
        let connection = self.waiting(token);
        let is_over = connection.is_none_or(|connection| connection.discard(&mut scratch));
        self.scratch = scratch;
        if is_over {
            self.close(token);
        }
        is_over
    }

    fn watch_linger(&mut self, token: Token, now: Instant) {
        let Some(mut connection) = self.take(token) else {
            return;
        };
        let deadline = connection.linger_deadline(now);
        let is_armed = self.arm(&mut connection, Wait::Linger);
        self.keep(connection);
        if is_armed {
            self.room.wait_until(token, deadline);
        } else {
            self.close(token);
        }
    }
}
