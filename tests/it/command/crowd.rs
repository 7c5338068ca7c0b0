//! More clients than runs.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::{COUNTED_AT_THE_GATE, Commands, script};
use crate::client::{header, parse_http, read_all};
use crate::harness::service;

#[track_caller]
fn ask_many(server: &Commands, count: usize) -> Vec<TcpStream> {
    (0..count).map(|_| server.ask("few", b"\n")).collect()
}

#[test]
fn only_so_many_run_at_once_and_the_others_wait() {
    let mut server = Commands::start(&script("few", "", COUNTED_AT_THE_GATE, "concurrency = 2"));
    let mut clients = ask_many(&server, 6);
    server.wait_for_queue("few", 2, 4);
    for (running, waiting, begun) in [(2, 3, 3), (2, 2, 4), (2, 1, 5), (2, 0, 6), (1, 0, 6)] {
        server.let_through(1);
        server.wait_for_lines("runs", begun);
        server.wait_for_queue("few", running, waiting);
    }
    server.let_through(1);
    for client in &mut clients {
        assert!(read_all(client).ends_with(b"\n"));
    }
    drop(clients);
    server.wait_for_queue("few", 0, 0);
    server.wait_for_outcome("few", "replied", 6);
    server.at_rest();
}

#[test]
fn who_finds_too_many_waiting_is_told_at_once() {
    let options = "concurrency = 1\nmax_waiting = 2";
    let keys = "busy.text = \"later\\n\"";
    let mut server = Commands::start(&script("few", keys, COUNTED_AT_THE_GATE, options));
    let mut first = ask_many(&server, 1);
    server.wait_for_queue("few", 1, 0);
    let mut waiting = ask_many(&server, 2);
    server.wait_for_queue("few", 1, 2);
    for _ in 0..5 {
        assert_eq!(server.exchange("few", b"\n"), "later\n");
    }
    server.wait_for_outcome("few", "busy", 5);
    let labels = [("service", "few"), ("reason", "max_waiting")];
    server.wait_for("replyd_rejected_total", &labels, 5);
    server.let_through(3);
    for client in first.iter_mut().chain(&mut waiting) {
        assert!(read_all(client).ends_with(b"\n"));
    }
    drop((first, waiting));
    server.wait_for_outcome("few", "replied", 3);
    assert_eq!(server.lines("runs"), 3);
    server.at_rest();
}

#[test]
fn over_http_it_is_a_503() {
    let options = "concurrency = 1\nmax_waiting = 1\noutput = \"body\"";
    let text = "cat > asked; read _ < gate; echo up";
    let mut server = Commands::start(&script("few", "read = \"http\"", text, options));
    let request = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n";
    let mut first = server.ask("few", request);
    server.wait_for_queue("few", 1, 0);
    let mut second = server.ask("few", request);
    server.wait_for_queue("few", 1, 1);
    let (status, head, _) = server.http("few", "GET");
    assert_eq!(status, 503);
    assert_eq!(header(&head, "Connection"), Some("close"));
    server.let_through(2);
    for client in [&mut first, &mut second] {
        assert_eq!(parse_http(&read_all(client)).0, 200);
    }
    drop((first, second));
    server.at_rest();
}

/// Those who share a run wait for it, but not for a place.
#[test]
fn a_crowd_that_shares_a_run_is_not_too_many() {
    let options = "concurrency = 1\nmax_waiting = 1\ncache_seconds = 60";
    let mut server = Commands::start(&script("few", "", COUNTED_AT_THE_GATE, options));
    let mut clients = ask_many(&server, 50);
    server.wait_for_cache("few", "coalesced", 49);
    server.let_through(1);
    for client in &mut clients {
        assert_eq!(read_all(client), b"1\n");
    }
    drop(clients);
    server.wait_for_outcome("few", "replied", 50);
    server.at_rest();
}

#[test]
fn who_waits_too_long_for_a_place_is_told_so() {
    let keys = "reply_timeout_seconds = 0.5";
    let text = "echo run >> runs; trap '' TERM; while :; do sleep 1; done";
    let options = "concurrency = 1\ntimeout_seconds = 0.2\nkill_after_seconds = 60";
    let server = Commands::start(&script("few", keys, text, options));
    assert_eq!(
        server.exchange("few", b"\n"),
        "timed out\n",
        "by the command's own timeout"
    );
    let began = Instant::now();
    assert_eq!(
        server.exchange("few", b"\n"),
        "timed out\n",
        "by the reply's"
    );
    assert!(
        began.elapsed() >= Duration::from_millis(400),
        "{:?}",
        began.elapsed()
    );
    server.wait_for_queue("few", 1, 0);
    server.wait_for_outcome("few", "timed_out", 2);
    assert_eq!(server.lines("runs"), 1);
}

/// A worker that waited for a command would be missed here.
#[test]
fn commands_that_hang_hold_up_nobody_else() {
    let toml = [
        "[workers]\nthreads = 1\n".to_owned(),
        script("few", "", COUNTED_AT_THE_GATE, "concurrency = 4"),
        script("other", "", "echo up", ""),
        service("hello", "reply.text = \"hi\\n\""),
    ];
    let mut server = Commands::start(&toml.concat());
    let mut clients = ask_many(&server, 100);
    server.wait_for_queue("few", 4, 96);
    for _ in 0..20 {
        assert_eq!(server.exchange("hello", b"\n"), "hi\n");
        assert_eq!(
            server.exchange("other", b"\n"),
            "up\n",
            "with places of its own"
        );
    }
    server.wait_for("replyd_workers_busy", &[("pool", "main")], 0);
    server.let_through(100);
    for client in &mut clients {
        read_all(client);
    }
    drop(clients);
    server.wait_for_outcome("few", "replied", 100);
    server.at_rest();
}
