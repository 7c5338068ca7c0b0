//! Becoming somebody else once every address is bound.

use std::io;

use nix::unistd::{self, Gid, Group, Uid, User};

use crate::config::types::Server;
use crate::server::StartError;

/// Switches to the configured user and group, if started as root. Before any thread is started,
/// so that none keeps root's rights.
///
/// # Errors
/// * there is no such user or group, or the system refuses
pub(super) fn switch(server: &Server) -> Result<(), StartError> {
    let Some(name) = &server.user else {
        return Ok(());
    };
    if !Uid::effective().is_root() {
        tracing::warn!(user = name, "not started as root: staying who we are");
        return Ok(());
    }
    let error = |error| StartError::System {
        what: "switch the user",
        error,
    };
    let user = User::from_name(name).map_err(|errno| error(errno.into()))?;
    let user = user.ok_or_else(|| error(io::Error::other(format!("there is no user `{name}`"))))?;
    let gid = match &server.group {
        Some(name) => group(name).map_err(error)?,
        None => user.gid,
    };
    // The groups first: afterwards it isn't allowed anymore.
    unistd::setgroups(&[gid])
        .and_then(|()| unistd::setgid(gid))
        .and_then(|()| unistd::setuid(user.uid))
        .map_err(|errno| error(errno.into()))?;
    tracing::info!(
        user = name,
        uid = user.uid.as_raw(),
        gid = gid.as_raw(),
        "switched the user"
    );
    Ok(())
}

fn group(name: &str) -> io::Result<Gid> {
    let group = Group::from_name(name)?;
    group
        .map(|group| group.gid)
        .ok_or_else(|| io::Error::other(format!("there is no group `{name}`")))
}
