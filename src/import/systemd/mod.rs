//! `.socket` units, and the `.service` units that they start.

/// What the service of a socket is carried over as.
mod service;
/// A unit file and its drop-ins.
mod unit;
/// Words of a value, and spans of time.
mod words;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use ipnet::IpNet;

use crate::import::access::{self, EVERYONE};
use crate::import::attribute::{Attribute, Attributes};
use crate::import::draft::{self, Draft};
use crate::import::files::{ImportError, Reader};

/// Keys of `[Unit]` and `[Install]` that decide whether a unit starts.
const CONDITIONS: [&str; 2] = ["Condition", "Assert"];

/// Keys of `[Socket]` that need none in `server.toml`.
const MOOT: [&str; 4] = [
    "NoDelay",
    "FileDescriptorName",
    "RemoveOnStop",
    "SELinuxContextFromNet",
];

/// Keys without which more peers would get in.
const HOLDS: [(&str, &str); 1] = [(
    "BindToDevice",
    "replyd listens on addresses: write that of the device into `listen`",
)];

/// Why a key of `[Socket]` is not carried over.
const REASONS: [(&str, &str); 11] = [
    (
        "TriggerLimitIntervalSec",
        "replyd answers busy when it has too much to do, and goes on",
    ),
    (
        "TriggerLimitBurst",
        "replyd answers busy when it has too much to do, and goes on",
    ),
    (
        "PollLimitIntervalSec",
        "replyd answers busy when it has too much to do, and goes on",
    ),
    (
        "PollLimitBurst",
        "replyd answers busy when it has too much to do, and goes on",
    ),
    (
        "FreeBind",
        "replyd binds when it starts: the address is to be there",
    ),
    (
        "KeepAliveIntervalSec",
        "as the system has it, net.ipv4.tcp_keepalive_intvl",
    ),
    (
        "KeepAliveProbes",
        "as the system has it, net.ipv4.tcp_keepalive_probes",
    ),
    (
        "SocketUser",
        "a unix socket is for everyone who may enter its folder",
    ),
    (
        "SocketGroup",
        "a unix socket is for everyone who may enter its folder",
    ),
    ("DirectoryMode", "replyd makes no folders"),
    (
        "BindIPv6Only",
        "no address of this socket is for IPv6 and a port",
    ),
];

/// Reads a `.socket` and its service, or a `.service` by way of its socket. `None`: read already.
pub(super) fn read(reader: &mut Reader, path: &Path) -> Result<Option<Draft>, ImportError> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let stem = stem.trim_end_matches('@').to_owned();
    let socket = path.with_file_name(format!("{stem}.socket"));
    if !socket.exists() && path != socket {
        let why = format!("there is no {stem}.socket beside this");
        return Err(ImportError::new(path, why));
    }
    let Some(mut unit) = unit::read(reader, &socket)? else {
        return Ok(None);
    };
    let origin = format!("{}", socket.display());
    let from = format!("{stem}.socket");
    let mut draft = Draft::new(&stem, &from, origin, unit.said.clone());
    general(&mut draft, &mut unit.general, &unit.strays);
    let port = listen(&mut draft, &mut unit.main);
    options(&mut draft, &mut unit.main);
    addresses(&mut draft, &mut unit.main);

    let is_accepting = unit.main.take_last("Accept", &mut draft);
    let named = unit.main.take_last("Service", &mut draft);
    match is_accepting {
        Some(accept) if accept.is_yes() => {
            draft.moot(&accept.said);
            if let Some(named) = named {
                draft.remark(
                    &named.said,
                    "a socket with Accept=yes starts its own name's service",
                );
            }
            let file = socket.with_file_name(format!("{stem}@.service"));
            service(&mut draft, reader, &file, port)?;
        }
        other => {
            let said = other.map_or("no Accept=yes".to_owned(), |accept| accept.said);
            draft.refuse(&said, "the program accepts connections itself");
        }
    }
    unit.main.moot(&MOOT, &mut draft);
    unit.main.hold(&HOLDS, &mut draft);
    unit.main
        .tell(&REASONS, "replyd has nothing like it", &mut draft);
    Ok(Some(draft))
}

