//! What an engine is to serve from now on, while it runs.

use std::sync::Arc;

use crate::engine::listener::{ListenAddr, Listener, ListenerOptions};
use crate::engine::service::Service;
use crate::engine::worker::PoolOptions;

/// The difference to what an engine serves. Taken as a whole, or not at all.
///
/// A service that isn't named stays as it is; one that is gone just has no listener anymore. A
/// connection keeps the service that it was accepted with.
#[derive(Debug, Default)]
pub struct Change {
    /// New services, and those that take the place of another, each with its number. New numbers
    /// follow on the last one, in order.
    pub services: Vec<(usize, Arc<Service>)>,

    /// New pools. Their numbers follow on the last one.
    pub pools: Vec<PoolOptions>,

    /// Services that have no listener and no connection anymore: their threads end.
    pub emptied: Vec<Emptied>,

    /// New listeners, each with the number of its service.
    pub added: Vec<(Listener, usize)>,

    /// Listeners that stay, queue and all, with another service or other options.
    pub kept: Vec<Kept>,

    /// Listeners nobody wants anymore. They let nobody new in, and go on accepting who was on the
    /// way until they are closed.
    pub retired: Vec<Retired>,
}

/// A service that has nothing left to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Emptied {
    /// Its number.
    pub service: usize,

    /// The number of the pool of its own, if it has one.
    pub own_pool: Option<usize>,
}

/// A listener that stays.
#[derive(Debug)]
pub struct Kept {
    /// Which one: where it listens.
    pub addr: ListenAddr,

    /// The number of its service from now on.
    pub service: usize,

    /// Its options from now on.
    pub options: ListenerOptions,
}

/// A listener that goes.
#[derive(Debug)]
pub struct Retired {
    /// Which one: where it listens.
    pub addr: ListenAddr,

    /// Whether somebody else holds it too. Then it is closed at once, and what is queued is for
    /// the other one.
    pub is_shared: bool,
}
