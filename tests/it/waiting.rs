//! Silent, trickling and slow peers, and the deadlines that end them. P2: no client can block a
//! worker or the acceptor.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::client::{read_all, read_to_reset, trickle};
use crate::harness::{LARGE, LIVENESS, TestServer, large_file, service};

/// The beginning of a server with one worker, for everyone.
const ONE_WORKER: &str = "[workers]\nthreads = 1\n";

/// Not sooner than `seconds`, less what two readings of a clock may be apart.
#[track_caller]
fn check_took(began: Instant, seconds: f64) {
    let least = Duration::from_secs_f64(seconds - 0.02);
    assert!(
        began.elapsed() >= least,
        "after {:?} already",
        began.elapsed()
    );
}

#[test]
fn a_silent_client_is_told_when_its_time_is_over() {
    let keys =
        "request_timeout_seconds = 0.2\nreply.text = \"never\"\ntimed_out.text = \"late\\n\"";
    let server = TestServer::start(&service("hello", keys));
    let began = Instant::now();
    let mut client = server.connect("hello");
    assert_eq!(read_all(&mut client), b"late\n");
    check_took(began, 0.2);
    drop(client);
    server.wait_for_outcome("hello", "timed_out", 1);
    server.at_rest();
}

#[test]
fn a_trickling_client_has_one_deadline_in_all() {
    let keys = "request_timeout_seconds = 0.3\nreply.text = \"never\"";
    let server = TestServer::start(&service("hello", keys));
    let began = Instant::now();
    let mut client = server.connect("hello");
    assert_eq!(
        trickle(&mut client, Duration::from_millis(10)),
        b"timed out\n"
    );
    check_took(began, 0.3);
    drop(client);
    server.wait_for_outcome("hello", "timed_out", 1);
    let labels = [("service", "hello")];
    let received = server.metric("replyd_received_bytes_total", &labels);
    assert!(received >= 3.0, "it didn't trickle: {received} bytes");
    server.at_rest();
}

#[test]
fn a_deferred_silent_client_is_ended_too() {
    let keys = "defer_accept_seconds = 1\nrequest_timeout_seconds = 0.2\nreply.text = \"hi\\n\"";
    let server = TestServer::start(&service("hello", keys));
    let mut silent = server.connect("hello");
    // Whom the kernel holds back is no work.
    assert_eq!(server.exchange("hello", b"\n"), b"hi\n");
    assert_eq!(read_all(&mut silent), b"timed out\n");
    drop(silent);
    server.wait_for_outcome("hello", "timed_out", 1);
    server.at_rest();
}

#[test]
fn silent_clients_hold_no_worker() {
    const SILENT: u32 = 300;
    let keys = "request_timeout_seconds = 60\nreply.text = \"hi\\n\"";
    let server = TestServer::start(&format!("{ONE_WORKER}{}", service("hello", keys)));
    let silent: Vec<TcpStream> = (0..SILENT).map(|_| server.connect("hello")).collect();
    server.wait_for_waiting("hello", "request", SILENT);
    for _ in 0..20 {
        assert_eq!(server.exchange("hello", b"\n"), b"hi\n");
    }
    server.wait_for("replyd_workers_busy", &[("pool", "main")], 0.0);
    server.wait_for_outcome("hello", "replied", 20);
    server.wait_for(
        "replyd_connections_open",
        &[("service", "hello")],
        SILENT.into(),
    );
    drop(silent);
    server.wait_for_outcome("hello", "no_request", SILENT);
    server.at_rest();
}

#[test]
fn half_requests_hold_no_worker_and_are_finished_later() {
    const HALF: usize = 50;
    let keys = "request_timeout_seconds = 60\nreply.echo = true";
    let server = TestServer::start(&format!("{ONE_WORKER}{}", service("echo", keys)));
    let mut clients: Vec<TcpStream> = (0..HALF).map(|_| server.connect("echo")).collect();
    for (index, client) in clients.iter_mut().enumerate() {
        client
            .write_all(format!("{index:04}").as_bytes())
            .expect("sent");
    }
    server.wait_for_received("echo", 4 * 50);
    server.wait_for_waiting("echo", "request", 50);
    assert_eq!(server.exchange("echo", b"me\n"), b"me");
    for (index, client) in clients.iter_mut().enumerate().rev() {
        client.write_all(b" done\n").expect("sent");
        assert_eq!(read_all(client), format!("{index:04} done").as_bytes());
    }
    drop(clients);
    server.wait_for_outcome("echo", "replied", 51);
    server.at_rest();
}

