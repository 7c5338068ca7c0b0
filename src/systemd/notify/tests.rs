//! A service manager that is a datagram socket: what it receives, byte for byte.

use super::*;
use proptest::prelude::*;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType,
    bind, recvmsg, socket_with, sockopt,
};
use std::io::IoSliceMut;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use tempfile::TempDir;

/// A manager that is never waited for: what it was sent is there, or the test fails.
struct FakeManager {
    socket: OwnedFd,
    notifier: Notifier,
    _folder: TempDir,
}

impl FakeManager {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let addr = SocketAddrUnix::new(&path).expect("an address");
        Self::on(&addr, path.as_os_str(), folder)
    }

    fn on(addr: &SocketAddrUnix, text: &OsStr, folder: TempDir) -> Self {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None);
        let socket = socket.expect("a socket");
        bind(&socket, addr).expect("bound");
        let notifier = Notifier::new(text).expect("a notifier");
        Self {
            socket,
            notifier,
            _folder: folder,
        }
    }

    /// The next datagram, and the descriptors that came with it.
    fn receive(&self) -> Option<(String, Vec<OwnedFd>)> {
        let mut buffer = [0; 8192];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let length = {
            let mut parts = [IoSliceMut::new(&mut buffer)];
            let flags = RecvFlags::CMSG_CLOEXEC;
            let received = recvmsg(&self.socket, &mut parts, &mut ancillary, flags);
            received.ok()?.bytes
        };
        let mut fds = Vec::new();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                fds.extend(rights);
            }
        }
        let text = String::from_utf8(buffer[..length].to_vec()).expect("UTF-8");
        Some((text, fds))
    }

    /// The next datagram, which has no descriptors.
    #[track_caller]
    fn text(&self) -> String {
        let (text, fds) = self.receive().expect("a datagram");
        assert!(fds.is_empty(), "descriptors with {text:?}");
        text
    }
}

#[test]
fn each_message_is_one_datagram() {
    let manager = FakeManager::start();
    let notifier = &manager.notifier;
    notifier.ready("serving");
    assert_eq!(manager.text(), "READY=1\nSTATUS=serving");
    notifier.status("3 services");
    assert_eq!(manager.text(), "STATUS=3 services");
    notifier.watchdog();
    assert_eq!(manager.text(), "WATCHDOG=1");
    notifier.extend_timeout(Duration::from_millis(1500));
    assert_eq!(manager.text(), "EXTEND_TIMEOUT_USEC=1500000");
    notifier.stopping("draining");
    assert_eq!(manager.text(), "STOPPING=1\nSTATUS=draining");
    assert!(notifier.remove("replyd=127.0.0.1_80"));
    assert_eq!(
        manager.text(),
        "FDSTOREREMOVE=1\nFDNAME=replyd=127.0.0.1_80"
    );
    assert!(manager.receive().is_none(), "one more");
}

#[test]
fn a_reload_says_when_it_began_in_the_same_datagram() {
    let manager = FakeManager::start();
    let before = monotonic_usec();
    manager.notifier.reloading();
    let text = manager.text();
    let began = text.strip_prefix("RELOADING=1\nMONOTONIC_USEC=");
    let began: i64 = began.and_then(|usec| usec.parse().ok()).expect("a number");
    assert!((before..=monotonic_usec()).contains(&began), "{text:?}");
}

#[test]
fn an_abstract_socket_does_too() {
    let folder = tempfile::tempdir().expect("a folder");
    // The folder's name is nobody else's.
    let name = folder.path().display().to_string();
    let addr = SocketAddrUnix::new_abstract_name(name.as_bytes()).expect("an address");
    let text = format!("@{name}");
    let manager = FakeManager::on(&addr, OsStr::new(&text), folder);
    manager.notifier.watchdog();
    assert_eq!(manager.text(), "WATCHDOG=1");
}

#[test]
fn a_stored_descriptor_is_the_same_socket() {
    let manager = FakeManager::start();
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    assert!(manager.notifier.store("replyd=x", listener.as_fd()));
    let (text, fds) = manager.receive().expect("a datagram");
    assert_eq!(text, "FDSTORE=1\nFDNAME=replyd=x");
    let [fd] = fds.try_into().expect("one descriptor");
    let cookie = |fd: BorrowedFd<'_>| sockopt::socket_cookie(fd).expect("a socket");
    assert_eq!(cookie(fd.as_fd()), cookie(listener.as_fd()));
}

#[test]
fn a_name_that_systemd_does_not_take_is_not_sent() {
    let manager = FakeManager::start();
    for name in ["", "a:b", "a\nREADY=1", "ä", &"x".repeat(256)] {
        assert!(
            !manager.notifier.store(name, manager.socket.as_fd()),
            "{name:?}"
        );
        assert!(!manager.notifier.remove(name), "{name:?}");
    }
    assert!(manager.receive().is_none());
}

