//! Services of every kind, in versions that follow each other, and what each of them may say.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use prometheus::core::GenericCounter;

use crate::engine::maker::Maker;
use crate::engine::service::{self, Access, Linger, Timeouts};
use crate::engine::simulation::handles::SimulatedMaker;
use crate::engine::sources::{Rate, SourceLimits};
use crate::exchange::{HalfClose, Options};
use crate::metrics::ServiceMetrics;
use crate::reply::call::Call;
use crate::reply::http::HttpOptions;
use crate::reply::page::Page;
use crate::reply::template::Template;
use crate::reply::{Asked, Building, Built, BuiltReply, Replies, Reply};
use crate::request::{Framing, Rules};

/// What a service is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A line, answered by a constant text.
    Text,
    /// A line, answered by a text with the line in it.
    Template,
    /// A line, and the same back.
    Echo,
    /// A line, answered by more than a send buffer holds.
    Big,
    /// No request at all.
    Nothing,
    /// All that comes, and the same back.
    Eof,
    /// HTTP.
    Http,
    /// A line, whose answer is made by somebody else, in parts.
    Later,
    /// A line that makes the exchange panic.
    Panics,
}

const KINDS: [Kind; 9] = [
    Kind::Text,
    Kind::Template,
    Kind::Echo,
    Kind::Big,
    Kind::Nothing,
    Kind::Eof,
    Kind::Http,
    Kind::Later,
    Kind::Panics,
];

/// The bounds of all services in one run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) timeouts: Timeouts,
    pub(super) linger: Linger,
    pub(super) grace_period: Duration,
}

/// A service, with all its versions.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) number: usize,
    pub(super) kind: Kind,
    pub(super) pool: usize,
    pub(super) half_close: HalfClose,
    pub(super) max_connections: usize,
    pub(super) source_limits: SourceLimits,
    pub(super) versions: Vec<Version>,
    pub(super) metrics: ServiceMetrics,
}

/// One version of a service.
#[derive(Clone, Copy, Debug)]
pub(super) struct Version {
    /// When the server was told to serve it, and when it said that it does.
    pub(super) ordered_at: Duration,
    pub(super) served_at: Option<Duration>,

    /// The server said that it doesn't.
    pub(super) is_refused: bool,
}

/// What a peer asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// What the service answers.
    Whole(Kind, String),
    /// More than it takes.
    TooLarge(Kind),
    /// No HTTP.
    Invalid,
    /// Not all of it.
    Half,
}

const REQUEST_BYTES_MAX: usize = 128;

/// Who is not let in by a service that is picky.
pub(super) const DENIED: &str = "198.51.100.0/24";

impl Bounds {
    pub(super) fn new(random: &mut Rng) -> Self {
        let mut time = |from: u64, to: u64| Duration::from_millis(random.u64(from..to));
        Self {
            timeouts: Timeouts {
                request: time(500, 5_000),
                reply: time(500, 5_000),
                min_bytes_per_second: 4096,
            },
            linger: Linger {
                idle: time(500, 2_000),
                total: time(2_000, 6_000),
                max_bytes: time(100, 20_000)
                    .as_millis()
                    .try_into()
                    .expect("invariant: small"),
            },
            grace_period: time(100, 8_000),
        }
    }
}

impl Version {
    /// Whether the server has not said yet what comes of it.
    pub(super) fn is_open(&self) -> bool {
        self.served_at.is_none() && !self.is_refused
    }
}

impl Ask {
    pub(super) fn new(random: &mut Rng, kind: Kind) -> Self {
        match random.u8(0..16) {
            0 if kind != Kind::Nothing => Self::TooLarge(kind),
            1 if kind == Kind::Http => Self::Invalid,
            _ => {
                let length = random.usize(1..40);
                Self::Whole(
                    kind,
                    std::iter::repeat_with(|| random.lowercase())
                        .take(length)
                        .collect(),
                )
            }
        }
    }

    /// What goes over the connection.
    pub(super) fn bytes(&self) -> String {
        match self {
            Self::Whole(Kind::Nothing, _) | Self::Half => String::new(),
            Self::Whole(Kind::Eof, text) => text.clone(),
            Self::Whole(Kind::Http, text) => {
                format!("GET /{text} HTTP/1.1\r\nHost: replyd.example\r\n\r\n")
            }
            Self::Whole(_, text) => format!("{text}\n"),
            Self::TooLarge(Kind::Http) => {
                let length = REQUEST_BYTES_MAX + 1;
                format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n")
            }
            Self::TooLarge(_) => "l".repeat(REQUEST_BYTES_MAX + 20),
            Self::Invalid => "what is this\r\n\r\n".to_owned(),
        }
    }

    /// Whether only the peer's end says that this is all.
    pub(super) fn needs_end(&self) -> bool {
        matches!(self, Self::Whole(Kind::Eof, _))
    }
}

