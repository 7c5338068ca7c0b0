//! Stopping without losing anyone. P7: a stop finishes what was asked within the grace period.

use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::client::{connect, is_silent_for, read_all, read_to_reset};
use crate::harness::{LARGE, LIVENESS, TestServer, large_file, service, wait_until};

/// A server of [`LARGE`] replies, and one connection whose reply is not taken yet.
fn with_slow_reader(top: &str) -> (TestServer, TcpStream, tempfile::TempDir) {
    let (folder, reply) = large_file();
    let large = service("large", &reply);
    let up = service(
        "up",
        "read = \"nothing\"\nreply.text = \"up\\n\"\nlinger_idle_seconds = 9",
    );
    let server = TestServer::start(&format!("{top}{large}{up}"));
    let mut client = server.connect("large");
    client.write_all(b"\n").expect("sent");
    server.wait_for_waiting("large", "write", 1);
    (server, client, folder)
}

/// Exchanges in a closed loop until the port is closed: how many. Whoever got a connection must
/// get the whole reply, though it takes its time to speak.
fn load(addr: SocketAddr) -> io::Result<u32> {
    for exchanges in 0.. {
        let mut client = match connect(addr) {
            Ok(client) => client,
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Ok(exchanges),
            Err(error) => return Err(error),
        };
        // At any moment most clients are connected and silent: those are who a stop could lose.
        let pause = Duration::from_millis(5);
        if !is_silent_for(&mut client, pause)? {
            return Err(io::Error::other("an end before the request"));
        }
        client.write_all(b"you\n")?;
        let mut reply = Vec::new();
        io::Read::read_to_end(&mut client, &mut reply)?;
        if reply != b"hello, you\n" {
            return Err(io::Error::other(format!("cut: {reply:?}")));
        }
    }
    unreachable!("the loop ends when the port is closed")
}

fn stop_under_load(defer: u32) {
    let reply = "reply.text = \"hello, {{ request }}\\n\"";
    let keys = format!("defer_accept_seconds = {defer}\n{reply}");
    let mut server = TestServer::start(&service("hello", &keys));
    let addr = server.addr("hello");
    let clients = [(); 16].map(|()| std::thread::spawn(move || load(addr)));
    wait_until("under load", || {
        server.metric("replyd_connections_accepted_total", &[("service", "hello")]) >= 200.0
    });
    let report = server.stop();
    assert_eq!(report.abandoned, 0);
    let mut exchanges = 0;
    for client in clients {
        let counted = client.join().expect("no panic");
        exchanges += counted.unwrap_or_else(|error| panic!("a client lost its reply: {error}"));
    }
    // The drain has ended, so this is final.
    server.at_rest();
    server.wait_for_outcome("hello", "replied", exchanges);
}

#[test]
fn a_stop_under_load_loses_nobody() {
    stop_under_load(0);
}

#[test]
fn a_stop_under_load_loses_nobody_whom_the_kernel_held_back() {
    stop_under_load(1);
}

fn young_silent_client(defer: u32) {
    let keys = format!("defer_accept_seconds = {defer}\nreply.echo = true");
    let mut server = TestServer::start(&service("echo", &keys));
    // What was accepted or held back before the stop, and speaks after it.
    let mut clients: Vec<TcpStream> = (0..10).map(|_| server.connect("echo")).collect();
    server.begin_stop();
    // Longer than what is on the way is waited for, and well within the second they have.
    let pause = Duration::from_millis(100);
    assert!(
        is_silent_for(&mut clients[0], pause).expect("no reset"),
        "it ended before it spoke"
    );
    for client in &mut clients {
        client.write_all(b"just in time\n").expect("sent");
        assert_eq!(read_all(client), b"just in time");
    }
    drop(clients);
    let report = server.end();
    assert_eq!((report.drained, report.abandoned), (10, 0));
    server.wait_for_outcome("echo", "replied", 10);
}

#[test]
fn who_connected_just_before_a_stop_and_speaks_after_it_is_served() {
    young_silent_client(0);
}

#[test]
fn who_was_held_back_by_the_kernel_and_speaks_after_a_stop_is_served() {
    young_silent_client(1);
}

