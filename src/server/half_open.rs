//! Connections that the kernel holds back until they speak (`TCP_DEFER_ACCEPT`).
//!
//! They are in no queue that accept(2) reaches, so a stop has to ask the kernel's table for them:
//! a client that connected just before the stop, and speaks just after it, is one.

use std::net::SocketAddr;

use procfs::net::{TcpNetEntry, TcpState};
use procfs::process::Process;

/// Whether any connection to one of `addrs` is half open. Reads the whole table: for a stop only.
/// A table that can't be read has none.
pub(super) fn any(addrs: &[SocketAddr]) -> bool {
    if addrs.is_empty() {
        return false;
    }
    let is_ours = |entry: &TcpNetEntry| {
        entry.state == TcpState::SynRecv
            && addrs.iter().any(|addr| is_at(addr, entry.local_address))
    };
    // Our own /proc/PID/net: a sandbox may hide /proc/net (`ProcSubset=pid`).
    let Ok(process) = Process::myself() else {
        return false;
    };
    [process.tcp(), process.tcp6()]
        .into_iter()
        .flatten()
        .any(|table| table.iter().any(is_ours))
}

/// Whether a listener on `addr` gets what comes to `local`.
fn is_at(addr: &SocketAddr, local: SocketAddr) -> bool {
    addr.port() == local.port()
        && (addr.ip().is_unspecified() || addr.ip() == local.ip().to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(listener: &str, local: &str, expected: bool) {
        let parse = |text: &str| text.parse::<SocketAddr>().expect("an address");
        assert_eq!(is_at(&parse(listener), parse(local)), expected);
    }

    #[test]
    fn a_wildcard_gets_what_comes_to_any_address() {
        check("0.0.0.0:7000", "192.0.2.7:7000", true);
        check("192.0.2.7:7000", "192.0.2.7:7000", true);
        check("192.0.2.7:7000", "192.0.2.8:7000", false);
        check("0.0.0.0:7000", "192.0.2.7:7001", false);
        check("[::]:7000", "[2001:db8::7]:7000", true);
    }
}
