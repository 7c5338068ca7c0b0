//! What systemd is told: sd_notify(3), one datagram a message.
//!
//! Our own sender: sd-notify 0.5 knows no abstract sockets, waits without bound where the manager's
//! queue is full, and reads its address from the environment only.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, sendmsg_addr,
};
use rustix::time::{ClockId, clock_gettime};

use crate::systemd::store;

/// How long a message waits for room in the manager's queue. Then it is dropped: a manager that is
/// stuck holds nobody up.
const SEND_MAX: Duration = Duration::from_millis(100);

/// Of `STATUS=`, in bytes: systemd takes messages of up to 4096 (PIPE_BUF), with the rest of it.
const STATUS_BYTES_MAX: usize = 2048;

/// Tells the service manager what we are at. Cheap to clone, for any thread.
///
/// Without a manager it does nothing. A message that doesn't arrive is told at debug level, no
/// more: the manager has deadlines of its own.
#[derive(Clone, Debug, Default)]
pub struct Notifier {
    manager: Option<Arc<Manager>>,
    watchdog_interval: Option<Duration>,
    store_max: usize,
}

struct Manager {
    socket: UnixDatagram,
    addr: SocketAddrUnix,
}

impl Notifier {
    /// For the manager that has started us, if one has.
    #[must_use]
    pub fn from_environment() -> Self {
        Self::from_variables(|name| env::var_os(name), std::process::id())
    }

    /// `own` is the number of our process.
    fn from_variables(variable: impl Fn(&str) -> Option<OsString>, own: u32) -> Self {
        let Some(addr) = variable("NOTIFY_SOCKET") else {
            return Self::default();
        };
        let text = |name| variable(name).and_then(|value| value.into_string().ok());
        let [usec, pid, store_max] = ["WATCHDOG_USEC", "WATCHDOG_PID", "FDSTORE"].map(text);
        match Self::new(&addr) {
            Ok(notifier) => Self {
                watchdog_interval: watchdog_interval(usec.as_deref(), pid.as_deref(), own),
                store_max: number(store_max.as_deref()).unwrap_or(0),
                ..notifier
            },
            Err(error) => {
                tracing::warn!(?addr, %error, "NOTIFY_SOCKET can't be used: systemd is told nothing");
                Self::default()
            }
        }
    }

    /// For the manager that listens on `addr`: a path, or `@` and an abstract name.
    ///
    /// # Errors
    /// * `addr` is neither
    /// * out of descriptors
    pub fn new(addr: &OsStr) -> io::Result<Self> {
        let addr = match addr.as_bytes() {
            [b'@', name @ ..] if !name.is_empty() => SocketAddrUnix::new_abstract_name(name)?,
            path @ [b'/', ..] => SocketAddrUnix::new(path)?,
            _ => {
                let message = "this is neither a path nor an abstract socket's name";
                return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
            }
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(SEND_MAX))?;
        Ok(Self {
            manager: Some(Arc::new(Manager { socket, addr })),
            ..Self::default()
        })
    }

    /// How often systemd wants to hear [`watchdog`](Self::watchdog), at the least: it should at
    /// half of this. `None` if it doesn't.
    #[must_use]
    pub fn watchdog_interval(&self) -> Option<Duration> {
        self.watchdog_interval
    }

    /// How many descriptors systemd keeps for us, over a restart.
    ///
    /// What `FDSTORE` says in the environment: systemd 254 and newer set it, a unit for older ones
    /// sets it itself, to its `FileDescriptorStoreMax=`.
    #[must_use]
    pub fn store_max(&self) -> usize {
        self.store_max
    }

