//! Sockets, threads and time around the exchange: the trip of a connection.
//!
//! One acceptor thread owns the listeners, all that waits, and every count; workers advance what
//! is ready. An engine knows nothing of configuration or signals: a server may have several.

mod acceptor;
pub mod access_log;
pub mod change;
mod clock;
mod connection;
mod deadlines;
mod deafness;
pub mod discipline;
mod home;
pub mod listener;
pub mod maker;
mod poller;
mod queue;
pub mod room;
pub mod service;
mod shares;
mod socket;
mod sockopt;
pub mod solo;
pub mod sources;
mod tally;
mod token;
mod transport;
pub mod worker;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, TryRecvError};

use crate::engine::acceptor::Acceptor;
use crate::engine::access_log::AccessLog;
use crate::engine::change::Change;
use crate::engine::home::{Home, Order};
use crate::engine::worker::Pool;
use crate::inbox::Outbox;
use crate::metrics::Metrics;

/// What an engine is made of.
#[derive(Debug)]
pub struct EngineOptions {
    /// The name of the acceptor's thread; at most 15 bytes, or Linux cuts it.
    pub acceptor_name: &'static str,

    /// How many connections.
    pub limits: Limits,

    /// Gets a record of each exchange; `None`: nobody wants to know.
    pub access_log: Option<AccessLog>,

    /// What to serve at first: the difference to nothing.
    pub change: Change,
}

/// How many connections an engine holds, over all services.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Open at a time.
    pub max_connections: usize,

    /// Turned away and given time to read why.
    pub max_turned_away: usize,
}

/// A running engine.
#[derive(Debug)]
pub struct Engine {
    outbox: Outbox<Home>,
    ended: Receiver<io::Result<Report>>,
    metrics: Arc<Metrics>,
    max_connections: usize,

    /// How many pools it has that are not closed.
    pools: usize,
}

/// A change whose threads run already. Dropped, they end.
#[derive(Debug)]
pub struct Prepared {
    change: Change,
    pools: Vec<Pool>,
}

/// On its way through the acceptor and every pool's queue.
#[derive(Debug)]
pub struct Probe {
    back: Receiver<()>,

    /// Pools that it has not come through yet.
    missing: usize,
}

/// What a drain has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Connections that were open when it began, or came while it went on.
    pub drained: usize,

    /// Those of them that were unfinished at its end.
    pub abandoned: usize,
}

/// Messages that are nobody's connection: orders, and answers nobody waits for anymore.
const OTHER_MESSAGES: usize = 64;

/// How long the workers may take to see that there is nothing to do anymore.
const WORKERS_END: Duration = Duration::from_secs(1);

impl Engine {
    /// Starts the threads: workers, makers, the acceptor.
    ///
    /// # Errors
    /// * out of descriptors, threads or memory
    pub fn start(options: EngineOptions, metrics: &Arc<Metrics>) -> io::Result<Self> {
        let EngineOptions {
            acceptor_name,
            limits,
            access_log,
            change,
        } = options;
        let max_connections = limits.max_connections;
        let (outbox, inbox) = crate::inbox::inbox(2 * max_connections + OTHER_MESSAGES)?;
        let (ended_tx, ended_rx) = crossbeam_channel::bounded(1);
        let engine = Self {
            outbox,
            ended: ended_rx,
            metrics: Arc::clone(metrics),
            max_connections,
            pools: change.pools.len(),
        };
        let Prepared { change, pools } = engine.prepare(change)?;
        let mut acceptor = Acceptor::new(inbox, limits, access_log, Arc::clone(metrics))?;
        acceptor.change(change, pools)?;

        thread::Builder::new()
            .name(acceptor_name.to_owned())
            .spawn(move || {
                let report = acceptor.run();
                for workers in acceptor.dismiss_workers() {
                    // The end of the last worker disconnects; one that is stuck is left behind.
                    let _ended = workers.recv_timeout(WORKERS_END);
                }
                // Nobody listens where a start failed half-way.
                let _told = ended_tx.send(report);
            })?;
        Ok(engine)
    }

