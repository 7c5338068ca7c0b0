//! Who has been silent longest: orders whose links are in the slots, so joining and leaving one costs
//! a few writes, whatever the number of others. Who has said something stands at the end again.

use crate::engine::room::{Room, Slot, Wait};
use crate::engine::token::Token;

/// No slot.
const NONE: u32 = u32::MAX;

/// What those in an order have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Standing {
    /// They have not asked yet.
    Asking,
    /// Their reply is out.
    Lingering,
}

impl Standing {
    /// How many there are.
    pub(super) const COUNT: usize = 2;
}

/// A service's connections of one standing, the first one first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    first: u32,
    last: u32,
}

/// Where a slot stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    before: u32,
    after: u32,
    standing: Option<Standing>,
}

impl Default for Order {
    fn default() -> Self {
        Self {
            first: NONE,
            last: NONE,
        }
    }
}

impl Place {
    /// In no order.
    pub(super) const NOWHERE: Self = Self {
        before: NONE,
        after: NONE,
        standing: None,
    };
}

impl Room {
    /// The connection that has been silent longest with its request, of the service that has most
    /// of those: who floods one service takes nobody's place in another.
    pub(in crate::engine) fn longest_asking(&self) -> Option<Token> {
        let asking = Wait::Request as usize;
        let crowded = (self.services.iter()).max_by_key(|counts| counts.waiting[asking])?;
        let first = crowded.orders[Standing::Asking as usize].first;
        Some(self.slots.get(first as usize)?.token)
    }

    /// Of each service the connection that has lingered longest.
    pub(in crate::engine) fn first_lingering(&self) -> impl Iterator<Item = Token> {
        self.services.iter().filter_map(|counts| {
            let first = counts.orders[Standing::Lingering as usize].first;
            Some(self.slots.get(first as usize)?.token)
        })
    }

    /// Stands where it has to while it waits for this.
    pub(super) fn stand(&mut self, index: usize, wait: Wait) {
        let standing = match wait {
            Wait::Request => Some(Standing::Asking),
            Wait::Linger => Some(Standing::Lingering),
            Wait::Reply | Wait::Write => None,
        };
        if let Some(standing) = standing {
            self.join_order(index, standing);
        }
    }

    fn join_order(&mut self, index: usize, standing: Standing) {
        let number = u32::try_from(index).expect("invariant: fewer slots than 2^32");
        let service = self.slots[index].service as usize;
        let order = &mut self.services[service].orders[standing as usize];
        let before = std::mem::replace(&mut order.last, number);
        match self.slots.get_mut(before as usize) {
            Some(slot) => slot.place.after = number,
            None => order.first = number,
        }
        self.slots[index].place = Place {
            before,
            after: NONE,
            standing: Some(standing),
        };
    }

    pub(super) fn leave_order(&mut self, index: usize) {
        let Slot { place, service, .. } = self.slots[index];
        let Some(standing) = place.standing else {
            return;
        };
        let order = &mut self.services[service as usize].orders[standing as usize];
        match self.slots.get_mut(place.before as usize) {
            Some(slot) => slot.place.after = place.after,
            None => order.first = place.after,
        }
        match self.slots.get_mut(place.after as usize) {
            Some(slot) => slot.place.before = place.before,
            None => order.last = place.before,
        }
        self.slots[index].place = Place::NOWHERE;
    }
}
