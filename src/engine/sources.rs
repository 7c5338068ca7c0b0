//! Where connections come from, for the limits of a source: an IPv4 address, or the /64 of an IPv6
//! one, which is what a single customer is given (RFC 6177).
//!
//! Live exchanges are counted exactly: there are never more than connections. How often a source
//! comes is told by a table of fixed size: it forgets who has long been quiet, and if it is full the
//! one in the same set that it would forget first. So a million sources cost what one costs, and
//! nobody is turned away because of others.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::engine::room::Reason;
use crate::peer::Peer;

/// Sets of the table, and sources in each: half a MiB.
const SETS: usize = 4096;
const WAYS: usize = 8;

/// What one source may have of a service.
#[derive(Clone, Copy, Debug, Default)]
pub struct SourceLimits {
    /// Exchanges at a time; 0: no limit.
    pub max_connections: usize,

    /// New connections; `None`: no limit.
    pub rate: Option<Rate>,
}

/// How often one source may come: the generic cell rate algorithm (ITU-T I.371), so even a source
/// that always comes a little too often gets in at the rate, and no window has an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Between two connections, in the long run.
    interval: Duration,

    /// How much earlier than that one may come.
    tolerance: Duration,
}

impl Rate {
    /// So many connections a second; as many at once, but at least one. `None` for 0.
    #[must_use]
    pub fn per_second(rate: f64) -> Option<Self> {
        let interval = Duration::try_from_secs_f64(1.0 / rate).ok()?;
        let tolerance = Duration::from_secs(1).saturating_sub(interval);
        Some(Self {
            interval,
            tolerance,
        })
    }
}

/// A source, as one service sees it.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
struct Key {
    service: usize,
    is_v6: bool,

    /// The address, or its first 64 bits.
    network: u64,
}

impl Key {
    /// `None` for a unix peer: who may enter the folder is one of us.
    fn new(service: usize, peer: Peer) -> Option<Self> {
        let (is_v6, network) = match peer.ip()? {
            IpAddr::V4(addr) => (false, u64::from(addr.to_bits())),
            IpAddr::V6(addr) => {
                let [a, b, c, d, ..] = addr.segments().map(u64::from);
                (true, a << 48 | b << 32 | c << 16 | d)
            }
        };
        Some(Self {
            service,
            is_v6,
            network,
        })
    }
}

/// When a source would be expected, had it always come at its rate.
#[derive(Clone, Copy, Debug, Default)]
struct Expected {
    /// The hash of the source.
    hash: u64,

    /// In nanoseconds since the table began; in the past, the source may as well be unknown.
    at: u64,
}

/// What is known of sources.
#[derive(Debug)]
pub(super) struct Sources {
    begun_at: Instant,
    max_connections: usize,
    hasher: RandomState,

    /// Live exchanges.
    live: HashMap<Key, usize>,

    /// Empty until a service has a rate.
    table: Box<[[Expected; WAYS]]>,
}

impl Sources {
    /// Nobody known, for `max_connections` at a time.
    pub(super) fn new(now: Instant, max_connections: usize) -> Self {
        Self {
            begun_at: now,
            max_connections,
            hasher: RandomState::new(),
            live: HashMap::new(),
            table: Box::default(),
        }
    }

    /// Makes room for what a service's limits take to be kept, so that no connection has to.
    pub(super) fn serve(&mut self, limits: &SourceLimits) {
        if limits.max_connections > 0 {
            // Twice: then those that have gone are swept up in place.
            self.live.reserve(2 * self.max_connections);
        }
        if limits.rate.is_some() && self.table.is_empty() {
            self.table = vec![[Expected::default(); WAYS]; SETS].into();
        }
    }

    /// Whether one more connection from there keeps to the limits; it counts against the rate then.
    pub(super) fn admit(
        &mut self,
        service: usize,
        limits: &SourceLimits,
        peer: Peer,
        now: Instant,
    ) -> Result<(), Reason> {
        if limits.max_connections == 0 && limits.rate.is_none() {
            return Ok(());
        }
        let Some(key) = Key::new(service, peer) else {
            return Ok(());
        };
        let live = || self.live.get(&key).copied().unwrap_or_default();
        if limits.max_connections > 0 && live() >= limits.max_connections {
            return Err(Reason::PerSource);
        }
        match limits.rate {
            Some(rate) if !self.comes(key, &rate, now) => Err(Reason::Rate),
            _ => Ok(()),
        }
    }

    /// An exchange begins. To be [`left`](Self::left) once.
    pub(super) fn entered(&mut self, service: usize, limits: &SourceLimits, peer: Peer) {
        if limits.max_connections > 0
            && let Some(key) = Key::new(service, peer)
        {
            *self.live.entry(key).or_default() += 1;
        }
    }

    /// An exchange is over, with the limits that it began with.
    pub(super) fn left(&mut self, service: usize, limits: &SourceLimits, peer: Peer) {
        if limits.max_connections > 0
            && let Some(key) = Key::new(service, peer)
            && let Some(count) = self.live.get_mut(&key)
        {
            *count -= 1;
            if *count == 0 {
                self.live.remove(&key);
            }
        }
    }

    /// Exchanges that are counted.
    #[cfg(test)]
    pub(super) fn live(&self) -> usize {
        self.live.values().sum()
    }

    /// Whether it may come now. Else it is as if it hadn't.
    fn comes(&mut self, key: Key, rate: &Rate, now: Instant) -> bool {
        let hash = self.hasher.hash_one(key);
        let now = nanoseconds(now.saturating_duration_since(self.begun_at));
        let sets = self.table.len() as u64;
        let Some(set) = hash.checked_rem(sets).and_then(|set| {
            let index = usize::try_from(set).ok()?;
            self.table.get_mut(index)
        }) else {
            return true;
        };
        let known = set.iter().position(|source| source.hash == hash);
        let index = known.unwrap_or_else(|| first_to_forget(set));
        let source = &mut set[index];
        // It may have been noted at a lower rate: then it lies further ahead than this one allows.
        let latest = now.saturating_add(nanoseconds(rate.interval + rate.tolerance));
        let expected = match known {
            Some(_) => source.at.min(latest),
            None => 0,
        };
        if known.is_some() {
            source.at = expected;
        }
        if expected > now.saturating_add(nanoseconds(rate.tolerance)) {
            return false;
        }
        *source = Expected {
            hash,
            at: expected.max(now).saturating_add(nanoseconds(rate.interval)),
        };
        true
    }
}

fn first_to_forget(set: &[Expected; WAYS]) -> usize {
    let soonest = set.iter().enumerate().min_by_key(|(_, source)| source.at);
    soonest.map_or(0, |(index, _)| index)
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
