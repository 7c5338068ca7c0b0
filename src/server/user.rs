//! Becoming somebody else once every address is bound.

use std::ffi::CString;
use std::io;

use nix::unistd::{self, Gid, Group, Uid, User};

use crate::config::document::Place;
use crate::config::fault::{Fault, Faults};
use crate::config::load::Loaded;
use crate::server::StartError;

/// Whom to become.
#[derive(Debug)]
pub(super) struct Identity {
    name: String,
    uid: Uid,
    gid: Gid,
}

/// Looks the configured user and group up; `None` if there is nobody to become.
///
/// # Errors
/// * there is no such user or group
/// * a static binary can't know
pub(super) fn find(loaded: &Loaded) -> Result<Option<Identity>, Faults> {
    let server = &loaded.config.server;
    let Some(name) = &server.user else {
        return Ok(None);
    };
    if !Uid::effective().is_root() {
        tracing::warn!(user = name, "not started as root: staying who we are");
        return Ok(None);
    }
    if cfg!(target_feature = "crt-static") {
        return Err(no_lookup(loaded).into());
    }
    let user = user(loaded, name).map_err(|fault| *fault)?;
    let gid = match &server.group {
        Some(name) => group(loaded, name).map_err(|fault| *fault)?.gid,
        None => user.gid,
    };
    let identity = Identity {
        name: user.name,
        uid: user.uid,
        gid,
    };
    Ok(Some(identity))
}

/// Tells which of the configured user and group there is not, whoever asks.
pub(super) fn unknown(loaded: &Loaded) -> Vec<Fault> {
    let server = &loaded.config.server;
    if cfg!(target_feature = "crt-static") {
        let fault = server.user.as_ref().map(|_| no_lookup(loaded));
        return fault.into_iter().collect();
    }
    let user = server.user.as_deref().map(|name| user(loaded, name).err());
    let group = server
        .group
        .as_deref()
        .map(|name| group(loaded, name).err());
    let unknown = [user.flatten(), group.flatten()];
    unknown.into_iter().flatten().map(|fault| *fault).collect()
}

fn user(loaded: &Loaded, name: &str) -> Result<User, Box<Fault>> {
    let user = User::from_name(name).ok().flatten();
    user.ok_or_else(|| Box::new(nobody(loaded, "server.user", "user", name)))
}

fn group(loaded: &Loaded, name: &str) -> Result<Group, Box<Fault>> {
    let group = Group::from_name(name).ok().flatten();
    group.ok_or_else(|| Box::new(nobody(loaded, "server.group", "group", name)))
}

fn nobody(loaded: &Loaded, key: &str, what: &str, name: &str) -> Fault {
    let message = format!("there is no {what} `{name}` on this machine");
    loaded.fault(&Place::top(key), message, "", None)
}

/// glibc looks users up by modules that it loads, and a static program may die of them.
fn no_lookup(loaded: &Loaded) -> Fault {
    let message = "a static replyd can't look users up";
    let help = "start it as that user: `USER` of the image, `User=` of the unit";
    loaded.fault(
        &Place::top("server.user"),
        message,
        "",
        Some(help.to_owned()),
    )
}

/// Becomes `identity`, with all the groups it is in. Before the first thread that serves anyone;
/// those that wait for signals switch too (setxid(2) of glibc is for all threads).
///
/// # Errors
/// * the system refuses
pub(super) fn switch(identity: &Identity) -> Result<(), StartError> {
    let Identity { name, uid, gid } = identity;
    let error = |error| StartError::System {
        what: "switch the user",
        error,
    };
    let c_name = CString::new(name.as_str()).map_err(|nul| error(io::Error::other(nul)))?;
    // The groups first: afterwards it isn't allowed anymore.
    unistd::initgroups(&c_name, *gid)
        .and_then(|()| unistd::setgid(*gid))
        .and_then(|()| unistd::setuid(*uid))
        .map_err(|errno| error(errno.into()))?;
    tracing::info!(
        user = name,
        uid = uid.as_raw(),
        gid = gid.as_raw(),
        "switched the user"
    );
    Ok(())
}
