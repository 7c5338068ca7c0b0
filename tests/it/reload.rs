//! Reloading: another configuration while connections come and go.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};
use std::thread;

use replyd::admin::Reloaded;
use replyd::server::{Server, Surroundings};

use crate::client::{connect, read_all};
use crate::harness::{TestServer, service, wait_until};

const POST: &[u8] = b"POST /-/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";

/// An address that nobody has or will have: each call's is another one of loopback's.
fn free_addr() -> SocketAddr {
    static CALLS: AtomicU8 = AtomicU8::new(1);
    let host = CALLS.fetch_add(1, Relaxed);
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 77, host], 0))).expect("bound");
    listener.local_addr().expect("bound")
}

/// A service that echoes lines, on a port that can be written into a configuration.
fn echo(name: &str, addr: SocketAddr, keys: &str) -> String {
    service(
        name,
        &format!("listen = \"{addr}\"\nreply.echo = true\n{keys}"),
    )
}

fn text(name: &str, addr: SocketAddr, text: &str) -> String {
    service(
        name,
        &format!("listen = \"{addr}\"\nread = \"nothing\"\nreply.text = \"{text}\""),
    )
}

#[track_caller]
fn taken(reloaded: Reloaded) -> String {
    match reloaded {
        Reloaded::Taken(lines) => lines,
        other => panic!("not taken: {other:?}"),
    }
}

#[track_caller]
fn refused(reloaded: Reloaded) -> String {
    match reloaded {
        Reloaded::Refused(lines) => lines,
        other => panic!("not refused: {other:?}"),
    }
}

#[track_caller]
fn says(addr: SocketAddr, expected: &str) {
    let mut client = connect(addr).expect("connected");
    assert_eq!(read_all(&mut client), expected.as_bytes());
}

#[test]
fn another_reply_is_given_from_then_on_and_the_difference_is_told() {
    let addr = free_addr();
    let server = TestServer::start(&text("hello", addr, "one"));
    says(addr, "one");
    let lines = taken(server.reload(&text("hello", addr, "two")));
    assert_eq!(lines, "hello: reply.text = \"one\" -> \"two\"\n");
    says(addr, "two");
    assert_eq!(
        taken(server.reload(&text("hello", addr, "two"))),
        "nothing has changed\n"
    );
    server.wait_for_outcome("hello", "replied", 2);
}

#[test]
fn who_has_connected_gets_what_was_offered_then() {
    let addr = free_addr();
    let server = TestServer::start(&echo("hello", addr, ""));
    let mut before = server.connect("hello");
    before.write_all(b"half a li").expect("sent");
    server.wait_for_received("hello", 9);
    taken(server.reload(&text("hello", addr, "another")));
    says(addr, "another");
    before.write_all(b"ne\n").expect("sent");
    assert_eq!(read_all(&mut before), b"half a line");
    server.at_rest();
}

#[test]
fn services_come_and_go_with_their_listeners() {
    let (one, two) = (free_addr(), free_addr());
    let server = TestServer::start(&text("one", one, "1"));
    let lines = taken(server.reload(&[text("one", one, "1"), text("two", two, "2")].concat()));
    assert_eq!(lines, "service `two` added\n");
    says(one, "1");
    says(two, "2");
    let lines = taken(server.reload(&text("two", two, "2")));
    assert_eq!(lines, "service `one` removed\n");
    says(two, "2");
    wait_until("nobody listens there anymore", || connect(one).is_err());
    // Its counters are still told, but of its listener there is nothing to tell.
    let page = server.page();
    assert!(page.contains("replyd_connections_accepted_total{service=\"one\"} 1"));
    assert!(!page.contains(&format!("listener=\"{one}\"")));
    let listener = TcpListener::bind(one).expect("the port is free again");
    drop(listener);
    // It comes back, and goes on counting.
    taken(server.reload(&text("one", one, "1")));
    says(one, "1");
    server.wait_for_outcome("one", "replied", 2);
}

#[test]
fn a_renamed_service_keeps_its_listener_and_who_is_queued_there() {
    let addr = free_addr();
    let server = TestServer::start(&text("before", addr, "x"));
    let lines = taken(server.reload(&text("after", addr, "x")));
    assert_eq!(lines, "service `before` renamed to `after`\n");
    says(addr, "x");
    server.wait_for_outcome("after", "replied", 1);
    let page = server.page();
    let queue = |service: &str| {
        format!("replyd_listener_queue_length{{listener=\"{addr}\",service=\"{service}\"}}")
    };
    assert!(page.contains(&queue("after")), "\n{page}");
    assert!(!page.contains(&queue("before")), "\n{page}");
}

