//! A server in this process, its clients, and its metrics.

use std::io::Write as _;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use replyd::admin::Reloaded;
use replyd::config::load;
use replyd::engine::Report;
use replyd::engine::listener::ListenAddr;
use replyd::metrics::Metrics;
use replyd::server::{End, Reloader, Server, Surroundings};

use crate::client::{connect, connect_from, parse_http, read_all};

/// How long anything may take before the test says that it hangs.
pub(crate) const LIVENESS: Duration = Duration::from_secs(10);

/// More bytes than the kernel buffers for a reader that doesn't read: the maximum of tcp_wmem is
/// 4 MiB, and of tcp_rmem hardly anything is used before the first read.
pub(crate) const LARGE: usize = 16 * 1024 * 1024;

/// How often a metric is looked at.
const POLL: Duration = Duration::from_millis(2);

/// Labels of a metric: some of them are enough.
pub(crate) type Labels<'a> = &'a [(&'a str, &'a str)];

/// A `[[service]]` on a port of the kernel's choice. Silent clients are seen: no TCP_DEFER_ACCEPT.
pub(crate) fn service(name: &str, keys: &str) -> String {
    let defer = if keys.contains("defer_accept") {
        ""
    } else {
        "defer_accept_seconds = 0\n"
    };
    let listen = if keys.contains("listen =") {
        ""
    } else {
        "listen = \"127.0.0.1:0\"\n"
    };
    format!("[[service]]\nname = \"{name}\"\n{listen}{defer}{keys}\n\n")
}

/// A file of [`LARGE`] zeros, and the key that makes it the reply.
pub(crate) fn large_file() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("large");
    let file = std::fs::File::create(&path).expect("created");
    file.set_len(LARGE as u64).expect("sized");
    let key = format!("reply.file = \"{}\"", path.display());
    (folder, key)
}

/// A running server. Stopped and joined when dropped.
pub(crate) struct TestServer {
    source: Arc<Mutex<String>>,
    reloader: Reloader,
    listeners: Vec<(String, ListenAddr)>,
    metrics: Arc<Metrics>,
    stop: Sender<()>,
    end: Receiver<End>,
    thread: Option<JoinHandle<()>>,
}

impl TestServer {
    /// Starts what `toml` says; the admin listener gets a free port unless `toml` has one.
    #[track_caller]
    pub(crate) fn start(toml: &str) -> Self {
        let toml = with_admin(toml);
        let loaded = load::parse(&toml, "test.toml")
            .unwrap_or_else(|faults| panic!("{}", faults.render(false)));
        let source = Arc::new(Mutex::new(toml.clone()));
        let read = Arc::clone(&source);
        let surroundings = Surroundings::new(Arc::new(move || {
            load::parse(&read.lock().expect("not poisoned"), "test.toml")
        }));
        let reloader = surroundings.reloader();
        let server =
            Server::start(&loaded, surroundings).unwrap_or_else(|error| panic!("{error}\n{toml}"));
        let mut listeners = server.listeners();
        let admin = server.admin_listeners().into_iter();
        listeners.extend(admin.map(|addr| ("admin".to_owned(), addr)));
        let metrics = Arc::clone(server.metrics());
        let (stop, stop_rx) = crossbeam_channel::bounded(1);
        let (end_tx, end) = crossbeam_channel::bounded(1);
        let thread = thread::spawn(move || {
            let ended = server.run(&stop_rx);
            end_tx.send(ended).expect("the test waits for the end");
        });
        Self {
            source,
            reloader,
            listeners,
            metrics,
            stop,
            end,
            thread: Some(thread),
        }
    }

    /// Every TCP address of a service; `admin` is the admin listener.
    pub(crate) fn addrs(&self, service: &str) -> Vec<SocketAddr> {
        let of_service = self.listeners.iter().filter(|(name, _)| name == service);
        let tcp = of_service.filter_map(|(_, addr)| match addr {
            ListenAddr::Tcp(addr) => Some(*addr),
            ListenAddr::Unix(_) => None,
        });
        tcp.collect()
    }

