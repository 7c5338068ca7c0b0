//! Who is turned away, and what it is told.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::by_hand::{ByHand, Gate, MAX_CONNECTIONS};
use crate::client::{header, parse_http, read_all, read_to_reset};
use crate::harness::{TestServer, service};

#[track_caller]
fn wait_for_rejected(server: &TestServer, service: &str, reason: &str, count: u32) {
    let labels = [("service", service), ("reason", reason)];
    server.wait_for("replyd_rejected_total", &labels, count.into());
}

#[test]
fn a_service_has_only_so_many_connections() {
    let keys = "max_connections = 2\nreply.text = \"hi\\n\"\nbusy.text = \"later\\n\"";
    let toml = [
        service("few", keys),
        service("other", "reply.text = \"hi\\n\""),
    ];
    let server = TestServer::start(&toml.concat());
    let mut first = server.connect("few");
    let second = server.connect("few");
    server.wait_for_waiting("few", "request", 2);
    for _ in 0..10 {
        assert_eq!(server.exchange("few", b"\n"), b"later\n");
    }
    assert_eq!(
        server.exchange("other", b"\n"),
        b"hi\n",
        "its limit is its own"
    );
    first.write_all(b"\n").expect("sent");
    assert_eq!(read_all(&mut first), b"hi\n", "who is in is served");
    drop(first);
    server.wait_for("replyd_connections_open", &[("service", "few")], 1.0);
    assert_eq!(
        server.exchange("few", b"\n"),
        b"hi\n",
        "there is room again"
    );
    drop(second);
    server.wait_for_outcome("few", "busy", 10);
    wait_for_rejected(&server, "few", "max_connections", 10);
    server.at_rest();
}

/// Room in the server is for who asks. Whose place is taken: of who has waited longest, where most wait.
#[test]
fn a_newcomer_takes_the_place_of_who_has_not_asked() {
    let services = [
        service("one", "reply.text = \"hi\\n\""),
        service("two", "reply.text = \"hi\\n\""),
    ];
    let toml = format!("[server]\nmax_connections = 3\n{}", services.concat());
    let server = TestServer::start(&toml);
    let two = server.connect("two");
    server.wait_for_waiting("two", "request", 1);
    let mut first = server.connect("one");
    server.wait_for_waiting("one", "request", 1);
    let second = server.connect("one");
    server.wait_for_waiting("one", "request", 2);
    assert_eq!(server.exchange("two", b"\n"), b"hi\n");
    server.wait_for_outcome("one", "evicted", 1);
    assert_eq!(read_to_reset(&mut first), 0);
    for mut client in [second, two] {
        client.write_all(b"\n").expect("sent");
        assert_eq!(read_all(&mut client), b"hi\n", "these keep their places");
    }
    server.at_rest();
}

#[test]
fn nobody_who_has_asked_goes_for_a_newcomer() {
    let (gate, open) = Gate::new();
    let engine = ByHand::start(gate, 64);
    let served: Vec<TcpStream> = (0..MAX_CONNECTIONS).map(|_| engine.ask()).collect();
    engine.wait_for("replyd_connections_open", &[], MAX_CONNECTIONS);
    for turned_away in 1..=5 {
        assert_eq!(parse_http(&read_all(&mut engine.ask())).0, 503);
        engine.wait_for(
            "replyd_rejected_total",
            &[("reason", "max_connections")],
            turned_away,
        );
    }
    drop(open);
    for mut client in served {
        assert_eq!(parse_http(&read_all(&mut client)).2, "made\n");
    }
    engine.wait_for_outcome("replied", MAX_CONNECTIONS);
    engine.wait_for_outcome("evicted", 0);
    engine.stop();
}

#[test]
fn one_source_has_only_so_many_exchanges() {
    let keys = "max_connections_per_source = 2\nlinger_idle_seconds = 10\nreply.text = \"hi\\n\"";
    let server = TestServer::start(&service("fair", keys));
    let silent = [server.connect("fair"), server.connect("fair")];
    server.wait_for_waiting("fair", "request", 2);
    for turned_away in 1..=3 {
        assert_eq!(server.exchange("fair", b"\n"), b"busy\n");
        wait_for_rejected(&server, "fair", "per_source", turned_away);
    }
    let neighbour = server.exchange_from([127, 0, 0, 2], "fair", b"\n");
    assert_eq!(neighbour, b"hi\n");
    // Those that have their reply are no exchanges anymore, though their client hasn't left.
    for mut client in silent {
        client.write_all(b"\n").expect("sent");
        let mut reply = [0; 3];
        client.read_exact(&mut reply).expect("a reply");
        server.wait_for_waiting("fair", "request", 0);
        let lingering = client;
        server.wait_for(
            "replyd_connections_waiting",
            &[("service", "fair"), ("for", "linger")],
            1.0,
        );
        assert_eq!(server.exchange("fair", b"\n"), b"hi\n");
        drop(lingering);
    }
    server.at_rest();
}

#[test]
fn one_source_comes_only_so_often() {
    // Once in a hundred seconds, and so once in this test.
    let keys = "max_rate_per_source = 0.01\nreply.text = \"hi\\n\"";
    let server = TestServer::start(&service("rare", keys));
    assert_eq!(server.exchange("rare", b"\n"), b"hi\n");
    for turned_away in 1..=3 {
        assert_eq!(server.exchange("rare", b"\n"), b"busy\n");
        wait_for_rejected(&server, "rare", "rate", turned_away);
    }
    let neighbour = server.exchange_from([127, 0, 0, 2], "rare", b"\n");
    assert_eq!(neighbour, b"hi\n");
    server.at_rest();
}

