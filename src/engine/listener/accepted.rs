//! What comes of accept(2), and what each of its errors means.

use rustix::io::Errno;

use crate::engine::socket::Socket;
use crate::peer::Peer;

/// What came of one accept(2).
#[derive(Debug)]
pub(in crate::engine) enum Accepted {
    /// A connection, nonblocking and close-on-exec from its first moment.
    Connection(Socket, Peer),
    /// There is none.
    Nothing,
    /// There may be one, but not now.
    Failed(Errno, Failure),
    /// The listener is no listener: a bug.
    Broken(Errno),
}

/// What a failure of accept(2) means for the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Failure {
    /// Interrupted, or that one connection was gone already: the next may be there.
    Gone,
    /// Out of descriptors or memory: it fails too, unless some are freed.
    Exhausted,
    /// Forbidden, or an error nobody has heard of: it may fail too.
    Refused,
}

/// Source: accept(2), and KERNEL K24 of the design's notes.
pub(super) fn classify(error: Errno) -> Accepted {
    match error {
        Errno::AGAIN => Accepted::Nothing,
        Errno::INTR
        | Errno::CONNABORTED
        | Errno::PROTO
        | Errno::NOPROTOOPT
        | Errno::NETDOWN
        | Errno::HOSTDOWN
        | Errno::NONET
        | Errno::HOSTUNREACH
        | Errno::OPNOTSUPP
        | Errno::NETUNREACH
        | Errno::TIMEDOUT => Accepted::Failed(error, Failure::Gone),
        Errno::BADF | Errno::INVAL | Errno::NOTSOCK => Accepted::Broken(error),
        Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM => {
            Accepted::Failed(error, Failure::Exhausted)
        }
        _ => Accepted::Failed(error, Failure::Refused),
    }
}
