//! The real binary: signals and exit codes, from start to end.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

use crossbeam_channel::Receiver;
use rustix::process::{Pid, Signal, kill_process};

use crate::client::{connect, read_all};
use crate::harness::{LIVENESS, large_file, service, wait_until};

pub(crate) const REPLYD: &str = env!("CARGO_BIN_EXE_replyd");

/// A replyd that runs, and what it says. Killed when dropped.
pub(crate) struct Process {
    child: Child,
    lines: Receiver<String>,
    said: Vec<String>,
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self::spawn(command.stdin(Stdio::null()).stdout(Stdio::null()))
    }

    /// The same, with the command's own stdin and stdout.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("started");
        let stderr = BufReader::new(child.stderr.take().expect("piped"));
        let (lines_tx, lines) = crossbeam_channel::unbounded();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if lines_tx.send(line).is_err() {
                    // Nobody listens anymore: the pipe is closed.
                    return;
                }
            }
        });
        Self {
            child,
            lines,
            said: Vec::new(),
        }
    }

    /// Runs with `toml`, which is in `folder` as `test.toml`.
    pub(crate) fn with_config(folder: &Path, toml: &str) -> Self {
        std::fs::write(folder.join("test.toml"), toml).expect("written");
        Self::start(
            Command::new(REPLYD)
                .current_dir(folder)
                .args(["--config", "test.toml"]),
        )
    }

    /// Waits for a line that has `text` in it.
    #[track_caller]
    pub(crate) fn line(&mut self, text: &str) -> String {
        let until = Instant::now() + LIVENESS;
        while let Ok(line) = self.lines.recv_deadline(until) {
            self.said.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
        panic!("no {text:?} in {:#?}", self.said);
    }

    /// Waits until it is ready: where its first service listens.
    #[track_caller]
    pub(crate) fn addr(&mut self) -> SocketAddr {
        let line = self.line("listening");
        let addr = line
            .split("addr=")
            .nth(1)
            .and_then(|rest| rest.split(' ').next());
        let addr = addr.and_then(|addr| addr.parse().ok());
        let addr = addr.unwrap_or_else(|| panic!("no address in {line:?}"));
        self.line("ready");
        addr
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How many threads and descriptors it has.
    pub(crate) fn resources(&self) -> (usize, usize) {
        let count = |what: &str| {
            let path = format!("/proc/{}/{what}", self.id());
            std::fs::read_dir(path).expect("it runs").count()
        };
        (count("task"), count("fd"))
    }

    /// Closes its stderr at our end, as soon as it says something.
    pub(crate) fn stop_listening(&mut self) {
        // Of a sender that is gone already.
        self.lines = crossbeam_channel::bounded(0).1;
    }

    /// Whether it has ended; sends the signal if not.
    pub(crate) fn signal_unless_ended(&mut self, signal: Signal) -> bool {
        let has_ended = self.child.try_wait().expect("waited").is_some();
        if !has_ended {
            self.signal(signal);
        }
        has_ended
    }

    /// Waits for its end: its exit code, and all that it said.
    #[track_caller]
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        let mut status: Option<ExitStatus> = None;
        wait_until("the process ends", || {
            status = self.child.try_wait().expect("waited");
            status.is_some()
        });
        let mut said = std::mem::take(&mut self.said);
        // Ends with its stderr.
        said.extend(self.lines.iter());
        (status.and_then(|status| status.code()), said.join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _killed = self.child.kill();
        let _waited = self.child.wait();
    }
}

pub(crate) fn config(services: &str) -> String {
    format!("{services}[admin]\nlisten = \"127.0.0.1:0\"\n")
}

pub(crate) fn hello() -> String {
    config(&service(
        "hello",
        "reply.text = \"hello, {{ request }}\\n\"",
    ))
}

#[track_caller]
pub(crate) fn exchange(addr: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut client = connect(addr).expect("connected");
    client.write_all(request).expect("sent");
    read_all(&mut client)
}

/// A process with a reply that is not taken: it drains for as long as its grace period.
fn with_slow_reader(folder: &Path, grace_period: f64) -> (Process, TcpStream) {
    let (large, reply) = large_file();
    let services = service("large", &reply);
    let toml = format!(
        "[server]\ngrace_period_seconds = {grace_period}\n{}",
        config(&services)
    );
    let mut process = Process::with_config(folder, &toml);
    let mut client = connect(process.addr()).expect("connected");
    client.write_all(b"\n").expect("sent");
    // From here on the file may go: it is open.
    client.read_exact(&mut [0]).expect("the reply has begun");
    drop(large);
    (process, client)
}

#[test]
fn it_says_what_it_does_and_drains() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut process = Process::with_config(folder.path(), &hello());
    let addr = process.addr();
    assert_eq!(exchange(addr, b"you\n"), b"hello, you\n");
    process.signal(Signal::TERM);
    let (code, said) = process.end();
    assert_eq!(code, Some(0), "{said}");
    for text in [
        "config=test.toml",
        "service=hello",
        &format!("addr={addr}"),
        "workers=",
        "max_connections=",
        "metrics at http://127.0.0.1:",
        "ready",
        "draining",
        "drained",
        "abandoned=0",
    ] {
        assert!(said.contains(text), "no {text:?} in\n{said}");
    }
    let loud = said
        .lines()
        .find(|line| line.contains("ERROR") || line.contains("WARN"));
    let expected = |line: &str| line.contains("somaxconn");
    assert!(loud.is_none_or(expected), "{said}");
}