    /// Serves something else from now on. Back when that is so.
    ///
    /// # Errors
    /// * out of descriptors, threads or memory; then nothing has changed
    pub fn change(&mut self, change: Change) -> io::Result<()> {
        let prepared = self.prepare(change)?;
        self.take(prepared)
    }

    /// Starts the threads of a change.
    ///
    /// # Errors
    /// * out of threads or memory; then nothing has changed
    pub fn prepare(&self, change: Change) -> io::Result<Prepared> {
        let pools = self.start_threads(&change);
        if pools.is_err() {
            self.forget_pools(&pool_names(&change));
        }
        Ok(Prepared {
            pools: pools?,
            change,
        })
    }

    /// Takes a change that is prepared. Back when that is so.
    ///
    /// # Errors
    /// * out of descriptors or memory, for listeners; then nothing has changed
    pub fn take(&mut self, prepared: Prepared) -> io::Result<()> {
        let names = pool_names(&prepared.change);
        let emptied = prepared.change.emptied.iter();
        let closed_pools = emptied.filter_map(|emptied| emptied.own_pool).count();
        let (done_tx, done_rx) = crossbeam_channel::bounded(1);
        self.order(Order::Change(Box::new(prepared), done_tx));
        let done = done_rx
            .recv()
            .unwrap_or_else(|_| Err(io::Error::other("the acceptor has ended")));
        match &done {
            Ok(()) => self.pools = self.pools + names.len() - closed_pools,
            Err(_) => self.forget_pools(&names),
        }
        done
    }

    /// Closes the listeners that a change has retired, as soon as the kernel has nothing queued
    /// for them. What is returned is disconnected when that is done.
    #[must_use]
    pub fn close_retired(&self) -> Receiver<Infallible> {
        let (done_tx, done_rx) = crossbeam_channel::bounded(0);
        self.order(Order::CloseRetired(done_tx));
        done_rx
    }

    /// Sends a probe. At most one may be on its way.
    #[must_use]
    pub fn probe(&self) -> Probe {
        let missing = self.pools;
        let (back_tx, back) = crossbeam_channel::bounded(missing);
        self.order(Order::Probe(back_tx));
        Probe { back, missing }
    }

    /// Lets nobody new in, and accepts who was on the way. Silent connections are closed a second
    /// after their accept, half-sent requests a second from now.
    pub fn stop_newcomers(&self) {
        self.order(Order::StopNewcomers);
    }

    /// Closes the listeners; the engine ends when nothing is open, or at `until`.
    pub fn drain(&self, until: Instant) {
        self.order(Order::Drain { until });
    }

    /// Gets the report when the engine has ended; disconnected if it died.
    #[must_use]
    pub fn ended(&self) -> &Receiver<io::Result<Report>> {
        &self.ended
    }

    fn order(&self, order: Order) {
        // An engine that has ended needs no orders; `ended` says so.
        let _sent = self.outbox.send(Home::Order(order));
    }

    fn forget_pools(&self, names: &[String]) {
        for name in names {
            self.metrics.forget_pool(name);
        }
    }

    fn start_threads(&self, change: &Change) -> io::Result<Vec<Pool>> {
        for (number, service) in &change.services {
            let Some(maker) = &service.maker else {
                continue;
            };
            let (number, outbox) = (*number, self.outbox.clone());
            let answer = move |token, made| outbox.send(Home::Answer(number, token, made)).is_ok();
            maker.start(&service.exchange.service, self.max_connections, answer)?;
        }
        let start = |pool| worker::start(pool, self.max_connections, &self.outbox, &self.metrics);
        let pools: Result<Vec<_>, _> = change.pools.iter().map(start).collect();
        pools.map_err(io::Error::other)
    }
}

/// The pools that a change begins with.
fn pool_names(change: &Change) -> Vec<String> {
    change.pools.iter().map(|pool| pool.name.clone()).collect()
}

impl Probe {
    /// Whether it has come through all.
    pub fn is_back(&mut self) -> bool {
        while self.missing > 0 {
            match self.back.try_recv() {
                Ok(()) => self.missing -= 1,
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return false,
            }
        }
        true
    }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
