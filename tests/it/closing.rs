//! What becomes of a reply at the close: linger, half close, reset, unread input. P3: a reply
//! that was sent whole is never destroyed by the server's close.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use crate::client::{read_all, reset, trickle};
use crate::harness::{LARGE, LIVENESS, TestServer, large_file, service};

/// A service whose reply is [`LARGE`], and the folder it is in.
fn large(keys: &str) -> (TestServer, tempfile::TempDir) {
    let (folder, reply) = large_file();
    (
        TestServer::start(&service("large", &format!("{reply}\n{keys}"))),
        folder,
    )
}

#[test]
fn unread_input_after_the_request_costs_no_reply() {
    let server = TestServer::start(&service(
        "hello",
        r#"reply.text = "hello, {{ request }}\n""#,
    ));
    let request = [&b"you\n"[..], &[b'x'; 100]].concat();
    for _ in 0..200 {
        assert_eq!(server.exchange("hello", &request), b"hello, you\n");
    }
    // More than one receive takes.
    let request = [&b"you\n"[..], &vec![b'x'; 200_000]].concat();
    for _ in 0..20 {
        assert_eq!(server.exchange("hello", &request), b"hello, you\n");
    }
    server.wait_for_outcome("hello", "replied", 220);
    server.at_rest();
}

#[test]
fn input_that_comes_after_the_reply_costs_no_reply() {
    let server = TestServer::start(&service("up", "read = \"nothing\"\nreply.text = \"up\\n\""));
    for _ in 0..5 {
        let mut client = server.connect("up");
        // The reply is out, our side has ended nothing: a plain close would reset now.
        server.wait_for_waiting("up", "linger", 1);
        client.write_all(&[b'x'; 1000]).expect("sent");
        // Thrown away in a moment: that the connection is watched is what is tested here.
        assert_eq!(read_all(&mut client), b"up\n");
        client
            .write_all(&[b'x'; 1000])
            .expect("the server still listens");
        drop(client);
        server.wait_for_waiting("up", "linger", 0);
    }
    server.wait_for_outcome("up", "replied", 5);
    server.wait_for_received("up", 10_000);
    server.at_rest();
}

#[test]
fn who_half_closes_gets_the_reply() {
    let server = TestServer::start(&service(
        "hello",
        r#"reply.text = "hello, {{ request }}\n""#,
    ));
    for _ in 0..200 {
        assert_eq!(
            server.exchange_half_closed("hello", b"you\n"),
            b"hello, you\n"
        );
    }
    server.wait_for_outcome("hello", "replied", 200);
    server.at_rest();
}

#[test]
fn a_large_reply_is_whole_for_a_reader_that_comes_late() {
    let (server, _folder) = large("");
    let mut client = server.connect("large");
    // And some input that nobody reads.
    client.write_all(b"\nmore of it").expect("sent");
    server.wait_for_waiting("large", "write", 1);
    assert_eq!(read_all(&mut client).len(), LARGE);
    drop(client);
    server.wait_for_outcome("large", "replied", 1);
    server.wait_for(
        "replyd_sent_bytes_total",
        &[("service", "large")],
        16.0 * 1024.0 * 1024.0,
    );
    server.at_rest();
}

#[test]
fn who_sends_while_it_is_answered_gets_all_of_it() {
    let (server, _folder) = large("read = \"nothing\"");
    let mut client = server.connect("large");
    server.wait_for_waiting("large", "write", 1);
    // Well below linger_max_bytes, and far above nothing.
    client.write_all(&vec![b'x'; 100_000]).expect("sent");
    assert_eq!(read_all(&mut client).len(), LARGE);
    drop(client);
    server.wait_for_outcome("large", "replied", 1);
    server.at_rest();
}

/// A reply at once, then a linger with these bounds.
fn lingering(idle: f64, total: f64, max_bytes: u64) -> TestServer {
    let keys = format!(
        "read = \"nothing\"\nreply.text = \"up\\n\"\nlinger_idle_seconds = {idle}\n\
         linger_total_seconds = {total}\nlinger_max_bytes = {max_bytes}"
    );
    TestServer::start(&service("up", &keys))
}

