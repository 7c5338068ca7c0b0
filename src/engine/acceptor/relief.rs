//! Making room where there is none: who goes first.
//!
//! Who has had its reply, and then who has waited longest without asking. Never one whose reply is
//! being made or is under way: that one has been promised something.

use std::time::Instant;

use rustix::io::Errno;

use crate::engine::acceptor::Acceptor;
use crate::engine::acceptor::linger::LOOKED_AT;
use crate::exchange::outcome::Outcome;

/// Descriptors that are freed when they have run out: the admin listener, a reload and commands need
/// some, too.
const FREED_DESCRIPTORS: usize = 32;

impl Acceptor {
    /// Closes one that only lingers and has for a while, else evicts one that has not asked yet.
    /// Whether there was one.
    pub(super) fn make_room(&mut self, now: Instant) -> bool {
        self.close_lingering(now) || self.evict()
    }

    /// accept(2) has failed with `error`, as there are not enough descriptors or not enough memory:
    /// frees some. Whether there were any.
    pub(super) fn relieve(&mut self, error: Errno, now: Instant) -> bool {
        let is_out_of_descriptors = matches!(error, Errno::MFILE | Errno::NFILE);
        let count = if is_out_of_descriptors {
            // Not all of them: others would only come in their place.
            FREED_DESCRIPTORS.min(self.room.open() / 2).max(1)
        } else {
            1
        };
        let goes = |_: &usize| self.turned_away.close_oldest() || self.make_room(now);
        let gone = (0..count).take_while(goes).count();
        if is_out_of_descriptors && gone > 0 {
            // Else those who come would take them at once.
            let max = self.room.open().max(FREED_DESCRIPTORS);
            self.room.note_shortage(max, now);
        }
        gone > 0
    }

    /// Its reply is out, and its peer has had time to end its side: what is unread of the reply is the
    /// kernel's to deliver.
    fn close_lingering(&mut self, now: Instant) -> bool {
        let Some(token) = self.room.longest_lingering() else {
            return false;
        };
        let has_lingered = self.waiting(token).is_some_and(|connection| {
            now.saturating_duration_since(connection.lingers_since()) >= LOOKED_AT
        });
        if has_lingered {
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
