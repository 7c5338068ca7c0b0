//! Which peers: `10.0.0.0/8`, `::1`.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serializer;
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

/// A list of networks; a bare address is a network of one.
#[derive(Debug)]
pub struct Networks;

impl Networks {
    /// Reads it.
    ///
    /// # Errors
    /// * What is no address, and an address with bits set outside its network: `10.1.2.3/8` is
    ///   either a typing error in the address or one in the length, and both open a door.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
        deserializer.deserialize_any(List)
    }

    /// Writes it.
    ///
    /// # Errors
    /// * The serializer's.
    pub fn serialize<S: Serializer>(networks: &[IpNet], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(networks.iter().map(|network| {
            if network.prefix_len() == network.max_prefix_len() {
                network.addr().to_string()
            } else {
                network.to_string()
            }
        }))
    }
}

struct List;

impl<'de> Visitor<'de> for List {
    type Value = Vec<IpNet>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of networks, such as [\"10.0.0.0/8\", \"::1\"]")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<IpNet>, A::Error> {
        let mut networks = Vec::new();
        // Ends with the list.
        while let Some(Network(network)) = list.next_element()? {
            networks.push(network);
        }
        Ok(networks)
    }
}

struct Network(IpNet);

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Text)
    }
}

struct Text;

impl Visitor<'_> for Text {
    type Value = Network;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a network such as \"10.0.0.0/8\" or \"::1\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Network, E> {
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Network(IpNet::from(ip)));
        }
        let Ok(network) = text.parse::<IpNet>() else {
            return Err(E::custom(explain(text)));
        };
        let whole = network.trunc();
        if whole != network {
            let ip = network.addr();
            return Err(E::custom(format!(
                "the address has bits set outside its network\n\
                 write \"{whole}\" for the network, \"{ip}\" for the one address"
            )));
        }
        Ok(Network(network))
    }
}

/// Finds what is wrong with `text`, which is neither address nor network.
fn explain(text: &str) -> String {
    match text.split_once('/') {
        Some((ip, _)) => match ip.parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) => "the length after `/` is 0 to 32".to_owned(),
            Ok(IpAddr::V6(_)) => "the length after `/` is 0 to 128".to_owned(),
            Err(_) => "this is no network\nwrite \"10.0.0.0/8\" or \"fd00::/8\"".to_owned(),
        },
        None => "this is no address: no names here, no ports\n\
                 write \"10.0.0.7\", \"10.0.0.0/8\" or \"::1\""
            .to_owned(),
    }
}
