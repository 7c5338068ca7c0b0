//! A whole engine, without listeners.

use std::sync::Arc;

use super::*;
use crate::engine::change::Emptied;
use crate::engine::room::{Reason, Wait};
use crate::engine::worker::PoolOptions;
use crate::exchange::outcome::Outcome;
use crate::metrics::Labels;

fn pool(name: &str) -> PoolOptions {
    PoolOptions {
        name: name.to_owned(),
        threads: 1,
        queue_capacity: 1,
        max_wait: Duration::from_secs(1),
    }
}

/// Else systemd's watchdog would end a server whose workers are all well.
#[test]
fn a_probe_does_not_wait_for_a_pool_that_is_closed() {
    let metrics = Arc::new(Metrics::new(Labels {
        outcomes: &Outcome::LABELS,
        waits: &Wait::LABELS,
        reasons: &Reason::LABELS,
        runs: &[],
        answers: &[],
    }));
    let options = EngineOptions {
        acceptor_name: "test",
        limits: Limits {
            max_connections: 1,
            max_turned_away: 1,
            evicts: false,
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
