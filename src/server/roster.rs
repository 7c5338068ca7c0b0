//! What an engine serves, by the numbers that it knows it by, and what it takes to serve something
//! else.
//!
//! No socket is opened here and no time asked for: what is there and what is wanted in, a change
//! out. A service keeps its number and its pool as long as anything of it is there, its counters
//! included, so that one that comes back goes on counting.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::types;
use crate::engine::change::{Change, Emptied, Kept, Retired};
use crate::engine::listener::{ListenAddr, ListenerOptions};
use crate::engine::worker::PoolOptions;
use crate::metrics::{Metrics, ServiceMetrics};
use crate::reply::maintenance::Flag;
use crate::server::build::{self, Draft};

/// How long the counters of a service that is gone are told: a scraper is to see its last ones.
const REMEMBERED: Duration = Duration::from_secs(600);

/// How often to look whether the last connection of such a service has gone.
const LOOK_AFTER_GONE: Duration = Duration::from_secs(1);

/// The number of the pool of every service that has none of its own.
const COMMON_POOL: usize = 0;

/// What an engine serves.
#[derive(Clone, Debug, Default)]
pub(super) struct Roster {
    services: Vec<Entry>,

    /// How many there have ever been.
    pools: usize,
    listeners: Vec<Bound>,
}

/// A service, by its number.
#[derive(Clone, Debug)]
struct Entry {
    table: types::Service,

    /// The number of its pool.
    pool: usize,
    metrics: ServiceMetrics,

    /// Whether it is under maintenance; `None`: it never is.
    maintenance: Option<Arc<Flag>>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It is served.
    Served,
    /// Nobody is let in anymore, but some may be there.
    Gone,
    /// Nobody is there anymore, and its threads have ended.
    Empty { since: Instant },
    /// It has left nothing behind: the number is for another.
    Forgotten,
}

/// A listener, and who holds it.
#[derive(Clone, Debug)]
pub(super) struct Bound {
    /// The number of its service.
    service: usize,

    /// Where it was wanted,
    wanted: ListenAddr,

    /// and where it is: port 0 has become a real one, and a .socket unit may have decided.
    pub(super) addr: ListenAddr,
    pub(super) options: ListenerOptions,
    pub(super) keeper: Keeper,
}

impl Bound {
    /// Whether it is one itself, and not another that takes what comes here too.
    fn has_listener(&self) -> bool {
        self.keeper != Keeper::Covering
    }

    /// Its address if the kernel holds connections back until they speak.
    pub(super) fn deferring(&self) -> Option<SocketAddr> {
        match self.addr {
            ListenAddr::Tcp(addr) if !self.options.defer_accept.is_zero() => Some(addr),
            _ => None,
        }
    }
}

/// Who holds a listener, but us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keeper {
    /// Nobody.
    Nobody,
    /// systemd, since we have asked it to.
    Store,
    /// systemd, for a .socket unit.
    Unit,
    /// There is no listener: another one takes what comes here too.
    Covering,
}

/// A listener that is not there yet.
#[derive(Clone, Debug)]
pub(super) struct Missing {
    pub(super) service: usize,
    pub(super) service_name: String,
    pub(super) addr: ListenAddr,
    pub(super) options: ListenerOptions,
}

/// What is to be served next.
#[derive(Debug)]
pub(super) struct Next {
    pub(super) roster: Roster,

    /// All but the listeners to add.
    pub(super) change: Change,
    pub(super) missing: Vec<Missing>,

    /// Services that were not there before, by name.
    pub(super) newcomers: Vec<String>,

    /// Listeners that nobody wants anymore.
    pub(super) dropped: Vec<Bound>,
}

