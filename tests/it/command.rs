//! Commands as replies: the real binary, real scripts, and what they leave behind.
//!
//! Scripts run in the test's folder. What they write there tells the test how far they are; with
//! `read _ < gate` they wait until the test lets them through.

use std::fs::File;
use std::io::Write as _;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::{Uid, User};
use rustix::fs::{CWD, Mode, mkfifoat};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::client::{connect, parse_http, read_all};
use crate::harness::{LIVENESS, Labels, is_at_rest, service, sum, wait_until};
use crate::process::{Process, REPLYD, config, exchange};

/// What a command finds: environment, descriptors, signals, user.
mod surroundings;

/// What a command is asked: stdin and arguments.
mod questions;

/// What becomes of output, exit code and stderr.
mod answers;

/// How runs end that don't end by themselves.
mod ends;

/// One run for many clients, and for how long.
mod cache;

/// Which clients share an answer, and how many answers there are.
mod cache_key;

/// Answers by the clock.
mod schedule;

/// More clients than runs.
mod crowd;

/// Reloads and stops while commands run.
mod lifetime;

/// Configurations that are refused.
mod refusals;

/// In a configuration: the test's folder.
const FOLDER: &str = "@folder@";

/// A run that ends when it is let through, and says its number.
const COUNTED_AT_THE_GATE: &str = "echo run >> runs; n=$(wc -l < runs); read _ < gate; echo $n";

/// A run that says its number.
const COUNTED: &str = "echo run >> runs; wc -l < runs";

/// A service whose reply is this script's, run by `/bin/sh`. `keys` are the service's, `options` the command's.
fn script(name: &str, keys: &str, script: &str, options: &str) -> String {
    let run = format!("run = [\"/bin/sh\", \"-c\", '''{script}''']");
    program(name, keys, &format!("{run}\n{options}"))
}

/// A service with a command. Unless `options` say otherwise it runs as whoever runs the tests, in
/// the test's folder.
fn program(name: &str, keys: &str, options: &str) -> String {
    let unless_said = |key: &str, line: String| {
        if options.contains(key) {
            String::new()
        } else {
            line
        }
    };
    let folder = format!("working_directory = \"{FOLDER}\"\n");
    let folder = unless_said("working_directory =", folder);
    let user = unless_said("user =", user());
    let service = service(name, keys);
    format!("{service}[service.reply.command]\n{options}\n{user}{folder}\n")
}

/// The key that says that commands run as whoever runs the tests.
fn user() -> String {
    let user = User::from_uid(Uid::effective()).expect("looked up");
    let name = user.map_or_else(|| Uid::effective().to_string(), |user| user.name);
    format!("user = \"{name}\"\n")
}

/// A replyd with commands, in a folder of its own. When dropped, it and all that it started ends.
struct Commands {
    process: Option<Process>,
    listeners: Vec<(String, String)>,
    gate: File,
    folder: TempDir,
}

impl Commands {
    #[track_caller]
    fn start(services: &str) -> Self {
        Self::start_by(&mut Command::new(REPLYD), services)
    }

    /// The same, by this command, which gets more arguments.
    #[track_caller]
    fn start_by(command: &mut Command, services: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("gate");
        mkfifoat(CWD, &path, Mode::RWXU).expect("a FIFO");
        // Both ends are open: nobody waits for the other side, or sees its end.
        let mut options = File::options();
        let gate = options.read(true).write(true).open(path).expect("opened");
        let mut server = Self {
            process: None,
            listeners: Vec::new(),
            gate,
            folder,
        };
        server.configure(services);
        let arguments = ["--config", "test.toml"];
        let command = command.current_dir(server.path()).args(arguments);
        server.process = Some(Process::start(command));
        server.listen();
        server.line(" ready");
        server
    }

    /// Its folder, as the kernel names it.
    fn path(&self) -> PathBuf {
        self.folder.path().canonicalize().expect("it is there")
    }

