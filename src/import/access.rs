//! Which peers: `only_from`, `no_access`, `IPAddressAllow=`.
//!
//! What can't be carried over never lets more peers in: `allow` gets narrower for it, and where
//! `deny` would get narrower the service is held back.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};

use crate::import::attribute::{Attribute, Operator};
use crate::import::draft::Draft;

/// The most addresses that one factorised address may stand for: its last part has 256 at most.
const FACTORS_MAX: usize = 256;

/// The bits before the IPv4 address in `::ffff:10.0.0.1`; RFC 4291, 2.5.5.2.
const MAPPED_BITS: u8 = 96;

/// Everyone; as an `allow` can't be empty and mean nobody, nobody is this as a `deny`.
pub(super) const EVERYONE: [&str; 2] = ["0.0.0.0/0", "::/0"];

/// The networks that a word of xinetd's stands for; `None`: a name, or nothing at all.
pub(super) fn networks(word: &str) -> Option<Vec<IpNet>> {
    if word == "localhost" {
        let loopback = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        return Some(loopback.map(|ip: IpAddr| IpNet::from(ip)).to_vec());
    }
    if let Ok(network) = word.parse::<IpNet>() {
        return Some(vec![unmapped(network.trunc())]);
    }
    match word.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => return Some(vec![wildcard(ip)]),
        Ok(ip) => return Some(vec![unmapped(ip.into())]),
        Err(_) => {}
    }
    factorised(word)
}

/// `::ffff:10.0.0.0/104` are IPv4 peers of xinetd's one socket for both. replyd has two, and its
/// IPv4 peers have IPv4 addresses.
fn unmapped(network: IpNet) -> IpNet {
    let ipv4 = match network {
        IpNet::V6(v6) => v6.addr().to_ipv4_mapped(),
        IpNet::V4(_) => None,
    };
    let bits = network.prefix_len().checked_sub(MAPPED_BITS);
    match (ipv4, bits) {
        (Some(ip), Some(bits)) => Ipv4Net::new_assert(ip, bits).into(),
        _ => network,
    }
}

/// `128.138.12.0` is a network: zeros at the end match everything.
fn wildcard(ip: Ipv4Addr) -> IpNet {
    let zeros = ip.octets().iter().rev().take_while(|b| **b == 0).count();
    let bits = [32, 24, 16, 8, 0][zeros];
    Ipv4Net::new_assert(ip, bits).into()
}

/// `10.0.0.{1,2}`, and `10.0.{1,2}` for two networks.
fn factorised(word: &str) -> Option<Vec<IpNet>> {
    let (prefix, factors) = word.strip_suffix('}')?.split_once('{')?;
    let parts: Vec<u8> = (prefix.strip_suffix('.')?.split('.'))
        .map(|part| part.parse().ok())
        .collect::<Option<_>>()?;
    if parts.len() > 3 || factors.split(',').count() > FACTORS_MAX {
        return None;
    }
    let bits = [16, 24, 32][parts.len() - 1];
    let factors = factors.split(',').map(|factor| {
        let mut octets = [0; 4];
        octets[..parts.len()].copy_from_slice(&parts);
        octets[parts.len()] = factor.trim().parse().ok()?;
        Some(Ipv4Net::new_assert(octets.into(), bits).into())
    });
    factors.collect()
}

/// A list that attributes add to and take from.
#[derive(Debug, Default)]
struct List {
    networks: Vec<IpNet>,

    /// Words that are no addresses.
    names: Vec<String>,

    /// What was to be taken off a network that has more.
    without: Vec<IpNet>,
    said: Vec<String>,
}

impl List {
    /// `starts_anew` is what a later `=` does: not for those kept out, as that could let more in.
    fn new(attributes: &[Attribute], starts_anew: bool) -> Self {
        let mut list = Self::default();
        for attribute in attributes {
            list.said.push(attribute.said.clone());
            if attribute.operator == Operator::Set && starts_anew {
                list.networks.clear();
                list.names.clear();
            }
            for word in attribute.words() {
                match (networks(word), attribute.operator) {
                    (Some(found), Operator::Remove) => list.remove(&found),
                    (Some(found), _) => list.networks.extend(found),
                    (None, Operator::Remove) => list.names.retain(|name| name != word),
                    (None, _) => list.names.push(word.to_owned()),
                }
            }
        }
        list.networks.dedup();
        list
    }

    fn remove(&mut self, networks: &[IpNet]) {
        for network in networks {
            let before = self.networks.len();
            self.networks.retain(|own| own != network);
            if self.networks.len() == before {
                self.without.push(*network);
            }
        }
    }

    fn said(&self) -> String {
        self.said.join(", ")
    }
}

/// Carries xinetd's two lists over. The peers of `only_from` that are names stay out; a name in
/// `no_access` holds the service back.
pub(super) fn carry(draft: &mut Draft, only_from: &[Attribute], no_access: &[Attribute]) {
    let allowed = List::new(only_from, true);
    let denied = List::new(no_access, false);
    for name in &allowed.names {
        let why = "a name, and replyd asks no resolver: its peers stay out until their addresses \
                   are in `allow`";
        draft.remark(&format!("{name} in only_from"), why);
    }
    for name in &denied.names {
        let why = "a name, and replyd asks no resolver: write its addresses into `deny`";
        draft.hold(&format!("{name} in no_access"), why);
    }
    let mut deny: Vec<String> = strings(denied.networks.iter().chain(&allowed.without));
    let mut from = denied.said.clone();
    if !only_from.is_empty() {
        if allowed.networks.is_empty() {
            deny = EVERYONE.map(str::to_owned).to_vec();
            from.insert(0, format!("{}: nobody", allowed.said()));
        } else {
            let networks = strings(allowed.networks.iter());
            draft.set("allow", networks, &allowed.said());
        }
    }
    for network in &allowed.networks {
        if denied.networks.iter().any(|other| other.contains(network)) {
            let why = "the better match decided in xinetd; in replyd `deny` does";
            draft.remark(&format!("{network} in only_from"), why);
        }
    }
    if deny.is_empty() {
        for said in from {
            draft.moot(&said);
        }
    } else {
        if !allowed.without.is_empty() {
            from.push(allowed.said());
        }
        draft.set("deny", deny, &from.join(", "));
    }
}

pub(super) fn strings<'n>(networks: impl Iterator<Item = &'n IpNet>) -> Vec<String> {
    networks.map(ToString::to_string).collect()
}
