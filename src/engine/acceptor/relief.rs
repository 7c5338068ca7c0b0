//! Making room where there is none: who goes first.
//!
//! Who has had its reply, and then who has been silent longest without having asked. Never one whose reply is
//! being made or is under way: that one has been promised something.

use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::engine::acceptor::Acceptor;
use crate::engine::acceptor::linger::LOOKED_AT;
use crate::exchange::outcome::Outcome;

/// Descriptors that are freed when they have run out: the admin listener, a reload and commands need
/// some, too.
const FREED_DESCRIPTORS: usize = 32;

/// How often some are freed: where that doesn't help, nobody else is to go for nothing.
const RELIEF_INTERVAL: Duration = Duration::from_secs(1);

impl Acceptor {
    /// Closes one that only lingers and has for a while, else evicts one that has not asked yet.
    /// Whether there was one.
    pub(super) fn make_room(&mut self, now: Instant) -> bool {
        self.close_lingering(now) || self.evict()
    }

    /// accept(2) has failed with `error`, as there are not enough descriptors or not enough memory:
    /// frees some, now and then. Whether any were freed now.
    pub(super) fn relieve(&mut self, error: Errno, now: Instant) -> bool {
        if self
            .relieved_at
            .is_some_and(|at| now < at + RELIEF_INTERVAL)
        {
            return false;
        }
        let is_out_of_descriptors = matches!(error, Errno::MFILE | Errno::NFILE);
        let count = if is_out_of_descriptors {
            // Not all of them: others would only come in their place.
            FREED_DESCRIPTORS.min(self.room.open() / 2).max(1)
        } else {
            1
        };
        let goes = |_: &usize| self.turned_away.close_first() || self.make_room(now);
        let gone = (0..count).take_while(goes).count();
        if gone == 0 {
            return false;
        }
        self.relieved_at = Some(now);
        if is_out_of_descriptors {
            // Else those who come would take them at once.
            let max = self.room.open().max(FREED_DESCRIPTORS);
            self.room.note_shortage(max, now);
            self.turned_away.note_shortage();
        }
        true
    }

    /// Of those that have had time to end their side since their reply was out, the one that has had
    /// most. A close is a reset, and destroys what the peer has not read, if something of the peer's is
    /// unread or comes later: what has come is read before.
    fn close_lingering(&mut self, now: Instant) -> bool {
        let longest = self.room.first_lingering().filter_map(|token| {
            let connection = self.connections.get(token.index())?.as_ref()?;
            Some((connection.lingers_since(), token))
        });
        let Some((since, token)) = longest.min_by_key(|(since, _)| *since) else {
            return false;
        };
        let has_lingered = now.saturating_duration_since(since) >= LOOKED_AT;
        if has_lingered && !self.discard(token) {
            self.close(token);
        }
        has_lingered
    }

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
}
