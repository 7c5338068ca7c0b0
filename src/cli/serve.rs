//! `replyd` itself: starts the server, runs it, says how it ended.

use std::path::Path;

use replyd::engine::listener::ListenAddr;
use replyd::server::{End, Server, StartError};

use crate::cli::{ABANDONED, DRAINED, FAILED, log, refuse, signals, source};

/// Runs until it is told to stop, and returns the exit code.
pub(super) fn serve(file: Option<&Path>) -> u8 {
    let loaded = match source::load(file) {
        Ok(loaded) => loaded,
        Err(faults) => return refuse(&faults),
    };
    let _written_at_the_end = log::to_stderr(loaded.config.log.level);
    // Before anything else: a signal that comes early is a stop, not a kill.
    let stop = match signals::stop() {
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
    let server = match Server::start(&loaded) {
        Ok(server) => server,
        Err(StartError::Config(faults)) => return refuse(&faults),
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