impl Roster {
    /// What it takes to serve `drafts` and nothing else. `common_pool` is for the first time.
    pub(super) fn next(
        &self,
        drafts: Vec<Draft>,
        common_pool: PoolOptions,
        metrics: &Metrics,
    ) -> Next {
        let mut next = Next {
            roster: self.clone(),
            change: Change::default(),
            missing: Vec::new(),
            newcomers: Vec::new(),
            dropped: Vec::new(),
        };
        let Roster {
            services,
            pools,
            listeners,
        } = &mut next.roster;
        if *pools == 0 {
            next.change.pools.push(common_pool);
            *pools = 1;
        }
        for entry in services.iter_mut() {
            if entry.state == State::Served {
                entry.state = State::Gone;
            }
        }
        let mut before = std::mem::take(listeners);
        for draft in drafts {
            let number = next.serve(draft, metrics);
            next.listen(number, &mut before);
        }
        next.uncover();
        next.retire(before);
        next
    }

    /// The name of each listener's service, and where it is.
    pub(super) fn listeners(&self) -> impl Iterator<Item = (&str, &Bound)> {
        let name = |bound: &Bound| self.services[bound.service].table.name.as_str();
        self.listeners.iter().map(move |bound| (name(bound), bound))
    }

    /// Where nobody but us listens.
    pub(super) fn ours_alone(&self) -> Vec<&Bound> {
        let alone = |bound: &&Bound| bound.keeper == Keeper::Nobody;
        self.listeners.iter().filter(alone).collect()
    }

    /// Those of them where the kernel holds connections back until they speak.
    pub(super) fn deferring(&self) -> Vec<SocketAddr> {
        let ours = self.ours_alone().into_iter();
        ours.filter_map(Bound::deferring).collect()
    }

    /// Adds a listener that was missing.
    pub(super) fn add(&mut self, missing: &Missing, addr: ListenAddr, keeper: Keeper) {
        self.listeners.push(Bound {
            service: missing.service,
            wanted: missing.addr.clone(),
            addr,
            options: missing.options,
            keeper,
        });
    }

    /// The workers of its own that each service has which is there.
    pub(super) fn threads(&self) -> HashMap<String, usize> {
        let there = |entry: &&Entry| matches!(entry.state, State::Served | State::Gone);
        let there = self.services.iter().filter(there);
        there
            .map(|entry| (entry.table.name.clone(), entry.table.threads))
            .collect()
    }

    /// What is served and may be under maintenance.
    pub(super) fn maintenance(&self) -> impl Iterator<Item = (&types::Service, &Arc<Flag>)> {
        let served = |entry: &&Entry| entry.state == State::Served;
        let served = self.services.iter().filter(served);
        served.filter_map(|entry| Some((&entry.table, entry.maintenance.as_ref()?)))
    }

    /// How many services are served.
    pub(super) fn count(&self) -> usize {
        let served = |entry: &&Entry| entry.state == State::Served;
        self.services.iter().filter(served).count()
    }

    /// Looks after the services that are gone: the threads of one end with its last connection, and
    /// its counters are forgotten a while after that.
    pub(super) fn look_after_gone(&mut self, now: Instant) -> Left {
        let mut left = Left::default();
        for (number, entry) in self.services.iter_mut().enumerate() {
            if entry.state == State::Gone && entry.metrics.open.get() == 0 {
                entry.state = State::Empty { since: now };
                left.emptied.push(Emptied {
                    service: number,
                    own_pool: Some(entry.pool).filter(|pool| *pool != COMMON_POOL),
                });
            }
            let wait = match entry.state {
                State::Gone => LOOK_AFTER_GONE,
                State::Empty { since } => {
                    REMEMBERED.saturating_sub(now.saturating_duration_since(since))
                }
                State::Served | State::Forgotten => continue,
            };
            if wait.is_zero() {
                entry.state = State::Forgotten;
                left.forgotten.push(entry.table.name.clone());
            } else {
                left.again = Some(left.again.map_or(wait, |again| again.min(wait)));
            }
        }
        left
    }

    /// The name of a service.
    pub(super) fn name(&self, number: usize) -> &str {
        &self.services[number].table.name
    }
}

/// What is left to do of services that are gone.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) emptied: Vec<Emptied>,

    /// Names whose counters are to go.
    pub(super) forgotten: Vec<String>,

    /// When to look again, if there will be anything.
    pub(super) again: Option<Duration>,
}

