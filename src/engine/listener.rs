//! A bound, listening socket of one service: the textbook's socket, setsockopt, bind, listen and
//! accept, each step configurable.
//!
//! Options are set once on the listener: accepted sockets inherit them (measured, KERNEL K21).

mod accepted;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::Mode;
use rustix::io::{Errno, FdFlags};
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};

use crate::engine::deafness::{self, Deafness};
use crate::engine::listener::accepted::classify;
use crate::engine::poller::{Source, Watched};
#[cfg(test)]
use crate::engine::simulation::handles::SimulatedListener;
#[cfg(test)]
use crate::engine::socket::Socket;
use crate::engine::sockopt::{ListenQueue, TcpDeferAccept, TcpListenInfo};
use crate::peer::Peer;

pub(super) use crate::engine::listener::accepted::{Accepted, Failure};

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddr {
    /// IPv4 or IPv6; an IPv6 listener takes no IPv4 peers.
    Tcp(SocketAddr),
    /// The path of a unix stream socket.
    Unix(PathBuf),
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What is set on a listener, and so on every socket it accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerOptions {
    /// listen(2)'s, in connections; the kernel clamps it to net.core.somaxconn.
    pub backlog: u16,

    /// TCP_DEFER_ACCEPT: how long the kernel keeps silent connections to itself; zero is off.
    pub defer_accept: Duration,

    /// TCP keepalive: after so much silence; zero is off.
    pub keepalive: Duration,

    /// TCP_USER_TIMEOUT: how long unacknowledged bytes may pin a socket; zero is the kernel's.
    pub user_timeout: Duration,
}

/// A listening socket.
#[derive(Debug)]
pub struct Listener {
    fd: OwnedFd,
    addr: ListenAddr,

    /// Of a unix socket: device and inode of the path we have made.
    made: Option<(u64, u64)>,

    /// Somebody keeps it for our successor.
    outlives_us: bool,

    /// It lets nobody new in.
    deafness: Option<Deafness>,

    /// What stands in for the descriptor in a simulation.
    #[cfg(test)]
    simulated: Option<SimulatedListener>,
}

impl Listener {
    /// Socket, options, bind, listen.
    ///
    /// # Errors
    /// * the address is in use, or not this machine's
    /// * the port or the path is not allowed for this user
    /// * an option is unknown to the kernel
    pub fn bind(addr: &ListenAddr, options: &ListenerOptions) -> io::Result<Self> {
        let fd = match addr {
            ListenAddr::Tcp(addr) => bind_tcp(*addr, options)?,
            ListenAddr::Unix(path) => bind_unix(path)?,
        };
        // std's TcpListener passes 128: a thirtieth of what the kernel gives.
        net::listen(&fd, i32::from(options.backlog))?;
        let (addr, made) = match addr {
            ListenAddr::Tcp(_) => {
                let bound = SocketAddr::try_from(net::getsockname(&fd)?)?;
                (ListenAddr::Tcp(bound), None)
            }
            ListenAddr::Unix(path) => (ListenAddr::Unix(path.clone()), Some(identity(path)?)),
        };
        Ok(Self::new(fd, addr, made))
    }

    /// Takes over a socket that listens on `addr` already, and sets all that can still be set: what
    /// has been set on it before doesn't count.
    ///
    /// `is_ours` says whether a replyd has made it. Then it is not deaf anymore, and the path of a
    /// unix socket is removed when newcomers are stopped; another's path is never touched.
    ///
    /// # Errors
    /// * an option is unknown to the kernel
    pub fn adopt(
        fd: OwnedFd,
        addr: ListenAddr,
        is_ours: bool,
        options: &ListenerOptions,
    ) -> io::Result<Self> {
        rustix::io::fcntl_setfd(&fd, FdFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&fd, true)?;
        let made = match &addr {
            // Without its path nobody comes through it anymore, but who is in its queue is served.
            ListenAddr::Unix(path) if is_ours => identity(path).ok(),
            ListenAddr::Tcp(_) | ListenAddr::Unix(_) => None,
        };
        if let ListenAddr::Tcp(addr) = &addr
            && is_ours
        {
            // It may have been retired, and its keeper not been told.
            deafness::end(&fd, addr.is_ipv4());
        }
        let listener = Self::new(fd, addr, made);
        listener.apply(options)?;
        Ok(listener)
    }

    fn new(fd: OwnedFd, addr: ListenAddr, made: Option<(u64, u64)>) -> Self {
        Self {
            fd,
            addr,
            made,
            outlives_us: false,
            deafness: None,
            #[cfg(test)]
            simulated: None,
        }
    }

    /// Notes that somebody else holds it too, and keeps it for our successor: then it must not be
    /// made deaf, and who is queued for it when we end is served after us.
    #[must_use]
    pub fn kept_by_others(self) -> Self {
        Self {
            outlives_us: true,
            ..self
        }
    }

    /// Sets other options; the sockets accepted from now on have them.
    pub(super) fn apply(&self, options: &ListenerOptions) -> io::Result<()> {
        #[cfg(test)]
        if self.simulated.is_some() {
            return Ok(());
        }
        if let ListenAddr::Tcp(_) = self.addr {
            set_tcp_options(&self.fd, options)?;
        }
        // Of a socket that listens, this sets the backlog.
        Ok(net::listen(&self.fd, i32::from(options.backlog))?)
    }

    /// Where it listens; port 0 has become a real one.
    #[must_use]
    pub fn addr(&self) -> &ListenAddr {
        &self.addr
    }

    pub(super) fn outlives_us(&self) -> bool {
        self.outlives_us
    }

    /// The backlog that the kernel granted, in connections. Nothing for unix sockets.
    #[must_use]
    pub fn backlog_granted(&self) -> Option<u32> {
        self.queue().map(|queue| queue.limit)
    }

    /// Takes the next connection out of the kernel's queue.
    pub(super) fn accept(&self) -> Accepted {
        #[cfg(test)]
        if let Some(simulated) = &self.simulated {
            return simulated.accept().map_or_else(classify, |(socket, peer)| {
                Accepted::Connection(Socket::Simulated(socket), peer)
            });
        }
        match net::acceptfrom_with(&self.fd, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
            Ok((socket, addr)) => {
                if let Some(deafness) = self.deafness {
                    deafness.end_for(&socket);
                }
                let peer = match (&self.addr, addr.map(SocketAddr::try_from)) {
                    (ListenAddr::Tcp(_), Some(Ok(addr))) => Peer::from(addr),
                    _ => Peer::Unix,
                };
                Accepted::Connection(socket.into(), peer)
            }
            Err(error) => classify(error),
        }
    }

    /// The kernel's queue: how many are in it, and its limit. Nothing for unix sockets.
    pub(super) fn queue(&self) -> Option<ListenQueue> {
        #[cfg(test)]
        if let Some(simulated) = &self.simulated {
            return Some(simulated.queue());
        }
        match self.addr {
            ListenAddr::Tcp(_) => nix::sys::socket::getsockopt(&self.fd, TcpListenInfo)
                .ok()
                .map(|info| ListenQueue {
                    length: info.tcpi_unacked,
                    limit: info.tcpi_sacked,
                }),
            ListenAddr::Unix(_) => None,
        }
    }

    /// Lets nobody new in, so that closing it loses nobody: from now on a connection that begins
    /// is not heard, and one whose handshake is under way comes through. For listeners that are
    /// ours alone: who shares this one would be deaf too.
    ///
    /// A client whose SYN goes unheard tries again a second later, and meets our successor.
    pub(super) fn stop_newcomers(&mut self) -> io::Result<()> {
        #[cfg(test)]
        if let Some(simulated) = &self.simulated {
            simulated.stop_newcomers();
            return Ok(());
        }
        match &self.addr {
            ListenAddr::Tcp(addr) => {
                self.deafness = Some(deafness::begin(&self.fd, addr.is_ipv4())?);
                Ok(())
            }
            ListenAddr::Unix(_) => self.unlink(),
        }
    }

    /// Removes the path of a unix socket that is ours.
    ///
    /// # Errors
    /// * the folder does not allow it
    pub fn unlink(&self) -> io::Result<()> {
        match &self.addr {
            // A successor may have put its own there.
            ListenAddr::Unix(path) if self.made.is_some() && identity(path).ok() == self.made => {
                std::fs::remove_file(path)
            }
            _ => Ok(()),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Watched for Listener {
    fn source(&self) -> Source<'_> {
        #[cfg(test)]
        if let Some(simulated) = &self.simulated {
            return Source::Simulated(simulated.source());
        }
        Source::Kernel(self.fd.as_fd())
    }
}

fn bind_tcp(addr: SocketAddr, options: &ListenerOptions) -> io::Result<OwnedFd> {
    let family = if addr.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = net::socket_with(family, SocketType::STREAM, flags, None)?;
    // Else a restart has to wait for the TIME_WAITs of its predecessor (KERNEL K11).
    sockopt::set_socket_reuseaddr(&fd, true)?;
    if addr.is_ipv6() {
        sockopt::set_ipv6_v6only(&fd, true)?;
    }
    set_tcp_options(&fd, options)?;
    net::bind(&fd, &addr)?;
    Ok(fd)
}

/// Sets every option, those that are off too: an adopted socket may have others.
fn set_tcp_options(fd: &OwnedFd, options: &ListenerOptions) -> io::Result<()> {
    // A reply may take more than one send: none of them waits for an acknowledgement.
    sockopt::set_tcp_nodelay(fd, true)?;
    sockopt::set_socket_keepalive(fd, !options.keepalive.is_zero())?;
    if !options.keepalive.is_zero() {
        sockopt::set_tcp_keepidle(fd, whole_seconds(options.keepalive))?;
        sockopt::set_tcp_keepintvl(fd, whole_seconds(options.keepalive))?;
        sockopt::set_tcp_keepcnt(fd, 3)?;
    }
    let milliseconds = u32::try_from(options.user_timeout.as_millis()).unwrap_or(u32::MAX);
    sockopt::set_tcp_user_timeout(fd, milliseconds)?;
    let seconds = if options.defer_accept.is_zero() {
        0
    } else {
        u32::try_from(whole_seconds(options.defer_accept).as_secs()).unwrap_or(u32::MAX)
    };
    nix::sys::socket::setsockopt(fd, TcpDeferAccept, &seconds)?;
    Ok(())
}

/// A socket's path outlives its process: one that nobody listens on anymore is replaced.
fn bind_unix(path: &Path) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = || net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None);
    let addr = SocketAddrUnix::new(path)?;
    let fd = socket()?;
    // Everyone may connect who may enter the folder: its permissions decide, whoever we are.
    let open_to_all = || rustix::fs::chmod(path, Mode::from_raw_mode(0o666));
    match net::bind(&fd, &addr) {
        Err(Errno::ADDRINUSE) => {}
        bound => {
            bound?;
            open_to_all()?;
            return Ok(fd);
        }
    }
    // connect(2) says the same of a file that is no socket: that one is not ours to remove.
    if !std::fs::symlink_metadata(path)?.file_type().is_socket() {
        let message = "there is a file that is no socket";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
    }
    // ECONNREFUSED is what a socket without a listener says; anything else is somebody's.
    if net::connect(socket()?, &addr) != Err(Errno::CONNREFUSED) {
        return Err(Errno::ADDRINUSE.into());
    }
    std::fs::remove_file(path)?;
    net::bind(&fd, &addr)?;
    open_to_all()?;
    Ok(fd)
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = std::fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// The kernel counts these in whole seconds, from 1 to 32767 (tcp(7)).
fn whole_seconds(duration: Duration) -> Duration {
    let up = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    Duration::from_secs(up.clamp(1, 32767))
}

#[cfg(test)]
mod simulate;
#[cfg(test)]
mod tests;