    /// Writes the configuration.
    fn configure(&self, services: &str) {
        let toml = config(services).replace(FOLDER, &self.path().to_string_lossy());
        // A machine that is slow is not what is asked about.
        let toml = toml + "[queue]\nmax_wait_seconds = 60\n";
        std::fs::write(self.path().join("test.toml"), toml).expect("written");
    }

    /// Learns where it listens; the admin listener comes last.
    #[track_caller]
    fn listen(&mut self) {
        while self
            .listeners
            .last()
            .is_none_or(|(name, _)| name != "admin")
        {
            let line = self.line("listening");
            let value = |key: &str| {
                let mut fields = line.split(' ');
                fields
                    .find_map(|field| field.strip_prefix(key))
                    .map(str::to_owned)
            };
            let found = value("service=").zip(value("addr="));
            self.listeners
                .push(found.unwrap_or_else(|| panic!("{line:?}")));
        }
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("it runs")
    }

    /// Waits for a line of its log.
    #[track_caller]
    fn line(&mut self, text: &str) -> String {
        self.process.as_mut().expect("it runs").line(text)
    }

    #[track_caller]
    fn addr(&self, service: &str) -> SocketAddr {
        let mut addrs = self.listeners.iter().filter(|(name, _)| name == service);
        let addr = addrs.find_map(|(_, addr)| addr.parse().ok());
        addr.unwrap_or_else(|| panic!("no {service} in {:?}", self.listeners))
    }

    #[track_caller]
    fn connect(&self, service: &str) -> TcpStream {
        connect(self.addr(service)).expect("connected")
    }

    /// A client that has sent its request.
    #[track_caller]
    fn ask(&self, service: &str, request: &[u8]) -> TcpStream {
        let mut client = self.connect(service);
        client.write_all(request).expect("sent");
        client
    }

    /// A client at its unix socket, which is `socket` in its folder.
    #[track_caller]
    fn ask_socket(&self, request: &[u8]) -> UnixStream {
        let mut client = UnixStream::connect(self.path().join("socket")).expect("connected");
        client.set_read_timeout(Some(LIVENESS)).expect("an option");
        client.write_all(request).expect("sent");
        client
    }

    /// Sends a request, reads to the end.
    #[track_caller]
    fn exchange(&self, service: &str, request: &[u8]) -> String {
        shown(&exchange(self.addr(service), request))
    }

    /// The same, with the end of our side right after the request.
    #[track_caller]
    fn exchange_half_closed(&self, service: &str, request: &[u8]) -> String {
        let mut client = self.ask(service, request);
        client.shutdown(Shutdown::Write).expect("half closed");
        shown(&read_all(&mut client))
    }

    /// The same over HTTP: status, head, body.
    #[track_caller]
    fn http(&self, service: &str, method: &str) -> (u16, String, String) {
        let request = format!("{method} / HTTP/1.1\r\nHost: test\r\n\r\n");
        parse_http(&exchange(self.addr(service), request.as_bytes()))
    }

    #[track_caller]
    fn page(&self) -> String {
        let (status, _, page) = parse_http(&exchange(
            self.addr("admin"),
            b"GET /metrics HTTP/1.1\r\nHost: test\r\n\r\n",
        ));
        assert_eq!(status, 200);
        page
    }

    #[track_caller]
    fn metric(&self, name: &str, labels: Labels<'_>) -> f64 {
        sum(&self.page(), name, labels)
    }

    #[track_caller]
    fn wait_for(&self, name: &str, labels: Labels<'_>, value: u32) {
        let value = f64::from(value);
        wait_until(&format!("{name}{labels:?} = {value}"), || {
            (self.metric(name, labels) - value).abs() < f64::EPSILON
        });
    }

    /// Waits until so many runs of a service have ended like this.
    #[track_caller]
    fn wait_for_runs(&self, service: &str, result: &str, count: u32) {
        let labels = [("service", service), ("result", result)];
        self.wait_for("replyd_command_runs_total", &labels, count);
    }

    /// Waits until so many clients of a service found this in its cache.
    #[track_caller]
    fn wait_for_cache(&self, service: &str, result: &str, count: u32) {
        let labels = [("service", service), ("result", result)];
        self.wait_for("replyd_command_cache_total", &labels, count);
    }