    /// Started, or done with a reload, whatever came of it.
    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\n{}", Status(status)), None);
    }

    /// A reload begins; [`ready`](Self::ready) ends it.
    pub fn reloading(&self) {
        // systemd tells an old READY from the one that ends this reload by the time, which has to
        // be in the same datagram.
        let message = format!("RELOADING=1\nMONOTONIC_USEC={}", monotonic_usec());
        self.send(&message, None);
    }

    /// A stop begins.
    pub fn stopping(&self, status: &str) {
        self.send(&format!("STOPPING=1\n{}", Status(status)), None);
    }

    /// What `systemctl status` shows: one line.
    pub fn status(&self, status: &str) {
        self.send(&Status(status).to_string(), None);
    }

    /// What is under way, a start, a reload or a stop, may take this long from now, whatever the
    /// unit's timeout says.
    pub fn extend_timeout(&self, timeout: Duration) {
        self.send(
            &format!("EXTEND_TIMEOUT_USEC={}", timeout.as_micros()),
            None,
        );
    }

    /// All is well.
    pub fn watchdog(&self) {
        self.send("WATCHDOG=1", None);
    }

    /// Hands `fd` over to be kept over a restart; returns whether it was sent. It has to listen
    /// already: systemd drops what has hung up.
    ///
    /// Whether systemd has room is not told; [`store_max`](Self::store_max) says how much it has.
    /// Another descriptor of the same name is kept too, so [`remove`](Self::remove) that first.
    #[must_use]
    pub fn store(&self, name: &str, fd: BorrowedFd<'_>) -> bool {
        store::is_valid_name(name) && self.send(&format!("FDSTORE=1\nFDNAME={name}"), Some(fd))
    }

    /// Takes all descriptors of this name out of the store; returns whether it was sent. While they
    /// are in it, whoever connects to them waits for an answer.
    #[must_use]
    pub fn remove(&self, name: &str) -> bool {
        store::is_valid_name(name) && self.send(&format!("FDSTOREREMOVE=1\nFDNAME={name}"), None)
    }

    /// Waits until systemd has worked off all that it was sent; returns whether it has, in time.
    #[must_use]
    pub fn barrier(&self, timeout: Duration) -> bool {
        let until = Instant::now() + timeout;
        let Ok((reader, writer)) = io::pipe() else {
            return false;
        };
        if !self.send("BARRIER=1", Some(writer.as_fd())) {
            return false;
        }
        drop(writer);
        closes(reader.as_fd(), until)
    }

    fn send(&self, message: &str, fd: Option<BorrowedFd<'_>>) -> bool {
        let Some(manager) = &self.manager else {
            return false;
        };
        let sent = manager.send(message, fd);
        if let Err(error) = sent {
            tracing::debug!(%error, ?message, "systemd was not told");
        }
        sent.is_ok()
    }
}

impl Manager {
    fn send(&self, message: &str, fd: Option<BorrowedFd<'_>>) -> Result<(), Errno> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if fd.is_some() && !ancillary.push(SendAncillaryMessage::ScmRights(fd.as_slice())) {
            return Err(Errno::NOBUFS);
        }
        let parts = [IoSlice::new(message.as_bytes())];
        // A datagram goes as a whole, or not at all.
        rustix::io::retry_on_intr(|| {
            let (socket, flags) = (&self.socket, SendFlags::NOSIGNAL);
            sendmsg_addr(socket, &self.addr, &parts, &mut ancillary, flags)
        })?;
        Ok(())
    }
}

impl fmt::Debug for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manager")
            .field("addr", &self.addr)
            .finish_non_exhaustive()
    }
}

/// `STATUS=` and one line: what is embedded in it can't begin a line of its own.
struct Status<'a>(&'a str);

impl fmt::Display for Status<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut ends = (0..=STATUS_BYTES_MAX.min(self.0.len())).rev();
        let end = ends.find(|end| self.0.is_char_boundary(*end)).unwrap_or(0);
        let is_control = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
        write!(f, "STATUS={}", self.0[..end].replace(is_control, " "))
    }
}

/// Waits for the other end of the pipe to be closed, everywhere.
fn closes(reader: BorrowedFd<'_>, until: Instant) -> bool {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let Ok(left) = Timespec::try_from(left) else {
            return false;
        };
        // A hang-up is told unasked, and nothing else matters.
        let mut fds = [PollFd::from_borrowed_fd(reader, PollFlags::empty())];
        match rustix::event::poll(&mut fds, Some(&left)) {
            Err(Errno::INTR) => {}
            polled => return polled.is_ok_and(|closed| closed > 0),
        }
    }
}

fn monotonic_usec() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1000
}

/// sd_watchdog_enabled(3): for our process, or for nobody in particular.
fn watchdog_interval(usec: Option<&str>, pid: Option<&str>, own: u32) -> Option<Duration> {
    let is_ours = pid.is_none_or(|pid| pid.parse() == Ok(own));
    let usec = number(usec).filter(|usec| *usec > 0)?;
    is_ours.then(|| Duration::from_micros(usec))
}

fn number<T: std::str::FromStr>(text: Option<&str>) -> Option<T> {
    text.and_then(|text| text.parse().ok())
}

#[cfg(test)]
mod tests;
