//! The bytes of one connection, plain over its socket.
//!
//! It alone knows what the poller has to watch for; an exchange only says what it waits for.

use std::io;

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use crate::engine::poller::{Interest, Source, Watched};
use crate::engine::room::Wait;
use crate::engine::socket::Socket;

/// A nonblocking stream socket.
#[derive(Debug)]
pub(super) struct Transport {
    socket: Socket,
}

/// Bytes thrown away with one call while lingering.
const DISCARDED_AT_ONCE: usize = 64 * 1024;

impl Transport {
    pub(super) fn new(socket: Socket) -> Self {
        Self { socket }
    }

    /// Receives what is there. 0 is the peer's end, `WouldBlock` nothing yet.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(retry(|| self.socket.receive(buffer, RecvFlags::empty()))?)
    }

    /// Sends what the kernel takes of `left`. `is_last`: the end of our side comes at once after
    /// it, so the last segment may wait for the FIN it shares (MSG_MORE).
    pub(super) fn send(&self, left: [&[u8]; 2], is_last: bool) -> io::Result<usize> {
        let mut flags = SendFlags::NOSIGNAL;
        if is_last {
            flags |= SendFlags::MORE;
        }
        Ok(retry(|| self.socket.send(left, flags))?)
    }

    /// Ends our side; the peer can still send.
    pub(super) fn end(&self) -> io::Result<()> {
        Ok(self.socket.end()?)
    }

    /// Throws away what is there: how many bytes, 0 at the peer's end. The kernel doesn't copy
    /// them (MSG_TRUNC, tcp(7)).
    pub(super) fn discard(&self, scratch: &mut [u8]) -> io::Result<usize> {
        let bound = scratch.len().min(DISCARDED_AT_ONCE);
        let scratch = &mut scratch[..bound];
        Ok(retry(|| self.socket.receive(scratch, RecvFlags::TRUNC))?)
    }

    /// Whether the peer is gone, so that nobody would get a reply; with `cancels` also one that has
    /// ended its side.
    pub(super) fn is_gone(&self, cancels: bool) -> bool {
        let interest = if cancels {
            PollFlags::RDHUP
        } else {
            PollFlags::empty()
        };
        // One that can't be asked is served.
        self.socket.poll(interest).is_ok_and(|is_so| is_so)
    }

    /// Makes the close a reset: what the peer has is not the whole.
    pub(super) fn reset_on_close(&self) {
        // On a socket that is gone there is nothing left to reset.
        let _set = self.socket.reset_on_close();
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

impl Watched for Transport {
    fn source(&self) -> Source<'_> {
        self.socket.source()
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
    use std::os::fd::OwnedFd;

    /// What is seen of a peer after it has done something: whether it is gone, and whether it is if
    /// its end is a cancellation.
    fn seen(act: impl FnOnce(TcpStream) -> Option<TcpStream>) -> (bool, bool) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
        let (socket, _) = listener.accept().expect("accepted");
        let transport = Transport::new(OwnedFd::from(socket).into());
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
            let client = Transport::new(OwnedFd::from(client).into());
            client.reset_on_close();
            None
        };
        assert_eq!(seen(reset), (true, true));
    }
}