#[test]
fn who_connected_to_a_unix_socket_just_before_a_stop_is_served() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    let keys = format!("listen = \"unix:{}\"\nreply.echo = true", path.display());
    let mut server = TestServer::start(&service("local", &keys));
    let mut client = UnixStream::connect(&path).expect("connected");
    client.set_read_timeout(Some(LIVENESS)).expect("an option");
    server.begin_stop();
    client.write_all(b"just in time\n").expect("sent");
    assert_eq!(read_all(&mut client), b"just in time");
    drop(client);
    assert_eq!(server.end().abandoned, 0);
}

#[test]
fn half_a_request_may_be_finished_and_silence_may_not_last() {
    let keys = "request_timeout_seconds = 60\nreply.echo = true";
    let mut server = TestServer::start(&service("echo", keys));
    let mut half = server.connect("echo");
    half.write_all(b"one ").expect("sent");
    let mut never = server.connect("echo");
    never.write_all(b"never").expect("sent");
    server.wait_for_received("echo", 9);
    let mut silent = server.connect("echo");
    server.wait_for_waiting("echo", "request", 3);
    let began = Instant::now();
    server.begin_stop();
    half.write_all(b"two\n").expect("sent");
    assert_eq!(read_all(&mut half), b"one two");
    assert_eq!(read_all(&mut never), b"timed out\n");
    assert_eq!(read_all(&mut silent), b"timed out\n");
    drop((half, never, silent));
    let report = server.end();
    assert!(
        began.elapsed() < Duration::from_secs(8),
        "the grace period was waited for"
    );
    assert_eq!((report.drained, report.abandoned), (3, 0));
    server.wait_for_outcome("echo", "replied", 1);
    server.wait_for_outcome("echo", "timed_out", 2);
}

#[test]
fn what_was_asked_is_finished_within_the_grace_period() {
    let (mut server, mut slow, _folder) = with_slow_reader("");
    server.begin_stop();
    // Once the port is closed nobody new is accepted.
    wait_until("the port is closed", || {
        TcpStream::connect(server.addr("up")).is_err()
    });
    let page = server.exchange("admin", b"GET /metrics HTTP/1.1\r\nHost: test\r\n\r\n");
    assert!(
        page.starts_with(b"HTTP/1.1 200 "),
        "the admin listener closes last"
    );
    assert_eq!(read_all(&mut slow).len(), LARGE);
    drop(slow);
    assert_eq!(server.end().abandoned, 0);
    server.wait_for_outcome("large", "replied", 1);
    server.at_rest();
    let refused = connect(server.addr("admin")).expect_err("closed");
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
}

#[test]
fn what_is_unfinished_at_its_end_is_abandoned_but_lingering_is_not() {
    let (mut server, mut slow, _folder) =
        with_slow_reader("[server]\ngrace_period_seconds = 0.3\n");
    let mut lingering = server.connect("up");
    assert_eq!(read_all(&mut lingering), b"up\n");
    server.wait_for_waiting("up", "linger", 1);
    let report = server.stop();
    assert_eq!((report.drained, report.abandoned), (2, 1));
    assert!(read_to_reset(&mut slow) < LARGE, "a part is not the whole");
    server.wait_for_outcome("large", "abandoned", 1);
    server.wait_for_outcome("up", "replied", 1);
    server.at_rest();
}

#[test]
fn a_drain_delay_goes_on_accepting() {
    let toml = format!(
        "[server]\ndrain_delay_seconds = 2\n{}",
        service("hello", "reply.echo = true")
    );
    let mut server = TestServer::start(&toml);
    assert_eq!(server.get("/-/ready").0, 200);
    server.begin_stop();
    for _ in 0..10 {
        assert_eq!(server.exchange("hello", b"you\n"), b"you");
    }
    assert_eq!(server.get("/-/healthy").0, 200);
    assert_eq!(server.end().abandoned, 0);
    server.wait_for_outcome("hello", "replied", 10);
}

#[test]
fn an_idle_server_stops_at_once() {
    let mut server = TestServer::start(&service("hello", "reply.echo = true"));
    assert_eq!(server.exchange("hello", b"you\n"), b"you");
    server.at_rest();
    let began = Instant::now();
    let report = server.stop();
    assert_eq!((report.drained, report.abandoned), (0, 0));
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    let refused = connect(server.addr("hello")).expect_err("closed");
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
}
