//! An engine started by hand, whose replies are code: that waits when told to, that panics.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use replyd::engine::change::Change;
use replyd::engine::discipline::Waits;
use replyd::engine::listener::{ListenAddr, Listener, ListenerOptions};
use replyd::engine::room::{Reason, Wait};
use replyd::engine::service::{Access, Linger, Service, Timeouts};
use replyd::engine::sources::SourceLimits;
use replyd::engine::worker::PoolOptions;
use replyd::engine::{Engine, EngineOptions, Limits};
use replyd::exchange::outcome::Outcome;
use replyd::exchange::{HalfClose, Options};
use replyd::metrics::{Labels, Metrics};
use replyd::reply::http::HttpOptions;
use replyd::reply::page::Page;
use replyd::reply::{Asked, Building, Built, BuiltReply, Replies, Reply};
use replyd::request::{Framing, Rules};

use crate::client;
use crate::harness::{self, LIVENESS};

/// Connections that it has at most.
pub(crate) const MAX_CONNECTIONS: u32 = 64;

/// An engine of one service, `made`, with one worker.
pub(crate) struct ByHand {
    engine: Engine,
    metrics: Arc<Metrics>,
    addr: SocketAddr,
}

impl ByHand {
    pub(crate) fn start(built: Arc<dyn Built>, queue_capacity: usize) -> Self {
        let labels = Labels {
            outcomes: &Outcome::LABELS,
            waits: &Wait::LABELS,
            reasons: &Reason::LABELS,
            runs: &[],
            answers: &[],
        };
        let metrics = Arc::new(Metrics::new(labels));
        let options = ListenerOptions {
            backlog: 128,
            defer_accept: Duration::ZERO,
            keepalive: Duration::ZERO,
            user_timeout: Duration::ZERO,
        };
        let addr = ListenAddr::Tcp(([127, 0, 0, 1], 0).into());
        let listener = Listener::bind(&addr, &options).expect("bound");
        let ListenAddr::Tcp(addr) = *listener.addr() else {
            unreachable!("bound over TCP")
        };
        let pool = PoolOptions {
            name: "main".to_owned(),
            threads: 1,
            queue_capacity,
            waits: Waits {
                target: Duration::ZERO,
                max: LIVENESS,
            },
        };
        let options = EngineOptions {
            acceptor_name: "acceptor",
            change: Change {
                services: vec![(0, Arc::new(service(built, &metrics)))],
                pools: vec![pool],
                added: vec![(listener, 0)],
                ..Change::default()
            },
            limits: Limits {
                max_connections: MAX_CONNECTIONS as usize,
                max_turned_away: 16,
            },
            access_log: None,
        };
        let engine = Engine::start(options, &metrics).expect("started");
        Self {
            engine,
            metrics,
            addr,
        }
    }

    #[track_caller]
    pub(crate) fn connect(&self) -> TcpStream {
        client::connect(self.addr).expect("connected")
    }

    /// Sends a request over HTTP.
    #[track_caller]
    pub(crate) fn ask(&self) -> TcpStream {
        let mut client = self.connect();
        client
            .write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            .expect("sent");
        client
    }

    #[track_caller]
    pub(crate) fn wait_for(&self, name: &str, labels: harness::Labels<'_>, value: u32) {
        harness::wait_until(&format!("{name}{labels:?} = {value}"), || {
            let page = String::from_utf8(self.metrics.render()).expect("UTF-8");
            (harness::sum(&page, name, labels) - f64::from(value)).abs() < f64::EPSILON
        });
    }

    #[track_caller]
    pub(crate) fn wait_for_outcome(&self, outcome: &str, count: u32) {
        self.wait_for(
            "replyd_connections_closed_total",
            &[("outcome", outcome)],
            count,
        );
    }

    /// Stops it; nothing may be left.
    #[track_caller]
    pub(crate) fn stop(self) {
        self.engine.stop_newcomers();
        self.engine.drain(Instant::now() + LIVENESS);
        let ended = self
            .engine
            .ended()
            .recv_timeout(2 * LIVENESS)
            .expect("the engine ends");
        assert_eq!(ended.expect("it didn't fail").abandoned, 0);
    }
}

/// Replies `made` once it is let.
#[derive(Debug)]
pub(crate) struct Gate {
    opened: Receiver<()>,
}

impl Gate {
    /// A closed gate: each message lets one reply through, and all go once the sender is gone.
    pub(crate) fn new() -> (Arc<Self>, Sender<()>) {
        let (open, opened) = crossbeam_channel::bounded(64);
        (Arc::new(Self { opened }), open)
    }
}

impl Built for Gate {
    fn build(&self, _: &Asked<'_>) -> Building {
        // Disconnected: everyone may go.
        let _opened = self.opened.recv();
        made()
    }
}

/// Panics when asked for `/panic`.
#[derive(Debug)]
pub(crate) struct Panics;

impl Built for Panics {
    fn build(&self, asked: &Asked<'_>) -> Building {
        assert!(
            !asked.head.starts_with(b"GET /panic "),
            "on purpose, by a test"
        );
        made()
    }
}

fn made() -> Building {
    Building::Now(BuiltReply {
        http: HttpOptions::of(200),
        body: b"made\n".to_vec(),
    })
}

fn service(built: Arc<dyn Built>, metrics: &Metrics) -> Service {
    let page = |status| Page::new(b"sorry\n", Some(&HttpOptions::of(status)));
    let replies = Replies {
        reply: Reply::Built(built),
        busy: page(503),
        denied: page(403),
        failed: page(500),
        timed_out: page(504),
        maintenance: None,
        is_http: true,
    };
    let rules = Rules {
        framing: Framing::Http,
        max_request_bytes: 4096,
        max_head_bytes: 4096,
        keep_head: true,
        keep_body: false,
    };
    Service {
        exchange: Options {
            service: "made".into(),
            rules,
            replies,
            half_close: HalfClose::Reply,
        },
        timeouts: Timeouts {
            request: LIVENESS,
            reply: LIVENESS,
            min_bytes_per_second: 1024,
        },
        linger: Linger {
            idle: LIVENESS,
            total: LIVENESS,
            max_bytes: 4096,
        },
        access: Access::default(),
        max_connections: 0,
        source_limits: SourceLimits::default(),
        pool: 0,
        maker: None,
        metrics: metrics.service("made"),
    }
}
