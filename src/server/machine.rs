//! What this machine may not allow.
//!
//! Only warnings: who checks a configuration is not always the user, the machine or the moment that
//! it is for. Whether an address is in use is not asked: replyd itself may use it.

/// What is looked at on disks.
mod looks;

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;

use crate::config::address::Address;
use crate::config::document::Place;
use crate::config::fault::Fault;
use crate::config::load::Loaded;
use crate::server::{limits, user};

/// The capability to bind low ports, capabilities(7).
const CAP_NET_BIND_SERVICE: u32 = 10;

/// What the machine says of itself, for this process.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// The first port that may be bound; 0 with the capability for those below 1024.
    pub first_port: u32,

    /// What the kernel cuts a backlog to; `None`: it does not say.
    pub backlog_max: Option<u32>,

    /// Descriptors that there may be at most, the hard limit.
    pub descriptors: usize,

    /// Who would start replyd; 0: root.
    pub uid: u32,

    /// And its group.
    pub gid: u32,
}

impl Machine {
    /// Asks this machine.
    #[must_use]
    pub fn ask() -> Self {
        Self {
            first_port: first_port(),
            backlog_max: sysctl("net/core/somaxconn"),
            descriptors: limits::descriptors(),
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
        }
    }
}

/// All such warnings of a configuration.
pub(super) fn all(loaded: &Loaded, machine: &Machine) -> Vec<Fault> {
    let mut found = user::unknown(loaded);
    found.extend(user::of_commands(
        loaded,
        (machine.uid.into(), machine.gid.into()),
    ));
    let too_many = limits::fitting(loaded, machine.descriptors).err();
    found.extend(too_many.map(|fault| *fault));
    found.extend(addresses(loaded, machine.first_port));
    found.extend(backlogs(loaded, machine.backlog_max));
    found.extend(looks::all(loaded));
    found.into_iter().map(Fault::warning).collect()
}

/// Every address, and where it is written.
fn listen(loaded: &Loaded) -> impl Iterator<Item = (Place, &Address)> {
    let config = &loaded.config;
    let admin = config.admin.listen.iter().enumerate();
    let admin = admin.map(|(i, address)| (Place::top(&format!("admin.listen.{i}")), address));
    let services = config.services.iter().enumerate();
    let services = services.flat_map(|(index, service)| {
        let listen = service.listen.iter().enumerate();
        listen.map(move |(i, address)| (Place::service(index, &format!("listen.{i}")), address))
    });
    admin.chain(services)
}

fn addresses(loaded: &Loaded, first_port: u32) -> Vec<Fault> {
    let mut known: HashMap<IpAddr, Option<ErrorKind>> = HashMap::new();
    let mut found = Vec::new();
    for (place, address) in listen(loaded) {
        let Address::Tcp(socket) = *address else {
            continue;
        };
        let port = socket.port();
        if port != 0 && u32::from(port) < first_port {
            let message = format!("port {port} is not for this user");
            let label = format!("ports below {first_port} take CAP_NET_BIND_SERVICE");
            let fault = loaded.fault(&place, message, label, None);
            found.push(fault.help(
                "start as root with `[server] user`, or under systemd with AmbientCapabilities=CAP_NET_BIND_SERVICE",
            ));
        }
        let refused = *known.entry(socket.ip()).or_insert_with(|| refused(socket));
        if let Some(kind) = refused {
            let ip = socket.ip();
            let (message, label) = match kind {
                ErrorKind::AddrNotAvailable => (
                    format!("{ip} is no address of this machine"),
                    "no interface has it".to_owned(),
                ),
                other => (format!("this machine refuses {ip}"), other.to_string()),
            };
            found.push(loaded.fault(&place, message, label, None));
        }
    }
    found
}

fn first_port() -> u32 {
    let status = procfs::process::Process::myself().and_then(|myself| myself.status());
    let may_bind = status.is_ok_and(|status| status.capeff >> CAP_NET_BIND_SERVICE & 1 == 1);
    if may_bind {
        return 0;
    }
    sysctl("net/ipv4/ip_unprivileged_port_start").unwrap_or(1024)
}

/// Why the kernel refuses an IP address, if it does. Asked without a port: nobody is in the way, and
/// in nobody's way.
fn refused(mut socket: SocketAddr) -> Option<ErrorKind> {
    socket.set_port(0);
    UdpSocket::bind(socket).err().map(|error| error.kind())
}

fn backlogs(loaded: &Loaded, most: Option<u32>) -> Vec<Fault> {
    let Some(most) = most else {
        return Vec::new();
    };
    let services = loaded.config.services.iter().enumerate();
    let cut = services.filter(|(_, service)| u32::from(service.backlog) > most);
    let written = cut.filter_map(|(index, service)| {
        let place = Place::service(index, "backlog");
        loaded.sources.has(&place).then(|| {
            let message = format!("the kernel cuts this backlog to {most}");
            let label = "net.core.somaxconn is lower";
            let fault = loaded.fault(&place, message, label, None);
            fault.help(format!(
                "`sysctl -w net.core.somaxconn={}`",
                service.backlog
            ))
        })
    });
    written.collect()
}

/// A setting of the kernel; `None` where it is not there, or is no such number.
fn sysctl(name: &str) -> Option<u32> {
    let text = std::fs::read_to_string(Path::new("/proc/sys").join(name));
    text.ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_bind_low_ports_is_not_warned() {
        let first = first_port();
        let bound = std::net::TcpListener::bind(("127.0.0.1", 1));
        let may = !bound.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied);
        assert_eq!(first <= 1, may);
    }
}