impl Service {
    /// A service that is told of with number `number`.
    pub(super) fn new(
        random: &mut Rng,
        number: usize,
        pool: usize,
        metrics: ServiceMetrics,
    ) -> Self {
        let kind = *random.choice(&KINDS).expect("invariant: some");
        let cancels = kind != Kind::Eof && random.u8(0..4) == 0;
        Self {
            number,
            kind,
            pool,
            half_close: if cancels {
                HalfClose::Cancel
            } else {
                HalfClose::Reply
            },
            source_limits: SourceLimits {
                max_connections: if random.u8(0..4) == 0 {
                    random.usize(1..6)
                } else {
                    0
                },
                rate: if random.u8(0..4) == 0 {
                    Rate::per_second(2.0)
                } else {
                    None
                },
            },
            max_connections: if random.u8(0..3) == 0 {
                random.usize(1..8)
            } else {
                0
            },
            versions: Vec::new(),
            metrics,
        }
    }

    /// What its counters say: connections accepted, closed, and open.
    pub(super) fn accepted(&self) -> u64 {
        self.metrics.accepted.get()
    }

    pub(super) fn closed(&self) -> u64 {
        self.metrics.closed.iter().map(GenericCounter::get).sum()
    }

    pub(super) fn open(&self) -> u64 {
        u64::try_from(self.metrics.open.get()).unwrap_or(u64::MAX)
    }

    /// The next version, as the engine gets it. It was ordered now.
    pub(super) fn next(&mut self, bounds: &Bounds, now: Duration) -> Arc<service::Service> {
        let version = self.versions.len();
        self.versions.push(Version {
            ordered_at: now,
            served_at: None,
            is_refused: false,
        });
        let is_http = self.kind == Kind::Http;
        let page = |text: &str, status| {
            let http = is_http.then(|| HttpOptions::of(status));
            Page::new(text.as_bytes(), http.as_ref())
        };
        let rules = Rules {
            framing: match self.kind {
                Kind::Nothing => Framing::Nothing,
                Kind::Eof => Framing::Eof,
                Kind::Http => Framing::Http,
                _ => Framing::Line,
            },
            max_request_bytes: REQUEST_BYTES_MAX,
            max_head_bytes: 1024,
            keep_head: false,
            keep_body: false,
        };
        let replies = Replies {
            reply: self.reply(version, &page),
            busy: page("busy\n", 503),
            denied: page("denied\n", 403),
            failed: page("failed\n", 500),
            timed_out: page("timed out\n", 504),
            maintenance: None,
            is_http,
        };
        Arc::new(service::Service {
            exchange: Options {
                service: name(self.number).into(),
                rules,
                replies,
                half_close: self.half_close,
            },
            timeouts: bounds.timeouts,
            linger: bounds.linger,
            access: Access {
                allow: Vec::new(),
                deny: vec![DENIED.parse().expect("a network")],
            },
            max_connections: self.max_connections,
            source_limits: self.source_limits,
            pool: self.pool,
            maker: (self.kind == Kind::Later)
                .then(|| Maker::Simulated(SimulatedMaker::new(self.number))),
            metrics: self.metrics.clone(),
        })
    }

    fn reply(&self, version: usize, page: &impl Fn(&str, u16) -> Page) -> Reply {
        let number = self.number;
        match self.kind {
            Kind::Text | Kind::Big | Kind::Nothing | Kind::Http => {
                Reply::Page(page(&self.text(version, ""), 200))
            }
            Kind::Template => {
                let text = self.text(version, "{{ request }}");
                let template = Template::new(&text, false, false).expect("a template");
                Reply::Template {
                    template: Box::new(template),
                    http: None,
                }
            }
            Kind::Echo | Kind::Eof => Reply::Echo { http: None },
            Kind::Later => Reply::Built(Arc::new(MadeLater { number, version })),
            Kind::Panics => Reply::Built(Arc::new(Panics)),
        }
    }

    /// The text of the reply to `request`.
    pub(super) fn text(&self, version: usize, request: &str) -> String {
        let number = self.number;
        match self.kind {
            Kind::Echo | Kind::Eof => request.to_owned(),
            Kind::Big => format!("{request}{number} v{version}, ").repeat(5_000),
            _ => format!("{request} from {number} v{version}\n"),
        }
    }
}

/// What a service is called.
pub(super) fn name(number: usize) -> String {
    format!("service-{number}")
}

/// A part of a reply that comes in parts, but the last.
pub(super) const PART: &str = "a part, not the last\n";

/// The body of a reply that comes later.
pub(super) fn made_text(port: u16, number: usize, version: usize) -> String {
    format!("made for {port} by {number} v{version}\n")
}

/// Says for whom it was made, in the end.
#[derive(Debug)]
struct MadeLater {
    number: usize,
    version: usize,
}

impl Built for MadeLater {
    fn build(&self, asked: &Asked<'_>) -> Building {
        let port = asked.peer.port().unwrap_or_default();
        let (number, version) = (self.number, self.version);
        Building::Later(Call::new(move || BuiltReply {
            http: HttpOptions::of(200),
            body: made_text(port, number, version).into(),
        }))
    }
}

/// Panics, without a word on the terminal.
#[derive(Debug)]
struct Panics;

impl Built for Panics {
    fn build(&self, _: &Asked<'_>) -> Building {
        std::panic::resume_unwind(Box::new("on purpose, by a test"))
    }
}
