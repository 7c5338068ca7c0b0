//! The server in this process.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use nix::unistd::{Uid, User};
use prometheus::IntCounter;
use replyd::config::load;
use replyd::engine::listener::ListenAddr;
use replyd::exchange::outcome::Outcome;
use replyd::metrics::{Metrics, ServiceMetrics};
use replyd::server::{End, Server, Surroundings};
use tempfile::TempDir;

use crate::client::LIVENESS;

/// How often a counter is looked at.
const POLL: Duration = Duration::from_millis(2);

/// Bytes of a text and of a file that no buffer of a worker keeps.
const LARGE: usize = 100_000;

/// A running server, with a service of each kind.
pub(crate) struct TestServer {
    listeners: Vec<(String, ListenAddr)>,
    metrics: Arc<Metrics>,
    stop: Sender<()>,
    thread: Option<JoinHandle<End>>,
    _folder: TempDir,
}

/// One of its services.
pub(crate) struct Served {
    pub(crate) addr: SocketAddr,
    metrics: ServiceMetrics,
}

impl TestServer {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let toml = config(folder.path());
        let loaded = load::parse(&toml, "cost.toml")
            .unwrap_or_else(|faults| panic!("{}", faults.render(false)));
        let source = Arc::new(move || load::parse(&toml, "cost.toml"));
        let server = Server::start(&loaded, Surroundings::new(source))
            .unwrap_or_else(|error| panic!("{error}"));
        let listeners = server.listeners();
        let metrics = Arc::clone(server.metrics());
        let (stop, stop_rx) = crossbeam_channel::bounded(1);
        Self {
            listeners,
            metrics,
            stop,
            thread: Some(thread::spawn(move || server.run(&stop_rx))),
            _folder: folder,
        }
    }

    pub(crate) fn served(&self, service: &str) -> Served {
        let addrs = self.listeners.iter();
        let mut addrs = addrs.filter_map(|(name, addr)| match addr {
            ListenAddr::Tcp(addr) if name == service => Some(*addr),
            _ => None,
        });
        Served {
            addr: addrs
                .next()
                .unwrap_or_else(|| panic!("no service {service}")),
            metrics: self.metrics.service(service),
        }
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.stop.send(()).expect("it runs");
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(thread::panicking() || matches!(ended, Ok(End::Drained(_))));
        }
    }
}

impl Served {
    /// Waits until every connection is closed and counted, each as replied. Allocates nothing.
    pub(crate) fn wait_for_rest(&self) {
        let began = Instant::now();
        while self.metrics.open.get() > 0 || self.accepted() > self.closed() {
            assert!(began.elapsed() < LIVENESS, "it never came to rest");
            thread::sleep(POLL);
        }
        let replied = self.metrics.closed[Outcome::Replied.index()].get();
        assert_eq!(replied, self.accepted(), "not all were answered");
    }

    fn accepted(&self) -> u64 {
        self.metrics.accepted.get()
    }

    fn closed(&self) -> u64 {
        self.metrics.closed.iter().map(IntCounter::get).sum()
    }
}

fn config(folder: &Path) -> String {
    let file = |name: &str, bytes: usize| {
        let path = folder.join(name);
        std::fs::write(&path, vec![b'x'; bytes]).expect("written");
        format!("reply.file = \"{}\"", path.display())
    };
    let (small, large) = (file("small", 500), file("large", LARGE));
    let large_text = format!("reply.text = \"{}\"", "x".repeat(LARGE));
    let user = User::from_uid(Uid::effective())
        .expect("a look-up")
        .expect("a user")
        .name;
    // One run answers all.
    let command = format!(
        "reply.command = {{ run = [\"/bin/echo\", \"said\"], user = \"{user}\", stdin = \"nothing\", cache_seconds = 3600 }}"
    );
    let text = "reply.text = \"a constant\\n\"";
    let template = "reply.text = \"{{ service }} {{ request }} {{ peer }} {{ time }}\\n\"";
    let http_template = "reply.text = \"{{ method }} {{ path }} {{ headers['host'] | upper }}\\n\"";
    [
        ("text", "line", text),
        ("http-text", "http", text),
        ("large-text", "line", &large_text),
        ("echo", "line", "reply.echo = true"),
        ("echo-eof", "eof", "reply.echo = true"),
        ("command", "line", &command),
        ("http-command", "http", &command.replace("stdin =", "output = \"body\", stdin =")),
        ("file", "line", &small),
        ("http-file", "http", &small),
        ("large-file", "line", &large),
        ("template", "line", template),
        ("http-template", "http", http_template),
    ]
    .map(|(name, read, reply)| {
        format!("[[service]]\nname = \"{name}\"\nlisten = \"127.0.0.1:0\"\nread = \"{read}\"\n{reply}\n\n")
    })
    .concat()
        + "[admin]\nlisten = \"127.0.0.1:0\"\n[workers]\nthreads = 2\n[queue]\ntarget_wait_seconds = 0\n"
}
