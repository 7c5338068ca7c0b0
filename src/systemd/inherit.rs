//! Listeners that somebody else has opened for us: sd_listen_fds(3).
//!
//! Those of a .socket unit and those of the store come alike, as descriptors from 3 on and three
//! variables. Each is checked: what does not listen is closed, and told.

use std::env;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileTypeExt as _;

use listenfd::ListenFd;
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketAddrUnix, ipproto, sockopt};

use crate::engine::listener::ListenAddr;
use crate::systemd::store::is_stored;

/// How many descriptors are taken at most: many times what a configuration has addresses.
const FDS_MAX: usize = 4096;

/// Their names where `LISTEN_FDNAMES` is unset, as sd_listen_fds_with_names(3) has it.
const UNKNOWN: &str = "unknown";

/// What we have been started with.
#[derive(Debug, Default)]
pub struct Inheritance {
    /// In the order in which they came: first those of the .socket units, then those of the store.
    pub listeners: Vec<Inherited>,

    /// What was closed, to be logged; and taken out of the store, if its name says it is in it.
    pub strays: Vec<Stray>,
}

/// A stream socket that listens; close-on-exec.
#[derive(Debug)]
pub struct Inherited {
    /// The service's that it is meant for, or that of the store, or any.
    pub name: String,

    /// The socket.
    pub fd: OwnedFd,

    /// Where it listens.
    pub addr: ListenAddr,

    /// An IPv6 listener that takes IPv4 peers too.
    pub takes_ipv4: bool,
}

/// A descriptor that was of no use, and is closed.
#[derive(Debug, PartialEq, Eq)]
pub struct Stray {
    /// Its name, as systemd told it.
    pub name: String,

    /// Why it is of no use.
    pub reason: String,
}

impl fmt::Display for Stray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, reason } = self;
        write!(
            f,
            "the descriptor that systemd calls `{name}` is closed: {reason}"
        )
    }
}

/// Takes what we have been started with; nothing if it is for another process, or taken already.
///
/// To be called before anything else is opened and before the first thread: the variables say which
/// descriptors are ours to own or to close, and listenfd unsets them.
///
/// # Errors
/// * `LISTEN_FDS` or `LISTEN_FDNAMES` is none of systemd's
pub fn inherit() -> io::Result<Inheritance> {
    let text = |name| env::var(name).ok();
    let names = names(
        text("LISTEN_PID").as_deref(),
        text("LISTEN_FDS").as_deref(),
        text("LISTEN_FDNAMES").as_deref(),
        std::process::id(),
    )?;
    let mut inheritance = Inheritance::default();
    if names.is_empty() {
        return Ok(inheritance);
    }
    let mut fds = ListenFd::from_env();
    for (index, name) in names.into_iter().enumerate() {
        let taken = take(&mut fds, index).and_then(|taken| {
            let (_, addr, _) = &taken;
            if is_stored(&name) && has_lost_its_path(addr) {
                return Err(format!(
                    "{addr} is no socket anymore, so nobody can come through it"
                ));
            }
            Ok(taken)
        });
        match taken {
            Ok((fd, addr, takes_ipv4)) => inheritance.listeners.push(Inherited {
                name,
                fd,
                addr,
                takes_ipv4,
            }),
            Err(reason) => inheritance.strays.push(Stray { name, reason }),
        }
    }
    Ok(inheritance)
}

/// A name for each descriptor that is there for the process `own`.
fn names(
    pid: Option<&str>,
    count: Option<&str>,
    names: Option<&str>,
    own: u32,
) -> io::Result<Vec<String>> {
    // listenfd would take those without a LISTEN_PID too.
    let is_ours = pid.is_some_and(|pid| pid.parse() == Ok(own));
    let Some(text) = count.filter(|_| is_ours) else {
        return Ok(Vec::new());
    };
    let invalid = |message| io::Error::new(io::ErrorKind::InvalidData, message);
    let count = text.parse().ok().filter(|count| *count <= FDS_MAX);
    let count: usize = count.ok_or_else(|| {
        invalid(format!(
            "LISTEN_FDS is {text:?}, and no number up to {FDS_MAX}"
        ))
    })?;
    let Some(text) = names else {
        return Ok(vec![UNKNOWN.to_owned(); count]);
    };
    let names: Vec<String> = text.split(':').map(str::to_owned).collect();
    if count > 0 && names.len() != count {
        return Err(invalid(format!(
            "LISTEN_FDS is {count}, and LISTEN_FDNAMES has {} names: {text:?}",
            names.len()
        )));
    }
    Ok(names.into_iter().take(count).collect())
}

/// Takes a descriptor if it listens; else closes it, and says why.
fn take(fds: &mut ListenFd, index: usize) -> Result<(OwnedFd, ListenAddr, bool), String> {
    for family in [libc::AF_INET, libc::AF_UNIX] {
        // AF_INET stands for IPv6 too. What is something else stays where it is.
        if let Ok(Some(fd)) = fds.take_custom::<OwnedFd>(index, family, libc::SOCK_STREAM, "") {
            let (addr, takes_ipv4) = examine(&fd)?;
            return Ok((fd, addr, takes_ipv4));
        }
    }
    if let Ok(Some(number)) = fds.take_raw_fd(index) {
        // An error says that there was none.
        let _closed = nix::unistd::close(number);
    }
    Err("it is no stream socket, over TCP or unix".to_owned())
}

/// Where a stream socket listens, and whether it takes IPv4 beside IPv6; or why it is of no use.
fn examine(fd: impl AsFd) -> Result<(ListenAddr, bool), String> {
    let told = |error: Errno| error.to_string();
    if !sockopt::socket_acceptconn(&fd).map_err(told)? {
        return Err("it does not listen".to_owned());
    }
    let local = net::getsockname(&fd).map_err(told)?;
    if local.address_family() == AddressFamily::UNIX {
        let local = SocketAddrUnix::try_from(local).map_err(told)?;
        // The protocol has abstract ones; the configuration has no way to write them.
        let path = local.path_bytes().ok_or("its address is no path")?;
        let path = std::ffi::OsStr::from_bytes(path);
        return Ok((ListenAddr::Unix(path.into()), false));
    }
    if sockopt::socket_protocol(&fd).map_err(told)? != Some(ipproto::TCP) {
        return Err("it speaks something else than TCP".to_owned());
    }
    let addr = SocketAddr::try_from(local).map_err(told)?;
    let takes_ipv4 = addr.is_ipv6() && !sockopt::ipv6_v6only(&fd).map_err(told)?;
    Ok((ListenAddr::Tcp(addr), takes_ipv4))
}

/// Whether a unix socket's path is gone: where a unit has its RuntimeDirectory= removed or gets
/// another /tmp with each start, the socket is stored, and its path is not.
///
/// Not to be asked of a .socket unit's: its path may be out of our sight, and yet be there.
fn has_lost_its_path(addr: &ListenAddr) -> bool {
    match addr {
        ListenAddr::Tcp(_) => false,
        ListenAddr::Unix(path) => match std::fs::symlink_metadata(path) {
            Ok(metadata) => !metadata.file_type().is_socket(),
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        },
    }
}

#[cfg(test)]
mod tests;