#[test]
fn lingering_ends_when_the_peer_is_idle() {
    let server = lingering(0.2, 60.0, 1000);
    let mut client = server.connect("up");
    let began = Instant::now();
    assert_eq!(read_all(&mut client), b"up\n");
    server.wait_for_outcome("up", "replied", 1);
    // With slack for two clocks that are read at different moments.
    assert!(
        began.elapsed() > Duration::from_millis(150),
        "closed at once"
    );
    server.at_rest();
    drop(client);
}

#[test]
fn lingering_ends_though_the_peer_trickles() {
    let server = lingering(0.3, 0.5, 100_000);
    let mut client = server.connect("up");
    assert_eq!(read_all(&mut client), b"up\n");
    client.set_read_timeout(Some(LIVENESS)).expect("an option");
    let began = Instant::now();
    while client.write_all(b"x").is_ok() {
        assert!(began.elapsed() < LIVENESS, "it goes on listening");
        std::thread::yield_now();
    }
    server.wait_for_outcome("up", "replied", 1);
    server.at_rest();
}

#[test]
fn lingering_ends_when_the_peer_sends_too_much() {
    let server = lingering(60.0, 60.0, 1000);
    let mut client = server.connect("up");
    assert_eq!(read_all(&mut client), b"up\n");
    // It may be cut off in the middle.
    let _sent = client.write_all(&[b'x'; 10_000]);
    server.wait_for_outcome("up", "replied", 1);
    server.at_rest();
}

#[test]
fn a_reset_while_lingering_is_still_replied() {
    let server = lingering(60.0, 60.0, 1000);
    let mut client = server.connect("up");
    assert_eq!(read_all(&mut client), b"up\n");
    server.wait_for_waiting("up", "linger", 1);
    reset(client);
    server.wait_for_outcome("up", "replied", 1);
    server.at_rest();
}

#[test]
fn who_breaks_off_has_closed() {
    let (server, _folder) = large("");
    // In the middle of the request,
    let mut client = server.connect("large");
    client.write_all(b"half").expect("sent");
    server.wait_for_received("large", 4);
    reset(client);
    server.wait_for_outcome("large", "peer_closed", 1);
    // and of the reply.
    let mut client = server.connect("large");
    client.write_all(b"\n").expect("sent");
    server.wait_for_waiting("large", "write", 1);
    reset(client);
    server.wait_for_outcome("large", "peer_closed", 2);
    // A close with a reply unread is a reset too.
    let mut client = server.connect("large");
    client.write_all(b"\n").expect("sent");
    client.read_exact(&mut [0]).expect("a byte");
    drop(client);
    server.wait_for_outcome("large", "peer_closed", 3);
    server.at_rest();
}

#[test]
fn where_half_close_cancels_it_is_no_request() {
    let keys = "half_close = \"cancel\"\nread = { bytes = 4 }\nreply.text = \"never\"";
    let server = TestServer::start(&service("cancel", keys));
    let mut client = server.connect("cancel");
    client.write_all(b"abc").expect("sent");
    server.wait_for_received("cancel", 3);
    client.shutdown(Shutdown::Write).expect("half closed");
    assert_eq!(read_all(&mut client), b"");
    server.wait_for_outcome("cancel", "peer_closed", 1);
    let client = server.connect("cancel");
    client.shutdown(Shutdown::Write).expect("half closed");
    server.wait_for_outcome("cancel", "no_request", 1);
    assert_eq!(server.exchange("cancel", b"abcd"), b"never");
    server.at_rest();
}

#[test]
fn who_is_refused_early_and_goes_on_sending_sees_a_clean_end() {
    let keys = "max_request_bytes = 100\nreply.text = \"never\"";
    let server = TestServer::start(&service("small", keys));
    for round in 1..=5 {
        let mut client = server.connect("small");
        client.write_all(&[b'x'; 1000]).expect("sent");
        server.wait_for_waiting("small", "linger", 1);
        client
            .write_all(&vec![b'x'; 100_000])
            .expect("the server still listens");
        assert_eq!(read_all(&mut client), b"");
        drop(client);
        server.wait_for_outcome("small", "too_large", round);
    }
    server.at_rest();
}

#[test]
fn a_trickle_over_the_limit_is_refused() {
    let keys = "max_request_bytes = 20\nrequest_timeout_seconds = 60\nreply.text = \"never\"";
    let server = TestServer::start(&service("small", keys));
    let mut client = server.connect("small");
    assert_eq!(trickle(&mut client, Duration::from_millis(1)), b"");
    drop(client);
    server.wait_for_outcome("small", "too_large", 1);
    server.at_rest();
}