    #[track_caller]
    fn wait_for_outcome(&self, service: &str, outcome: &str, count: u32) {
        let labels = [("service", service), ("outcome", outcome)];
        self.wait_for("replyd_connections_closed_total", &labels, count);
    }

    /// Waits until so many runs are under way and so many wait.
    #[track_caller]
    fn wait_for_queue(&self, service: &str, running: u32, waiting: u32) {
        let labels = [("service", service)];
        self.wait_for("replyd_command_running", &labels, running);
        self.wait_for("replyd_command_waiting", &labels, waiting);
    }

    /// How many lines scripts have written into a file.
    fn lines(&self, file: &str) -> usize {
        let text = std::fs::read_to_string(self.path().join(file));
        text.map_or(0, |text| text.lines().count())
    }

    #[track_caller]
    fn wait_for_lines(&self, file: &str, count: usize) {
        wait_until(&format!("{count} lines in {file}"), || {
            self.lines(file) == count
        });
    }

    /// Lets so many scripts through the gate, those that come later included.
    fn let_through(&mut self, count: usize) {
        let lines = "\n".repeat(count);
        self.gate.write_all(lines.as_bytes()).expect("a pipe");
    }

    fn signal(&self, signal: Signal) {
        self.process().signal(signal);
    }

    /// Reloads with these services, which has to succeed.
    #[track_caller]
    fn reload(&mut self, services: &str) {
        self.configure(services);
        self.signal(Signal::HUP);
        self.line(" reloaded");
    }

    /// Waits until all that commands have started is gone, and no zombie is left.
    #[track_caller]
    fn wait_until_gone(&self) {
        wait_until("no process is left", || {
            left(&self.path(), self.id()).is_empty()
        });
        let zombies = || {
            children(self.process().id())
                .into_iter()
                .filter(|id| is_zombie(*id))
                .count()
        };
        wait_until("no zombie is left", || zombies() == 0);
    }

    /// Waits until no connection is open, each is counted, and no process is left.
    #[track_caller]
    fn at_rest(&self) {
        for (service, _) in self.listeners.iter().filter(|(name, _)| name != "admin") {
            wait_until(&format!("{service} at rest"), || {
                is_at_rest(&self.page(), service)
            });
        }
        self.wait_until_gone();
    }

    /// Its process id, while it runs.
    fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Waits for its end: its exit code, and all that it said.
    #[track_caller]
    fn end(&mut self) -> (Option<i32>, String) {
        self.process.take().expect("it runs").end()
    }
}

impl Drop for Commands {
    fn drop(&mut self) {
        drop(self.process.take());
        // Only a test that failed leaves any.
        for pid in left(&self.path(), None) {
            let _gone = kill_process(pid, Signal::KILL);
        }
    }
}

/// Bytes as text, one letter a byte, so that none of them is lost.
fn shown(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// Every process in this folder, wherever its parents are; not replyd itself.
fn left(folder: &Path, replyd: Option<u32>) -> Vec<Pid> {
    let is_in_it = |id: &u32| {
        let current = std::fs::read_link(format!("/proc/{id}/cwd"));
        Some(*id) != replyd && current.is_ok_and(|current| current.starts_with(folder))
    };
    let all = processes().into_iter().filter(is_in_it);
    all.filter_map(|id| Pid::from_raw(i32::try_from(id).ok()?))
        .collect()
}

fn processes() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").expect("a folder");
    let names = entries.map_while(Result::ok).map(|entry| entry.file_name());
    names
        .filter_map(|name| name.to_str()?.parse().ok())
        .collect()
}

/// State and parent of a process that is there.
fn stat(id: u32) -> Option<(char, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name before it may hold anything.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

fn children(of: u32) -> Vec<u32> {
    let is_child = |id: &u32| stat(*id).is_some_and(|(_, parent)| parent == of);
    processes().into_iter().filter(is_child).collect()
}

fn is_zombie(id: u32) -> bool {
    stat(id).is_some_and(|(state, _)| state == 'Z')
}
