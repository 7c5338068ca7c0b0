//! Becoming somebody else once every address is bound.

use std::collections::HashMap;
use std::ffi::CString;
use std::io;

use nix::unistd::{self, Gid, Group, Uid, User};

use crate::config::document::Place;
use crate::config::fault::{Fault, Faults};
use crate::config::load::Loaded;
use crate::config::reply::Body;
use crate::server::StartError;

/// Whom to become.
#[derive(Debug)]
pub(super) struct Identity {
    name: String,
    uid: Uid,
    gid: Gid,
}

impl Identity {
    pub(super) fn uid(&self) -> Uid {
        self.uid
    }

    pub(super) fn gid(&self) -> Gid {
        self.gid
    }
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
        return Err(no_lookup(loaded, &Place::top("server.user")).into());
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
        let place = Place::top("server.user");
        let fault = server.user.as_ref().map(|_| no_lookup(loaded, &place));
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

/// Tells what keeps commands from being run as whom they are to be, where replyd is started as `uid`.
pub(super) fn of_commands(loaded: &Loaded, uid: u32) -> Vec<Fault> {
    let mut names = Names::default();
    let server = loaded.config.server.user.as_deref();
    let server = server.filter(|_| uid == 0);
    let mut found = Vec::new();
    for (index, service) in loaded.config.services.iter().enumerate() {
        let Body::Command(command) = &service.reply.body else {
            continue;
        };
        let place = |key: &str| Place::service(index, &format!("reply.command.{key}"));
        let Some(name) = &command.user else {
            if uid == 0 && server.is_none() {
                found.push(as_root(loaded, &Place::service(index, "reply.command")));
            }
            continue;
        };
        if cfg!(target_feature = "crt-static") {
            found.push(no_lookup(loaded, &place("user")));
            continue;
        }
        match names.user(name) {
            None => found.push(nobody(loaded, &place("user"), "user", name)),
            Some(of_command) => {
                let replyd = server.map_or(Some(uid), |server| names.user(server));
                // Root becomes anybody. A `[server] user` that there is not is told of as that.
                if replyd.is_some_and(|replyd| replyd != 0 && replyd != of_command) {
                    found.push(no_other(loaded, &place("user"), server));
                }
            }
        }
        let group = command.group.as_deref();
        if let Some(group) = group.filter(|group| !names.has_group(group)) {
            found.push(nobody(loaded, &place("group"), "group", group));
        }
    }
    found
}

/// Users and groups that have been looked up: each is asked for once, as whoever knows may be far
/// away.
#[derive(Default)]
struct Names<'a> {
    users: HashMap<&'a str, Option<u32>>,
    groups: HashMap<&'a str, bool>,
}

impl<'a> Names<'a> {
    fn user(&mut self, name: &'a str) -> Option<u32> {
        let ask = || User::from_name(name).ok().flatten();
        let ask = || ask().map(|user| user.uid.as_raw());
        *self.users.entry(name).or_insert_with(ask)
    }

    fn has_group(&mut self, name: &'a str) -> bool {
        let ask = || Group::from_name(name).is_ok_and(|group| group.is_some());
        *self.groups.entry(name).or_insert_with(ask)
    }
}

fn as_root(loaded: &Loaded, place: &Place) -> Fault {
    let message = "a command that would be run as root";
    let label = "replyd is root, and this doesn't say whom to run it as";
    let fault = loaded.fault(place, message, label, None);
    fault.help("write user = \"nobody\" or another one; user = \"root\" if it has to be")
}

/// `server`: whom replyd has become; `None`: it never was root.
fn no_other(loaded: &Loaded, place: &Place, server: Option<&str>) -> Fault {
    let (label, help) = match server {
        Some(server) => (
            format!("replyd is `{server}` by then"),
            "leave it out, or `[server] user`: then replyd stays root",
        ),
        None => (
            "only root becomes somebody else".to_owned(),
            "leave it out, or start replyd as root",
        ),
    };
    let message = "a command can't be run as another user than replyd";
    loaded.fault(place, message, label, Some(help.to_owned()))
}

fn user(loaded: &Loaded, name: &str) -> Result<User, Box<Fault>> {
    let user = User::from_name(name).ok().flatten();
    let place = Place::top("server.user");
    user.ok_or_else(|| Box::new(nobody(loaded, &place, "user", name)))
}

fn group(loaded: &Loaded, name: &str) -> Result<Group, Box<Fault>> {
    let group = Group::from_name(name).ok().flatten();
    let place = Place::top("server.group");
    group.ok_or_else(|| Box::new(nobody(loaded, &place, "group", name)))
}

fn nobody(loaded: &Loaded, place: &Place, what: &str, name: &str) -> Fault {
    let message = format!("there is no {what} `{name}` on this machine");
    loaded.fault(place, message, "", None)
}

/// glibc looks users up by modules that it loads, and a static program may die of them.
fn no_lookup(loaded: &Loaded, place: &Place) -> Fault {
    let message = "a static replyd can't look users up";
    let help = "start it as that user: `USER` of the image, `User=` of the unit";
    loaded.fault(place, message, "", Some(help.to_owned()))
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