#[test]
fn a_bad_configuration_changes_nothing() {
    let addr = free_addr();
    let server = TestServer::start(&text("hello", addr, "good"));
    let page = refused(server.reload("[[service]]\nname = \"hello\"\nrply = 1\n"));
    assert!(page.contains("unknown key `rply`"), "\n{page}");
    let page = refused(server.reload(&text("hello", addr, "{{ nonsense }}")));
    assert!(page.contains("nonsense"), "\n{page}");
    says(addr, "good");
    let page = server.page();
    assert!(page.contains("replyd_config_last_reload_successful 0\n"));
    taken(server.reload(&text("hello", addr, "better")));
    says(addr, "better");
    assert!(
        server
            .page()
            .contains("replyd_config_last_reload_successful 1\n")
    );
}

#[test]
fn an_address_that_cannot_be_bound_refuses_all_of_it() {
    let (addr, new) = (free_addr(), free_addr());
    let taken_by_others = TcpListener::bind("127.0.0.1:0").expect("bound");
    let theirs = taken_by_others.local_addr().expect("bound");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("new");
    let server = TestServer::start(&text("hello", addr, "old"));
    let unix = format!(
        "listen = [\"unix:{}\", \"{new}\", \"{theirs}\"]\nreply.text = \"x\"",
        path.display()
    );
    let page =
        refused(server.reload(&[text("hello", addr, "new"), service("more", &unix)].concat()));
    assert!(
        page.contains(&format!("cannot listen on {theirs}")),
        "\n{page}"
    );
    says(addr, "old");
    assert!(connect(new).is_err(), "it is closed again");
    assert!(!path.exists(), "nothing is left of it");
    assert!(!server.page().contains("service=\"more\""));
}

#[test]
fn an_address_beside_an_old_one_that_is_in_its_way_is_told() {
    let addr = free_addr();
    let server = TestServer::start(&text("hello", addr, "old"));
    let wide: SocketAddr = ([0, 0, 0, 0], addr.port()).into();
    let page = refused(server.reload(&text("hello", wide, "new")));
    let expected =
        format!("; this replyd listens on {addr}: going from one to the other takes a restart\n");
    assert!(page.ends_with(&expected), "\n{page}");
    says(addr, "old");
}

#[test]
fn what_takes_a_restart_is_said_as_often_as_it_is_asked_for() {
    let addr = free_addr();
    let server = TestServer::start(&text("hello", addr, "x"));
    let other = format!(
        "[workers]\nthreads = 3\n[queue]\ncapacity = 7\n[log]\nformat = \"json\"\n{}",
        echo("hello", addr, "threads = 2")
    );
    let lines = taken(server.reload(&other));
    for line in [
        "needs a restart: workers.threads = 0 -> 3\n",
        "needs a restart: queue.capacity = 1024 -> 7\n",
        "needs a restart: log.format = \"auto\" -> \"json\"\n",
        "needs a restart: hello: threads = 0 -> 2\n",
    ] {
        assert!(lines.contains(line), "\n{lines}");
    }
    server.wait_for("replyd_queue_capacity", &[("pool", "main")], 1024.0);
    let again = taken(server.reload(&other));
    assert_eq!(again.lines().count(), 4, "\n{again}");
}

#[test]
fn a_new_service_may_have_workers_of_its_own() {
    let (one, two) = (free_addr(), free_addr());
    let server = TestServer::start(&text("one", one, "1"));
    let own = echo("two", two, "threads = 2");
    taken(server.reload(&[text("one", one, "1"), own].concat()));
    let mut client = connect(two).expect("connected");
    client.write_all(b"hi\n").expect("sent");
    assert_eq!(read_all(&mut client), b"hi");
    server.wait_for("replyd_workers", &[("pool", "two")], 2.0);
}

#[test]
fn options_of_a_listener_are_taken() {
    let addr = free_addr();
    let server = TestServer::start(&echo("hello", addr, "backlog = 100"));
    let limit = "replyd_listener_queue_limit";
    server.wait_for(limit, &[("service", "hello")], 100.0);
    let lines = taken(server.reload(&echo("hello", addr, "backlog = 9")));
    assert_eq!(lines, "hello: backlog = 100 -> 9\n");
    says_back(addr);
    server.wait_for(limit, &[("service", "hello")], 9.0);
}

#[track_caller]
fn says_back(addr: SocketAddr) {
    let mut client = connect(addr).expect("connected");
    client.write_all(b"hi\n").expect("sent");
    assert_eq!(read_all(&mut client), b"hi");
}

#[test]
fn the_admin_listener_reloads_where_that_is_allowed() {
    let addr = free_addr();
    let admin = |allowed: bool| format!("[admin]\nlisten = \"127.0.0.1:0\"\nreload = {allowed}\n");
    let toml = |allowed, reply| format!("{}{}", admin(allowed), text("hello", addr, reply));
    let server = TestServer::start(&toml(false, "old"));
    let ask = || String::from_utf8(server.exchange("admin", POST)).expect("text");
    assert!(ask().starts_with("HTTP/1.1 403 "));
    taken(server.reload(&toml(true, "old")));
    assert!(ask().ends_with("\r\n\r\nnothing has changed\n"));
    assert_eq!(server.get("/-/reload").0, 405);
    let by_a_page = b"POST /-/reload HTTP/1.1\r\nHost: x\r\nOrigin: http://evil.example\r\n\r\n";
    let answer = server.exchange("admin", by_a_page);
    assert!(answer.starts_with(b"HTTP/1.1 403 "), "{answer:?}");
    server.write_source(&toml(true, "new"));
    let answer = ask();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.ends_with("hello: reply.text = \"old\" -> \"new\"\n"));
    server.write_source("nonsense");
    let answer = ask();
    assert!(answer.starts_with("HTTP/1.1 422 "), "{answer}");
    says(addr, "new");
}

