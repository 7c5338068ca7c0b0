//! The bytes of one connection, plain over its socket.
//!
//! It alone knows what the poller has to watch for; an exchange only says what it waits for.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{self, RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, sockopt};

use crate::engine::poller::Interest;
use crate::engine::room::Wait;

/// A nonblocking stream socket.
#[derive(Debug)]
pub(super) struct Transport {
    socket: OwnedFd,
}

/// Bytes thrown away with one call while lingering.
const DISCARDED_AT_ONCE: usize = 64 * 1024;

impl Transport {
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self { socket }
    }

    /// Receives what is there. 0 is the peer's end, `WouldBlock` nothing yet.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let (_, count) = retry(|| net::recv(&self.socket, &mut *buffer, RecvFlags::empty()))?;
        Ok(count)
    }

    /// Sends what the kernel takes of `left`. `is_last`: the end of our side comes at once after
    /// it, so the last segment may wait for the FIN it shares (MSG_MORE).
    pub(super) fn send(&self, left: [&[u8]; 2], is_last: bool) -> io::Result<usize> {
        let mut flags = SendFlags::NOSIGNAL;
        if is_last {
            flags |= SendFlags::MORE;
        }
        let count = match left {
            [bytes, []] | [[], bytes] => retry(|| net::send(&self.socket, bytes, flags))?,
            [first, second] => retry(|| {
                let slices = [IoSlice::new(first), IoSlice::new(second)];
                net::sendmsg(
                    &self.socket,
                    &slices,
                    &mut SendAncillaryBuffer::default(),
                    flags,
                )
            })?,
        };
        Ok(count)
    }

    /// Ends our side; the peer can still send.
    pub(super) fn end(&self) -> io::Result<()> {
        Ok(net::shutdown(&self.socket, Shutdown::Write)?)
    }

    /// Throws away what is there: how many bytes, 0 at the peer's end. The kernel doesn't copy
    /// them (MSG_TRUNC, tcp(7)).
    pub(super) fn discard(&self, scratch: &mut [u8]) -> io::Result<usize> {
        let bound = scratch.len().min(DISCARDED_AT_ONCE);
        let (_, count) =
            retry(|| net::recv(&self.socket, &mut scratch[..bound], RecvFlags::TRUNC))?;
        Ok(count)
    }

    /// Whether the peer is gone, so that nobody would get a reply; with `cancels` also one that has
    /// ended its side.
    pub(super) fn is_gone(&self, cancels: bool) -> bool {
        let interest = if cancels {
            PollFlags::RDHUP
        } else {
            PollFlags::empty()
        };
        let mut polled = [PollFd::new(&self.socket, interest)];
        let now = Timespec::default();
        // One that can't be asked is served.
        poll(&mut polled, Some(&now)).is_ok_and(|count| count > 0)
    }

    /// Makes the close a reset: what the peer has is not the whole.
    pub(super) fn reset_on_close(&self) {
        // On a socket that is gone there is nothing left to reset.
        let _set = sockopt::set_socket_linger(&self.socket, Some(std::time::Duration::ZERO));
    }

    /// What the poller has to watch for. While a reply is being made bytes don't matter: watching
    /// for them would tell of the same unread ones for ever.
    pub(super) fn interest(wait: Wait, cancels: bool) -> Interest {
        match wait {
            Wait::Request | Wait::Linger => Interest::Readable,
            Wait::Write => Interest::Writable,
            Wait::Reply if cancels => Interest::Ended,
            Wait::Reply => Interest::Broken,
        }
    }
}

impl AsFd for Transport {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A signal may interrupt any call; handlers restart most of them, tracers don't.
fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Shutdown, TcpListener, TcpStream};

    /// What is seen of a peer after it has done something: whether it is gone, and whether it is if
    /// its end is a cancellation.
    fn seen(act: impl FnOnce(TcpStream) -> Option<TcpStream>) -> (bool, bool) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
        let (socket, _) = listener.accept().expect("accepted");
        let transport = Transport::new(socket.into());
        let _still_there = act(client);
        (transport.is_gone(false), transport.is_gone(true))
    }

    #[test]
    fn a_peer_that_has_reset_is_gone_and_one_that_has_ended_only_if_that_cancels() {
        assert_eq!(seen(Some), (false, false));
        let half_closed = |client: TcpStream| {
            client.shutdown(Shutdown::Write).expect("ended");
            Some(client)
        };
        assert_eq!(seen(half_closed), (false, true));
        let reset = |client: TcpStream| {
            let client = Transport::new(client.into());
            client.reset_on_close();
            None
        };
        assert_eq!(seen(reset), (true, true));
    }
}
