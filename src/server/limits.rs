//! How many connections the machine's limits can hold.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::document::Place;
use crate::config::fault::{Fault, Faults};
use crate::config::load::Loaded;
use crate::config::reply::Body;
use crate::server::StartError;

/// Connections turned away that are given time to read why.
pub(super) const TURNED_AWAY_MAX: usize = 256;

/// The same, of the admin listener.
pub(super) const ADMIN_TURNED_AWAY_MAX: usize = 16;

/// Connections of the admin listener: a few scrapers, and someone with a browser.
pub(super) const ADMIN_CONNECTIONS_MAX: usize = 64;

/// Without a configured number: more than most need, and less than 40 MB of memory if each has sent
/// half a request.
pub(super) const DEFAULT_MAX: usize = 8192;

/// Descriptors for the rest: epoll sets, eventfds, logs, /proc at a scrape.
const HEADROOM: usize = 64;

/// What a run of a command takes: three pipes.
const RUN_DESCRIPTORS: usize = 3;

/// How many connections may be open: what is configured, or what descriptors allow. Raises the
/// soft limit of descriptors to the hard one first.
///
/// # Errors
/// * more is configured than descriptors allow
/// * descriptors allow next to nothing
pub(super) fn max_connections(loaded: &Loaded) -> Result<usize, StartError> {
    let descriptors = raise().map_err(|error| StartError::System {
        what: "raise the limit of descriptors",
        error: error.into(),
    })?;
    fitting(loaded, descriptors).map_err(|fault| Faults::from(*fault).into())
}

/// How many connections may be open with so many descriptors.
///
/// # Errors
/// * more is configured than descriptors allow
/// * descriptors allow next to nothing
pub(super) fn fitting(loaded: &Loaded, descriptors: usize) -> Result<usize, Box<Fault>> {
    let config = &loaded.config;
    let listeners: usize = config
        .services
        .iter()
        .map(|service| service.listen.len())
        .sum();
    let reserved = HEADROOM
        + TURNED_AWAY_MAX
        + ADMIN_CONNECTIONS_MAX
        + ADMIN_TURNED_AWAY_MAX
        + config.admin.listen.len()
        + listeners;
    // Three pipes for each run of a command.
    let runs = config.services.iter().map(|it| match &it.reply.body {
        Body::Command(command) => RUN_DESCRIPTORS * command.concurrency,
        _ => 0,
    });
    let reserved = reserved + runs.sum::<usize>();
    // An open file beside the socket.
    let reads_files = config
        .services
        .iter()
        .any(|service| matches!(service.reply.body, Body::File(_)));
    let per_connection = if reads_files { 2 } else { 1 };
    let fitting = descriptors.saturating_sub(reserved) / per_connection;
    let asked = config.server.max_connections;
    if asked > fitting || fitting == 0 {
        let needed = reserved + asked.max(1) * per_connection;
        let message = if asked == 0 {
            format!(
                "the limit of {descriptors} descriptors (RLIMIT_NOFILE) is too low to serve anyone"
            )
        } else {
            format!(
                "{asked} connections are more than {descriptors} descriptors (RLIMIT_NOFILE) hold"
            )
        };
        let label = format!("{fitting} would fit: {reserved} descriptors are for other things");
        let help =
            format!("allow {needed}: `ulimit -n {needed}`, or `LimitNOFILE={needed}` in the unit");
        let fault = loaded.fault(
            &Place::top("server.max_connections"),
            message,
            label,
            Some(help),
        );
        return Err(Box::new(fault));
    }
    Ok(if asked > 0 {
        asked
    } else {
        fitting.min(DEFAULT_MAX)
    })
}

/// Raises the soft limit of descriptors to the hard one, and says how many that are.
fn raise() -> rustix::io::Result<usize> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        setrlimit(
            Resource::Nofile,
            Rlimit {
                current: maximum,
                maximum,
            },
        )?;
    }
    Ok(descriptors())
}

/// How many descriptors there may be at most: the hard limit.
pub(super) fn descriptors() -> usize {
    let maximum = getrlimit(Resource::Nofile).maximum;
    maximum.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    })
}
