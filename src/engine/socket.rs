//! The system calls on an accepted socket.
//!
//! In a simulation the network stands in for the kernel.

use std::io::IoSlice;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use rustix::event::{self, PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{self, RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, sockopt};

use crate::engine::poller::{Source, Watched};
#[cfg(test)]
use crate::engine::simulation::handles::SimulatedSocket;

/// A nonblocking stream socket.
#[derive(Debug)]
pub(super) enum Socket {
    /// The kernel's.
    Kernel(OwnedFd),
    /// One of a simulated network.
    #[cfg(test)]
    Simulated(SimulatedSocket),
}

impl Socket {
    /// Receives into `buffer`, once. 0 is the peer's end.
    pub(super) fn receive(&self, buffer: &mut [u8], flags: RecvFlags) -> Result<usize, Errno> {
        match self {
            Self::Kernel(fd) => net::recv(fd, buffer, flags).map(|(_, count)| count),
            #[cfg(test)]
            Self::Simulated(socket) => socket.receive(buffer),
        }
    }

    /// Sends what is taken of `left`, once.
    pub(super) fn send(&self, left: [&[u8]; 2], flags: SendFlags) -> Result<usize, Errno> {
        match (self, left) {
            (Self::Kernel(fd), [bytes, []] | [[], bytes]) => net::send(fd, bytes, flags),
            (Self::Kernel(fd), [first, second]) => {
                let slices = [IoSlice::new(first), IoSlice::new(second)];
                net::sendmsg(fd, &slices, &mut SendAncillaryBuffer::default(), flags)
            }
            #[cfg(test)]
            (Self::Simulated(socket), left) => socket.send(left),
        }
    }

    /// Ends our side.
    pub(super) fn end(&self) -> Result<(), Errno> {
        match self {
            Self::Kernel(fd) => net::shutdown(fd, Shutdown::Write),
            #[cfg(test)]
            Self::Simulated(socket) => socket.end(),
        }
    }

    /// Whether something of `interest` is so now, or the connection is broken.
    pub(super) fn poll(&self, interest: PollFlags) -> Result<bool, Errno> {
        match self {
            Self::Kernel(fd) => {
                let now = Timespec::default();
                let count = event::poll(&mut [PollFd::new(fd, interest)], Some(&now))?;
                Ok(count > 0)
            }
            #[cfg(test)]
            Self::Simulated(socket) => Ok(socket.poll(interest)),
        }
    }

    /// Makes the close a reset.
    pub(super) fn reset_on_close(&self) -> Result<(), Errno> {
        match self {
            Self::Kernel(fd) => sockopt::set_socket_linger(fd, Some(Duration::ZERO)),
            #[cfg(test)]
            Self::Simulated(socket) => {
                socket.reset_on_close();
                Ok(())
            }
        }
    }
}

impl From<OwnedFd> for Socket {
    fn from(fd: OwnedFd) -> Self {
        Self::Kernel(fd)
    }
}

impl Watched for Socket {
    fn source(&self) -> Source<'_> {
        match self {
            Self::Kernel(fd) => Source::Kernel(fd.as_fd()),
            #[cfg(test)]
            Self::Simulated(socket) => Source::Simulated(socket.source()),
        }
    }
}
