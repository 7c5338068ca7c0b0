//! The rules that take more than one key.
//!
//! Each is asked only of keys that could be read: a second fault that merely follows from a first
//! one sends people to the wrong line.

/// Those of a command.
mod command;

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

use crate::config::Config;
use crate::config::address::Address;
use crate::config::document::{Place, Sources, Spot};
use crate::config::fault::Fault;
use crate::config::framing::Read;
use crate::config::reply::{HTTP_KEYS, TEXTS};
use crate::config::table;
use crate::config::types::{HalfClose, Service};

/// The keys that could not be read.
#[derive(Debug, Default)]
pub(crate) struct Wrong(HashSet<(Option<usize>, String)>);

impl Wrong {
    /// Notes keys of the table `[name]`.
    pub(crate) fn top(&mut self, name: &str, keys: &[String]) {
        let keys = keys.iter().map(|key| (None, format!("{name}.{key}")));
        self.0.extend(keys);
    }

    /// Notes keys of a service.
    pub(crate) fn service(&mut self, index: usize, keys: Vec<String>) {
        let keys = keys.into_iter().map(|key| (Some(index), key));
        self.0.extend(keys);
    }

    fn has(&self, service: Option<usize>, key: &str) -> bool {
        self.0.contains(&(service, key.to_owned()))
    }

    /// Whether a key of the service was meant to be `key`, by the look of it.
    fn has_near(&self, service: usize, key: &str) -> bool {
        let name = key.rsplit('.').next().unwrap_or(key);
        let prefix = &key[..key.len() - name.len()];
        let of_service = self.0.iter().filter(|(of, _)| *of == Some(service));
        let of_table = of_service.filter_map(|(_, wrong)| wrong.strip_prefix(prefix));
        let mut names = of_table.filter_map(|wrong| wrong.split('.').next());
        names.any(|wrong| !wrong.is_empty() && table::nearest(wrong, &[name]).is_some())
    }
}

/// Makes a fault at a place; of the file as a whole if the place is in none.
pub(crate) fn fault(sources: &Sources, place: &Place, message: String, label: String) -> Fault {
    match sources.find(place) {
        Some(spot) => Fault::at(spot, message, label),
        None => Fault::of(sources.documents[0].name.clone(), message),
    }
}

/// Asks every rule, and adds what is wrong to `faults`.
pub(crate) fn check(config: &Config, sources: &Sources, wrong: &Wrong, faults: &mut Vec<Fault>) {
    let mut check = Check {
        sources,
        wrong,
        faults,
    };
    check.group(config);
    check.names(config);
    check.addresses(config);
    for (index, service) in config.services.iter().enumerate() {
        check.required(index);
        check.body(index);
        check.http_only(index, service);
        check.framing(index, service);
        check.linger(index, service);
        check.command(index, service);
    }
}

struct Check<'a> {
    sources: &'a Sources,
    wrong: &'a Wrong,
    faults: &'a mut Vec<Fault>,
}

