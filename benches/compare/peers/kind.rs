//! Who can take part, and what each can be asked for.

use std::net::SocketAddr;

use super::super::exchange::{Reply, Target};

const REQUEST: &str = "ping\n";
const HTTP_REQUEST: &str = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

/// What everyone says: a word and the end of a line. 12 bytes.
pub(super) const WORD: &str = "hello-world";

/// One of those that are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    FloorPlain,
    FloorSafe,
    FloorBest,
    NginxStream,
    Xinetd,
    Tokio,
    Replyd,
    ReplydUndeferred,
    NginxHttp,
    Haproxy,
    Hyper,
    ReplydHttp,
    ReplydHttpUndeferred,
}

impl Kind {
    /// In the order of the report.
    pub(super) const ALL: [Self; 13] = [
        Self::FloorPlain,
        Self::FloorSafe,
        Self::FloorBest,
        Self::NginxStream,
        Self::Xinetd,
        Self::Tokio,
        Self::Replyd,
        Self::ReplydUndeferred,
        Self::NginxHttp,
        Self::Haproxy,
        Self::Hyper,
        Self::ReplydHttp,
        Self::ReplydHttpUndeferred,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::FloorPlain => "floor-plain",
            Self::FloorSafe => "floor-safe",
            Self::FloorBest => "floor-best",
            Self::NginxStream => "nginx-stream",
            Self::Xinetd => "xinetd",
            Self::Tokio => "tokio",
            Self::Replyd => "replyd",
            Self::ReplydUndeferred => "replyd-undeferred",
            Self::NginxHttp => "nginx-http",
            Self::Haproxy => "haproxy",
            Self::Hyper => "hyper",
            Self::ReplydHttp => "replyd-http",
            Self::ReplydHttpUndeferred => "replyd-http-undeferred",
        }
    }

    pub(super) fn is_asynchronous(self) -> bool {
        matches!(self, Self::Tokio | Self::Hyper)
    }

    pub(super) fn is_replyd(self) -> bool {
        matches!(
            self,
            Self::Replyd | Self::ReplydUndeferred | Self::ReplydHttp | Self::ReplydHttpUndeferred
        )
    }

    pub(super) fn is_http(self) -> bool {
        matches!(
            self,
            Self::NginxHttp
                | Self::Haproxy
                | Self::Hyper
                | Self::ReplydHttp
                | Self::ReplydHttpUndeferred
        )
    }

    /// A process for each exchange can't keep a rate that is a part of the floor's.
    pub(super) fn keeps_a_rate(self) -> bool {
        self != Self::Xinetd
    }

    /// Whether it serves others while connections are silent. The floors block, xinetd has a process for each of them, and
    /// nginx's `return` in a stream doesn't wait for a word.
    pub(super) fn holds_silent(self) -> bool {
        self.is_http() || matches!(self, Self::Tokio | Self::Replyd | Self::ReplydUndeferred)
    }

    pub(super) fn target(self, addr: SocketAddr) -> Target {
        let line = format!("{WORD}\n");
        if self.is_http() {
            Target::new(addr, HTTP_REQUEST, Reply::http(&line))
        } else {
            Target::new(addr, REQUEST, Reply::exactly(&line))
        }
    }
}
