//! Files as replies, and disks that hang: P2 for a reply that is still being made.

use std::io::Write as _;
use std::net::Shutdown;
use std::path::Path;

use nix::sys::fanotify::{EventFFlags, Fanotify, InitFlags, MarkFlags, MaskFlags};

use crate::client::{header, parse_http, read_all, read_to_reset, reset};
use crate::harness::{LARGE, LIVENESS, TestServer, large_file, service};

fn of_file(name: &str, path: &Path, keys: &str) -> String {
    service(
        name,
        &format!("reply.file = \"{}\"\n{keys}", path.display()),
    )
}

#[test]
fn a_change_on_disk_is_served() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("page");
    std::fs::write(&path, "first\n").expect("written");
    let server = TestServer::start(&of_file("page", &path, ""));
    assert_eq!(server.exchange("page", b"\n"), b"first\n");
    std::fs::write(&path, "second\n").expect("written");
    assert_eq!(server.exchange("page", b"\n"), b"second\n");
    let other = folder.path().join("other");
    std::fs::write(&other, "third\n").expect("written");
    std::fs::rename(&other, &path).expect("renamed");
    assert_eq!(server.exchange("page", b"\n"), b"third\n");
    std::fs::write(&path, "").expect("written");
    assert_eq!(server.exchange("page", b"\n"), b"");
    server.wait_for_outcome("page", "replied", 4);
    server.at_rest();
}

#[test]
fn what_is_no_file_has_failed() {
    let folder = tempfile::tempdir().expect("a folder");
    let fifo = folder.path().join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR).expect("a FIFO");
    let toml = [
        of_file(
            "missing",
            &folder.path().join("missing"),
            "failed.text = \"gone\\n\"",
        ),
        of_file("folder", folder.path(), ""),
        of_file("fifo", &fifo, ""),
        of_file("web", &folder.path().join("missing"), "read = \"http\""),
    ];
    let server = TestServer::start(&toml.concat());
    assert_eq!(server.exchange("missing", b"\n"), b"gone\n");
    assert_eq!(server.exchange("folder", b"\n"), b"failed\n");
    assert_eq!(server.exchange("fifo", b"\n"), b"failed\n");
    let reply = server.exchange("web", b"GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(parse_http(&reply).0, 500);
    for service in ["missing", "folder", "fifo", "web"] {
        server.wait_for_outcome(service, "failed", 1);
    }
    server.at_rest();
}

#[test]
fn a_file_over_http_tells_its_length() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("page");
    let content = "0123456789".repeat(30_000);
    std::fs::write(&path, &content).expect("written");
    let server = TestServer::start(&of_file("web", &path, "read = \"http\""));
    let reply = server.exchange("web", b"GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    let (status, head, body) = parse_http(&reply);
    assert!(status == 200 && body == content, "{head}");
    let reply = server.exchange("web", b"HEAD / HTTP/1.1\r\nHost: test\r\n\r\n");
    let (status, head, body) = parse_http(&reply);
    assert_eq!((status, body.as_str()), (200, ""));
    assert_eq!(header(&head, "Content-Length"), Some("300000"));
    server.wait_for_outcome("web", "replied", 2);
    server.at_rest();
}

#[test]
fn a_large_file_is_whole_in_bounded_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("large");
    let content = (0..251).collect::<Vec<u8>>().repeat(LARGE / 251);
    std::fs::write(&path, &content).expect("written");
    let server = TestServer::start(&of_file("large", &path, ""));
    let mut clients = [(); 4].map(|()| server.connect("large"));
    for client in &mut clients {
        client.write_all(b"\n").expect("sent");
    }
    // None of them reads until all of them are stuck.
    server.wait_for_waiting("large", "write", 4);
    for client in &mut clients {
        assert!(read_all(client) == content, "not what is in the file");
    }
    drop(clients);
    server.wait_for_outcome("large", "replied", 4);
    server.at_rest();
}

#[test]
fn a_file_that_shrinks_while_it_is_sent_is_a_reset() {
    let (folder, reply) = large_file();
    let server = TestServer::start(&service("large", &reply));
    let mut client = server.connect("large");
    client.write_all(b"\n").expect("sent");
    server.wait_for_waiting("large", "write", 1);
    std::fs::write(folder.path().join("large"), "short").expect("written");
    assert!(
        read_to_reset(&mut client) < LARGE,
        "a part must not look like the whole"
    );
    server.wait_for_outcome("large", "failed", 1);
    server.at_rest();
}

/// A file whose opening hangs, as on a network mount whose server is gone, until this is dropped.
/// It takes a privilege (CAP_SYS_ADMIN): `None` without.
struct Hung {
    _group: Fanotify,
}

