//! What tests look at, of a room.

use std::time::Instant;

use crate::engine::room::{Room, Slot, State, Wait};

impl Room {
    /// How many may be open.
    pub(in crate::engine) fn max_connections(&self) -> usize {
        self.max_connections
    }

    /// Slots that were ever needed.
    pub(in crate::engine) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// How many are open, by service.
    pub(in crate::engine) fn open_by_service(&self) -> Vec<usize> {
        self.services.iter().map(|counts| counts.open).collect()
    }

    /// The slots of those that wait for what was to come before `since`, with when that was.
    pub(in crate::engine) fn overdue(&self, since: Instant) -> Vec<(usize, Instant)> {
        let slots = self.slots.iter().enumerate();
        let deadlines = slots.filter_map(|(index, slot)| Some((index, self.deadline(slot)?)));
        deadlines
            .filter(|(_, deadline)| *deadline < since)
            .collect()
    }

    /// The first deadline of any that wait, from the slots: not from the wheel.
    pub(in crate::engine) fn first_deadline(&self) -> Option<Instant> {
        let slots = self.slots.iter();
        slots.filter_map(|slot| self.deadline(slot)).min()
    }

    /// The last deadline of any that wait for a request.
    pub(in crate::engine) fn last_request_deadline(&self) -> Option<Instant> {
        let asking = State::Waiting(Wait::Request);
        let slots = self.slots.iter().filter(|slot| slot.state == asking);
        slots.filter_map(|slot| self.deadline(slot)).max()
    }

    fn deadline(&self, slot: &Slot) -> Option<Instant> {
        let waits = matches!(slot.state, State::Waiting(_));
        let deadlines = [slot.deadline, self.request_deadline(slot)];
        deadlines.into_iter().flatten().min().filter(|_| waits)
    }
}
