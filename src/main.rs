//! Arguments, logs, signals and exit codes: the only place that knows them.

use std::io::{self, IsTerminal, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use crossbeam_channel::{Receiver, Sender};
use replyd::config::fault::Faults;
use replyd::config::load::{self, Loaded};
use replyd::config::types::Level;
use replyd::engine::listener::ListenAddr;
use replyd::server::{End, Server, StartError};
use signal_hook::consts::{SIGHUP, SIGTERM};
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};

/// Exit codes. 64 and 78 are those of sysexits.h.
const DRAINED: u8 = 0;
const FAILED: u8 = 1;
const ABANDONED: u8 = 3;
const USAGE: u8 = 64;
const CONFIG: u8 = 78;

/// Exit codes of a second signal, which ends the process at once: 128 + its number.
const SECOND_SIGINT: i32 = 130;
const SECOND_SIGTERM: i32 = 143;

/// What comes so soon after the first signal is the same one: `timeout` sends it to its child, and
/// then to the child's whole group.
const SAME_SIGNAL: Duration = Duration::from_millis(2);

/// Where a configuration is looked for, in this order.
const PATHS: [&str; 2] = ["server.toml", "/etc/replyd/server.toml"];

/// One connection, one exchange: accept, read a request, reply, close.
#[derive(Debug, Parser)]
#[command(version, about, args_conflicts_with_subcommands = true)]
struct Arguments {
    /// The configuration. Else ./server.toml, then /etc/replyd/server.toml, then a built-in one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Tells every fault of a configuration at once; 78 if there is one.
    Check {
        /// Else the one that replyd would run with.
        file: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let code = if error.use_stderr() { USAGE } else { DRAINED };
            // Nothing to do about a terminal that is gone.
            let _printed = error.print();
            return code.into();
        }
    };
    let code = match arguments.command {
        Some(Command::Check { file }) => check(file.as_deref()),
        None => run(arguments.config.as_deref()),
    };
    code.into()
}

fn check(file: Option<&Path>) -> u8 {
    match load(file).and_then(|loaded| replyd::server::check(&loaded).map(|()| loaded)) {
        Ok(loaded) => {
            say(&format!("{}: good\n", name(&loaded)));
            DRAINED
        }
        Err(faults) => {
            say(&faults.render(io::stderr().is_terminal()));
            CONFIG
        }
    }
}

fn run(file: Option<&Path>) -> u8 {
    let loaded = match load(file) {
        Ok(loaded) => loaded,
        Err(faults) => {
            say(&faults.render(io::stderr().is_terminal()));
            return CONFIG;
        }
    };
    let _written_at_the_end = log_to_stderr(loaded.config.log.level);
    // Before anything else: a signal that comes early is a stop, not a kill.
    let stop = match stop_signals() {
        Ok(stop) => stop,
        Err(error) => {
            tracing::error!(%error, "cannot handle signals");
            return FAILED;
        }
    };
    tracing::info!(
        config = name(&loaded),
        "replyd {}",
        env!("CARGO_PKG_VERSION")
    );
    let server = match Server::start(&loaded) {
        Ok(server) => server,
        Err(StartError::Config(faults)) => {
            say(&faults.render(io::stderr().is_terminal()));
            return CONFIG;
        }
        Err(error) => {
            tracing::error!("{error}");
            return FAILED;
        }
    };
    for addr in server.admin_listeners() {
        match addr {
            ListenAddr::Tcp(addr) => tracing::info!("metrics at http://{addr}/metrics"),
            ListenAddr::Unix(path) => tracing::info!("metrics at {}, /metrics", path.display()),
        }
    }
    tracing::info!("ready");
    match server.run(&stop) {
        End::Drained(report) => {
            let finished = report.drained - report.abandoned;
            tracing::info!(finished, abandoned = report.abandoned, "drained");
            if report.abandoned > 0 {
                ABANDONED
            } else {
                DRAINED
            }
        }
        End::Failed(error) => {
            tracing::error!(%error, "cannot go on");
            FAILED
        }
    }
}

/// Reads the configuration that was named, or the first that exists.
fn load(file: Option<&Path>) -> Result<Loaded, Faults> {
    if let Some(file) = file {
        return load::load(file);
    }
    for path in PATHS.map(Path::new) {
        // Only a file that doesn't exist is passed over: one that can't be read is told.
        match path.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            _ => {
                refuse_planted(path)?;
                return load::load(path);
            }
        }
    }
    Ok(load::built_in())
}

/// Root doesn't take what someone else has put into the folder it happens to stand in.
fn refuse_planted(path: &Path) -> Result<(), Faults> {
    let is_root = rustix::process::geteuid().is_root();
    match path.metadata() {
        Ok(metadata) if is_root && path.is_relative() && metadata.uid() != 0 => {
            let name = path.display().to_string();
            let fault = replyd::config::fault::Fault::of(
                name,
                "root takes no ./server.toml of another user",
            );
            Err(fault
                .help("name it, if it is to be: `replyd --config ./server.toml`")
                .into())
        }
        _ => Ok(()),
    }
}

fn name(loaded: &Loaded) -> String {
    loaded
        .path
        .as_ref()
        .map_or_else(|| "built in".to_owned(), |path| path.display().to_string())
}

/// Lines that wait for stderr; more are dropped, as nobody is to wait for a log.
const LOG_LINES_MAX: usize = 1024;

/// Writes the log on a thread of its own. What waits is written when the guard is dropped, unless
/// stderr takes nothing.
fn log_to_stderr(level: Level) -> WorkerGuard {
    let level = match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(LOG_LINES_MAX)
        .thread_name("log")
        .finish(io::stderr());
    tracing_subscriber::fmt()
        .with_writer(writer)
        // What it would say to a stderr that is broken panics.
        .log_internal_errors(false)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .with_max_level(level)
        .init();
    guard
}

/// Gets a message at the first SIGINT or SIGTERM; the second one ends the process.
///
/// ctrlc's `termination` feature would make SIGHUP a stop too, so SIGTERM comes from elsewhere.
fn stop_signals() -> io::Result<Receiver<()>> {
    let (stop_tx, stop_rx) = crossbeam_channel::bounded(1);
    let stopped_at = Arc::new(OnceLock::new());
    let on_interrupt = stopper(&stop_tx, &stopped_at, SECOND_SIGINT);
    // Not try_set_handler: a shell's background job starts with SIGINT ignored, and that refuses.
    ctrlc::set_handler(on_interrupt).map_err(io::Error::other)?;
    let on_terminate = stopper(&stop_tx, &stopped_at, SECOND_SIGTERM);
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGHUP])?;
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for signal in signals.forever() {
                if signal == SIGTERM {
                    on_terminate();
                } else {
                    tracing::warn!(
                        "SIGHUP: this version reads its configuration at its start only"
                    );
                }
            }
        })?;
    Ok(stop_rx)
}

fn stopper(
    stop: &Sender<()>,
    stopped_at: &Arc<OnceLock<Instant>>,
    second: i32,
) -> impl Fn() + Send + use<> {
    let (stop, stopped_at) = (stop.clone(), Arc::clone(stopped_at));
    move || {
        if stopped_at.get_or_init(Instant::now).elapsed() > SAME_SIGNAL {
            std::process::exit(second);
        }
        // Full or disconnected: the stop is known already.
        let _told = stop.try_send(());
    }
}

/// To the terminal, without the decoration of a log.
fn say(text: &str) {
    let _written = io::stderr().write_all(text.as_bytes());
}