impl Check<'_> {
    fn fault(&self, place: &Place, message: impl Into<String>, label: impl Into<String>) -> Fault {
        fault(self.sources, place, message.into(), label.into())
    }

    fn group(&mut self, config: &Config) {
        let server = &config.server;
        if server.group.is_some() && server.user.is_none() && !self.wrong.has(None, "server.user") {
            let place = Place::top("server.group");
            let fault = self.fault(
                &place,
                "`group` without `user`",
                "root with another group is still root",
            );
            self.faults.push(fault.help("name a `user` too"));
        }
    }

    fn names(&mut self, config: &Config) {
        let mut seen: HashMap<&str, usize> = HashMap::new();
        for (index, service) in config.services.iter().enumerate() {
            let name = service.name.as_str();
            if name.is_empty() {
                continue;
            }
            if let Some(first) = seen.get(name) {
                let place = Place::service(index, "name");
                let first = self.sources.find(&Place::service(*first, "name"));
                let fault = self
                    .fault(
                        &place,
                        format!("two services named `{name}`"),
                        "the second one",
                    )
                    .against(first, "the first one")
                    .help("a name stands for one service in every metric and log line");
                self.faults.push(fault);
            } else {
                seen.insert(name, index);
            }
        }
    }

    fn addresses(&mut self, config: &Config) {
        let mut taken = Taken::default();
        let wrong = ["admin.", "admin.listen"];
        let wrong = wrong.iter().any(|key| self.wrong.has(None, key));
        let admin = config.admin.listen.iter().filter(|_| !wrong);
        for (i, address) in admin.enumerate() {
            let place = Place::top(&format!("admin.listen.{i}"));
            let written = self.sources.has(&Place::top("admin.listen"));
            taken.insert(Owner {
                address: address.clone(),
                spot: self.sources.find(&place).filter(|_| written),
                name: "the admin listener".to_owned(),
            });
        }
        for (index, service) in config.services.iter().enumerate() {
            for (i, address) in service.listen.iter().enumerate() {
                // Without its wrong ones, a list's elements have other indices than in the file.
                let place = if self.wrong.has(Some(index), "listen") {
                    Place::service(index, "listen")
                } else {
                    Place::service(index, &format!("listen.{i}"))
                };
                let owner = Owner {
                    address: address.clone(),
                    spot: self.sources.find(&place),
                    name: format!("service `{}`", service.name),
                };
                match taken.conflict(address) {
                    Some(first) => {
                        let fault = self.overlap(&place, address, first);
                        self.faults.push(fault);
                    }
                    None => taken.insert(owner),
                }
            }
        }
    }

    fn overlap(&self, place: &Place, address: &Address, first: &Owner) -> Fault {
        let message = if first.address == *address {
            format!("two listeners on {address}")
        } else {
            format!("{address} overlaps {}", first.address)
        };
        let label = format!("{} listens on {} already", first.name, first.address);
        self.fault(place, message, label)
            .against(first.spot.clone(), "the first one")
            .help("one port takes one listener: choose another port or another address")
    }

    fn required(&mut self, index: usize) {
        // A service that is no table at all has been told of already.
        if self.wrong.has(Some(index), "") {
            return;
        }
        for key in Service::REQUIRED {
            // One that was mistyped has been told of as that.
            let is_mistyped = self.wrong.has_near(index, key);
            if !is_mistyped && !self.sources.has(&Place::service(index, key)) {
                let example = match key {
                    "name" => "write name = \"hello\"",
                    "listen" => "write listen = \"127.0.0.1:7000\"",
                    _ => "write reply.text = \"hello\\n\"",
                };
                let place = Place::service(index, "");
                let label = format!("this service has no `{key}`");
                let fault = self.fault(&place, format!("missing key `{key}`"), label);
                self.faults.push(fault.help(example));
            }
        }
    }

    fn body(&mut self, index: usize) {
        if !self.has(index, "reply") {
            return;
        }
        let bodies = ["reply.text", "reply.echo", "reply.file", "reply.command"];
        let given = |key: &&str| self.has(index, key) && !self.wrong.has(Some(index), key);
        let given: Vec<_> = bodies.into_iter().filter(given).collect();
        let fault = match given.as_slice() {
            [_] => return,
            [] if self.wrong.has(Some(index), "reply") => return,
            [] => self.fault(
                &Place::service(index, "reply"),
                "a reply without content",
                "it has none of `text`, `echo`, `file` and `command`",
            ),
            [first, others @ ..] => {
                let first_spot = self.sources.find(&Place::service(index, first));
                let last = others.last().unwrap_or(first);
                self.fault(
                    &Place::service(index, last),
                    "a reply with two contents",
                    "or this",
                )
                .against(first_spot, "this")
            }
        };
        let help = "a reply takes exactly one of `text`, `echo = true`, `file` and `command`";
        self.faults.push(fault.help(help));
    }

    fn http_only(&mut self, index: usize, service: &Service) {
        if service.read == Read::Http || self.wrong.has(Some(index), "read") {
            return;
        }
        for text in TEXTS {
            for part in HTTP_KEYS {
                let key = format!("{text}.{part}");
                if self.has(index, &key) {
                    let place = Place::service(index, &key);
                    let message = format!("`{key}` without read = \"http\"");
                    let label = "only an HTTP reply has this";
                    let fault = self.fault(&place, message, label);
                    self.faults
                        .push(fault.help("leave it out, or set read = \"http\""));
                }
            }
        }
    }

    fn framing(&mut self, index: usize, service: &Service) {
        let wrong = |key| self.wrong.has(Some(index), key);
        if wrong("read") {
            return;
        }
        let mut found = Vec::new();
        if service.read == Read::Nothing && self.has(index, "reply.echo") && !wrong("reply") {
            let place = Place::service(index, "reply.echo");
            let label = "read = \"nothing\" leaves nothing to echo";
            let fault = self.fault(&place, "an echo of nothing", label);
            found.push(fault.help("set read = \"eof\" or \"line\", or reply with a text"));
        }
        if service.read == Read::Eof
            && service.half_close == HalfClose::Cancel
            && !wrong("half_close")
        {
            let place = Place::service(index, "half_close");
            let label = "read = \"eof\" ends a request the way this cancels it";
            let fault = self.fault(&place, "no request could ever be answered", label);
            found.push(fault.help("set half_close = \"reply\", or end requests another way"));
        }
        if let Read::Bytes(bytes) = service.read
            && bytes > service.max_request_bytes
            && !wrong("max_request_bytes")
        {
            let place = Place::service(index, "read.bytes");
            let most = service.max_request_bytes;
            let label = format!("`max_request_bytes` is {most}");
            let fault = self.fault(&place, "every request would be too large", label);
            let spot = self.written(&Place::service(index, "max_request_bytes"));
            let help = format!("set max_request_bytes = {bytes} or more");
            found.push(fault.against(spot, "the limit").help(help));
        }
        self.faults.extend(found);
    }

    fn linger(&mut self, index: usize, service: &Service) {
        let keys = ["linger_idle_seconds", "linger_total_seconds"];
        let wrong = keys.iter().any(|key| self.wrong.has(Some(index), key));
        if wrong || service.linger_idle <= service.linger_total {
            return;
        }
        let (idle, total) = (service.linger_idle, service.linger_total);
        let [idle_place, total_place] = keys.map(|key| Place::service(index, key));
        let message = "lingering idle for longer than at all";
        // One of the two is a default, perhaps: the caret goes to what was written.
        let fault = if self.sources.has(&idle_place) {
            let label = format!("`linger_total_seconds` is {}", total.as_secs_f64());
            let fault = self.fault(&idle_place, message, label);
            fault.against(self.written(&total_place), "the total")
        } else {
            let label = format!("`linger_idle_seconds` is {}", idle.as_secs_f64());
            self.fault(&total_place, message, label)
        };
        self.faults
            .push(fault.help("set linger_idle_seconds to linger_total_seconds or less"));
    }

    fn has(&self, index: usize, key: &str) -> bool {
        self.sources.has(&Place::service(index, key))
    }

    /// Finds a key that is written, and not the table it could be in.
    fn written(&self, place: &Place) -> Option<Spot> {
        let spot = self.sources.find(place);
        spot.filter(|_| self.sources.has(place))
    }
}

