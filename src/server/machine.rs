//! What this machine may not allow.
//!
//! Only warnings: who checks a configuration is not always the user, the machine or the moment that
//! it is for. Whether an address is in use is not asked: replyd itself may use it.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Access, AtFlags, CWD, accessat};

use crate::config::address::Address;
use crate::config::document::Place;
use crate::config::fault::Fault;
use crate::config::load::Loaded;
use crate::config::reply::Body;
use crate::reply::file;
use crate::server::{limits, user};

/// How long all looks at disks together may take: a network mount may hang for good.
const LOOKS_MAX: Duration = Duration::from_secs(1);

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
}

impl Machine {
    /// Asks this machine.
    #[must_use]
    pub fn ask() -> Self {
        Self {
            first_port: first_port(),
            backlog_max: sysctl("net/core/somaxconn"),
            descriptors: limits::descriptors(),
        }
    }
}

/// All such warnings of a configuration.
pub(super) fn all(loaded: &Loaded, machine: &Machine) -> Vec<Fault> {
    let mut found = user::unknown(loaded);
    let too_many = limits::fitting(loaded, machine.descriptors).err();
    found.extend(too_many.map(|fault| *fault));
    found.extend(addresses(loaded, machine.first_port));
    found.extend(backlogs(loaded, machine.backlog_max));
    found.extend(disks(loaded));
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

/// What is looked at on a disk.
#[derive(Clone)]
enum Look {
    /// The file of a reply, which is to be read.
    File(PathBuf),
    /// The folder of a unix socket, which is to be made there.
    Folder(PathBuf),
}

impl Look {
    fn look(&self) -> io::Result<()> {
        match self {
            Self::File(path) => file::try_out(path),
            Self::Folder(path) => {
                let modes = Access::WRITE_OK | Access::EXEC_OK;
                Ok(accessat(CWD, path, modes, AtFlags::EACCESS)?)
            }
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Folder(_) => "folder",
        }
    }

    fn fault(&self, loaded: &Loaded, place: &Place, error: &io::Error) -> Fault {
        let why = match error.kind() {
            ErrorKind::NotFound => format!("there is no such {}", self.kind()),
            ErrorKind::PermissionDenied => "this user has no permission".to_owned(),
            ErrorKind::TimedOut => "no answer within a second: does the disk hang?".to_owned(),
            _ => error.to_string(),
        };
        match self {
            Self::File(_) => {
                let message = "the file of this reply can't be read";
                let fault = loaded.fault(place, message, why, None);
                fault.help("until it can, the reply is `failed`")
            }
            Self::Folder(folder) => {
                let message = format!("no socket can be made in {}", folder.display());
                let fault = loaded.fault(place, message, why, None);
                fault.help("make the folder; under systemd RuntimeDirectory= does")
            }
        }
    }
}

fn disks(loaded: &Loaded) -> Vec<Fault> {
    let folders = listen(loaded).filter_map(|(place, address)| match address {
        Address::Unix(path) => Some((place, Look::Folder(path.parent()?.to_owned()))),
        Address::Tcp(_) => None,
    });
    let services = loaded.config.services.iter().enumerate();
    let files = services.filter_map(|(index, service)| match &service.reply.body {
        Body::File(path) => Some((
            Place::service(index, "reply.file"),
            Look::File(path.clone()),
        )),
        Body::Text(_) | Body::Echo | Body::Command(_) => None,
    });
    let (places, looks): (Vec<Place>, Vec<Look>) = folders.chain(files).unzip();
    let answers = within(LOOKS_MAX, looks.clone(), Look::look);
    let asked = places.iter().zip(&looks).zip(answers);
    let wrong = asked.filter_map(|((place, look), answer)| Some((place, look, answer.err()?)));
    wrong
        .map(|(place, look, error)| look.fault(loaded, place, &error))
        .collect()
}

/// Asks all of `looks` on a thread of its own, and returns the answers in their order. The first one
/// that has not come when the time is over is an error, and the last.
fn within<L: Send + 'static>(
    time: Duration,
    looks: Vec<L>,
    look: fn(&L) -> io::Result<()>,
) -> Vec<io::Result<()>> {
    let count = looks.len();
    if count == 0 {
        return Vec::new();
    }
    let (answers_tx, answers_rx) = crossbeam_channel::bounded(count);
    let asking = std::thread::Builder::new().name("looks".to_owned());
    let asking = asking.spawn(move || {
        // There is room for all of them. Who asks may have gone.
        let is_heard = |one: &L| answers_tx.send(look(one)).is_ok();
        looks.iter().all(is_heard)
    });
    if let Err(error) = asking {
        return vec![Err(error)];
    }
    let until = Instant::now() + time;
    let mut answers = Vec::new();
    while answers.len() < count {
        let Ok(answer) = answers_rx.recv_deadline(until) else {
            answers.push(Err(ErrorKind::TimedOut.into()));
            break;
        };
        answers.push(answer);
    }
    answers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::Receiver;

    #[test]
    fn a_disk_that_hangs_holds_nobody_up() {
        // Hangs until the other end of the channel is dropped.
        let (hanging_tx, hanging) = crossbeam_channel::bounded::<()>(0);
        let (_, free) = crossbeam_channel::bounded(0);
        let wait = |one: &Receiver<()>| {
            let _disconnected = one.recv();
            Ok(())
        };
        let kinds = |looks, time| -> Vec<_> {
            let answers = within(time, looks, wait).into_iter();
            answers
                .map(|answer| answer.map_err(|error| error.kind()))
                .collect()
        };
        let looks = vec![hanging, free.clone()];
        assert_eq!(
            kinds(looks, Duration::from_millis(1)),
            [Err(ErrorKind::TimedOut)]
        );
        let looks = vec![free.clone(), free];
        assert_eq!(kinds(looks, Duration::from_secs(60)), [Ok(()), Ok(())]);
        drop(hanging_tx);
    }

    #[test]
    fn who_may_bind_low_ports_is_not_warned() {
        let first = first_port();
        let bound = std::net::TcpListener::bind(("127.0.0.1", 1));
        let may = !bound.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied);
        assert_eq!(first <= 1, may);
    }
}
