//! How many connections the machine's limits can hold.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::document::Place;
use crate::config::fault::Faults;
use crate::config::load::Loaded;
use crate::config::reply::Body;
use crate::server::StartError;

/// Connections turned away that are given time to read why.
pub(super) const TURNED_AWAY_MAX: usize = 256;

/// The same, of the admin listener.
pub(super) const ADMIN_TURNED_AWAY_MAX: usize = 16;

/// Connections of the admin listener: a few scrapers, and someone with a browser.
pub(super) const ADMIN_CONNECTIONS_MAX: usize = 64;

/// Without a configured number: more than most need, and what 24 MB of memory hold.
pub(super) const DEFAULT_MAX: usize = 8192;

/// Descriptors for the rest: epoll sets, eventfds, logs, /proc at a scrape.
const HEADROOM: usize = 64;

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
    // An open file beside the socket.
    let reads_files = config
        .services
        .iter()
        .any(|service| matches!(service.reply.body, Body::File(_)));
    let per_connection = if reads_files { 2 } else { 1 };
    let held = descriptors.saturating_sub(reserved) / per_connection;
    let asked = config.server.max_connections;
    if asked > held || held == 0 {
        let needed = reserved + asked.max(1) * per_connection;
        let fault = loaded.fault(
            &Place::top("server.max_connections"),
            format!("{} connections need {needed} descriptors", asked.max(1)),
            format!("the limit is {descriptors} (RLIMIT_NOFILE), which holds {held}"),
            Some(format!("raise it (`LimitNOFILE={needed}` in the unit), or ask for fewer; 0 takes what there is")),
        );
        return Err(Faults::from(fault).into());
    }
    Ok(if asked > 0 {
        asked
    } else {
        held.min(DEFAULT_MAX)
    })
}

/// How many descriptors there may be, after raising the soft limit to the hard one.
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
    Ok(maximum.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    }))
}