/// A listener's address, and whose it is.
struct Owner {
    address: Address,
    spot: Option<Spot>,
    name: String,
}

/// The addresses that are in use.
///
/// Port 0 is a port of the kernel's choice and collides with nothing. `0.0.0.0` takes its port on
/// every IPv4 address and `[::]` on every IPv6 one, so a second bind(2) there fails.
#[derive(Default)]
struct Taken {
    owners: Vec<Owner>,
    exact: HashMap<Address, usize>,
    wildcard: HashMap<(bool, u16), usize>,
    any: HashMap<(bool, u16), usize>,
}

impl Taken {
    fn conflict(&self, address: &Address) -> Option<&Owner> {
        let exact = self.exact.get(address);
        let owner = match address {
            Address::Unix(_) => exact,
            Address::Tcp(socket) if socket.port() == 0 => None,
            Address::Tcp(socket) => {
                let wildcard = || self.wildcard.get(&family_and_port(*socket));
                let any = || self.any.get(&family_and_port(*socket));
                let any = || any().filter(|_| socket.ip().is_unspecified());
                exact.or_else(wildcard).or_else(any)
            }
        };
        owner.map(|owner| &self.owners[*owner])
    }

    fn insert(&mut self, owner: Owner) {
        let index = self.owners.len();
        if let Address::Tcp(socket) = owner.address {
            let key = family_and_port(socket);
            self.any.entry(key).or_insert(index);
            if socket.ip().is_unspecified() {
                self.wildcard.entry(key).or_insert(index);
            }
        }
        self.exact.insert(owner.address.clone(), index);
        self.owners.push(owner);
    }
}

fn family_and_port(socket: SocketAddr) -> (bool, u16) {
    (socket.is_ipv6(), socket.port())
}
