//! An exchange that panics is one outcome; its worker lives. The panics that a run prints are
//! these.

use std::io::Write as _;
use std::sync::Arc;

use crate::by_hand::{ByHand, Panics};
use crate::client::{parse_http, read_all, read_to_reset};

#[test]
fn a_panic_is_one_outcome_and_its_worker_lives() {
    let engine = ByHand::start(Arc::new(Panics), 64);
    for round in 1..=5 {
        let mut client = engine.connect();
        client
            .write_all(b"GET /panic HTTP/1.1\r\nHost: test\r\n\r\n")
            .expect("sent");
        assert_eq!(read_to_reset(&mut client), 0, "nothing is said");
        engine.wait_for_outcome("panicked", round);

        // The one worker there is.
        let mut client = engine.connect();
        client
            .write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            .expect("sent");
        let (status, _, body) = parse_http(&read_all(&mut client));
        assert_eq!((status, body.as_str()), (200, "made\n"));
        drop(client);
        engine.wait_for_outcome("replied", round);
    }
    engine.wait_for("replyd_connections_open", &[], 0);
    engine.wait_for("replyd_workers_busy", &[], 0);
    engine.wait_for("replyd_connections_accepted_total", &[], 10);
    engine.stop();
}
