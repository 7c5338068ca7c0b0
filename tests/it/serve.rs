//! Framings and replies, end to end.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener};
use std::os::unix::net::UnixStream;
use std::sync::Barrier;

use crate::client::{connect, read_all};
use crate::harness::{LIVENESS, TestServer, service};

/// A service for each framing, each named after it.
fn framings() -> TestServer {
    let reply = r#"reply.text = "[{{ request }}]""#;
    let toml = [
        service("line", &format!("read = \"line\"\n{reply}")),
        service(
            "delimiter",
            &format!("read = {{ delimiter = \"\\r\\n.\\r\\n\" }}\n{reply}"),
        ),
        service("bytes", &format!("read = {{ bytes = 4 }}\n{reply}")),
        service("eof", &format!("read = \"eof\"\n{reply}")),
        service(
            "nothing",
            "read = \"nothing\"\nreply.text = \"up ready 100%\\n\"",
        ),
    ];
    TestServer::start(&toml.concat())
}

#[track_caller]
fn check(server: &TestServer, service: &str, request: &[u8], expected: &str) {
    let reply = server.exchange(service, request);
    assert_eq!(String::from_utf8_lossy(&reply), expected);
}

#[test]
fn every_framing_gets_its_reply() {
    let server = framings();
    check(&server, "line", b"query\n", "[query]");
    check(&server, "line", b"query\r\n", "[query]");
    check(&server, "line", b"one\ntwo\n", "[one]");
    check(&server, "line", b"\n", "[]");
    check(&server, "delimiter", b"a\r\nb\r\n.\r\n", "[a\r\nb]");
    check(&server, "bytes", b"abcd", "[abcd]");
    check(&server, "bytes", b"abcdefgh", "[abcd]");
    check(&server, "nothing", b"", "up ready 100%\n");
    let reply = server.exchange_half_closed("eof", b"all\nof it");
    assert_eq!(String::from_utf8_lossy(&reply), "[all\nof it]");
    server.wait_for_outcome("line", "replied", 4);
    server.at_rest();
}

#[test]
fn the_end_of_the_peers_side_ends_a_line_and_cuts_a_count() {
    let server = framings();
    assert_eq!(server.exchange_half_closed("line", b"query"), b"[query]");
    assert_eq!(
        server.exchange_half_closed("delimiter", b"query"),
        b"[query]"
    );
    assert_eq!(server.exchange_half_closed("bytes", b"abc"), b"");
    server.wait_for_outcome("bytes", "invalid", 1);
    server.at_rest();
}

#[test]
fn a_request_in_single_bytes_gets_the_same_reply() {
    let server = framings();
    for (service, request, expected) in [
        ("line", &b"query\r\n"[..], &b"[query]"[..]),
        ("delimiter", b"a\r\n\r\n.\r\n", b"[a\r\n]"),
        ("bytes", b"abcd", b"[abcd]"),
    ] {
        let mut client = server.connect(service);
        for (index, byte) in request.iter().enumerate() {
            client.write_all(&[*byte]).expect("sent");
            let received = u32::try_from(index + 1).expect("few");
            // It has seen this byte alone, and waits for the next.
            server.wait_for_received(service, received);
        }
        assert_eq!(read_all(&mut client), expected, "{service}");
    }
    server.at_rest();
}

#[test]
fn an_echo_is_the_request_itself() {
    let toml = [
        service("line", "read = \"line\"\nreply.echo = true"),
        service(
            "eof",
            "read = \"eof\"\nmax_request_bytes = 1000000\nreply.echo = true",
        ),
    ];
    let server = TestServer::start(&toml.concat());
    assert_eq!(server.exchange("line", b"a\0b\xff\r\n"), b"a\0b\xff");
    let all: Vec<u8> = (0..1_000_000_u32)
        .map(|index| (index % 251) as u8)
        .collect();
    assert!(
        server.exchange_half_closed("eof", &all) == all,
        "a megabyte comes back whole"
    );
    assert_eq!(server.exchange_half_closed("eof", b""), b"");
    server.wait_for_outcome("eof", "replied", 2);
    server.at_rest();
}

#[test]
fn a_template_knows_who_asks_what_and_when() {
    let text =
        r#"reply.text = "{{ service }} {{ peer }} {{ peer.ip }} {{ peer.port }} {{ time }}""#;
    let server = TestServer::start(&service("who", text));
    let mut client = server.connect("who");
    let addr = client.local_addr().expect("an address");
    client.write_all(b"\n").expect("sent");
    let reply = String::from_utf8(read_all(&mut client)).expect("UTF-8");
    let (who, time) = reply.rsplit_once(' ').expect("words");
    assert_eq!(who, format!("who {addr} 127.0.0.1 {}", addr.port()));
    let time: jiff::Timestamp = time.parse().expect("RFC 3339");
    assert!(
        (jiff::Timestamp::now() - time)
            .total(jiff::Unit::Second)
            .expect("a span")
            < 60.0
    );
}

