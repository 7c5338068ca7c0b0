//! `/metrics` and the rest of the admin listener. P1: every accepted connection gets exactly one
//! outcome, and it is counted.

use std::collections::BTreeMap;
use std::io::Write as _;

use replyd::engine::room::{Reason, Wait};
use replyd::exchange::outcome::Outcome;

use crate::client::{header, parse_http, read_all, reset};
use crate::harness::{TestServer, service};

fn hello() -> TestServer {
    TestServer::start(&service("hello", "reply.text = \"hi\\n\""))
}

#[track_caller]
fn ask(server: &TestServer, request: &str) -> (u16, String, String) {
    let request = format!("{request} HTTP/1.1\r\nHost: test\r\n\r\n");
    parse_http(&server.exchange("admin", request.as_bytes()))
}

#[test]
fn every_child_of_a_closed_set_is_there_from_the_start() {
    let server = hello();
    for service in ["hello", "admin"] {
        let zero = |name: &str, label: &str, value: &str| {
            let found = server.metric(name, &[("service", service), (label, value)]);
            assert!(
                found.abs() < f64::EPSILON,
                "{name} {service} {value}: {found}"
            );
        };
        for outcome in Outcome::LABELS {
            zero("replyd_connections_closed_total", "outcome", outcome);
        }
        for reason in Reason::LABELS {
            zero("replyd_rejected_total", "reason", reason);
        }
        for wait in Wait::LABELS {
            zero("replyd_connections_waiting", "for", wait);
        }
    }
    assert_eq!(Outcome::LABELS.len(), 12);
    server.wait_for("replyd_config_last_reload_successful", &[], 1.0);
    server.wait_for("replyd_build_info", &[], 1.0);
    server.wait_for("replyd_queue_capacity", &[("pool", "main")], 1024.0);
}

#[test]
fn each_outcome_is_counted_once() {
    let keys = "request_timeout_seconds = 0.3\nmax_request_bytes = 10\nreply.echo = true";
    let services = [
        service("hello", keys),
        service("bytes", "read = { bytes = 4 }\nreply.echo = true"),
        service("closed", "deny = [\"127.0.0.1\"]\nreply.echo = true"),
        service("gone", "reply.file = \"/nowhere/at/all\""),
    ];
    let server = TestServer::start(&services.concat());
    assert_eq!(server.exchange("hello", b"you\n"), b"you");
    assert_eq!(server.exchange("hello", b"much too long a line\n"), b"");
    assert_eq!(server.exchange("hello", b"half"), b"timed out\n");
    drop(server.connect("hello"));
    let mut client = server.connect("hello");
    client.write_all(b"half").expect("sent");
    server.wait_for("replyd_received_bytes_total", &[("service", "hello")], 33.0);
    reset(client);
    assert_eq!(server.exchange_half_closed("bytes", b"abc"), b"");
    assert_eq!(server.exchange("closed", b"\n"), b"denied\n");
    assert_eq!(server.exchange("gone", b"\n"), b"failed\n");
    server.at_rest();
    for (service, outcome) in [
        ("hello", "replied"),
        ("hello", "too_large"),
        ("hello", "timed_out"),
        ("hello", "no_request"),
        ("hello", "peer_closed"),
        ("bytes", "invalid"),
        ("closed", "denied"),
        ("gone", "failed"),
    ] {
        server.wait_for_outcome(service, outcome, 1);
    }
    server.wait_for(
        "replyd_connections_accepted_total",
        &[("service", "hello")],
        5.0,
    );
    server.wait_for(
        "replyd_exchange_duration_seconds_count",
        &[("service", "hello")],
        1.0,
    );
    server.wait_for("replyd_sent_bytes_total", &[("service", "hello")], 13.0);
}

