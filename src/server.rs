//! Wires it all: start, run, reload, drain.
//!
//! Knows the configuration, and gives each stage the plain values it needs. Knows no signals and
//! no exit codes: whoever runs it says when to stop.

mod build;
mod commands;
mod drain;
mod error;
mod half_open;
mod limits;
pub mod machine;
mod maintenance;
mod meant;
mod open;
mod read;
mod reload;
mod roster;
pub mod trial;
mod user;
mod watchdog;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crossbeam_channel::Receiver;

use crate::admin::Admin;
use crate::command::Supervisor;
use crate::command::report::{RunResult, Source as AnswerSource};
use crate::config::Config;
use crate::config::fault::{Fault, Faults};
use crate::config::load::Loaded;
use crate::engine::access_log::AccessLog;
use crate::engine::listener::ListenAddr;
use crate::engine::room::{Reason, Wait};
use crate::engine::{Engine, EngineOptions, Limits};
use crate::exchange::outcome::Outcome;
use crate::metrics::{Labels, Metrics};
use crate::server::commands::Commands;
use crate::server::error::died;
use crate::server::machine::Machine;
use crate::server::maintenance::Lookout;
use crate::server::open::Opener;
use crate::server::reload::{Reloads, Request};
use crate::server::roster::{Next, Roster};
use crate::server::watchdog::Watchdog;
use crate::systemd::inherit::Inheritance;
use crate::systemd::notify::Notifier;

pub use crate::server::error::{End, StartError};
pub use crate::server::read::Source;
pub use crate::server::reload::Reloader;

/// How long commands may take to end that nobody waits for anymore.
const COMMANDS_GRACE: Duration = Duration::from_secs(1);

/// The closed sets of labels.
const LABELS: Labels = Labels {
    outcomes: &Outcome::LABELS,
    waits: &Wait::LABELS,
    reasons: &Reason::LABELS,
    runs: &RunResult::LABELS,
    answers: &AnswerSource::LABELS,
};

/// What a server has to do with the world around it.
pub struct Surroundings {
    /// Where another configuration comes from when it is to reload.
    pub source: Source,

    /// Told of each configuration that was taken by a reload.
    pub on_taken: Box<dyn Fn(&Config) + Send>,

    /// Who is told what it is at.
    pub notifier: Notifier,

    /// Gets a record of each exchange, but of those of the admin listener.
    pub access_log: Option<AccessLog>,

    /// What it was started with.
    pub inheritance: Inheritance,
    reloader: Reloader,
    requests: Receiver<Request>,
    supervisor: Arc<Supervisor>,
}

/// A running server.
pub struct Server {
    main: Half,
    admin: Half,
    metrics: Arc<Metrics>,
    is_ready: Arc<AtomicBool>,
    admin_page: Arc<Admin>,

    /// What is served; less than what was read last, if some of that takes a restart.
    config: Config,
    source: Source,
    on_taken: Box<dyn Fn(&Config) + Send>,
    notifier: Notifier,
    opener: Opener,
    lookout: Lookout,
    commands: Commands,
    reloads: Reloads,
    watchdog: Watchdog,
}

/// An engine, and what it serves.
#[derive(Debug)]
struct Half {
    engine: Engine,
    roster: Roster,
}

impl Surroundings {
    /// Without a service manager.
    #[must_use]
    pub fn new(source: Source) -> Self {
        let (reloader, requests) = reload::requests();
        Self {
            source,
            on_taken: Box::new(|_| ()),
            notifier: Notifier::default(),
            access_log: None,
            inheritance: Inheritance::default(),
            reloader,
            requests,
            supervisor: Arc::default(),
        }
    }

    /// Who runs its commands, and can end them.
    #[must_use]
    pub fn supervisor(&self) -> Arc<Supervisor> {
        Arc::clone(&self.supervisor)
    }

    /// Asks the server to reload.
    #[must_use]
    pub fn reloader(&self) -> Reloader {
        self.reloader.clone()
    }
}

impl Server {
    /// Binds every address, then starts the threads.
    ///
    /// # Errors
    /// * the configuration has a fault that only shows here: a template, limits of this machine
    /// * an address is taken or not allowed, or the system is out of something
    pub fn start(loaded: &Loaded, surroundings: Surroundings) -> Result<Self, StartError> {
        let Surroundings {
            source,
            on_taken,
            notifier,
            access_log,
            inheritance,
            reloader,
            requests,
            supervisor,
        } = surroundings;
        let config = &loaded.config;
        for warning in warnings(loaded, true) {
            tracing::warn!("{warning}");
        }
        let metrics = Arc::new(Metrics::new(LABELS));
        let is_ready = Arc::new(AtomicBool::new(false));
        let admin_page = Arc::new(Admin {
            metrics: Arc::clone(&metrics),
            is_ready: Arc::clone(&is_ready),
            may_reload: AtomicBool::new(config.admin.reload),
            reload: Arc::new(move || reloader.reload()),
        });
        let identity = user::find(loaded)?;
        // Before the limit is raised.
        let commands = Commands::new(supervisor, identity.as_ref());
        let max_connections = limits::max_connections(loaded)?;
        let none = Roster::default();
        let drafts = build::services(loaded, Some(&commands))?;
        let mut main = none.next(drafts, build::common_pool(config), &metrics);
        let drafts = vec![build::admin(&config.admin, &admin_page)];
        let mut admin = none.next(drafts, build::admin_pool(), &metrics);
        let mut opener = Opener::new(notifier.clone());
        opener.open(&mut [&mut main, &mut admin], inheritance, &[])?;
        if let Some(identity) = &identity {
            user::switch(identity)?;
        }

        say_limits(&main, max_connections);
        let lookout = Lookout::start(&main.roster).map_err(threads)?;
        lookout.keep(&main.roster, &metrics);
        commands.reap_orphans()?;
        let limits = build::limits(max_connections);
        let main = Half::start("acceptor", main, limits, access_log, &metrics)?;
        let limits = build::admin_limits();
        let admin = Half::start("admin-acceptor", admin, limits, None, &metrics)?;
        metrics.config_taken(unix_seconds());
        is_ready.store(true, Relaxed);
        let server = Self {
            main,
            admin,
            metrics,
            is_ready,
            admin_page,
            config: config.clone(),
            source,
            on_taken,
            watchdog: Watchdog::new(notifier.clone()),
            notifier,
            opener,
            lookout,
            commands,
            reloads: Reloads::new(requests),
        };
        server.notifier.ready(&server.status());
        Ok(server)
    }

