//! What a drain changes: how long requests may take, and who was there before.

use std::time::{Duration, Instant};

use crate::engine::room::{Counts, Room, Slot, State, Wait};

/// How long a drain waits for requests: what a client that connected just before the signal has
/// for speaking, and a half-sent request for its rest.
const DRAIN_REQUEST: Duration = Duration::from_secs(1);

impl Room {
    /// From now on whoever has not asked yet must do so soon: a silent connection within a second
    /// of its accept, a half-sent request within a second from now.
    pub(in crate::engine) fn drain(&mut self, now: Instant) {
        self.draining_since = Some(now);
        self.grow_older();
        self.set_request_deadlines();
    }

    /// Who has sent nothing must have until then; `None`: they have the time that they have.
    pub(in crate::engine) fn hurry(&mut self, until: Option<Instant>) {
        self.hurry_until = until;
        self.grow_older();
        self.set_request_deadlines();
    }

    /// Connections that were there at the last [`drain`](Self::drain) or [`hurry`](Self::hurry),
    /// and whose reply isn't out yet. One that lingers is not waited for: its client still has the
    /// reply's end to read, and so can't have come again.
    pub(in crate::engine) fn older(&self) -> usize {
        self.older
    }

    /// Connections that only wait for the peer's end.
    pub(in crate::engine) fn lingering(&self) -> usize {
        let of_service = |counts: &Counts| counts.waiting[Wait::Linger as usize];
        self.services.iter().map(of_service).sum()
    }

    fn grow_older(&mut self) {
        self.age = self.age.wrapping_add(1);
        self.older = self.open();
        let linger = State::Waiting(Wait::Linger);
        for slot in self.slots.iter_mut().filter(|slot| slot.state == linger) {
            slot.age = self.age;
            self.older -= 1;
        }
    }

    fn set_request_deadlines(&mut self) {
        for index in 0..self.slots.len() {
            if self.slots[index].state == State::Waiting(Wait::Request) {
                self.set_deadline(index);
            }
        }
    }

    /// When the request of a connection must have come, at the latest, because of a drain.
    pub(super) fn request_deadline(&self, slot: &Slot) -> Option<Instant> {
        if slot.state != State::Waiting(Wait::Request) {
            return None;
        }
        let by_drain = self.draining_since.map(|since| {
            let accepted_at = self.begun_at + Duration::from(slot.accepted_at);
            let from = if slot.has_received {
                since.max(accepted_at)
            } else {
                accepted_at
            };
            from + DRAIN_REQUEST
        });
        let hurry = self.hurry_until.filter(|_| !slot.has_received);
        [by_drain, hurry].into_iter().flatten().min()
    }
}
