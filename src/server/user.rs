//! Becoming somebody else once every address is bound.

use std::ffi::CString;
use std::io;

use nix::unistd::{self, Gid, Group, Uid, User};

use crate::config::command::Command;
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
    let user = user(loaded, &Place::top("server.user"), name).map_err(|fault| *fault)?;
    let gid = match &server.group {
        Some(name) => {
            let place = Place::top("server.group");
            group(loaded, &place, name).map_err(|fault| *fault)?.gid
        }
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
    let place = Place::top("server.user");
    if cfg!(target_feature = "crt-static") {
        let fault = server.user.as_ref().map(|_| no_lookup(loaded, &place));
        return fault.into_iter().collect();
    }
    let unknown_user = |name: &String| user(loaded, &place, name).err();
    let unknown_group = |name: &String| group(loaded, &Place::top("server.group"), name).err();
    let user = server.user.as_ref().and_then(unknown_user);
    let group = server.group.as_ref().and_then(unknown_group);
    [user, group]
        .into_iter()
        .flatten()
        .map(|fault| *fault)
        .collect()
}

/// Whom a command is to be run as; `None`: as `replyd`, who it is by then.
///
/// # Errors
/// * there is no such user or group, or a static binary can't know
/// * only root becomes somebody else, and only if it is told whom
pub(super) fn of_command(
    loaded: &Loaded,
    index: usize,
    command: &Command,
    replyd: (Uid, Gid),
) -> Result<Option<(Uid, Gid)>, Box<Fault>> {
    let place = |key: &str| Place::service(index, &format!("reply.command.{key}"));
    let is_root = replyd.0.is_root();
    let Some(name) = &command.user else {
        return if is_root {
            Err(Box::new(as_root(loaded, &place("run"))))
        } else {
            Ok(None)
        };
    };
    if cfg!(target_feature = "crt-static") {
        return Err(Box::new(no_lookup(loaded, &place("user"))));
    }
    let user = user(loaded, &place("user"), name)?;
    let gid = match &command.group {
        Some(name) => group(loaded, &place("group"), name)?.gid,
        None => user.gid,
    };
    let wanted = (user.uid, gid);
    if wanted != replyd && !is_root {
        return Err(Box::new(no_root(loaded, &place("user"))));
    }
    Ok(Some(wanted).filter(|wanted| *wanted != replyd))
}

/// Tells which commands can't be run as whom they are to be, where `replyd` starts it.
pub(super) fn of_commands(loaded: &Loaded, replyd: (Uid, Gid)) -> Vec<Fault> {
    let server = &loaded.config.server;
    let replyd = match &server.user {
        Some(name) if replyd.0.is_root() && !cfg!(target_feature = "crt-static") => {
            let Ok(Some(user)) = User::from_name(name) else {
                // Whom it becomes is told of already, and not known.
                return Vec::new();
            };
            let group = server.group.as_deref();
            let group = group.and_then(|name| Group::from_name(name).ok().flatten());
            (user.uid, group.map_or(user.gid, |group| group.gid))
        }
        _ => replyd,
    };
    let services = loaded.config.services.iter().enumerate();
    let faults = services.filter_map(|(index, service)| match &service.reply.body {
        Body::Command(command) => of_command(loaded, index, command, replyd).err(),
        _ => None,
    });
    faults.map(|fault| *fault).collect()
}

fn as_root(loaded: &Loaded, place: &Place) -> Fault {
    let message = "a command that would be run as root";
    let label = "replyd is root, and nothing says whom to run this as";
    let fault = loaded.fault(place, message, label, None);
    fault.help(
        "write user = \"nobody\" or another one, \"root\" if it has to be; none where `User=` of a unit starts it",
    )
}

fn no_root(loaded: &Loaded, place: &Place) -> Fault {
    let message = "a command can't be run as another user or group than replyd";
    let label = "only root becomes somebody else, and replyd is not root by then";
    let fault = loaded.fault(place, message, label, None);
    fault.help("leave it out, or start replyd as root without `[server] user`")
}

fn user(loaded: &Loaded, place: &Place, name: &str) -> Result<User, Box<Fault>> {
    let user = User::from_name(name).ok().flatten();
    user.ok_or_else(|| Box::new(nobody(loaded, place, "user", name)))
}

fn group(loaded: &Loaded, place: &Place, name: &str) -> Result<Group, Box<Fault>> {
    let group = Group::from_name(name).ok().flatten();
    group.ok_or_else(|| Box::new(nobody(loaded, place, "group", name)))
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

/// Whether this is the name of who we are.
pub(super) fn is_ours(name: &str) -> bool {
    let user = User::from_name(name).ok().flatten();
    user.is_some_and(|user| user.uid == Uid::effective())
}

/// A user and a group, for people.
pub(super) fn called(uid: Uid, gid: Gid) -> String {
    // A static program can't look them up, see `no_lookup`.
    let can_look = !cfg!(target_feature = "crt-static");
    let user = can_look.then(|| User::from_uid(uid).ok().flatten());
    let name = (user.flatten()).map_or_else(String::new, |user| format!("{} ", user.name));
    format!("{name}(uid {uid}, gid {gid})")
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