#[test]
fn a_request_over_its_limit_gets_nothing_but_a_clean_end() {
    let keys = "read = \"line\"\nmax_request_bytes = 10\nreply.echo = true";
    let server = TestServer::start(&service("small", keys));
    assert_eq!(server.exchange("small", b"0123456789\n"), b"0123456789");
    assert_eq!(server.exchange("small", b"0123456789x\n"), b"");
    assert_eq!(server.exchange("small", &vec![b'x'; 50_000]), b"");
    server.wait_for_outcome("small", "replied", 1);
    server.wait_for_outcome("small", "too_large", 2);
    server.at_rest();
}

#[test]
fn a_service_has_several_addresses() {
    if TcpListener::bind("[::1]:0").is_err() {
        // A machine without IPv6 on loopback; there is nothing to ask.
        return;
    }
    let keys = "listen = [\"127.0.0.1:0\", \"127.0.0.2:0\", \"[::1]:0\"]\n\
                reply.text = \"{{ peer.ip }}\"";
    let server = TestServer::start(&service("many", keys));
    let addrs = server.addrs("many");
    assert_eq!(addrs.len(), 3);
    for (addr, ip) in addrs.into_iter().zip(["127.0.0.1", "127.0.0.1", "::1"]) {
        let mut client = connect(addr).expect("connected");
        client.write_all(b"\n").expect("sent");
        assert_eq!(
            String::from_utf8_lossy(&read_all(&mut client)),
            ip,
            "at {addr}"
        );
    }
    server.wait_for_outcome("many", "replied", 3);
    server.at_rest();
}

#[test]
fn a_unix_socket_is_served_and_taken_away_at_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    let keys = format!(
        "listen = \"unix:{}\"\nreply.text = \"{{{{ peer }}}}: {{{{ request }}}}\"",
        path.display()
    );
    let mut server = TestServer::start(&service("local", &keys));
    for _ in 0..10 {
        let mut client = UnixStream::connect(&path).expect("connected");
        client.set_read_timeout(Some(LIVENESS)).expect("an option");
        // The last bytes are never read by the server.
        client.write_all(b"you\nand more").expect("sent");
        assert_eq!(String::from_utf8_lossy(&read_all(&mut client)), "unix: you");
    }
    server.wait_for_outcome("local", "replied", 10);
    server.at_rest();
    server.stop();
    assert!(!path.exists(), "the path is left behind");
}

#[test]
fn who_leaves_without_a_word_has_made_no_request() {
    let server = framings();
    drop(server.connect("line"));
    server.wait_for_outcome("line", "no_request", 1);
    let client = server.connect("eof");
    server.wait_for_waiting("eof", "request", 1);
    crate::client::reset(client);
    server.wait_for_outcome("eof", "no_request", 1);
    server.at_rest();
}

#[test]
fn many_clients_at_a_time_get_a_reply_each() {
    const CLIENTS: usize = 8;
    const ROUNDS: usize = 150;
    let server = framings();
    let barrier = Barrier::new(CLIENTS);
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (server, barrier) = (&server, &barrier);
            scope.spawn(move || {
                barrier.wait();
                for round in 0..ROUNDS {
                    let request = format!("{client} {round}");
                    let reply = server.exchange("line", format!("{request}\n").as_bytes());
                    assert_eq!(reply, format!("[{request}]").as_bytes());
                }
            });
        }
    });
    let all = u32::try_from(CLIENTS * ROUNDS).expect("few");
    server.wait_for_outcome("line", "replied", all);
    let labels = [("service", "line")];
    server.wait_for(
        "replyd_exchange_duration_seconds_count",
        &labels,
        all.into(),
    );
    server.wait_for("replyd_queue_wait_seconds_count", &labels, all.into());
    server.at_rest();
}

#[test]
fn zero_services_are_a_server_too() {
    let mut server = TestServer::start("");
    assert_eq!(server.get("/-/ready").0, 200);
    assert_eq!(server.stop().drained, 0);
}

#[test]
fn a_client_that_reads_slowly_in_small_bites_gets_all_of_it() {
    let text = "x".repeat(200_000);
    let keys = format!("read = \"nothing\"\nreply.text = \"{text}\"");
    let server = TestServer::start(&service("text", &keys));
    let mut client = server.connect("text");
    client.shutdown(Shutdown::Write).expect("half closed");
    let mut count = 0;
    let mut bite = [0; 997];
    loop {
        match client.read(&mut bite).expect("no reset") {
            0 => break,
            more => count += more,
        }
    }
    assert_eq!(count, text.len());
    server.at_rest();
}