impl Next {
    /// The number of a service, new or not.
    fn serve(&mut self, draft: Draft, metrics: &Metrics) -> usize {
        let services = &mut self.roster.services;
        let name = &draft.table.name;
        let known = services
            .iter()
            .position(|entry| entry.state != State::Forgotten && entry.table.name == *name);
        // Of one that was empty, no thread is left.
        let there = known.filter(|number| services[*number].state == State::Gone);
        if let Some(number) = there
            && services[number].table == draft.table
        {
            services[number].state = State::Served;
            return number;
        }
        let pool = match (there, draft.own_pool) {
            (Some(number), _) => services[number].pool,
            (None, None) => COMMON_POOL,
            (None, Some(own)) => {
                self.change.pools.push(own);
                self.roster.pools += 1;
                self.roster.pools - 1
            }
        };
        let free = || {
            let is_free = |entry: &Entry| entry.state == State::Forgotten;
            services.iter().position(is_free)
        };
        let number = known.or_else(free).unwrap_or(services.len());
        if known.is_none() {
            self.newcomers.push(name.clone());
        }
        let service = build::service(&draft.table, draft.replies, pool, metrics);
        let maintenance = service.exchange.replies.maintenance.as_ref();
        let entry = Entry {
            table: draft.table,
            pool,
            metrics: service.metrics.clone(),
            maintenance: maintenance.map(|maintenance| Arc::clone(&maintenance.flag)),
            state: State::Served,
        };
        if number == services.len() {
            services.push(entry);
        } else {
            services[number] = entry;
        }
        self.change.services.push((number, Arc::new(service)));
        number
    }

    /// Finds the listeners of a service among those that were there before.
    fn listen(&mut self, number: usize, before: &mut Vec<Bound>) {
        let table = &self.roster.services[number].table;
        let options = build::listener_options(table);
        for wanted in table.listen.iter().map(build::listen_addr) {
            let is_wanted = |bound: &Bound| {
                let is_same = bound.wanted == wanted;
                is_same && (bound.service == number || !is_any_port(&wanted))
            };
            let is_there = |bound: &Bound| bound.has_listener() && bound.addr == wanted;
            let found =
                (before.iter().position(is_wanted)).or_else(|| before.iter().position(is_there));
            let Some(found) = found else {
                self.missing.push(Missing {
                    service: number,
                    service_name: table.name.clone(),
                    addr: wanted,
                    options,
                });
                continue;
            };
            let mut bound = before.remove(found);
            if (bound.service, bound.options) != (number, options) && bound.has_listener() {
                self.change.kept.push(Kept {
                    addr: bound.addr.clone(),
                    service: number,
                    options,
                });
            }
            bound.service = number;
            bound.wanted = wanted;
            bound.options = options;
            self.roster.listeners.push(bound);
        }
    }

    /// What another listener took too is missing, if that one goes or serves somebody else.
    fn uncover(&mut self) {
        let listeners = std::mem::take(&mut self.roster.listeners);
        let is_covered = |bound: &Bound| {
            listeners.iter().any(|other| {
                let is_it = other.has_listener() && other.addr == bound.addr;
                is_it && other.service == bound.service
            })
        };
        let (there, missing): (Vec<_>, Vec<_>) = listeners
            .iter()
            .cloned()
            .partition(|bound| bound.has_listener() || is_covered(bound));
        self.roster.listeners = there;
        self.missing
            .extend(missing.into_iter().map(|bound| Missing {
                service: bound.service,
                service_name: self.roster.services[bound.service].table.name.clone(),
                addr: bound.wanted,
                options: bound.options,
            }));
    }

    fn retire(&mut self, left: Vec<Bound>) {
        for bound in left {
            if bound.has_listener() {
                self.change.retired.push(Retired {
                    addr: bound.addr.clone(),
                    is_shared: bound.keeper == Keeper::Unit,
                });
            }
            self.dropped.push(bound);
        }
    }
}

/// Whether the kernel is to choose the port: then who wants the same is not the same.
fn is_any_port(wanted: &ListenAddr) -> bool {
    matches!(wanted, ListenAddr::Tcp(addr) if addr.port() == 0)
}

#[cfg(test)]
mod tests;
