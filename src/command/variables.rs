//! What a command is told of its peer, in the names of those that ran it before: tcpserver, xinetd
//! and systemd.

use crate::command::options::{Caching, Sharing};
use crate::peer::Peer;

/// The environment variables of one peer.
#[must_use]
pub(super) fn variables(peer: Peer, sharing: Sharing) -> Vec<(&'static str, String)> {
    let tcp = ("PROTO", "TCP".to_owned());
    if matches!(sharing, Sharing::Scheduled { .. }) {
        // Nobody has asked for it.
        return vec![tcp];
    }
    let (Some(ip), Some(port)) = (peer.ip(), peer.port()) else {
        return vec![("PROTO", "UNIX".to_owned())];
    };
    let mut variables = vec![tcp];
    // One peer's would be told to the others who share the answer.
    let (has_ip, has_port) = match sharing {
        Sharing::Nobody => (true, true),
        Sharing::Cached(Caching { by_peer, .. }) => (by_peer, false),
        Sharing::Scheduled { .. } => (false, false),
    };
    if has_ip {
        for name in ["REMOTE_ADDR", "REMOTE_HOST", "TCPREMOTEIP"] {
            variables.push((name, ip.to_string()));
        }
    }
    if has_port {
        for name in ["REMOTE_PORT", "TCPREMOTEPORT"] {
            variables.push((name, port.to_string()));
        }
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;
    use std::time::Duration;

    #[track_caller]
    fn check(sharing: Sharing, expected: &[&str]) {
        let peer: SocketAddr = "192.0.2.7:99".parse().expect("an address");
        let variables = variables(Peer::from(peer), sharing);
        let names: Vec<String> = (variables.iter())
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(names, expected);
    }

    #[test]
    fn nobody_is_told_of_the_peer_of_another() {
        let address = [
            "PROTO=TCP",
            "REMOTE_ADDR=192.0.2.7",
            "REMOTE_HOST=192.0.2.7",
            "TCPREMOTEIP=192.0.2.7",
        ];
        let whole = [&address[..], &["REMOTE_PORT=99", "TCPREMOTEPORT=99"]].concat();
        let cached = |by_peer| {
            Sharing::Cached(Caching {
                fresh: Duration::from_secs(1),
                stale: Duration::ZERO,
                failure: Duration::ZERO,
                by_request: true,
                by_peer,
            })
        };
        let scheduled = Sharing::Scheduled {
            every: Duration::from_secs(1),
            good_for: Duration::from_secs(2),
        };
        check(Sharing::Nobody, &whole);
        check(cached(true), &address);
        check(cached(false), &["PROTO=TCP"]);
        check(scheduled, &["PROTO=TCP"]);
    }

    #[test]
    fn a_unix_peer_has_no_address() {
        let variables = variables(Peer::Unix, Sharing::Nobody);
        assert_eq!(variables, [("PROTO", "UNIX".to_owned())]);
    }
}