    /// The first of them.
    #[track_caller]
    pub(crate) fn addr(&self, service: &str) -> SocketAddr {
        *self
            .addrs(service)
            .first()
            .unwrap_or_else(|| panic!("no service {service}"))
    }

    /// Connects; reads and writes that hang fail.
    #[track_caller]
    pub(crate) fn connect(&self, service: &str) -> TcpStream {
        connect(self.addr(service)).expect("connected")
    }

    /// Asks from another address of this machine, and reads to the end.
    #[track_caller]
    pub(crate) fn exchange_from(&self, source: [u8; 4], service: &str, request: &[u8]) -> Vec<u8> {
        let client = connect_from(source.into(), self.addr(service));
        let mut client = client.expect("connected");
        client.write_all(request).expect("sent");
        read_all(&mut client)
    }

    /// Sends `request`, then reads to the end. The end of our side isn't sent before the
    /// server's: a reset or a hang fails.
    #[track_caller]
    pub(crate) fn exchange(&self, service: &str, request: &[u8]) -> Vec<u8> {
        let mut client = self.connect(service);
        client.write_all(request).expect("sent");
        read_all(&mut client)
    }

    /// The same, with the end of our side right after the request.
    #[track_caller]
    pub(crate) fn exchange_half_closed(&self, service: &str, request: &[u8]) -> Vec<u8> {
        let mut client = self.connect(service);
        client.write_all(request).expect("sent");
        client.shutdown(Shutdown::Write).expect("half closed");
        read_all(&mut client)
    }

    /// GETs a path of the admin listener: status and body.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n");
        let (status, _, body) = parse_http(&self.exchange("admin", request.as_bytes()));
        (status, body)
    }

    /// The metrics page.
    pub(crate) fn page(&self) -> String {
        String::from_utf8(self.metrics.render()).expect("UTF-8")
    }

    /// The metrics themselves.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The sum of the samples that have these labels.
    #[track_caller]
    pub(crate) fn metric(&self, name: &str, labels: Labels<'_>) -> f64 {
        sum(&self.page(), name, labels)
    }

    /// Waits until a metric has this value.
    #[track_caller]
    pub(crate) fn wait_for(&self, name: &str, labels: Labels<'_>, value: f64) {
        let is_it = |found: f64| (found - value).abs() < f64::EPSILON;
        wait_until(&format!("{name}{labels:?} = {value}"), || {
            is_it(self.metric(name, labels))
        });
    }

    /// Waits until so many of a service's connections had this outcome.
    #[track_caller]
    pub(crate) fn wait_for_outcome(&self, service: &str, outcome: &str, count: u32) {
        let labels = [("service", service), ("outcome", outcome)];
        self.wait_for("replyd_connections_closed_total", &labels, count.into());
    }

    /// Waits until so many of a service's connections wait for this.
    #[track_caller]
    pub(crate) fn wait_for_waiting(&self, service: &str, what: &str, count: u32) {
        let labels = [("service", service), ("for", what)];
        self.wait_for("replyd_connections_waiting", &labels, count.into());
    }

    /// Waits until the server has received so many bytes for a service.
    #[track_caller]
    pub(crate) fn wait_for_received(&self, service: &str, bytes: u32) {
        self.wait_for(
            "replyd_received_bytes_total",
            &[("service", service)],
            bytes.into(),
        );
    }

    /// Waits until every connection of every service is closed, each counted once. Clients must
    /// have left, or be about to be thrown out.
    #[track_caller]
    pub(crate) fn at_rest(&self) {
        let services = self.listeners.iter().map(|(name, _)| name.as_str());
        for service in services {
            wait_until(&format!("{service} at rest"), || {
                is_at_rest(&self.page(), service)
            });
        }
    }

    /// Reloads with `toml`: what came of it.
    pub(crate) fn reload(&self, toml: &str) -> Reloaded {
        self.write_source(&with_admin(toml));
        self.reloader.reload()
    }

    /// What it reads when it is to reload.
    pub(crate) fn write_source(&self, toml: &str) {
        toml.clone_into(&mut self.source.lock().expect("not poisoned"));
    }

    /// Tells it to stop, and waits until it isn't ready anymore.
    #[track_caller]
    pub(crate) fn begin_stop(&self) {
        self.stop.send(()).expect("it runs");
        wait_until("not ready", || self.get("/-/ready").0 == 503);
    }

    /// Waits for the end of a stop that has begun.
    #[track_caller]
    pub(crate) fn end(&mut self) -> Report {
        let ended = self
            .end
            .recv_timeout(2 * LIVENESS)
            .expect("the server ends");
        let thread = self.thread.take().expect("it ended once");
        thread.join().expect("its thread didn't panic");
        match ended {
            End::Drained(report) => report,
            End::Failed(error) => panic!("the server failed: {error}"),
        }
    }

    /// Stops it: what the drain came to.
    #[track_caller]
    pub(crate) fn stop(&mut self) -> Report {
        self.stop.send(()).expect("it runs");
        self.end()
    }
}