    /// Each listener's service and address, in the order of the configuration.
    #[must_use]
    pub fn listeners(&self) -> Vec<(String, ListenAddr)> {
        self.main.listeners()
    }

    /// The admin listener's addresses.
    #[must_use]
    pub fn admin_listeners(&self) -> Vec<ListenAddr> {
        let listeners = self.admin.listeners().into_iter();
        listeners.map(|(_, addr)| addr).collect()
    }

    /// Every metric, as a scrape would read it.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Serves until `stop` says something or is disconnected, then drains.
    #[must_use]
    pub fn run(mut self, stop: &Receiver<()>) -> End {
        let end = self.serve_until(stop);
        self.commands.supervisor.stop(COMMANDS_GRACE);
        end
    }

    fn serve_until(&mut self, stop: &Receiver<()>) -> End {
        let mut gone = crossbeam_channel::after(self.look_after_gone());
        // Ends with a stop, or with an engine.
        loop {
            crossbeam_channel::select! {
                recv(stop) -> _ => return self.drain(),
                recv(self.main.engine.ended()) -> ended => return End::Failed(died(ended)),
                recv(self.admin.engine.ended()) -> ended => return End::Failed(died(ended)),
                recv(self.commands.supervisor.ended()) -> _ => {
                    let error = io::Error::other("the supervisor of commands has died");
                    return End::Failed(error);
                }
                recv(self.reloads.requests()) -> request => self.reloads.ask(request.unwrap_or(None)),
                recv(self.reloads.read()) -> read => {
                    self.finish_reload(read);
                    gone = crossbeam_channel::after(self.look_after_gone());
                }
                recv(self.reloads.overdue()) -> _ => self.reload_is_overdue(),
                recv(self.reloads.look()) -> _ => self.look_at_retiring(),
                recv(gone) -> _ => gone = crossbeam_channel::after(self.look_after_gone()),
                recv(self.watchdog.looks()) -> _ => self.look_alive(),
            }
            self.begin_reload();
        }
    }

    fn look_alive(&mut self) {
        self.watchdog.look([&self.main.engine, &self.admin.engine]);
    }

    /// What systemd shows of us.
    fn status(&self) -> String {
        let services = self.main.roster.count();
        let listeners = self.main.listeners().len();
        let plural = |count: usize, one: &str, many: &str| match count {
            1 => format!("1 {one}"),
            _ => format!("{count} {many}"),
        };
        let services = plural(services, "service", "services");
        let listeners = plural(listeners, "address", "addresses");
        format!("serving {services} on {listeners}")
    }
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings").finish_non_exhaustive()
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

impl Half {
    fn start(
        acceptor_name: &'static str,
        next: Next,
        limits: Limits,
        access_log: Option<AccessLog>,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, StartError> {
        let options = EngineOptions {
            acceptor_name,
            limits,
            access_log,
            change: next.change,
        };
        let engine = Engine::start(options, metrics).map_err(threads)?;
        Ok(Self {
            engine,
            roster: next.roster,
        })
    }

    fn listeners(&self) -> Vec<(String, ListenAddr)> {
        let listeners = self.roster.listeners();
        let listeners = listeners.map(|(name, bound)| (name.to_owned(), bound.addr.clone()));
        listeners.collect()
    }
}

fn threads(error: io::Error) -> StartError {
    StartError::System {
        what: "start the threads",
        error,
    }
}

/// Everything about a configuration that can be known without binding and starting.
///
/// # Errors
/// * templates that don't compile, all of them
pub fn check(loaded: &Loaded) -> Result<(), Faults> {
    build::services(loaded, None).map(|_| ())
}

/// What is legal and surely not what was meant and, unless `offline`, what this machine may not allow
/// to this user. Looks at disks for a second at most, and is quick otherwise.
#[must_use]
pub fn warnings(loaded: &Loaded, offline: bool) -> Vec<Fault> {
    let machine = (!offline).then(Machine::ask);
    warnings_on(loaded, machine.as_ref())
}

/// The same of a machine that is known; `None`: of any.
#[must_use]
pub fn warnings_on(loaded: &Loaded, machine: Option<&Machine>) -> Vec<Fault> {
    let mut warnings = loaded.warnings.clone();
    warnings.extend(meant::all(loaded));
    warnings.extend(
        machine
            .into_iter()
            .flat_map(|machine| machine::all(loaded, machine)),
    );
    warnings
}

fn say_limits(main: &Next, max_connections: usize) {
    for pool in &main.change.pools {
        tracing::info!(
            pool = pool.name,
            workers = pool.threads,
            queue_capacity = pool.queue_capacity,
            "pool"
        );
    }
    tracing::info!(max_connections, "limits");
}

fn unix_seconds() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