#[test]
fn a_full_queue_is_busy() {
    const CAPACITY: u32 = 3;
    let (gate, open) = Gate::new();
    let engine = ByHand::start(gate, 3);
    let mut served = vec![engine.ask()];
    // The one worker has it, and waits at the gate.
    engine.wait_for("replyd_workers_busy", &[], 1);
    engine.wait_for("replyd_queue_length", &[], 0);
    for queued in 1..=CAPACITY {
        served.push(engine.ask());
        engine.wait_for("replyd_queue_length", &[], queued);
    }
    for turned_away in 1..=5 {
        let mut client = engine.ask();
        assert_eq!(parse_http(&read_all(&mut client)).0, 503);
        engine.wait_for_outcome("busy", turned_away);
        engine.wait_for(
            "replyd_rejected_total",
            &[("reason", "queue_full")],
            turned_away,
        );
    }
    drop(open);
    for mut client in served {
        assert_eq!(parse_http(&read_all(&mut client)).2, "made\n");
    }
    engine.wait_for_outcome("replied", 1 + CAPACITY);
    engine.wait_for("replyd_connections_open", &[], 0);
    engine.stop();
}

#[test]
fn who_waited_too_long_in_the_queue_is_told_that_it_is_busy() {
    // Nobody gets from the acceptor to a worker in a nanosecond.
    let toml = format!(
        "[queue]\nmax_wait_seconds = 0.000000001\n{}",
        service("hello", "reply.text = \"hi\\n\"")
    );
    let server = TestServer::start(&toml);
    for _ in 0..10 {
        assert_eq!(server.exchange("hello", b"\n"), b"busy\n");
    }
    server.wait_for_outcome("hello", "busy", 10);
    wait_for_rejected(&server, "hello", "queue_wait", 10);
    server.wait_for(
        "replyd_queue_wait_seconds_count",
        &[("service", "hello")],
        10.0,
    );
    server.at_rest();
}

#[test]
fn who_is_not_allowed_is_told_so() {
    let toml = [
        service("closed", "deny = [\"127.0.0.0/8\"]\nreply.text = \"hi\\n\""),
        service(
            "elsewhere",
            "allow = [\"192.0.2.0/24\"]\nreply.text = \"hi\\n\"\ndenied.text = \"no\\n\"",
        ),
        service("open", "allow = [\"127.0.0.0/8\"]\nreply.text = \"hi\\n\""),
        service(
            "web",
            "read = \"http\"\ndeny = [\"127.0.0.1\"]\nreply.text = \"hi\\n\"",
        ),
    ];
    let server = TestServer::start(&toml.concat());
    assert_eq!(server.exchange("closed", b"\n"), b"denied\n");
    assert_eq!(server.exchange("elsewhere", b"\n"), b"no\n");
    assert_eq!(server.exchange("open", b"\n"), b"hi\n");
    let reply = server.exchange("web", b"GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    let (status, head, body) = parse_http(&reply);
    assert_eq!((status, body.as_str()), (403, "denied\n"));
    assert_eq!(header(&head, "Connection"), Some("close"));
    for service in ["closed", "elsewhere", "web"] {
        server.wait_for_outcome(service, "denied", 1);
        wait_for_rejected(&server, service, "acl", 1);
    }
    server.at_rest();
}

#[test]
fn who_is_turned_away_can_read_why() {
    let keys = "max_connections = 1\nreply.text = \"hi\\n\"";
    let server = TestServer::start(&service("few", keys));
    let _only = server.connect("few");
    server.wait_for_waiting("few", "request", 1);
    for turned_away in 1..=20 {
        let mut client = server.connect("few");
        // More than one receive takes: a plain close would be a reset.
        client.write_all(&vec![b'x'; 50_000]).expect("sent");
        server.wait_for_outcome("few", "busy", turned_away);
        client.write_all(&[b'x'; 1000]).expect("it still listens");
        assert_eq!(read_all(&mut client), b"busy\n");
    }
}

#[test]
fn those_turned_away_take_nobodys_place() {
    let keys = "max_connections = 1\nrequest_timeout_seconds = 60\nreply.text = \"hi\\n\"";
    let server = TestServer::start(&service("few", keys));
    let mut only = server.connect("few");
    server.wait_for_waiting("few", "request", 1);
    // More than are given time to read, and none of them reads or leaves.
    let crowd: Vec<TcpStream> = (0..400).map(|_| server.connect("few")).collect();
    server.wait_for_outcome("few", "busy", 400);
    server.wait_for("replyd_connections_open", &[("service", "few")], 1.0);
    only.write_all(b"\n").expect("sent");
    assert_eq!(read_all(&mut only), b"hi\n");
    drop(only);
    server.at_rest();
    assert_eq!(server.exchange("few", b"\n"), b"hi\n");
    drop(crowd);
    server.at_rest();
}

#[test]
fn workers_of_its_own_serve_a_service() {
    let keys = "threads = 2\nreply.text = \"hi\\n\"";
    let toml = [
        service("own", keys),
        service("other", "reply.text = \"ho\\n\""),
    ];
    let server = TestServer::start(&format!("[workers]\nthreads = 1\n{}", toml.concat()));
    assert_eq!(server.exchange("own", b"\n"), b"hi\n");
    assert_eq!(server.exchange("other", b"\n"), b"ho\n");
    server.wait_for("replyd_workers", &[("pool", "own")], 2.0);
    server.wait_for("replyd_workers", &[("pool", "main")], 1.0);
    server.wait_for("replyd_workers", &[("pool", "admin")], 1.0);
    server.at_rest();
}
