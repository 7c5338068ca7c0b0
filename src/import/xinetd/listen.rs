//! Where a service listens, and its `flags`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::import::attribute::Attributes;
use crate::import::draft::Draft;
use crate::import::ports::Ports;
use crate::import::xinetd::syntax::Block;

/// What Linux has where a program says nothing: `net.ipv4.tcp_keepalive_time`.
const KEEPALIVE_SECONDS: i64 = 7200;

/// The words of `flags`, in capitals, and what the source said with them.
#[derive(Debug, Default)]
pub(super) struct Flags {
    words: Vec<String>,
    said: Vec<String>,
}

impl Flags {
    /// Takes them, and deals with all but the three that others ask for.
    pub(super) fn take(draft: &mut Draft, attributes: &mut Attributes) -> Self {
        let mut flags = Self::default();
        for attribute in attributes.take("flags") {
            for word in attribute.words() {
                let said = format!("{word} in {}", attribute.said);
                let word = word.to_ascii_uppercase();
                flag(draft, &word, said);
                flags.words.push(word);
            }
            if attribute.value.is_empty() {
                draft.moot(&attribute.said);
            }
            flags.said.push(attribute.said);
        }
        flags
    }

    pub(super) fn has(&self, word: &str) -> bool {
        self.words.iter().any(|own| own == word)
    }
}

fn flag(draft: &mut Draft, word: &str, said: String) {
    match word {
        // Told with the address.
        "IPV4" | "IPV6" => {}
        "REUSE" | "NODELAY" | "NORETRY" | "NOLIBWRAP" | "NAMEINARGS" => draft.moot(&said),
        "KEEPALIVE" => draft.set("keepalive_seconds", KEEPALIVE_SECONDS, &said),
        "DISABLE" => draft.disable(said),
        "SENSOR" => draft.refuse(&said, "replyd has no sensors"),
        "IDONLY" => draft.hold(
            &said,
            "replyd asks no ident daemon, and would let everyone in",
        ),
        "INTERCEPT" => draft.remark(&said, "replyd accepts, and looks at no packet"),
        "LABELED" => draft.remark(&said, "a command has replyd's own SELinux context"),
        _ => draft.remark(&said, "no flag of xinetd's that is known here"),
    }
}

/// Sets `listen`; the port. xinetd's socket is for IPv6 and takes IPv4 too, unless a flag says
/// `IPv4` (2.3.15).
pub(super) fn carry(
    draft: &mut Draft,
    attributes: &mut Attributes,
    block: &Block,
    flags: &Flags,
    ports: &Ports,
) -> Option<u16> {
    let (name, said) = match attributes.take_last("port", draft) {
        Some(attribute) => (attribute.value, attribute.said),
        None => (block.name.clone(), format!("the port of {}", block.name)),
    };
    let Some(port) = ports.find(&name) else {
        draft.refuse(
            &said,
            "this port is not known; /etc/services has none, either",
        );
        return None;
    };
    let mut from = vec![said];
    if flags.has("IPV4") || flags.has("IPV6") {
        from.extend(flags.said.iter().cloned());
    }
    let v4: IpAddr = Ipv4Addr::UNSPECIFIED.into();
    let v6: IpAddr = Ipv6Addr::UNSPECIFIED.into();
    let mut addrs = if flags.has("IPV4") {
        vec![v4]
    } else {
        vec![v4, v6]
    };
    // Synonyms.
    for key in ["bind", "interface"] {
        if let Some(attribute) = attributes.take_last(key, draft) {
            addrs = vec![attribute.value.parse().unwrap_or_else(|_| {
                draft.hold(&attribute.said, "a name: write the address into `listen`");
                // Not everywhere: that would let more in.
                Ipv4Addr::LOCALHOST.into()
            })];
            from.push(attribute.said);
        }
    }
    if addrs == [v6] && !flags.has("IPV4") {
        addrs = vec![v4, v6];
    }
    let addrs = addrs
        .iter()
        .map(|ip| SocketAddr::new(*ip, port).to_string());
    let listen: Vec<String> = addrs.collect();
    draft.set("listen", listen, &from.join(", "));
    Some(port)
}
