//! A line for each service: `/etc/inetd.conf`, as openbsd-inetd and inetutils read it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::import::draft::Draft;
use crate::import::internal::{self, Of};
use crate::import::ports::Ports;
use crate::import::program;

/// What update-inetd puts before a line that it disables.
const OFF: &str = "#<off>#";

/// The words of the second field.
const SOCKET_TYPES: [&str; 5] = ["stream", "dgram", "raw", "rdm", "seqpacket"];

/// A service's line.
#[derive(Debug)]
pub(super) struct Line {
    /// The file and the line.
    origin: String,
    text: String,

    /// Where all the lines listen that don't say it; set by a line with nothing else.
    addr: String,
    is_off: bool,
}

/// Whether a text is inetd's: a line has a socket type as its second word and a user as its fifth.
pub(super) fn is_one(text: &str) -> bool {
    text.lines().any(|line| {
        let line = line.trim_start().strip_prefix(OFF).unwrap_or(line);
        let words: Vec<&str> = line.split_whitespace().collect();
        !line.starts_with('#') && words.len() >= 6 && SOCKET_TYPES.contains(&words[1])
    })
}

/// Reads a file called `origin`. A line that begins with a space goes on with the one before it.
pub(super) fn parse(text: &str, origin: &str) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    let mut addr = "*".to_owned();
    let mut may_go_on = false;
    for (number, line) in text.lines().enumerate() {
        let is_off = line.starts_with(OFF);
        let line = line.strip_prefix(OFF).unwrap_or(line);
        if line.trim().is_empty() || line.starts_with('#') {
            may_go_on = false;
            continue;
        }
        if line.starts_with([' ', '\t'])
            && !is_off
            && may_go_on
            && let Some(last) = lines.last_mut()
        {
            last.text = format!("{} {}", last.text, line.trim());
            continue;
        }
        may_go_on = true;
        let line = line.trim();
        match line.strip_suffix(':') {
            Some(all) if !all.contains(char::is_whitespace) => all.clone_into(&mut addr),
            _ => lines.push(Line {
                origin: format!("{origin}:{}", number + 1),
                text: line.to_owned(),
                addr: addr.clone(),
                is_off,
            }),
        }
    }
    lines
}

/// Carries a service over.
pub(super) fn draft(line: &Line, ports: &Ports) -> Draft {
    let words: Vec<&str> = line.text.split_whitespace().collect();
    let [
        service,
        socket_type,
        protocol,
        wait,
        user,
        server,
        arguments @ ..,
    ] = words.as_slice()
    else {
        let mut draft = Draft::new("service", "", line.origin.clone(), vec![line.text.clone()]);
        draft.refuse(&line.text, "a line of inetd's has at least six fields");
        return draft;
    };
    let (addr, name) = match service.rsplit_once(':') {
        Some((addr, name)) => (addr, name),
        None => (line.addr.as_str(), *service),
    };
    let origin = format!("{}, {service}", line.origin);
    let mut draft = Draft::new(name, service, origin, vec![words.join(" ")]);
    draft.disabled = line.is_off.then(|| OFF.to_owned());
    if *socket_type == "stream" {
        draft.moot(socket_type);
    } else {
        draft.refuse(socket_type, "replyd serves streams only");
    }
    if name.starts_with("tcpmux/") {
        draft.refuse(service, "replyd is no TCPMUX server");
    }
    let port = listen(&mut draft, addr, name, protocol, ports);
    waiting(&mut draft, wait);
    if *server == "internal" {
        internal::carry(&mut draft, name, server, Of::Inetd);
        draft.moot(user);
        for argument in arguments.iter().filter(|argument| **argument != "internal") {
            draft.remark(argument, "an internal service has no arguments");
        }
        return draft;
    }
    let from = std::iter::once(server).chain(arguments).copied();
    let from = from.collect::<Vec<&str>>().join(" ");
    program::carry(&mut draft, server, arguments, port, &from);
    account(&mut draft, user);
    program::complete(&mut draft);
    draft
}

/// Where it listens; its port, if it has one.
fn listen(draft: &mut Draft, addr: &str, name: &str, protocol: &str, ports: &Ports) -> Option<u16> {
    let (family, buffers) = protocol.split_once(',').unwrap_or((protocol, ""));
    if !buffers.is_empty() {
        draft.remark(protocol, "the kernel sizes the buffers by itself");
    }
    let protocol = family;
    if protocol == "unix" {
        if let Some(file) = name.rsplit('/').next() {
            file.clone_into(&mut draft.name);
        }
        let listen = vec![format!("unix:{name}")];
        draft.set("listen", listen, &format!("{name}, unix"));
        return None;
    }
    let (is_v4, is_v6) = match protocol {
        "tcp" | "tcp46" => (true, true),
        "tcp4" => (true, false),
        "tcp6" => (false, true),
        _ => {
            draft.refuse(protocol, "replyd serves TCP and unix sockets only");
            return None;
        }
    };
    let Some(port) = ports.find(name) else {
        draft.refuse(
            name,
            "this port is not known; /etc/services has none, either",
        );
        return None;
    };
    let mut addrs: Vec<IpAddr> = Vec::new();
    for part in addr.split(',') {
        let bare = part.trim_start_matches('[').trim_end_matches(']');
        match bare.parse() {
            Ok(ip) => addrs.push(ip),
            Err(_) if part == "*" => {
                addrs.extend(is_v4.then_some(IpAddr::from(Ipv4Addr::UNSPECIFIED)));
                addrs.extend(is_v6.then_some(IpAddr::from(Ipv6Addr::UNSPECIFIED)));
            }
            Err(_) => draft.hold(part, "a name: write its addresses into `listen`"),
        }
    }
    if addrs.is_empty() {
        addrs.push(Ipv4Addr::LOCALHOST.into());
    }
    let addrs = addrs
        .iter()
        .map(|ip| SocketAddr::new(*ip, port).to_string());
    let listen: Vec<String> = addrs.collect();
    draft.set("listen", listen, &format!("{addr}:{name}, {protocol}"));
    Some(port)
}

/// `nowait`, and the limits behind it: openbsd-inetd's `.256` is a rate, FreeBSD's `/10` a number of
/// programs at once.
fn waiting(draft: &mut Draft, wait: &str) {
    let end = wait.find(['.', '/', ':']).unwrap_or(wait.len());
    let (word, limits) = wait.split_at(end);
    if word != "nowait" {
        return draft.refuse(wait, "the program accepts connections itself");
    }
    if limits.is_empty() {
        return draft.moot(wait);
    }
    let Some(limits) = limits.strip_prefix('/') else {
        let why = "a rate a minute: replyd bounds its queue, and never closes the port";
        return draft.remark(wait, why);
    };
    let (most, rest) = limits.split_once('/').unwrap_or((limits, ""));
    match most.parse::<u32>() {
        Ok(most) => draft.set("max_connections", i64::from(most), wait),
        Err(_) => draft.remark(wait, "no number"),
    }
    if !rest.is_empty() {
        draft.remark(
            &format!("{rest} in {wait}"),
            "replyd has no limit for each source yet",
        );
    }
}

/// `user`, `user.group`, `user:group`, and FreeBSD's `/class`.
fn account(draft: &mut Draft, field: &str) {
    let (account, class) = field.split_once('/').unwrap_or((field, ""));
    if !class.is_empty() {
        draft.remark(
            &format!("{class} in {field}"),
            "there are no login classes on Linux",
        );
    }
    let (user, group) = account.split_once([':', '.']).unwrap_or((account, ""));
    draft.set_command("user", user, field);
    if !group.is_empty() {
        draft.set_command("group", group, field);
    }
}
