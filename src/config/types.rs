//! The tables of `server.toml`, one struct each, with their defaults.
//!
//! A field is named like its key, without the unit where its type says it: `grace_period` is
//! `grace_period_seconds`. Sizes are bytes. 0 for "chosen" or "no limit" stays 0 here: what it
//! stands for depends on the machine, which is not this module's to look at.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::config::address::Address;
use crate::config::duration::{PositiveSeconds, Seconds, UserTimeout, WholeSeconds};
use crate::config::framing::{REQUEST_BYTES_MAX, Read};
use crate::config::maintenance::Maintenance;
use crate::config::network::Networks;
use crate::config::rate::Rate;
use crate::config::reply::{self, Notice, Reply};
use crate::config::schema;
use crate::config::value::{self, Account, Name, OneOrMore, Whole};

/// `[server]`: the process as a whole.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// The longest drain.
    #[serde(rename = "grace_period_seconds", with = "Seconds")]
    pub grace_period: Duration,

    /// Not ready, still accepting: time for a load balancer to notice.
    #[serde(rename = "drain_delay_seconds", with = "Seconds")]
    pub drain_delay: Duration,

    /// Connections accepted and not yet closed; 0: what descriptors allow.
    #[serde(with = "Whole::<0, 1_000_000>")]
    pub max_connections: usize,

    /// Whom to become after binding, when started as root. Empty or left out: nobody.
    #[serde(with = "Account")]
    pub user: Option<String>,

    /// Its group, only together with `user`. Empty or left out: the user's own.
    #[serde(with = "Account")]
    pub group: Option<String>,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            grace_period: Duration::from_secs(10),
            drain_delay: Duration::ZERO,
            max_connections: 0,
            user: None,
            group: None,
        }
    }
}

/// `[workers]`: the pool of every service that has none of its own.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Workers {
    /// Threads; 0: chosen from the machine's CPUs.
    #[serde(with = "Whole::<0, 512>")]
    pub threads: usize,
}

/// `[queue]`: what is ready and waits for a worker.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Queue {
    /// New connections that may wait; one more is answered busy, if its service asks for more than its
    /// share of the workers.
    #[serde(with = "Whole::<1, 1_000_000>")]
    pub capacity: usize,

    /// The aim under overload: if nobody waits less, who has waited twice as long is answered busy,
    /// where that is cheaper than a reply. Zero: only the bound counts.
    #[serde(rename = "target_wait_seconds", with = "Seconds")]
    pub target_wait: Duration,

    /// The bound: a new connection that waited longer when a worker gets it is answered busy. Never
    /// zero.
    #[serde(rename = "max_wait_seconds", with = "PositiveSeconds")]
    pub max_wait: Duration,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            capacity: 1024,
            target_wait: Duration::from_millis(10),
            max_wait: Duration::from_millis(500),
        }
    }
}

/// `[admin]`: the admin listener.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// At least one.
    #[serde(with = "OneOrMore")]
    pub listen: Vec<Address>,

    /// Whether `POST /-/reload` does anything.
    pub reload: bool,

    /// Peers that may ask; empty: everyone.
    #[serde(with = "Networks")]
    pub allow: Vec<IpNet>,
}

impl Default for Admin {
    fn default() -> Self {
        let loopback = Ipv4Addr::new(127, 0, 0, 0);
        Self {
            listen: vec![Address::Tcp(SocketAddr::from(([127, 0, 0, 1], 7150)))],
            reload: false,
            allow: vec![
                IpNet::new_assert(loopback.into(), 8),
                IpNet::new_assert(Ipv6Addr::LOCALHOST.into(), 128),
            ],
        }
    }
}

/// `[[service]]`: what is offered on one or more addresses.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
#[schemars(transform = schema::required)]
pub struct Service {
    /// Unique, 1 to 63 of `a-z`, `0-9`, `_`, `-`; the label `service`. Required.
    #[serde(with = "Name")]
    pub name: String,

    /// At least one. Required.
    #[serde(with = "OneOrMore")]
    pub listen: Vec<Address>,

    /// The kernel's queue of each listener, in connections; clamped by `net.core.somaxconn`.
    #[serde(with = "Whole::<1, 65_535>")]
    pub backlog: u16,

    /// How a request ends.
    pub read: Read,

    /// Bytes the framing may hold; of an HTTP request, its body.
    #[serde(with = "Whole::<1, REQUEST_BYTES_MAX>")]
    pub max_request_bytes: usize,

    /// Bytes of an HTTP request's head.
    #[serde(with = "Whole::<128, 1_048_576>")]
    pub max_head_bytes: usize,

    /// Total, from accept to the complete request. Never zero.
    #[serde(rename = "request_timeout_seconds", with = "PositiveSeconds")]
    pub request_timeout: Duration,

    /// Total, plus the reply's size by `min_bytes_per_second`. Never zero.
    #[serde(rename = "reply_timeout_seconds", with = "PositiveSeconds")]
    pub reply_timeout: Duration,

    /// The slowest peer that gets a long reply to its end. Never zero.
    #[serde(with = "Whole::<1, 1_073_741_824>")]
    pub min_bytes_per_second: u64,

    /// What a peer means that ended its side.
    pub half_close: HalfClose,

