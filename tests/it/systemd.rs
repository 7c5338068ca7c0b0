//! The real binary under a service manager: notified, activated, watched, restarted.
//!
//! The manager is a datagram socket of ours that keeps what it is given.

use std::io::{IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::client::{connect, read_all};
use crate::harness::{LIVENESS, service};
use crate::process::{Process, REPLYD, exchange};

const CONFIG: &str = "test.toml";
const HELLO: &str = "reply.text = \"hello, {{ request }}\\n\"";

/// Two descriptors are all that a shell can be given beside stderr.
const FDS_MAX: usize = 2;

/// A service manager with a descriptor store.
struct Manager {
    folder: TempDir,
    socket: UnixDatagram,
    variables: Vec<(&'static str, &'static str)>,

    /// The descriptors of a .socket unit, and those that the service has stored.
    fds: Vec<(String, OwnedFd)>,
    told: Vec<String>,
}

impl Manager {
    fn new(variables: &[(&'static str, &'static str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = UnixDatagram::bind(folder.path().join("notify")).expect("bound");
        socket.set_read_timeout(Some(LIVENESS)).expect("an option");
        Self {
            folder,
            socket,
            variables: variables.to_vec(),
            fds: Vec::new(),
            told: Vec::new(),
        }
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, toml: &str) {
        std::fs::write(self.folder().join(CONFIG), toml).expect("written");
    }

    /// Starts the service with all the descriptors there are, which are at most [`FDS_MAX`].
    fn start(&self, toml: &str) -> Process {
        self.write(toml);
        assert!(self.fds.len() <= FDS_MAX, "{:?}", self.fds);
        let names: Vec<&str> = self.fds.iter().map(|(name, _)| name.as_str()).collect();
        let run = "LISTEN_PID=$$ exec \"$0\" --config \"$1\" 3<&0 4<&1 </dev/null >/dev/null";
        let mut command = Command::new("sh");
        command
            .args(["-c", run, REPLYD, CONFIG])
            .current_dir(self.folder())
            .env("NOTIFY_SOCKET", self.folder().join("notify"))
            .env("LISTEN_FDS", names.len().to_string())
            .env("LISTEN_FDNAMES", names.join(":"))
            .envs(self.variables.iter().copied());
        let mut fds = self
            .fds
            .iter()
            .map(|(_, fd)| fd.try_clone().expect("a descriptor"));
        command.stdin(fds.next().map_or_else(Stdio::null, Stdio::from));
        command.stdout(fds.next().map_or_else(Stdio::null, Stdio::from));
        Process::spawn(&mut command)
    }

    /// Waits for a message that begins so; does what the ones before it ask for.
    #[track_caller]
    fn told(&mut self, beginning: &str) -> String {
        loop {
            let Some(text) = self.receive() else {
                panic!("no {beginning:?} in {:#?}", self.told)
            };
            self.told.push(text.clone());
            if text.starts_with(beginning) {
                return text;
            }
        }
    }

    fn receive(&mut self) -> Option<String> {
        let mut buffer = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        let received = recvmsg(&self.socket, &mut parts, &mut ancillary, flags);
        let length = received.ok()?.bytes;
        let text = String::from_utf8(buffer[..length].to_vec()).expect("UTF-8");
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message
                // Else it is a barrier's, and is closed.
                && let Some(name) = text.strip_prefix("FDSTORE=1\nFDNAME=")
            {
                self.fds.extend(rights.map(|fd| (name.to_owned(), fd)));
            }
        }
        if let Some(name) = text.strip_prefix("FDSTOREREMOVE=1\nFDNAME=") {
            self.fds.retain(|(other, _)| other != name);
        }
        Some(text)
    }

    fn names(&self) -> Vec<&str> {
        self.fds.iter().map(|(name, _)| name.as_str()).collect()
    }
}

/// A config whose admin listener has a path of its own.
fn config(services: &str, folder: &Path) -> String {
    let admin = folder.join("admin");
    format!("{services}[admin]\nlisten = \"unix:{}\"\n", admin.display())
}

/// A service that listens on a path.
fn local(name: &str, path: &Path) -> String {
    let listen = format!("listen = \"unix:{}\"\n{HELLO}", path.display());
    service(name, &listen)
}

/// Waits for the end of a stop that has begun.
#[track_caller]
fn ends(process: Process) {
    let (code, said) = process.end();
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn the_manager_is_told_of_start_reload_and_stop() {
    let mut manager = Manager::new(&[]);
    let toml = config(&service("hello", HELLO), manager.folder());
    let process = manager.start(&toml);
    manager.told("READY=1\nSTATUS=");
    process.signal(Signal::HUP);
    manager.told("RELOADING=1\nMONOTONIC_USEC=");
    manager.told("READY=1\nSTATUS=");
    process.signal(Signal::TERM);
    manager.told("STOPPING=1");
    ends(process);
    manager
        .told
        .retain(|text| !text.starts_with("STATUS=") && !text.starts_with("EXTEND"));
    assert_eq!(manager.told.len(), 4, "{:#?}", manager.told);
}

#[test]
fn a_reload_that_is_refused_ends_too_and_says_why() {
    let mut manager = Manager::new(&[]);
    let toml = config(&service("hello", HELLO), manager.folder());
    let process = manager.start(&toml);
    manager.told("READY=1");
    manager.write("service = 1\nREADY=1\n");
    process.signal(Signal::HUP);
    manager.told("RELOADING=1\nMONOTONIC_USEC=");
    let text = manager.told("READY=1\nSTATUS=");
    assert_eq!(text.lines().count(), 2, "{text:?}");
    assert!(text.contains(CONFIG), "{text:?} doesn't say where");
    process.signal(Signal::TERM);
    ends(process);
}

#[test]
fn an_activated_service_answers_who_was_there_before_it() {
    let mut manager = Manager::new(&[]);
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let addr = listener.local_addr().expect("an address");
    let mut early = connect(addr).expect("connected");
    early.write_all(b"you\n").expect("sent");
    manager
        .fds
        .push(("replyd.socket".to_owned(), listener.into()));
    let listen = format!("listen = \"{addr}\"\n{HELLO}");
    let toml = config(&service("hello", &listen), manager.folder());
    let process = manager.start(&toml);
    assert_eq!(read_all(&mut early), b"hello, you\n");
    assert_eq!(exchange(addr, b"you\n"), b"hello, you\n");
    manager.told("READY=1");
    process.signal(Signal::TERM);
    manager.told("STOPPING=1");
    ends(process);
    // The manager still has it: who comes now waits for the next one.
    connect(addr).expect("connected");
}

#[test]
fn a_name_brings_the_address_of_the_unit_and_a_warning() {
    let mut manager = Manager::new(&[]);
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let addr = listener.local_addr().expect("an address");
    manager.fds.push(("hello".to_owned(), listener.into()));
    let toml = config(&service("hello", HELLO), manager.folder());
    let mut process = manager.start(&toml);
    let warning = process.line("in place of 127.0.0.1:0");
    assert!(warning.contains("WARN"), "{warning}");
    assert_eq!(exchange(addr, b"you\n"), b"hello, you\n");
    process.signal(Signal::TERM);
    ends(process);
}

#[test]
fn who_comes_between_two_lives_is_answered_by_the_second() {
    let mut manager = Manager::new(&[("FDSTORE", "8")]);
    let path = manager.folder().join("hello");
    let first = manager.start(&config(&local("hello", &path), manager.folder()));
    manager.told("READY=1");
    let stored = format!("replyd=unix_{}", path.display());
    assert!(
        manager.names().contains(&stored.as_str()),
        "{:?}",
        manager.told
    );
    first.signal(Signal::TERM);
    manager.told("STOPPING=1");
    ends(first);
    let mut between = UnixStream::connect(&path).expect("connected");
    between.set_read_timeout(Some(LIVENESS)).expect("an option");
    between.write_all(b"you\n").expect("sent");
    // It may have another name by now.
    let second = manager.start(&config(&local("renamed", &path), manager.folder()));
    assert_eq!(read_all(&mut between), b"hello, you\n");
    manager.told("READY=1");
    assert!(
        manager.names().contains(&stored.as_str()),
        "{:?}",
        manager.told
    );
    second.signal(Signal::TERM);
    ends(second);
}

#[test]
fn a_listener_that_a_reload_drops_leaves_the_store() {
    let mut manager = Manager::new(&[("FDSTORE", "8")]);
    let (kept, dropped) = (
        manager.folder().join("kept"),
        manager.folder().join("dropped"),
    );
    let both = format!("{}{}", local("kept", &kept), local("dropped", &dropped));
    let process = manager.start(&config(&both, manager.folder()));
    manager.told("READY=1");
    assert_eq!(manager.fds.len(), 3, "{:?}", manager.names());
    manager.write(&config(&local("kept", &kept), manager.folder()));
    process.signal(Signal::HUP);
    let text = manager.told("FDSTOREREMOVE=1");
    assert!(
        text.ends_with(&format!("unix_{}", dropped.display())),
        "{text:?}"
    );
    manager.told("READY=1");
    assert_eq!(manager.fds.len(), 2, "{:?}", manager.names());
    process.signal(Signal::TERM);
    ends(process);
}

#[test]
fn a_stored_listener_that_nobody_wants_is_removed_at_start() {
    let mut manager = Manager::new(&[("FDSTORE", "8")]);
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let addr = listener.local_addr().expect("an address");
    let name = format!("replyd={addr}").replace(':', "_");
    manager.fds.push((name.clone(), listener.into()));
    let toml = config(&service("hello", HELLO), manager.folder());
    let process = manager.start(&toml);
    assert_eq!(
        manager.told("FDSTOREREMOVE=1"),
        format!("FDSTOREREMOVE=1\nFDNAME={name}")
    );
    manager.told("READY=1");
    // Neither the manager nor the service has it anymore.
    connect(addr).expect_err("closed");
    process.signal(Signal::TERM);
    ends(process);
}

#[test]
fn no_more_is_stored_than_there_is_room_for() {
    let mut manager = Manager::new(&[("FDSTORE", "2")]);
    let (first, second) = (
        manager.folder().join("first"),
        manager.folder().join("second"),
    );
    let process = manager.start(&config(&local("first", &first), manager.folder()));
    manager.told("READY=1");
    assert_eq!(manager.fds.len(), 2, "{:?}", manager.names());
    let both = format!("{}{}", local("first", &first), local("second", &second));
    manager.write(&config(&both, manager.folder()));
    process.signal(Signal::HUP);
    manager.told("RELOADING=1");
    manager.told("READY=1");
    assert_eq!(manager.fds.len(), 2, "{:?}", manager.names());
    process.signal(Signal::TERM);
    ends(process);
}

#[test]
fn a_manager_without_a_store_is_given_nothing() {
    let mut manager = Manager::new(&[]);
    let process = manager.start(&config(&service("hello", HELLO), manager.folder()));
    manager.told("READY=1");
    process.signal(Signal::TERM);
    manager.told("STOPPING=1");
    ends(process);
    assert_eq!(manager.names(), [""; 0]);
}

#[test]
fn an_idle_service_gives_signs_of_life() {
    let mut manager = Manager::new(&[("WATCHDOG_USEC", "200000")]);
    let process = manager.start(&config(&service("hello", HELLO), manager.folder()));
    manager.told("READY=1");
    for _ in 0..3 {
        manager.told("WATCHDOG=1");
    }
    process.signal(Signal::TERM);
    ends(process);
}
