//! A service as the engine sees it.

use std::time::Duration;

use ipnet::IpNet;

use crate::engine::maker::{self, Maker};
use crate::engine::sources::SourceLimits;
use crate::engine::token::Token;
use crate::exchange::Options;
use crate::metrics::ServiceMetrics;
use crate::peer::Peer;
use crate::reply::Job;

/// One service: what its connections have in common.
#[derive(Debug)]
pub struct Service {
    /// What an exchange is, name and replies included.
    pub exchange: Options,

    /// How long things may take.
    pub timeouts: Timeouts,

    /// How long, and how much, to listen after the reply.
    pub linger: Linger,

    /// Who may ask.
    pub access: Access,

    /// How many connections may be open; 0: no limit but the server's.
    pub max_connections: usize,

    /// What one source may have.
    pub source_limits: SourceLimits,

    /// The number of its pool in the engine.
    pub pool: usize,

    /// Makes replies that come later; `None` if none do.
    pub maker: Option<Maker>,

    /// Its counters.
    pub metrics: ServiceMetrics,
}

/// How long an exchange may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// From accept to the complete request.
    pub request: Duration,

    /// From there to the last byte of the reply, and more for a large one:
    pub reply: Duration,

    /// its size divided by this.
    pub min_bytes_per_second: u64,
}

/// Bounds of lingering: waiting for the peer's end, throwing away what it sends.
#[derive(Clone, Copy, Debug)]
pub struct Linger {
    /// Without a byte.
    pub idle: Duration,

    /// In all.
    pub total: Duration,

    /// Bytes thrown away.
    pub max_bytes: u64,
}

/// Who may ask, by address. A unix peer always may: the path's permissions decide.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Empty: everyone.
    pub allow: Vec<IpNet>,

    /// Beats `allow`.
    pub deny: Vec<IpNet>,
}

impl Service {
    /// Who has submitted a job waits no more for what comes of it.
    pub(super) fn leave(&self, token: Token) {
        if let Some(maker) = &self.maker {
            maker.leave(token);
        }
    }

    /// Takes a job that nobody wants anymore.
    pub(super) fn discard(&self, job: Box<Job>) {
        match &self.maker {
            Some(maker) => maker.discard(job),
            // Made for a service that this one has taken the place of.
            None => maker::drop_elsewhere(job),
        }
    }
}

impl Access {
    /// Whether `peer` may ask.
    #[must_use]
    pub fn admits(&self, peer: Peer) -> bool {
        let Some(ip) = peer.ip() else { return true };
        let has = |networks: &[IpNet]| networks.iter().any(|network| network.contains(&ip));
        (self.allow.is_empty() || has(&self.allow)) && !has(&self.deny)
    }
}

impl Timeouts {
    /// What `bytes` of a reply add to its deadline.
    #[must_use]
    pub fn for_bytes(&self, bytes: u64) -> Duration {
        match self.min_bytes_per_second {
            0 => Duration::ZERO,
            rate => Duration::from_secs(bytes / rate),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    #[track_caller]
    fn check(allow: &[&str], deny: &[&str], peer: &str, expected: bool) {
        let networks = |texts: &[&str]| {
            texts
                .iter()
                .map(|text| text.parse().expect("a network"))
                .collect()
        };
        let access = Access {
            allow: networks(allow),
            deny: networks(deny),
        };
        let peer: SocketAddr = peer.parse().expect("an address");
        assert_eq!(access.admits(Peer::from(peer)), expected);
    }

    #[test]
    fn deny_beats_allow_and_an_empty_allow_is_everyone() {
        check(&[], &[], "192.0.2.7:1", true);
        check(&["192.0.2.0/24"], &[], "192.0.2.7:1", true);
        check(&["192.0.2.0/24"], &[], "198.51.100.7:1", false);
        check(&["192.0.2.0/24"], &["192.0.2.7/32"], "192.0.2.7:1", false);
        check(&["192.0.2.0/24"], &[], "[::ffff:192.0.2.7]:1", true);
        check(&["2001:db8::/32"], &[], "[2001:db8::7]:1", true);
    }
}