    /// After the reply: how long to wait for the peer's end. At most the total.
    #[serde(rename = "linger_idle_seconds", with = "Seconds")]
    pub linger_idle: Duration,

    /// And at most, whatever the peer does.
    #[serde(rename = "linger_total_seconds", with = "Seconds")]
    pub linger_total: Duration,

    /// Bytes discarded while lingering.
    #[serde(with = "Whole::<0, 1_073_741_824>")]
    pub linger_max_bytes: u64,

    /// `TCP_DEFER_ACCEPT`, whole seconds; zero: off. Without meaning where nothing is read.
    #[serde(rename = "defer_accept_seconds", with = "WholeSeconds::<3_600>")]
    pub defer_accept: Duration,

    /// `TCP_KEEPIDLE`, whole seconds, at most 32767 (tcp(7)); zero: no keepalive.
    #[serde(rename = "keepalive_seconds", with = "WholeSeconds::<32_767>")]
    pub keepalive: Duration,

    /// `TCP_USER_TIMEOUT`: how long unacknowledged data may pin an orphan; zero: the system's.
    #[serde(rename = "user_timeout_seconds", with = "UserTimeout")]
    pub user_timeout: Duration,

    /// Workers of its own; 0: the common pool.
    #[serde(with = "Whole::<0, 512>")]
    pub threads: usize,

    /// Connections accepted and not yet closed; 0: no limit but the server's.
    #[serde(with = "Whole::<0, 1_000_000>")]
    pub max_connections: usize,

    /// Exchanges at a time with one source, an IPv4 address or an IPv6 /64; 0: no limit.
    #[serde(with = "Whole::<0, 1_000_000>")]
    pub max_connections_per_source: usize,

    /// New connections a second from one source, a second's worth at once; 0: no limit.
    #[serde(with = "Rate")]
    pub max_rate_per_source: f64,

    /// Peers that may connect; empty: everyone.
    #[serde(with = "Networks")]
    pub allow: Vec<IpNet>,

    /// Peers that may not, even if `allow` has them.
    #[serde(with = "Networks")]
    pub deny: Vec<IpNet>,

    /// The answer. Required.
    pub reply: Reply,

    /// Said when the queue or a limit is full.
    #[serde(deserialize_with = "reply::busy")]
    pub busy: Notice,

    /// Said to a peer that `allow` or `deny` keeps out.
    #[serde(deserialize_with = "reply::denied")]
    pub denied: Notice,

    /// Said when the reply could not be made.
    #[serde(deserialize_with = "reply::failed")]
    pub failed: Notice,

    /// Said when the reply was not made in time.
    #[serde(deserialize_with = "reply::timed_out")]
    pub timed_out: Notice,

    /// Said instead of the reply while a file exists. Left out: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Maintenance")]
    pub maintenance: Option<Maintenance>,
}

impl Service {
    /// The keys without a default: a file that lacks one is refused.
    pub const REQUIRED: [&'static str; 3] = ["name", "listen", "reply"];

    /// What is said instead of the reply, each with its key.
    #[must_use]
    pub fn notices(&self) -> Vec<(&'static str, &Notice)> {
        let maintenance = self.maintenance.as_ref();
        let mut notices = vec![
            ("busy", &self.busy),
            ("denied", &self.denied),
            ("failed", &self.failed),
            ("timed_out", &self.timed_out),
        ];
        notices.extend(maintenance.map(|said| ("maintenance", &said.notice)));
        notices
    }
}

/// The default of every key that has one; [`REQUIRED`](Service::REQUIRED) ones are empty.
impl Default for Service {
    fn default() -> Self {
        Self {
            name: String::new(),
            listen: Vec::new(),
            backlog: 4096,
            read: Read::Line,
            max_request_bytes: 4096,
            max_head_bytes: 16_384,
            request_timeout: Duration::from_secs(5),
            reply_timeout: Duration::from_secs(30),
            min_bytes_per_second: 1024,
            half_close: HalfClose::Reply,
            linger_idle: Duration::from_secs(2),
            linger_total: Duration::from_secs(10),
            linger_max_bytes: 262_144,
            defer_accept: Duration::from_secs(1),
            keepalive: Duration::ZERO,
            user_timeout: Duration::from_secs(10),
            threads: 0,
            max_connections: 0,
            max_connections_per_source: 0,
            max_rate_per_source: 0.0,
            allow: Vec::new(),
            deny: Vec::new(),
            reply: Reply::default(),
            busy: Notice::busy(),
            denied: Notice::denied(),
            failed: Notice::failed(),
            timed_out: Notice::timed_out(),
            maintenance: None,
        }
    }
}

/// What a peer means that ended its side of the connection before the reply.
#[derive(Clone, Copy, Debug, Default, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HalfClose {
    /// It has said all, and waits for the reply: `nc`, `printf | socat`.
    #[default]
    Reply,
    /// It has left: nobody reads the reply, so none is made.
    Cancel,
}

impl<'de> Deserialize<'de> for HalfClose {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const WORDS: &[(&str, HalfClose)] =
            &[("reply", HalfClose::Reply), ("cancel", HalfClose::Cancel)];
        value::word(deserializer, WORDS)
    }
}