#[test]
fn a_reading_that_panics_is_a_refusal() {
    let addr = free_addr();
    let toml = format!(
        "{}[admin]\nlisten = \"127.0.0.1:0\"\n",
        text("hello", addr, "good")
    );
    let loaded = replyd::config::load::parse(&toml, "test.toml").expect("a good one");
    let surroundings = Surroundings::new(Arc::new(|| panic!("of a test")));
    let reloader = surroundings.reloader();
    let server = Server::start(&loaded, surroundings).expect("started");
    let (stop_tx, stop) = crossbeam_channel::bounded(1);
    let running = thread::spawn(move || server.run(&stop));
    for _ in 0..2 {
        let page = refused(reloader.reload());
        assert!(page.contains("panicked"), "{page}");
    }
    says(addr, "good");
    stop_tx.send(()).expect("it runs");
    running.join().expect("it ends");
}

#[test]
fn who_asks_for_a_reload_during_a_stop_is_told() {
    let admin = "[admin]\nlisten = \"127.0.0.1:0\"\nreload = true\n";
    let mut server = TestServer::start(&format!("{}{admin}", echo("hello", free_addr(), "")));
    let mut open = server.connect("hello");
    open.write_all(b"half a li").expect("sent");
    server.wait_for_received("hello", 9);
    server.begin_stop();
    let answer = server.exchange("admin", POST);
    assert!(answer.starts_with(b"HTTP/1.1 503 "), "{answer:?}");
    open.write_all(b"ne\n").expect("sent");
    assert_eq!(read_all(&mut open), b"half a line");
    server.end();
}

/// The kernel holds back who has not spoken yet: nobody knows of them but its table.
#[test]
fn a_stop_right_after_a_reload_loses_nobody_of_what_that_has_dropped() {
    let addr = free_addr();
    let mut server = TestServer::start(&echo("hello", addr, "defer_accept_seconds = 1"));
    let mut before = connect(addr).expect("connected");
    taken(server.reload(""));
    server.begin_stop();
    before.write_all(b"hi\n").expect("sent");
    assert_eq!(read_all(&mut before), b"hi");
    assert_eq!(server.end().abandoned, 0);
}

/// P6, in the small: every exchange is answered by one configuration or the other.
#[test]
fn reloads_under_load_lose_nobody() {
    let (addr, other) = (free_addr(), free_addr());
    let one = [echo("hello", addr, ""), echo("more", other, "")].concat();
    let two = echo("renamed", addr, "request_timeout_seconds = 4");
    let server = TestServer::start(&one);
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                let mut count = 0;
                while !stop.load(Relaxed) {
                    says_back(addr);
                    count += 1;
                }
                count
            })
        })
        .collect();
    for _ in 0..10 {
        taken(server.reload(&two));
        taken(server.reload(&one));
    }
    stop.store(true, Relaxed);
    let counts: Vec<u32> = clients
        .into_iter()
        .map(|client| client.join().expect("every exchange was whole"))
        .collect();
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
    server.at_rest();
}

/// Names that come and go leave their counters for a while, and nothing else.
#[test]
fn the_threads_of_a_service_end_with_it() {
    let (addr, file) = (free_addr(), tempfile::NamedTempFile::new().expect("a file"));
    let server = TestServer::start(&text("stays", free_addr(), "x"));
    let stays = text("stays", free_addr(), "x");
    let threads = || {
        let path = format!("/proc/{}/task", std::process::id());
        let tasks = std::fs::read_dir(path).expect("it runs");
        let names = tasks.map(|task| {
            let comm = task.expect("a task").path().join("comm");
            std::fs::read_to_string(comm).unwrap_or_default()
        });
        names.filter(|name| name.contains("brief")).count()
    };
    let reply = format!("reply.file = \"{}\"\nthreads = 2", file.path().display());
    let brief = service("brief", &format!("listen = \"{addr}\"\n{reply}"));
    taken(server.reload(&[stays.clone(), brief.clone()].concat()));
    wait_until("two workers, and one to read the file", || threads() == 3);
    taken(server.reload(&stays));
    wait_until("they end", || threads() == 0);
    assert!(!server.page().contains("pool=\"brief\""));
    taken(server.reload(&[stays, brief].concat()));
    wait_until("they are there again", || threads() == 3);
    let mut client = connect(addr).expect("connected");
    client.write_all(b"x\n").expect("sent");
    assert_eq!(read_all(&mut client), b"");
    server.wait_for_outcome("brief", "replied", 1);
}