#[test]
fn the_page_is_what_prometheus_reads() {
    let server = hello();
    assert_eq!(server.exchange("hello", b"\n"), b"hi\n");
    server.wait_for_outcome("hello", "replied", 1);
    let (status, head, body) = ask(&server, "GET /metrics");
    assert_eq!(status, 200);
    assert_eq!(
        header(&head, "Content-Type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    let line = "replyd_connections_closed_total{outcome=\"replied\",service=\"hello\"} 1";
    assert!(
        body.lines().any(|found| found == line),
        "no {line} in\n{body}"
    );
    let mut families = BTreeMap::new();
    for line in body.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').expect("a type");
        assert!(families.insert(name, kind).is_none(), "{name} twice");
        let is_counter = kind == "counter";
        assert_eq!(name.ends_with("_total"), is_counter, "{name} is a {kind}");
        let is_ours = name.starts_with("replyd_") || name.starts_with("process_");
        assert!(is_ours, "{name}");
        assert!(
            body.contains(&format!("# HELP {name} ")),
            "{name} has no help"
        );
    }
    assert!(
        families.contains_key("process_open_fds") && families.len() > 20,
        "{families:?}"
    );
    let (status, head, none) = ask(&server, "HEAD /metrics");
    assert_eq!((status, none.as_str()), (200, ""));
    assert!(header(&head, "Content-Length").is_some_and(|length| length != "0"));
}

#[test]
fn the_kernels_queue_is_measured() {
    let toml = service("hello", "backlog = 17\nreply.text = \"hi\\n\"");
    let server = TestServer::start(&toml);
    let addr = server.addr("hello").to_string();
    let labels = [("service", "hello"), ("listener", addr.as_str())];
    // Though nobody has come yet.
    server.wait_for("replyd_listener_queue_limit", &labels, 17.0);
    server.wait_for("replyd_listener_queue_length", &labels, 0.0);
}

#[test]
fn paths_and_methods_are_told_apart() {
    let server = hello();
    assert_eq!(server.get("/-/healthy"), (200, "healthy\n".to_owned()));
    assert_eq!(server.get("/-/ready"), (200, "ready\n".to_owned()));
    assert_eq!(server.get("/metrics?name=x").0, 200);
    assert_eq!(server.get("/nowhere").0, 404);
    assert_eq!(server.get("/metrics/").0, 404);
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let (status, head, _) = ask(&server, &format!("{method} /metrics"));
        assert_eq!(status, 405, "{method}");
        assert_eq!(header(&head, "Allow"), Some("GET, HEAD"));
    }
    assert_eq!(
        server.exchange("admin", b"nonsense\r\n\r\n").get(9..12),
        Some(&b"400"[..])
    );
    server.wait_for_outcome("admin", "invalid", 1);
    server.at_rest();
}

#[test]
fn the_admin_listener_asks_who_is_there() {
    let admin = "[admin]\nlisten = \"127.0.0.1:0\"\nallow = [\"192.0.2.0/24\"]\n";
    let server = TestServer::start(&format!(
        "{}{admin}",
        service("hello", "reply.text = \"hi\\n\"")
    ));
    assert_eq!(server.get("/metrics").0, 403);
    server.wait_for_outcome("admin", "denied", 1);
    assert_eq!(
        server.exchange("hello", b"\n"),
        b"hi\n",
        "services have a list of their own"
    );
    server.at_rest();
}

#[test]
fn metrics_answer_while_every_worker_has_too_much_to_do() {
    let keys = "max_connections = 1\nrequest_timeout_seconds = 60\nreply.text = \"hi\\n\"";
    let toml = format!(
        "[workers]\nthreads = 1\n[queue]\ncapacity = 1\n{}",
        service("hello", keys)
    );
    let server = TestServer::start(&toml);
    let mut only = server.connect("hello");
    server.wait_for_waiting("hello", "request", 1);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    assert_eq!(server.exchange("hello", b"\n"), b"busy\n");
                }
            });
        }
        for _ in 0..20 {
            assert_eq!(server.get("/metrics").0, 200);
        }
    });
    only.write_all(b"\n").expect("sent");
    assert_eq!(read_all(&mut only), b"hi\n");
    drop(only);
    server.wait_for_outcome("hello", "busy", 200);
    server.at_rest();
}

#[test]
fn silent_clients_do_not_keep_scrapers_out() {
    let server = hello();
    let silent: Vec<_> = (0..64).map(|_| server.connect("admin")).collect();
    server.wait_for_waiting("admin", "request", 64);
    assert_eq!(
        server.get("/metrics").0,
        200,
        "it is full, but of silent ones"
    );
    server.wait_for_outcome("admin", "evicted", 1);
    drop(silent);
    server.at_rest();
}
