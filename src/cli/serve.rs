//! `replyd` itself: starts the server, runs it, says how it ended.

use std::path::Path;
use std::sync::Arc;

use replyd::engine::listener::ListenAddr;
use replyd::server::{End, Server, StartError, Surroundings};
use replyd::systemd::inherit;
use replyd::systemd::notify::Notifier;

use crate::cli::log::Log;
use crate::cli::{ABANDONED, DRAINED, FAILED, refuse, say, signals, source};

/// Runs until it is told to stop, and returns the exit code.
pub(super) fn serve(file: Option<&Path>) -> u8 {
    // First of all: what we were started with is known by its descriptors' numbers.
    let inheritance = inherit::inherit();
    let loaded = match source::load(file) {
        Ok(loaded) => loaded,
        Err(faults) => return refuse(&faults),
    };
    let log = match Log::start(&loaded.config.log) {
        Ok(log) => log,
        Err(error) => {
            say(&format!("replyd: cannot start the log: {error}\n"));
            return FAILED;
        }
    };
    // The file that was found is the one from now on: without it, there is none to reload.
    let found = loaded.path.clone();
    let mut surroundings = Surroundings::new(Arc::new(move || source::load(found.as_deref())));
    // Before anything else: a signal that comes early is a stop, not a kill.
    let handled = signals::handle(surroundings.reloader(), &surroundings.supervisor());
    let stop = match handled {
        Ok(stop) => stop,
        Err(error) => {
            tracing::error!(%error, "cannot handle signals");
            return FAILED;
        }
    };
    tracing::info!(
        config = source::name(&loaded),
        "replyd {}",
        env!("CARGO_PKG_VERSION")
    );
    surroundings.notifier = Notifier::from_environment();
    surroundings.inheritance = match inheritance {
        Ok(inheritance) => inheritance,
        Err(error) => {
            tracing::error!(%error, "cannot take the listeners that systemd has opened");
            return FAILED;
        }
    };
    surroundings.access_log = Some(log.access().clone());
    let control = log.control().clone();
    surroundings.on_taken = Box::new(move |config| control.set(&config.log));
    let server = match Server::start(&loaded, surroundings) {
        Ok(server) => server,
        Err(StartError::Config(faults)) => return refuse(&faults),
        Err(error) => {
            tracing::error!("{error}");
            return FAILED;
        }
    };
    server.metrics().log(log.metrics());
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
