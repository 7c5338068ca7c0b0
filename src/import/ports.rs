//! The port of a service that is only named.

use std::collections::HashMap;

/// What is looked up where `/etc/services` lacks it, as containers often lack the whole file.
const KNOWN: [(&str, u16); 24] = [
    ("echo", 7),
    ("discard", 9),
    ("daytime", 13),
    ("qotd", 17),
    ("chargen", 19),
    ("ftp", 21),
    ("ssh", 22),
    ("telnet", 23),
    ("smtp", 25),
    ("time", 37),
    ("whois", 43),
    ("gopher", 70),
    ("finger", 79),
    ("http", 80),
    ("pop3", 110),
    ("auth", 113),
    ("ident", 113),
    ("rsync", 873),
    ("dict", 2628),
    ("check_mk", 6556),
    ("check-mk-agent", 6556),
    ("mysqlchk", 9200),
    ("git", 9418),
    ("amanda", 10080),
];

/// Service names and their TCP ports.
#[derive(Debug)]
pub(super) struct Ports(HashMap<String, u16>);

impl Ports {
    /// Reads an `/etc/services`: `name port/protocol alias…`.
    pub(super) fn new(services: &str) -> Self {
        let known = KNOWN.iter().map(|(name, port)| ((*name).to_owned(), *port));
        let mut ports: HashMap<String, u16> = known.collect();
        for line in services.lines() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_whitespace();
            let (Some(name), Some(port)) = (words.next(), words.next()) else {
                continue;
            };
            let Some(port) = port.strip_suffix("/tcp").and_then(|port| port.parse().ok()) else {
                continue;
            };
            for name in std::iter::once(name).chain(words) {
                ports.insert(name.to_owned(), port);
            }
        }
        Self(ports)
    }

    /// A number, or a name that is known.
    pub(super) fn find(&self, name: &str) -> Option<u16> {
        let number = name.parse().ok().filter(|port| *port != 0);
        number.or_else(|| self.0.get(name).copied())
    }
}