#[test]
fn an_interrupt_drains_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut process = Process::with_config(folder.path(), &hello());
    process.addr();
    process.signal(Signal::INT);
    let (code, said) = process.end();
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn a_hangup_reloads() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut process = Process::with_config(folder.path(), &hello());
    let addr = process.addr();
    let file = folder.path().join("test.toml");
    std::fs::write(&file, hello().replace("hello, ", "bye, ")).expect("written");
    process.signal(Signal::HUP);
    process.line("hello: reply.text = \"hello, {{ request }}\\n\" -> \"bye, {{ request }}\\n\"");
    process.line("reloaded");
    assert_eq!(exchange(addr, b"you\n"), b"bye, you\n");

    std::fs::write(&file, "nonsense = 1\n").expect("written");
    process.signal(Signal::HUP);
    process.line("unknown key `nonsense`");
    process.line("reload refused, the configuration before it stays: 1 fault in test.toml");
    std::fs::write(&file, "").expect("written");
    process.signal(Signal::HUP);
    process.line("this file is empty");
    process.line("reload refused");
    assert_eq!(exchange(addr, b"you\n"), b"bye, you\n");
    process.signal(Signal::TERM);
    assert_eq!(process.end().0, Some(0));
}

/// Without --config, the file that was found is the one: not the built-in one when it is gone.
#[test]
fn a_file_that_is_gone_is_not_replaced_by_the_built_in_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("server.toml");
    std::fs::write(&file, hello()).expect("written");
    let mut process = Process::start(Command::new(REPLYD).current_dir(folder.path()));
    let addr = process.addr();
    std::fs::remove_file(&file).expect("removed");
    process.signal(Signal::HUP);
    process.line("there is no such file");
    process.line("reload refused");
    rustix::fs::mkfifoat(rustix::fs::CWD, &file, rustix::fs::Mode::RWXU).expect("a FIFO");
    process.signal(Signal::HUP);
    process.line("this is no regular file");
    process.line("reload refused");
    assert_eq!(exchange(addr, b"you\n"), b"hello, you\n");
    process.signal(Signal::TERM);
    assert_eq!(process.end().0, Some(0));
}

/// F34: they end as few reloads, and leave nothing behind.
#[test]
fn a_storm_of_hangups_leaves_one_process_and_one_configuration() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut process = Process::with_config(folder.path(), &hello());
    let addr = process.addr();
    let file = folder.path().join("test.toml");
    process.signal(Signal::HUP);
    process.line("reloaded");
    let before = process.resources();
    for number in 0..200 {
        let text = format!("{number}, ");
        let new = folder.path().join("new");
        std::fs::write(&new, hello().replace("hello, ", &text)).expect("written");
        // As a whole: half a file may be a configuration too.
        std::fs::rename(&new, &file).expect("renamed");
        process.signal(Signal::HUP);
    }
    process.line("-> \"199, {{ request }}\\n\"");
    process.line("reloaded");
    assert_eq!(exchange(addr, b"you\n"), b"199, you\n");
    wait_until("it has what it had before", || {
        process.resources() == before
    });
    process.signal(Signal::TERM);
    assert_eq!(process.end().0, Some(0));
}

