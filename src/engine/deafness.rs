//! A TCP listener that is deaf to connections that begin, and hears those that are under way.
//!
//! What closes a listener without losing anyone. By a filter on pure SYNs; newer kernels allow that
//! to root alone (EPERM), so else by the least hop limit that is heard (ip(7), `IP_MINTTL`): a SYN,
//! which comes with 64, 128 or a little less, is dropped at a listener that asks for 255, and what
//! belongs to a handshake under way is not looked at. Connections inherit that, so it ends with the
//! accept; what the peer sent before it is sent again after its 200 ms. A peer that sends with 255
//! is heard all the same.

use std::io;
use std::os::fd::AsFd;

use crate::engine::sockopt::{MinHopCount, MinTtl};

/// No packet that was forwarded has this many hops left.
const HOPS_MAX: libc::c_int = 255;

/// Any packet.
const HOPS_ANY: libc::c_int = 0;

/// How a listener was made deaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deafness {
    /// By a filter, which its connections may keep.
    Filter,
    /// By the hop limit of IPv4.
    Ttl,
    /// By that of IPv6.
    HopLimit,
}

/// Makes a listener deaf.
///
/// # Errors
/// * the kernel allows neither way
pub(super) fn begin(listener: impl AsFd, is_ipv4: bool) -> io::Result<Deafness> {
    if socket2::SockRef::from(&listener)
        .attach_filter(&drop_pure_syn())
        .is_ok()
    {
        return Ok(Deafness::Filter);
    }
    begin_by_hops(listener, is_ipv4)
}

/// Makes a listener hear again, however it was made deaf, or if it was not.
pub(super) fn end(listener: impl AsFd, is_ipv4: bool) {
    // ENOENT: there is none.
    let _detached = socket2::SockRef::from(&listener).detach_filter();
    // Allowed to everyone, so nothing is in the way of it.
    let _heard = by_hops(is_ipv4).set(listener, HOPS_ANY);
}

fn begin_by_hops(listener: impl AsFd, is_ipv4: bool) -> io::Result<Deafness> {
    let deafness = by_hops(is_ipv4);
    deafness.set(listener, HOPS_MAX)?;
    Ok(deafness)
}

fn by_hops(is_ipv4: bool) -> Deafness {
    if is_ipv4 {
        Deafness::Ttl
    } else {
        Deafness::HopLimit
    }
}

impl Deafness {
    /// A connection accepted from a deaf listener hears its peer.
    pub(super) fn end_for(self, connection: impl AsFd) {
        // Allowed for the listener, so for this too.
        let _heard = self.set(connection, HOPS_ANY);
    }

    fn set(self, socket: impl AsFd, hops: libc::c_int) -> io::Result<()> {
        match self {
            Self::Filter => {}
            Self::Ttl => nix::sys::socket::setsockopt(&socket, MinTtl, &hops)?,
            Self::HopLimit => nix::sys::socket::setsockopt(&socket, MinHopCount, &hops)?,
        }
        Ok(())
    }
}

/// Classic BPF over the TCP header: drop a segment that has SYN but not ACK.
fn drop_pure_syn() -> [socket2::SockFilter; 5] {
    const LOAD_BYTE: u16 = 0x30; // BPF_LD | BPF_B | BPF_ABS
    const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
    const JUMP_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
    const RETURN: u16 = 0x06; // BPF_RET | BPF_K
    const FLAGS_OFFSET: u32 = 13;
    const SYN: u32 = 0x02;
    const ACK: u32 = 0x10;
    [
        socket2::SockFilter::new(LOAD_BYTE, 0, 0, FLAGS_OFFSET),
        socket2::SockFilter::new(AND, 0, 0, SYN | ACK),
        socket2::SockFilter::new(JUMP_EQUAL, 0, 1, SYN),
        socket2::SockFilter::new(RETURN, 0, 0, 0),
        socket2::SockFilter::new(RETURN, 0, 0, u32::MAX),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::time::Duration;

    const SOON: Duration = Duration::from_millis(50);

    #[track_caller]
    fn check(addr: &str, begin: impl FnOnce(&TcpListener) -> io::Result<Deafness>) {
        let listener = TcpListener::bind(addr).expect("bound");
        let addr: SocketAddr = listener.local_addr().expect("bound");
        let mut before = TcpStream::connect(addr).expect("connected");
        let deafness = begin(&listener).expect("allowed");
        let newcomer = TcpStream::connect_timeout(&addr, SOON);
        let error = newcomer.expect_err("nobody new is heard");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let (mut accepted, _) = listener.accept().expect("who was there is accepted");
        deafness.end_for(&accepted);
        before.write_all(b"hi").expect("sent");
        before.shutdown(std::net::Shutdown::Write).expect("ended");
        let mut heard = String::new();
        accepted.read_to_string(&mut heard).expect("heard");
        assert_eq!(heard, "hi");
        end(&listener, addr.is_ipv4());
        TcpStream::connect_timeout(&addr, SOON).expect("newcomers are heard again");
    }

    #[test]
    fn newcomers_are_not_heard_and_who_was_there_is() {
        check("127.0.0.1:0", |listener| begin(listener, true));
        check("[::1]:0", |listener| begin(listener, false));
    }

    #[test]
    fn nor_are_they_without_privileges() {
        check("127.0.0.1:0", |listener| begin_by_hops(listener, true));
        check("[::1]:0", |listener| begin_by_hops(listener, false));
    }
}
