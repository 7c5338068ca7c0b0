//! What tests look at, of an acceptor between two turns.

use std::time::{Duration, Instant};

use crate::engine::acceptor::{Acceptor, SPARE_MAX};

/// An acceptor between two turns.
#[derive(Debug)]
pub(in crate::engine) struct Inspection {
    /// Connections that are open.
    pub(in crate::engine) open: usize,

    /// Connections of each service that are open.
    pub(in crate::engine) open_by_service: Vec<usize>,

    /// Connections that were turned away and are still there.
    pub(in crate::engine) turned_away: usize,

    /// Exchanges that are counted for the limits of their sources.
    pub(in crate::engine) exchanges: usize,

    /// Slots of connections that wait although their deadline has passed, with that.
    pub(in crate::engine) overdue: Vec<(usize, Instant)>,

    /// When the last of those who have not asked must have.
    pub(in crate::engine) last_request: Option<Instant>,

    /// Listeners that it has, whatever their stage.
    pub(in crate::engine) listeners: usize,

    /// A table that has grown past its bound, if one has.
    pub(in crate::engine) overgrown: Option<&'static str>,
}

impl Acceptor {
    /// Looks at everything. What was to come before `overdue_since` is overdue.
    pub(in crate::engine) fn inspect(&self, overdue_since: Instant) -> Inspection {
        let max_connections = self.room.max_connections();
        let standing = self.line.standing.len();
        let turned_away = &self.turned_away;
        let tables = [
            ("room", self.room.open(), max_connections),
            ("slots", self.room.slots(), max_connections),
            ("connections", self.connections.len(), max_connections),
            ("spare", self.spare.len(), SPARE_MAX),
            // Those that are gone go from it within the patience.
            ("line", standing, 2 * max_connections),
            (
                "turned away",
                turned_away.connections.len(),
                turned_away.max,
            ),
            ("ready", self.ready.len(), 0),
        ];
        // Beside the connections a queue holds one probe.
        let queues = self.pools.iter().map(|pool| pool.queue.len());
        let queues = queues.map(|length| ("queue", length, max_connections + 1));
        let overgrown = tables.into_iter().chain(queues);
        let overgrown = overgrown.filter(|(_, length, max)| length > max);
        Inspection {
            open: self.room.open(),
            open_by_service: self.room.open_by_service(),
            turned_away: turned_away.connections.len(),
            exchanges: self.sources.live(),
            overdue: self.room.overdue(overdue_since),
            last_request: self.room.last_request_deadline(),
            listeners: self.listeners.iter().flatten().count(),
            overgrown: overgrown.map(|(name, ..)| name).next(),
        }
    }

    /// How long it would sleep now, if nothing happened, and the first deadline that it has to wake
    /// up for.
    pub(in crate::engine) fn sleep(&self, now: Instant) -> (Option<Duration>, Option<Instant>) {
        (self.sleep_max(now), self.room.first_deadline())
    }

    /// How many tasks are in the queue of each pool.
    pub(in crate::engine) fn queue_lengths(&self) -> Vec<usize> {
        self.pools.iter().map(|pool| pool.queue.len()).collect()
    }

    /// Whether a stop has begun, and whether it is to be over at some time.
    pub(in crate::engine) fn is_stopping(&self) -> bool {
        self.drain.is_some()
    }

    pub(in crate::engine) fn is_draining(&self) -> bool {
        self.drain
            .as_ref()
            .is_some_and(|drain| drain.until.is_some())
    }
}
