//! Signals: what a child must not inherit of ours, and SIGCHLD as something to watch.

use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use nix::sys::signal::SigSet;
use procfs::process::Process;
use signal_hook::consts::FORBIDDEN;
use signal_hook::consts::signal::{SIGCHLD, SIGPIPE, SIGTTOU};
use signal_hook::{SigId, flag, low_level};

/// Signals that may stay ignored: SIGCHLD gets its handler in any case, and SIGPIPE std resets. Who
/// handles SIGTTOU can't write to its terminal from the background anymore. And the first two after
/// the classic 31 are the C library's, which gives no handle on them; its posix_spawn(3) leaves them
/// ignored in whatever a threaded program starts.
const LEFT_ALONE: [i32; 5] = [SIGCHLD, SIGPIPE, SIGTTOU, 32, 33];

/// Lets children that this thread starts have no signal blocked: they inherit its mask.
pub(super) fn unblock_all() -> io::Result<()> {
    Ok(SigSet::empty().thread_set_mask()?)
}

/// Lets children ignore no signal, though we were started so (by nohup, or in the background of a
/// script): exec keeps what is ignored, but resets what has a handler. With one that does nothing,
/// nothing changes for us.
///
/// Which signals these are is in `/proc`; without it they stay ignored.
pub(super) fn handle_ignored() -> io::Result<()> {
    let status = Process::myself().and_then(|myself| myself.status());
    let ignored = status.map_or(0, |status| status.sigign);
    let signals = (1..=i32::try_from(u64::BITS).expect("invariant: 64"))
        .filter(|signal| ignored >> (signal - 1) & 1 == 1)
        .filter(|signal| !LEFT_ALONE.contains(signal) && !FORBIDDEN.contains(signal));
    for signal in signals {
        flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    Ok(())
}

/// Readable when a child has ended since it was last hushed.
#[derive(Debug)]
pub(super) struct ChildSignal {
    rx: UnixStream,
    handler: SigId,
}

impl ChildSignal {
    pub(super) fn new() -> io::Result<Self> {
        let (rx, tx) = UnixStream::pair()?;
        rx.set_nonblocking(true)?;
        let handler = low_level::pipe::register(SIGCHLD, tx)?;
        Ok(Self { rx, handler })
    }

    /// To be said before one looks which children have ended, or an end could be missed.
    pub(super) fn hush(&self) {
        // What does not fit keeps it readable. EAGAIN: it was silent.
        let _read = (&self.rx).read(&mut [0; 256]);
    }
}

impl AsFd for ChildSignal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.rx.as_fd()
    }
}

impl Drop for ChildSignal {
    fn drop(&mut self) {
        low_level::unregister(self.handler);
    }
}
