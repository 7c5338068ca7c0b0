//! Where a service listens: `127.0.0.1:7000`, `[::1]:7000`, `unix:/run/x.sock`.
//!
//! Addresses, not names: a server that has to ask a resolver before it can start is down together
//! with it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::{Serialize, Serializer};

/// An address a service is offered on.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Address {
    /// An IP address and a port; port 0 lets the kernel choose. An IPv6 address takes no IPv4.
    Tcp(SocketAddr),

    /// The absolute path of a Unix socket, at most 107 bytes (`sun_path` and its NUL, unix(7)).
    Unix(PathBuf),
}

/// The longest path of a Unix socket in bytes: `sun_path` has 108, one is the NUL; unix(7).
const UNIX_PATH_MAX: usize = 107;

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for Address {
    /// What is wrong; a second line, where there is one, is what to write instead.
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return unix(path);
        }
        text.parse()
            .map(Self::Tcp)
            .map_err(|_| explain(text.trim()))
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Text)
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

struct Text;

impl Visitor<'_> for Text {
    type Value = Address;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an address such as \"127.0.0.1:7000\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Address, E> {
        text.parse().map_err(E::custom)
    }
}

fn unix(path: &str) -> Result<Address, String> {
    if !path.starts_with('/') {
        return Err("a Unix socket's path starts with `/`\nwrite \"unix:/run/x.sock\"".to_owned());
    }
    if path.ends_with('/') || path.contains('\0') {
        return Err("this path names no socket\nwrite \"unix:/run/x.sock\"".to_owned());
    }
    if path.len() > UNIX_PATH_MAX {
        return Err(format!(
            "a Unix socket's path has at most {UNIX_PATH_MAX} bytes, this one has {}",
            path.len()
        ));
    }
    Ok(Address::Unix(PathBuf::from(path)))
}

/// Finds what is wrong with `text`, which is no socket address.
fn explain(text: &str) -> String {
    if text.starts_with('/') {
        return format!("a Unix socket is written with `unix:`\nwrite \"unix:{text}\"");
    }
    if let Ok(ip) = text.parse::<IpAddr>() {
        // "::1:7000" is an IPv6 address of its own, and hardly what was meant.
        return match (ip, text.rsplit_once(':')) {
            (IpAddr::V6(_), Some((ip, port))) if is_port(port) && is_ipv6(ip) => format!(
                "where does the address end and the port begin\n\
                 write \"[{ip}]:{port}\": IPv6 addresses go in brackets"
            ),
            (IpAddr::V6(ip), _) => format!("the port is missing\nwrite \"[{ip}]:7000\""),
            (IpAddr::V4(ip), _) => format!("the port is missing\nwrite \"{ip}:7000\""),
        };
    }
    if let Some(ip) = text.strip_prefix('[').and_then(|ip| ip.strip_suffix(']'))
        && is_ipv6(ip)
    {
        return format!("the port is missing\nwrite \"{text}:7000\"");
    }
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    if port.is_empty() && is_port(host) {
        return everywhere(host);
    }
    if matches!(host, "" | "*") && is_port(port) {
        return everywhere(port);
    }
    if is_number(port) && !is_port(port) {
        return format!("a port is 0 to 65535, not {port}");
    }
    if host == "localhost" {
        let port = if port.is_empty() { "7000" } else { port };
        return format!(
            "addresses, not names: no DNS at start\n\
             write \"127.0.0.1:{port}\", \"[::1]:{port}\", or both in a list"
        );
    }
    if is_name(host) {
        return "addresses, not names: no DNS at start\n\
                write the address of one of this machine's interfaces, or \"0.0.0.0\" for all"
            .to_owned();
    }
    "this is no address\n\
     write \"127.0.0.1:7000\", \"[::1]:7000\" or \"unix:/run/x.sock\""
        .to_owned()
}

fn everywhere(port: &str) -> String {
    format!(
        "the address is missing\n\
         write \"0.0.0.0:{port}\" for every IPv4 interface, \"[::]:{port}\" for every IPv6 one"
    )
}

fn is_ipv6(text: &str) -> bool {
    matches!(text.parse(), Ok(IpAddr::V6(_)))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_port(text: &str) -> bool {
    is_number(text) && text.parse::<u16>().is_ok()
}

fn is_name(text: &str) -> bool {
    text.bytes().any(|b| b.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}