impl Hung {
    fn new(path: &Path) -> Option<Self> {
        let flags = InitFlags::FAN_CLASS_CONTENT | InitFlags::FAN_CLOEXEC;
        let group = Fanotify::init(flags, EventFFlags::O_RDONLY | EventFFlags::O_CLOEXEC).ok()?;
        // Who opens it waits for an answer that doesn't come; the group's end lets them all go.
        let mask = MaskFlags::FAN_OPEN_PERM;
        group
            .mark(MarkFlags::FAN_MARK_ADD, mask, rustix::fs::CWD, Some(path))
            .ok()?;
        Some(Self { _group: group })
    }
}

/// A server with one worker: `hung`, `cancel` with half_close, and `hello`, which has no file.
fn hung(keys: &str) -> Option<(TestServer, Hung, tempfile::TempDir)> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("page");
    std::fs::write(&path, "at last\n").expect("written");
    let other = folder.path().join("other");
    std::fs::write(&other, "other\n").expect("written");
    let toml = [
        of_file("hung", &path, keys),
        of_file("cancel", &path, "half_close = \"cancel\""),
        of_file("other", &other, ""),
        service("hello", "reply.text = \"hi\\n\""),
    ];
    let server = TestServer::start(&format!("[workers]\nthreads = 1\n{}", toml.concat()));
    let hung = Hung::new(&path)?;
    Some((server, hung, folder))
}

#[test]
fn a_disk_that_hangs_stalls_its_own_service_only() {
    let Some((server, hung, _folder)) = hung("") else {
        return;
    };
    let mut clients = [(); 5].map(|()| server.connect("hung"));
    for client in &mut clients {
        // What is unread meanwhile makes no noise.
        client.write_all(b"\nand more").expect("sent");
    }
    server.wait_for_waiting("hung", "reply", 5);
    for _ in 0..20 {
        assert_eq!(server.exchange("hello", b"\n"), b"hi\n");
        assert_eq!(server.exchange("other", b"\n"), b"other\n");
    }
    assert_eq!(server.get("/-/healthy").0, 200);
    server.wait_for("replyd_workers_busy", &[("pool", "main")], 0.0);
    server.wait_for_waiting("hung", "reply", 5);
    drop(hung);
    for client in &mut clients {
        assert_eq!(read_all(client), b"at last\n");
    }
    drop(clients);
    server.wait_for_outcome("hung", "replied", 5);
    server.at_rest();
}

#[test]
fn a_reply_that_does_not_come_times_out() {
    let Some((server, hung, _folder)) = hung("reply_timeout_seconds = 0.2") else {
        return;
    };
    assert_eq!(server.exchange("hung", b"\n"), b"timed out\n");
    server.wait_for_outcome("hung", "timed_out", 1);
    // The late answer is nobody's.
    drop(hung);
    assert_eq!(server.exchange("hung", b"\n"), b"at last\n");
    server.wait_for_outcome("hung", "replied", 1);
    server.at_rest();
}

#[test]
fn who_leaves_while_its_reply_is_made_is_noticed() {
    let Some((server, hung, _folder)) = hung("") else {
        return;
    };
    let mut client = server.connect("hung");
    client.write_all(b"\n").expect("sent");
    server.wait_for_waiting("hung", "reply", 1);
    reset(client);
    server.wait_for_outcome("hung", "peer_closed", 1);
    let mut client = server.connect("cancel");
    client.write_all(b"\n").expect("sent");
    server.wait_for_waiting("cancel", "reply", 1);
    client.shutdown(Shutdown::Write).expect("half closed");
    server.wait_for_outcome("cancel", "peer_closed", 1);
    // Where half-closing is no cancelling it waits.
    let mut client = server.connect("hung");
    client.write_all(b"\n").expect("sent");
    client.shutdown(Shutdown::Write).expect("half closed");
    server.wait_for_waiting("hung", "reply", 1);
    drop(hung);
    assert_eq!(read_all(&mut client), b"at last\n");
    drop(client);
    server.wait_for_outcome("hung", "replied", 1);
    server.at_rest();
}

#[test]
fn a_stop_does_not_wait_for_a_disk_that_hangs() {
    let Some((mut server, hung, _folder)) =
        hung("reply_timeout_seconds = 0.3\nlinger_idle_seconds = 0.1")
    else {
        return;
    };
    let mut client = server.connect("hung");
    client.write_all(b"\n").expect("sent");
    server.wait_for_waiting("hung", "reply", 1);
    let began = std::time::Instant::now();
    let report = server.stop();
    assert!(began.elapsed() < LIVENESS, "{:?}", began.elapsed());
    assert_eq!((report.drained, report.abandoned), (1, 0));
    assert_eq!(read_all(&mut client), b"timed out\n");
    drop(hung);
}