#[test]
fn a_barrier_lasts_until_the_manager_closes_it() {
    let manager = FakeManager::start();
    manager.notifier.ready("");
    let notifier = manager.notifier.clone();
    let waiting = std::thread::spawn(move || notifier.barrier(Duration::from_secs(60)));
    let mut passed = Vec::new();
    while passed.is_empty() {
        if let Some((text, fds)) = manager.receive() {
            let expected = if fds.is_empty() {
                "READY=1\nSTATUS="
            } else {
                "BARRIER=1"
            };
            assert_eq!(text, expected);
            passed = fds;
        }
        std::thread::yield_now();
    }
    assert!(!waiting.is_finished(), "it did not wait");
    drop(passed);
    assert!(waiting.join().expect("no panic"));
}

#[test]
fn a_barrier_that_nobody_closes_is_over_in_time() {
    let manager = FakeManager::start();
    assert!(!manager.notifier.barrier(Duration::from_millis(1)));
    let (text, fds) = manager.receive().expect("a datagram");
    assert_eq!((text.as_str(), fds.len()), ("BARRIER=1", 1));
}

#[test]
fn a_manager_that_is_stuck_holds_nobody_up() {
    let manager = FakeManager::start();
    let is_full = || !manager.notifier.send("WATCHDOG=1", None);
    // As many as net.unix.max_dgram_qlen has, and some.
    let room = (0..10_000).position(|_| is_full()).expect("a bound");
    assert!(room > 0);
    let began = Instant::now();
    assert!(!manager.notifier.store("replyd=x", manager.socket.as_fd()));
    // Bounded by the send's own time-out, and by a loaded machine.
    assert!(began.elapsed() < Duration::from_secs(30));
    manager.text();
    manager.notifier.ready("there is room again");
    let texts: Vec<_> = std::iter::from_fn(|| manager.receive()).collect();
    let (last, _) = texts.last().expect("some");
    assert_eq!(last, "READY=1\nSTATUS=there is room again");
}

#[test]
fn without_a_manager_nothing_is_told_and_nothing_fails() {
    let gone = FakeManager::start().notifier;
    for notifier in [Notifier::default(), gone] {
        notifier.ready("");
        notifier.reloading();
        notifier.watchdog();
        assert!(!notifier.barrier(Duration::from_secs(60)));
        assert_eq!(notifier.store_max(), 0);
        assert_eq!(notifier.watchdog_interval(), None);
    }
}

#[test]
fn an_address_of_another_kind_is_refused() {
    for addr in ["", "@", "notify", "vsock:2:1234"] {
        let error = Notifier::new(OsStr::new(addr)).expect_err(addr);
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}

/// As a manager that listens on `addr` starts process 42.
fn started_by(addr: &str, variables: &[(&str, &str)]) -> Notifier {
    let variable = |name: &str| {
        let own = [("NOTIFY_SOCKET", addr)];
        let mut all = own.iter().chain(variables);
        all.find(|(other, _)| *other == name)
            .map(|(_, value)| OsString::from(value))
    };
    Notifier::from_variables(variable, 42)
}

#[test]
fn the_environment_says_what_the_manager_wants() {
    let variables = [
        ("WATCHDOG_USEC", "30000000"),
        ("WATCHDOG_PID", "42"),
        ("FDSTORE", "16"),
    ];
    let notifier = started_by("/run/systemd/notify", &variables);
    assert_eq!(notifier.watchdog_interval(), Some(Duration::from_secs(30)));
    assert_eq!(notifier.store_max(), 16);
    let notifier = started_by("@notify", &[]);
    assert!(notifier.manager.is_some());
    assert_eq!(notifier.watchdog_interval(), None);
    assert_eq!(notifier.store_max(), 0);
    // Nobody can be told, so nothing is kept and nobody waits for a sign of life.
    let notifier = started_by("vsock:2:1234", &variables);
    assert!(notifier.manager.is_none());
    assert_eq!(notifier.watchdog_interval(), None);
    assert_eq!(notifier.store_max(), 0);
}

#[test]
fn the_watchdog_is_for_us_or_for_anybody() {
    let second = Some(Duration::from_secs(1));
    assert_eq!(watchdog_interval(Some("1000000"), Some("42"), 42), second);
    assert_eq!(watchdog_interval(Some("1000000"), None, 42), second);
    for (usec, pid) in [
        (Some("1000000"), Some("41")),
        (Some("1000000"), Some("x")),
        (Some("0"), None),
        (Some("x"), None),
        (None, Some("42")),
    ] {
        assert_eq!(watchdog_interval(usec, pid, 42), None, "{usec:?} {pid:?}");
    }
}

proptest! {
    #[test]
    fn no_status_is_more_than_a_line_of_bounded_length(text in "\\PC{0,20}[\\n\\r\\x00\\x1b\\u{85}\\u{2028}]\\PC{0,1500}") {
        let line = Status(&text).to_string();
        prop_assert!(!line.contains(|c: char| c.is_control() || c == '\u{2028}'), "{line:?}");
        prop_assert!(line.len() <= "STATUS=".len() + STATUS_BYTES_MAX);
        let kept: Vec<char> = line["STATUS=".len()..].chars().collect();
        prop_assert!(text.chars().zip(&kept).all(|(was, is)| was == *is || *is == ' '));
        prop_assert!(text.len() > STATUS_BYTES_MAX || kept.len() == text.chars().count());
    }
}