#[test]
fn slow_readers_hold_no_worker() {
    const SLOW: u32 = 10;
    let (_folder, reply) = large_file();
    let services = [
        service("large", &reply),
        service("hello", "reply.text = \"hi\\n\""),
    ];
    let server = TestServer::start(&format!("{ONE_WORKER}{}", services.concat()));
    let mut slow: Vec<TcpStream> = (0..SLOW).map(|_| server.connect("large")).collect();
    for client in &mut slow {
        client.write_all(b"\n").expect("sent");
    }
    server.wait_for_waiting("large", "write", SLOW);
    for _ in 0..20 {
        assert_eq!(server.exchange("hello", b"\n"), b"hi\n");
    }
    server.wait_for("replyd_workers_busy", &[("pool", "main")], 0.0);
    drop(slow);
    server.wait_for_outcome("large", "peer_closed", SLOW);
    server.at_rest();
}

#[test]
fn who_stops_reading_is_reset_so_that_a_part_is_not_taken_for_the_whole() {
    let (_folder, reply) = large_file();
    let keys = format!("{reply}\nreply_timeout_seconds = 0.3\nmin_bytes_per_second = 1073741824");
    let server = TestServer::start(&service("large", &keys));
    let began = Instant::now();
    let mut client = server.connect("large");
    client.write_all(b"\n").expect("sent");
    server.wait_for_outcome("large", "timed_out", 1);
    check_took(began, 0.3);
    assert!(read_to_reset(&mut client) < LARGE);
    server.at_rest();
}

#[test]
fn a_large_reply_has_time_for_its_size() {
    let (_folder, reply) = large_file();
    // 16 MiB at 1 MiB a second: time enough, though the fixed part is over in no time.
    let keys = format!("{reply}\nreply_timeout_seconds = 0.1\nmin_bytes_per_second = 1048576");
    let silent = "request_timeout_seconds = 0.5\nreply.text = \"never\"";
    let server = TestServer::start(&[service("large", &keys), service("clock", silent)].concat());
    let mut client = server.connect("large");
    client.write_all(b"\n").expect("sent");
    server.wait_for_waiting("large", "write", 1);
    // A silent client's deadline is the clock.
    assert_eq!(read_all(&mut server.connect("clock")), b"timed out\n");
    assert_eq!(read_all(&mut client).len(), LARGE);
    drop(client);
    server.wait_for_outcome("large", "replied", 1);
    server.at_rest();
}

#[test]
fn one_client_that_takes_much_does_not_hold_the_worker_up() {
    let (_folder, reply) = large_file();
    let services = [
        service("large", &reply),
        service("hello", "reply.text = \"hi\\n\""),
    ];
    let server = TestServer::start(&format!("{ONE_WORKER}{}", services.concat()));
    std::thread::scope(|scope| {
        let readers = [(); 2].map(|()| {
            scope.spawn(|| {
                for _ in 0..2 {
                    assert_eq!(server.exchange("large", b"\n").len(), LARGE);
                }
            })
        });
        // While they go on, others have their turn.
        let mut rounds = 0;
        while !readers
            .iter()
            .all(std::thread::ScopedJoinHandle::is_finished)
        {
            assert_eq!(server.exchange("hello", b"\n"), b"hi\n");
            rounds += 1;
        }
        assert!(
            rounds > 10,
            "{rounds} exchanges beside {} MiB",
            4 * LARGE / 1024 / 1024
        );
    });
    server.wait_for_outcome("large", "replied", 4);
    server.at_rest();
}

#[test]
fn deadlines_of_many_pass_together() {
    const SILENT: u32 = 500;
    let keys = "request_timeout_seconds = 0.5\nreply.text = \"never\"";
    let server = TestServer::start(&service("hello", keys));
    let began = Instant::now();
    let mut silent: Vec<TcpStream> = (0..SILENT).map(|_| server.connect("hello")).collect();
    for client in &mut silent {
        assert_eq!(read_all(client), b"timed out\n");
    }
    assert!(began.elapsed() < LIVENESS, "{:?}", began.elapsed());
    drop(silent);
    server.wait_for_outcome("hello", "timed_out", SILENT);
    server.at_rest();
}
