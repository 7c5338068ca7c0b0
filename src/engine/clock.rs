//! What time it is for an engine, and waiting for it to pass.
//!
//! In a simulation it is what the world says; else the system's clocks.

use std::time::{Duration, Instant, SystemTime};

#[cfg(test)]
use crate::engine::simulation::world;
use crate::inbox::Inbox;

/// Now, for whatever has a duration or a deadline.
pub(super) fn now() -> Instant {
    #[cfg(test)]
    if let Some(now) = world::now() {
        return now;
    }
    Instant::now()
}

/// How long ago `instant` was.
pub(super) fn since(instant: Instant) -> Duration {
    now().saturating_duration_since(instant)
}

/// Now, for whoever wants to be told.
pub(super) fn time_of_day() -> SystemTime {
    #[cfg(test)]
    if let Some(now) = world::time_of_day() {
        return now;
    }
    SystemTime::now()
}

/// The next message of an inbox, waiting for it at most so long.
pub(super) fn next_message<T>(inbox: &Inbox<T>, timeout: Duration) -> Option<T> {
    #[cfg(test)]
    if world::is_there() {
        return world::next_message(inbox, timeout);
    }
    inbox.next_within(timeout)
}