fn service(
    draft: &mut Draft,
    reader: &mut Reader,
    file: &Path,
    port: Option<u16>,
) -> Result<(), ImportError> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    if !file.exists() {
        draft.refuse(&format!("no {name} beside it"), "what it runs is not known");
        return Ok(());
    }
    // Whoever names both files has had the socket read first, and this one with it.
    if let Some(mut unit) = unit::read(reader, file)? {
        draft.said.push(format!("{name}:"));
        draft.said.append(&mut unit.said);
        general(draft, &mut unit.general, &unit.strays);
        service::carry(draft, &mut unit.main, port);
    }
    Ok(())
}

/// What is the unit's, and not the service's.
fn general(draft: &mut Draft, attributes: &mut Attributes, strays: &[String]) {
    for attribute in std::mem::take(attributes) {
        if CONDITIONS
            .iter()
            .any(|condition| attribute.key.starts_with(condition))
        {
            draft.remark(&attribute.said, "replyd asks nothing before it listens");
        } else {
            draft.moot(&attribute.said);
        }
    }
    for stray in strays {
        draft.remark(stray, "no line of a unit");
    }
}

/// Where it listens; a port of it, if there is one.
fn listen(draft: &mut Draft, attributes: &mut Attributes) -> Option<u16> {
    let ipv6_only = attributes.take_last("BindIPv6Only", draft);
    let is_ipv6_only = ipv6_only
        .as_ref()
        .is_some_and(|only| only.value == "ipv6-only");
    let streams = attributes.take_list("ListenStream", draft);
    let mut found: Vec<Address> = Vec::new();
    for stream in &streams {
        match addrs(&stream.value, is_ipv6_only) {
            Some(addrs) => found.extend(addrs),
            None => draft.remark(
                &stream.said,
                "replyd listens on IP addresses and unix sockets",
            ),
        }
    }
    let said: Vec<&str> = streams.iter().map(|stream| &*stream.said).collect();
    let mut from = said.join(", ");
    if let Some(only) = ipv6_only {
        from = format!("{from}, {}", only.said);
    }
    if found.is_empty() {
        let from = if streams.is_empty() {
            "no ListenStream="
        } else {
            &from
        };
        draft.refuse(from, "replyd serves TCP and unix sockets only");
        return None;
    }
    if found.iter().any(|addr| matches!(addr, Address::Unix(_)))
        && let Some(mode) = attributes.take_last("SocketMode", draft)
    {
        let mode_is_everyones = mode.value.ends_with("666") || mode.value.ends_with("777");
        if mode_is_everyones {
            draft.moot(&mode.said);
        } else {
            let why = "a unix socket of replyd's is for everyone who may enter its folder";
            draft.hold(&mode.said, why);
        }
    }
    let port = found.iter().find_map(|addr| match addr {
        Address::Tcp(addr) => Some(addr.port()),
        Address::Unix(_) => None,
    });
    let mut texts: Vec<String> = Vec::new();
    for addr in &found {
        let text = match addr {
            Address::Tcp(addr) => addr.to_string(),
            Address::Unix(path) => format!("unix:{path}"),
        };
        // `80` and `0.0.0.0:80` may stand side by side in a unit.
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    draft.set("listen", texts, &from);
    port
}

enum Address {
    Tcp(SocketAddr),
    Unix(String),
}

/// The addresses of `80`, `[::]:80`, `1.2.3.4:80`, `/run/x.sock`; `None`: something else.
fn addrs(value: &str, is_ipv6_only: bool) -> Option<Vec<Address>> {
    let everywhere = |port| {
        let v4 = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port);
        let v6 = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
        let v4 = (!is_ipv6_only).then_some(Address::Tcp(v4));
        v4.into_iter().chain([Address::Tcp(v6)]).collect()
    };
    if let Ok(port) = value.parse::<u16>() {
        return Some(everywhere(port));
    }
    if let Ok(addr) = value.parse::<SocketAddr>() {
        return Some(match addr {
            SocketAddr::V6(v6) if v6.ip().is_unspecified() => everywhere(v6.port()),
            addr => vec![Address::Tcp(addr)],
        });
    }
    // %t is /run for the system's units; the others aren't known.
    let path = value.replace("%t", "/run");
    let is_path = path.starts_with('/') && !words::is_expanded(&path);
    is_path.then(|| vec![Address::Unix(words::literal(&path))])
}

