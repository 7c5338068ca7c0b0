//! The other end's address, normalised.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Who is at the other end, as accept(2) told it.
///
/// Smaller than a [`SocketAddr`], since every open connection holds one: flow information and
/// scope of IPv6 are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Over TCP. An IPv4 address mapped into IPv6 is kept as IPv4.
    Ip {
        /// The address, canonical.
        addr: CompactAddr,
        /// The port.
        port: u16,
    },

    /// Over a unix stream socket; such peers have no address worth telling.
    Unix,
}

/// An [`IpAddr`] with the alignment of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompactAddr {
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address that no IPv4 address is mapped into.
    V6(Ipv6Addr),
}

impl Peer {
    /// The IP address; none for a unix peer.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip {
                addr: CompactAddr::V4(addr),
                ..
            } => Some(IpAddr::V4(*addr)),
            Self::Ip {
                addr: CompactAddr::V6(addr),
                ..
            } => Some(IpAddr::V6(*addr)),
            Self::Unix => None,
        }
    }

    /// The port; none for a unix peer.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Ip { port, .. } => Some(*port),
            Self::Unix => None,
        }
    }
}

impl From<SocketAddr> for Peer {
    fn from(socket_addr: SocketAddr) -> Self {
        let addr = match socket_addr.ip().to_canonical() {
            IpAddr::V4(addr) => CompactAddr::V4(addr),
            IpAddr::V6(addr) => CompactAddr::V6(addr),
        };
        Self::Ip {
            addr,
            port: socket_addr.port(),
        }
    }
}

/// `192.0.2.7:4711`, `[2001:db8::7]:4711` or `unix`.
impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.ip(), self.port()) {
            (Some(ip), Some(port)) => SocketAddr::new(ip, port).fmt(f),
            _ => f.write_str("unix"),
        }
    }
}

const _: () = assert!(size_of::<Peer>() <= 20, "every open connection holds one");

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(addr: &str, expected: &str) {
        let addr: SocketAddr = addr.parse().expect("an address");
        assert_eq!(Peer::from(addr).to_string(), expected);
    }

    #[test]
    fn mapped_addresses_are_told_as_ipv4() {
        check("[::ffff:192.0.2.7]:4711", "192.0.2.7:4711");
        check("192.0.2.7:4711", "192.0.2.7:4711");
        check("[2001:db8::7]:4711", "[2001:db8::7]:4711");
        assert_eq!(Peer::Unix.to_string(), "unix");
    }
}