/// The admin listener gets a free port unless `toml` has one.
fn with_admin(toml: &str) -> String {
    if toml.contains("[admin]") {
        toml.to_owned()
    } else {
        format!("{toml}[admin]\nlisten = \"127.0.0.1:0\"\n")
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if thread::panicking() {
            complain(&format!(
                "the config was:\n{}\nthe metrics are:\n{}",
                self.source.lock().expect("not poisoned"),
                self.page()
            ));
        }
        let Some(thread) = self.thread.take() else {
            return;
        };
        // Full: it was told before.
        let _told = self.stop.try_send(());
        let ended = self.end.recv_timeout(2 * LIVENESS);
        if ended.is_ok() {
            // What it panicked with was printed.
            let _joined = thread.join();
        } else if !thread::panicking() {
            panic!("the server doesn't end");
        }
    }
}

/// The sum of the page's samples of `name` that have these labels.
#[track_caller]
pub(crate) fn sum(page: &str, name: &str, labels: Labels<'_>) -> f64 {
    let has = |line: &str, (label, value): &(&str, &str)| {
        let pair = format!("{label}=\"{value}\"");
        line.contains(&format!("{{{pair}")) || line.contains(&format!(",{pair}"))
    };
    let samples = page.lines().filter(|line| {
        let rest = line.strip_prefix(name);
        let is_it = rest.is_some_and(|rest| rest.starts_with([' ', '{']));
        is_it && labels.iter().all(|label| has(line, label))
    });
    let values = samples.map(|line| line.rsplit(' ').next().and_then(|value| value.parse().ok()));
    let values: Option<Vec<f64>> = values.collect();
    let values = values.unwrap_or_else(|| panic!("{name}: no number\n{page}"));
    assert!(!values.is_empty(), "no sample {name}{labels:?} in\n{page}");
    values.iter().sum()
}

/// Whether, on one page of metrics, nothing of a service is open and every connection is counted.
#[track_caller]
pub(crate) fn is_at_rest(page: &str, service: &str) -> bool {
    let of = |name: &str| sum(page, name, &[("service", service)]);
    let (accepted, closed) = (
        of("replyd_connections_accepted_total"),
        of("replyd_connections_closed_total"),
    );
    let waiting = of("replyd_connections_waiting");
    (accepted - closed).abs() + of("replyd_connections_open") + waiting < 0.5
}

/// Waits until `is_so`. The only place that sleeps: there is no event for what others count.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < LIVENESS, "it never came to this: {what}");
        thread::sleep(POLL);
    }
}

#[allow(
    clippy::print_stderr,
    reason = "libtest shows it with the test that failed"
)]
fn complain(text: &str) {
    eprintln!("{text}");
}