/// Limits and options that `server.toml` has keys for.
fn options(draft: &mut Draft, attributes: &mut Attributes) {
    for (name, key) in [
        ("MaxConnections", "max_connections"),
        ("MaxConnectionsPerSource", "max_connections_per_source"),
        ("Backlog", "backlog"),
    ] {
        if let Some(attribute) = attributes.take_last(name, draft) {
            match attribute.value.parse::<u32>() {
                Ok(0) if name == "MaxConnections" => {
                    draft.hold(&attribute.said, draft::NOBODY_AT_ONCE);
                }
                Ok(number) => draft.set(key, i64::from(number), &attribute.said),
                Err(_) => draft.remark(&attribute.said, "no number"),
            }
        }
    }
    let idle = attributes.take_last("KeepAliveTimeSec", draft);
    let keep_alive = attributes.take_last("KeepAlive", draft);
    let is_on = keep_alive.as_ref().is_some_and(Attribute::is_yes);
    let seconds = match &idle {
        Some(idle) => words::span(&idle.value),
        // systemd leaves it to the system, whose default that is; tcp(7).
        None => Some(Duration::from_secs(7200)),
    };
    let said: Vec<String> = [keep_alive, idle]
        .into_iter()
        .flatten()
        .map(|attribute| attribute.said)
        .collect();
    match seconds {
        Some(idle) if is_on => {
            draft.set("keepalive_seconds", draft::seconds(idle), &said.join(", "));
        }
        None if is_on => draft.remark(&said.join(", "), "no span of time"),
        _ => said.iter().for_each(|said| draft.moot(said)),
    }
    if let Some(defer) = attributes.take_last("DeferAcceptSec", draft) {
        match words::span(&defer.value) {
            Some(seconds) => {
                draft.set("defer_accept_seconds", draft::seconds(seconds), &defer.said);
            }
            None => draft.remark(&defer.said, "no span of time"),
        }
    }
}

/// `IPAddressAllow=` and `IPAddressDeny=`: who is in the first gets in, and of the others who is not
/// in the second.
fn addresses(draft: &mut Draft, attributes: &mut Attributes) {
    let allow = attributes.take_list("IPAddressAllow", draft);
    let deny = attributes.take_list("IPAddressDeny", draft);
    let said = |list: &[Attribute]| {
        let said: Vec<&str> = list.iter().map(|attribute| &*attribute.said).collect();
        said.join(", ")
    };
    let mut allowed = Vec::new();
    for attribute in &allow {
        for word in attribute.words() {
            match networks(word) {
                Some(found) => allowed.extend(found),
                None => draft.remark(&format!("{word} in {}", attribute.said), "no address"),
            }
        }
    }
    let mut denied = Vec::new();
    for attribute in &deny {
        for word in attribute.words() {
            match networks(word) {
                Some(found) => denied.extend(found),
                None => draft.hold(&format!("{word} in {}", attribute.said), "no address"),
            }
        }
    }
    let everyone: Vec<IpNet> = EVERYONE.iter().flat_map(|word| word.parse()).collect();
    let is_closed = everyone.iter().all(|network| denied.contains(network));
    if deny.is_empty() {
        // Nobody is kept out, so nobody needs to be let in.
        for attribute in &allow {
            draft.moot(&attribute.said);
        }
    } else if is_closed && !allowed.is_empty() {
        let from = format!("{}, {}", said(&allow), said(&deny));
        draft.set("allow", access::strings(allowed.iter()), &from);
    } else {
        draft.set("deny", access::strings(denied.iter()), &said(&deny));
        for attribute in &allow {
            draft.remark(
                &attribute.said,
                "in systemd it wins over the other; in replyd `deny` does",
            );
        }
    }
}

fn networks(word: &str) -> Option<Vec<IpNet>> {
    let known: &[&str] = match word {
        "any" => &EVERYONE,
        "localhost" => &["127.0.0.0/8", "::1/128"],
        "link-local" => &["169.254.0.0/16", "fe80::/64"],
        "multicast" => &["224.0.0.0/4", "ff00::/8"],
        other => {
            let one = other.parse::<IpAddr>().map(IpNet::from);
            let network = one.or_else(|_| other.parse::<IpNet>()).ok()?;
            return Some(vec![network.trunc()]);
        }
    };
    known.iter().map(|network| network.parse().ok()).collect()
}
