//! A whole engine, without listeners.

use std::sync::Arc;

use super::*;
use crate::engine::change::Emptied;
use crate::engine::discipline::Waits;
use crate::engine::room::{Reason, Wait};
use crate::engine::service::{Access, Linger, Service, Timeouts};
use crate::engine::sources::SourceLimits;
use crate::engine::worker::PoolOptions;
use crate::exchange::outcome::Outcome;
use crate::exchange::{HalfClose, Options};
use crate::metrics::Labels;
use crate::reply::page::Page;
use crate::reply::{Replies, Reply};
use crate::request::{Framing, Rules};

const SECOND: Duration = Duration::from_secs(1);

pub(super) fn metrics() -> Arc<Metrics> {
    let metrics = Metrics::new(Labels {
        outcomes: &Outcome::LABELS,
        waits: &Wait::LABELS,
        reasons: &Reason::LABELS,
        runs: &[],
        answers: &[],
    });
    Arc::new(metrics)
}

/// A service that says hello to a line.
pub(super) fn service(metrics: &Metrics) -> Service {
    let page = |text: &str| Page::new(text.as_bytes(), None);
    Service {
        exchange: Options {
            service: "test".into(),
            rules: Rules {
                framing: Framing::Line,
                max_request_bytes: 64,
                max_head_bytes: 64,
                keep_head: false,
                keep_body: false,
            },
            replies: Replies {
                reply: Reply::Page(page("hello\n")),
                busy: page("busy\n"),
                denied: page("denied\n"),
                failed: page("failed\n"),
                timed_out: page("timed out\n"),
                maintenance: None,
                is_http: false,
            },
            half_close: HalfClose::Reply,
        },
        timeouts: Timeouts {
            request: SECOND,
            reply: SECOND,
            min_bytes_per_second: 1024,
        },
        linger: Linger {
            idle: SECOND,
            total: SECOND,
            max_bytes: 1024,
        },
        access: Access::default(),
        max_connections: 0,
        source_limits: SourceLimits::default(),
        pool: 0,
        maker: None,
        metrics: metrics.service("test"),
    }
}

fn pool(name: &str) -> PoolOptions {
    PoolOptions {
        name: name.to_owned(),
        threads: 1,
        queue_capacity: 1,
        waits: Waits {
            target: Duration::ZERO,
            max: Duration::from_secs(1),
        },
    }
}

/// Else systemd's watchdog would end a server whose workers are all well.
#[test]
fn a_probe_does_not_wait_for_a_pool_that_is_closed() {
    let metrics = metrics();
    let options = EngineOptions {
        acceptor_name: "test",
        limits: Limits {
            max_connections: 1,
            max_turned_away: 1,
        },
        access_log: None,
        change: Change {
            pools: vec![pool("stays"), pool("goes")],
            ..Change::default()
        },
    };
    let mut engine = Engine::start(options, &metrics).expect("started");
    let change = Change {
        emptied: vec![Emptied {
            service: 0,
            own_pool: Some(1),
        }],
        ..Change::default()
    };
    engine.change(change).expect("changed");
    let mut probe = engine.probe();
    let until = Instant::now() + Duration::from_secs(10);
    while !probe.is_back() {
        assert!(Instant::now() < until, "it is not back");
        thread::yield_now();
    }
    engine.drain(Instant::now());
    let ended = engine.ended().recv().expect("it has not died");
    assert_eq!(ended.expect("drained"), Report::default());
}
