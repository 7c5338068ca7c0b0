//! Wires it all: start, run, drain.
//!
//! Knows the configuration, and gives each stage the plain values it needs. Knows no signals and
//! no exit codes: whoever runs it says when to stop.

mod build;
mod half_open;
mod limits;
mod user;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use crate::config::fault::Faults;
use crate::config::load::Loaded;
use crate::engine::listener::{ListenAddr, Listener};
use crate::engine::room::{Reason, Wait};
use crate::engine::{Engine, EngineOptions, Report};
use crate::exchange::outcome::Outcome;
use crate::metrics::{Labels, Metrics};
use crate::server::build::Plan;

/// How long who was on the way when the stop came is still accepted. Measured: at 50 ms, 0 of 10
/// stops under load lost a connection; accepting just what is queued lost some in 7 of 10.
const ON_THE_WAY: Duration = Duration::from_millis(50);

/// How long the stop waits for connections that the kernel holds back until they speak.
const HALF_OPEN_MAX: Duration = Duration::from_secs(1);

/// How long the admin listener's own drain may take: a scrape, no more.
const ADMIN_GRACE: Duration = Duration::from_millis(500);

/// The closed sets of labels.
const LABELS: Labels = Labels {
    outcomes: &Outcome::LABELS,
    waits: &Wait::LABELS,
    reasons: &Reason::LABELS,
};

/// A running server.
#[derive(Debug)]
pub struct Server {
    main: Engine,
    admin: Engine,
    metrics: Arc<Metrics>,
    ready: Arc<AtomicBool>,
    drain_delay: Duration,
    grace_period: Duration,

    /// Where the kernel holds connections back until they speak.
    deferring: Vec<SocketAddr>,
    listeners: Vec<(String, ListenAddr)>,
    admin_listeners: Vec<ListenAddr>,
}

/// Why a server didn't start.
#[derive(Debug)]
pub enum StartError {
    /// The configuration can't work here.
    Config(Faults),

    /// An address can't be listened on.
    Listen {
        /// The service's name.
        service: String,
        /// The address.
        addr: ListenAddr,
        /// Why.
        error: io::Error,
    },

    /// Anything else the system refused.
    System {
        /// What was tried.
        what: &'static str,
        /// Why.
        error: io::Error,
    },
}

/// Why a server ended.
#[derive(Debug)]
pub enum End {
    /// It was told to stop, and did.
    Drained(Report),

    /// It can't go on.
    Failed(io::Error),
}

impl Server {
    /// Binds every address, then starts the threads.
    ///
    /// # Errors
    /// * the configuration has a fault that only shows here: a template, limits of this machine
    /// * an address is taken or not allowed, or the system is out of something
    pub fn start(loaded: &Loaded) -> Result<Self, StartError> {
        let config = &loaded.config;
        let metrics = Arc::new(Metrics::new(LABELS));
        let ready = Arc::new(AtomicBool::new(false));
        let identity = user::find(loaded)?;
        let max_connections = limits::max_connections(loaded)?;
        let main = build::services(loaded, &metrics, max_connections)?;
        let admin = build::admin(config, &metrics, &ready);
        let main_listeners = bind(&main)?;
        let admin_listeners = bind(&admin)?;
        if let Some(identity) = &identity {
            user::switch(identity)?;
        }

        let addr = |(listener, _): &(Listener, usize)| listener.addr().clone();
        let admin_addrs = admin_listeners.iter().map(addr).collect();
        let deferring = (main_listeners.iter())
            .filter_map(|(listener, _)| listener.deferring())
            .collect();
        let listeners = main_listeners.iter().map(|bound| {
            let name = config.services[bound.1].name.clone();
            (name, addr(bound))
        });
        let listeners: Vec<_> = listeners.collect();
        for pool in &main.pools {
            tracing::info!(
                pool = pool.name,
                workers = pool.threads,
                queue_capacity = pool.queue_capacity,
                "pool"
            );
        }
        tracing::info!(max_connections, "limits");
        let main = engine("acceptor", main, main_listeners, &metrics)?;
        let admin = engine("admin-acceptor", admin, admin_listeners, &metrics)?;
        metrics.config_taken(unix_seconds());
        ready.store(true, Relaxed);
        Ok(Self {
            main,
            admin,
            metrics,
            ready,
            drain_delay: config.server.drain_delay,
            grace_period: config.server.grace_period,
            deferring,
            listeners,
            admin_listeners: admin_addrs,
        })
    }

    /// Each listener's service and address, in the order of the configuration.
    #[must_use]
    pub fn listeners(&self) -> &[(String, ListenAddr)] {
        &self.listeners
    }

    /// The admin listener's addresses.
    #[must_use]
    pub fn admin_listeners(&self) -> &[ListenAddr] {
        &self.admin_listeners
    }