#[test]
fn a_grace_period_that_is_over_is_exit_code_3() {
    let folder = tempfile::tempdir().expect("a folder");
    let (process, client) = with_slow_reader(folder.path(), 0.2);
    process.signal(Signal::TERM);
    let (code, said) = process.end();
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("abandoned=1"), "{said}");
    drop(client);
}

#[track_caller]
fn second_signal(first: Signal, second: Signal, expected: i32) {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut process, client) = with_slow_reader(folder.path(), 3600.0);
    process.signal(first);
    process.line("draining");
    // More than once: one that comes within 2 ms counts as the first.
    wait_until("the process has ended", || {
        process.signal_unless_ended(second)
    });
    let (code, said) = process.end();
    assert_eq!(code, Some(expected), "{said}");
    drop(client);
}

#[test]
fn a_second_sigterm_ends_it_at_once() {
    second_signal(Signal::TERM, Signal::TERM, 143);
}

#[test]
fn a_second_sigint_ends_it_at_once() {
    second_signal(Signal::INT, Signal::INT, 130);
}

#[test]
fn a_signal_of_the_other_kind_is_a_second_one_too() {
    second_signal(Signal::TERM, Signal::INT, 130);
}

#[test]
fn a_log_that_cannot_be_written_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut process = Process::with_config(folder.path(), &hello());
    let addr = process.addr();
    process.stop_listening();
    // The first line closes the pipe, the others are written into nothing.
    for _ in 0..3 {
        process.signal(Signal::HUP);
        assert_eq!(exchange(addr, b"you\n"), b"hello, you\n");
    }
    process.signal(Signal::TERM);
    assert_eq!(process.end().0, Some(0));
}

/// `replyd reload` of a running replyd: its exit code, and what it prints.
#[track_caller]
fn reload(folder: &Path, admin: SocketAddr) -> (Option<i32>, String) {
    let output = Command::new(REPLYD)
        .current_dir(folder)
        .args(["reload", "--admin", &admin.to_string()])
        .output()
        .expect("it ran");
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8(said).expect("UTF-8"),
    )
}

#[test]
fn replyd_reload_tells_what_came_of_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = |allowed: bool, reply: &str| {
        let admin = format!("[admin]\nlisten = \"127.0.0.1:0\"\nreload = {allowed}\n");
        admin + &service("hello", &format!("reply.text = \"{reply}\""))
    };
    let mut process = Process::with_config(folder.path(), &config(true, "one"));
    let line = process.line("service=admin");
    let admin = line
        .rsplit("addr=")
        .next()
        .and_then(|addr| addr.parse().ok());
    let admin = admin.expect("an address");
    process.line("ready");

    let file = folder.path().join("test.toml");
    std::fs::write(&file, config(true, "two")).expect("written");
    let difference = "hello: reply.text = \"one\" -> \"two\"\n".to_owned();
    assert_eq!(reload(folder.path(), admin), (Some(0), difference));
    std::fs::write(&file, "nonsense = 1\n").expect("written");
    let (code, said) = reload(folder.path(), admin);
    assert_eq!(code, Some(78));
    assert!(said.contains("unknown key `nonsense`"), "{said}");
    std::fs::write(&file, config(false, "two")).expect("written");
    assert_eq!(reload(folder.path(), admin).0, Some(0));
    let (code, said) = reload(folder.path(), admin);
    assert_eq!(code, Some(1));
    assert!(said.contains("reload is off here"), "{said}");
    process.signal(Signal::TERM);
    assert_eq!(process.end().0, Some(0));
    let (code, said) = reload(folder.path(), admin);
    assert_eq!(code, Some(1));
    assert!(said.contains("cannot reach replyd at "), "{said}");
}