    /// Every metric, as a scrape would read it.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Serves until `stop` says something or is disconnected, then drains.
    #[must_use]
    pub fn run(self, stop: &Receiver<()>) -> End {
        crossbeam_channel::select! {
            recv(stop) -> _ => self.drain(),
            recv(self.main.ended()) -> ended => End::Failed(died(ended)),
            recv(self.admin.ended()) -> ended => End::Failed(died(ended)),
        }
    }

    fn drain(self) -> End {
        self.ready.store(false, Relaxed);
        if !self.drain_delay.is_zero() {
            tracing::info!(
                seconds = self.drain_delay.as_secs_f64(),
                "not ready, still accepting"
            );
            if let Some(end) = self.ended_within(self.drain_delay) {
                return end;
            }
        }
        let began = Instant::now();
        tracing::info!(
            grace_period_seconds = self.grace_period.as_secs_f64(),
            "draining"
        );
        self.main.stop_newcomers();
        if let Some(end) = self.ended_within(ON_THE_WAY) {
            return end;
        }
        while began.elapsed() < HALF_OPEN_MAX && half_open::any(&self.deferring) {
            if let Some(end) = self.ended_within(ON_THE_WAY) {
                return end;
            }
        }
        self.main.drain(began + self.grace_period);
        let report = match self.main.ended().recv() {
            Ok(Ok(report)) => report,
            ended => return End::Failed(died(ended)),
        };
        self.admin.stop_newcomers();
        self.admin.drain(Instant::now() + ADMIN_GRACE);
        if self.admin.ended().recv_timeout(2 * ADMIN_GRACE).is_err() {
            tracing::warn!("the admin listener did not end in time");
        }
        End::Drained(report)
    }

    /// Waits for `time`; comes back early with the end if the engine dies.
    fn ended_within(&self, time: Duration) -> Option<End> {
        match self.main.ended().recv_timeout(time) {
            Err(RecvTimeoutError::Timeout) => None,
            Ok(ended) => Some(End::Failed(died(Ok(ended)))),
            Err(RecvTimeoutError::Disconnected) => {
                Some(End::Failed(died(Err(crossbeam_channel::RecvError))))
            }
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(faults) => f.write_str(&faults.render(false)),
            Self::Listen {
                service,
                addr,
                error,
            } => {
                write!(
                    f,
                    "cannot listen on {addr} for service `{service}`: {error}"
                )?;
                match (error.kind(), addr) {
                    (io::ErrorKind::AddrInUse, _) => {
                        f.write_str("; find out who does with `ss -ltnpx`")
                    }
                    (io::ErrorKind::PermissionDenied, ListenAddr::Tcp(addr))
                        if addr.port() < 1024 =>
                    {
                        f.write_str("; ports below 1024 need CAP_NET_BIND_SERVICE")
                    }
                    _ => Ok(()),
                }
            }
            Self::System { what, error } => write!(f, "cannot {what}: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

impl From<Faults> for StartError {
    fn from(faults: Faults) -> Self {
        Self::Config(faults)
    }
}

/// Everything about a configuration that can be known without binding and starting.
///
/// # Errors
/// * templates that don't compile, all of them
pub fn check(loaded: &Loaded) -> Result<(), Faults> {
    let metrics = Metrics::new(LABELS);
    build::services(loaded, &metrics, limits::DEFAULT_MAX).map(|_| ())
}

fn bind(plan: &Plan) -> Result<Vec<(Listener, usize)>, StartError> {
    let mut listeners = Vec::new();
    for (number, service) in plan.services.iter().enumerate() {
        for addr in &plan.addrs[number] {
            let listener =
                Listener::bind(addr, &plan.listener_options[number]).map_err(|error| {
                    let service = service.exchange.service.to_string();
                    StartError::Listen {
                        service,
                        addr: addr.clone(),
                        error,
                    }
                })?;
            tracing::info!(service = %service.exchange.service, addr = %listener.addr(), "listening");
            if let Some(granted) = listener.backlog_granted()
                && granted < u32::from(plan.listener_options[number].backlog)
            {
                let asked = plan.listener_options[number].backlog;
                tracing::warn!(%addr, asked, granted, "net.core.somaxconn cuts the backlog");
            }
            listeners.push((listener, number));
        }
    }
    Ok(listeners)
}

fn engine(
    acceptor_name: &'static str,
    plan: Plan,
    listeners: Vec<(Listener, usize)>,
    metrics: &Arc<Metrics>,
) -> Result<Engine, StartError> {
    let options = EngineOptions {
        acceptor_name,
        services: plan.services,
        listeners,
        pools: plan.pools,
        limits: plan.limits,
    };
    Engine::start(options, metrics).map_err(|error| StartError::System {
        what: "start the threads",
        error,
    })
}

fn died(ended: Result<io::Result<Report>, crossbeam_channel::RecvError>) -> io::Error {
    match ended {
        Ok(Err(error)) => error,
        Ok(Ok(_)) => io::Error::other("an acceptor ended without being told to"),
        Err(_) => io::Error::other("an acceptor panicked"),
    }
}

fn unix_seconds() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
