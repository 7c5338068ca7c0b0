//! Which listener that is there serves which address that the configuration wants.
//!
//! No descriptor is touched: addresses and names in, places in a list out. So it serves a start,
//! with what was inherited, and a reload, with what is open.

use std::net::{IpAddr, SocketAddr};

use crate::engine::listener::ListenAddr;
use crate::systemd::store;

/// An address of the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The service's name.
    pub service: &'a str,
    /// Where it is to listen.
    pub addr: &'a ListenAddr,
}

/// A listener that is there.
#[derive(Clone, Copy, Debug)]
pub struct Offered<'a> {
    /// The descriptor's name: a service's, that of the store, or any.
    pub name: &'a str,
    /// Where it listens.
    pub addr: &'a ListenAddr,
    /// An IPv6 listener that takes IPv4 peers too.
    pub takes_ipv4: bool,
}

/// Where the listener for a wanted address comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// It is not there: to be bound.
    Bind,
    /// It is the offered one of this number.
    Offered(usize),
    /// It needs none: the offered one of this number, which serves another address of the same
    /// service, takes its IPv4 peers too. To bind it beside that one would fail.
    Covered(usize),
}

/// What is to become of everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matching {
    /// For each wanted address.
    pub sources: Vec<Source>,

    /// The offered ones that serve nobody, by number, and why. To be closed, and taken out of the
    /// store if they are in it.
    pub strays: Vec<(usize, String)>,

    /// Where the configuration says one thing and a .socket unit another.
    pub warnings: Vec<String>,
}

/// Finds a listener for every wanted address, and a use for every offered listener.
///
/// 1. The same address is a match, whatever the name.
/// 2. One whose name is a service's, and whose address nobody wants, serves that service in place
///    of an address that nothing else serves: the unit decides. But it never lets in who was kept
///    out by the address in the configuration.
/// 3. The rest are strays.
#[must_use]
pub fn match_listeners(wanted: &[Wanted<'_>], offered: &[Offered<'_>]) -> Matching {
    let mut matcher = Matcher {
        wanted,
        offered,
        serves: vec![None; offered.len()],
        found: Matching {
            sources: vec![Source::Bind; wanted.len()],
            ..Matching::default()
        },
    };
    matcher.by_address();
    matcher.by_name();
    matcher.over_both_families();
    matcher.found
}

struct Matcher<'a> {
    wanted: &'a [Wanted<'a>],
    offered: &'a [Offered<'a>],

    /// For each offered one, the wanted address that it serves.
    serves: Vec<Option<usize>>,
    found: Matching,
}

impl Matcher<'_> {
    fn assign(&mut self, offered: usize, wanted: usize) {
        self.serves[offered] = Some(wanted);
        self.found.sources[wanted] = Source::Offered(offered);
    }

    fn by_address(&mut self) {
        for (number, wanted) in self.wanted.iter().enumerate() {
            let mut candidates = self.offered.iter().zip(&self.serves);
            let same = candidates
                .position(|(offered, serves)| serves.is_none() && offered.addr == wanted.addr);
            // Port 0 asks for any port, and nothing listens on that.
            if let Some(same) = same {
                self.assign(same, number);
            }
        }
    }

    fn by_name(&mut self) {
        for (number, offered) in self.offered.iter().enumerate() {
            if self.serves[number].is_some() {
                continue;
            }
            match self.place_for(offered) {
                Ok(place) => {
                    self.assign(number, place);
                    let Wanted { service, addr } = self.wanted[place];
                    self.found.warnings.push(format!(
                        "`{service}` listens on {}, as a systemd socket named after it does, in place \
                         of {addr}, which the configuration says: write the same address in both",
                        offered.addr
                    ));
                }
                Err(reason) => self.found.strays.push((number, reason)),
            }
        }
    }

    /// Finds the address that a listener may serve in place of; or says why it serves nobody.
    fn place_for(&self, offered: &Offered<'_>) -> Result<usize, String> {
        let addr = offered.addr;
        if self.wanted.iter().any(|wanted| wanted.addr == addr) {
            return Err(format!("another that is inherited listens on {addr} too"));
        }
        if store::is_stored(offered.name) {
            return Err(format!("the configuration no longer has {addr}"));
        }
        let of_service = || {
            let numbered = self.wanted.iter().enumerate();
            numbered.filter(|(_, wanted)| wanted.service == offered.name)
        };
        if of_service().next().is_none() {
            return Err(format!(
                "no service listens on {addr}, and none is named `{}`: write the address into the \
                 configuration, or FileDescriptorName=SERVICE into the .socket unit",
                offered.name
            ));
        }
        let free = of_service().filter(|(number, wanted)| {
            self.found.sources[*number] == Source::Bind && is_same_kind(addr, wanted.addr)
        });
        let mut free = free.peekable();
        let Some((_, first)) = free.peek() else {
            return Err(format!(
                "`{}` does not listen on {addr}, and all that it does listen on is there: add the \
                 address to its `listen`",
                offered.name
            ));
        };
        let too_wide = format!(
            "the configuration has `{}` listen on {}, and {addr} would let in others: write the same \
             address in both",
            offered.name, first.addr
        );
        free.filter(|(_, wanted)| lets_in_no_others(addr, wanted.addr))
            .min_by_key(|(_, wanted)| difference(addr, wanted.addr))
            .map(|(number, _)| number)
            .ok_or(too_wide)
    }

    /// A .socket unit's `ListenStream=80` takes IPv6 and IPv4 alike, by one socket.
    fn over_both_families(&mut self) {
        for (number, offered) in self.offered.iter().enumerate() {
            let Some(served) = self.serves[number].filter(|_| offered.takes_ipv4) else {
                continue;
            };
            let mut is_wanted = self.wanted[served].addr != offered.addr;
            for (other, wanted) in self.wanted.iter().enumerate() {
                if self.found.sources[other] == Source::Bind
                    && wanted.service == self.wanted[served].service
                    && is_covered(wanted.addr, offered.addr)
                {
                    self.found.sources[other] = Source::Covered(number);
                    is_wanted = true;
                }
            }
            if !is_wanted {
                self.found.warnings.push(format!(
                    "`{}` listens on {} for IPv4 peers too, as its systemd socket does, and no address \
                     in its `listen` says so: write BindIPv6Only=ipv6-only into the .socket unit",
                    self.wanted[served].service, offered.addr
                ));
            }
        }
    }
}

fn is_same_kind(one: &ListenAddr, other: &ListenAddr) -> bool {
    std::mem::discriminant(one) == std::mem::discriminant(other)
}

/// Whether everyone who can reach `addr` could reach `configured` too, as far as addresses can tell.
fn lets_in_no_others(addr: &ListenAddr, configured: &ListenAddr) -> bool {
    match (addr, configured) {
        (ListenAddr::Tcp(addr), ListenAddr::Tcp(configured)) => {
            configured.ip().is_unspecified()
                || configured.ip() == addr.ip()
                || addr.ip().is_loopback()
        }
        // Over a unix socket, nobody comes from elsewhere.
        _ => true,
    }
}

/// How far an address is from the configured one: smaller is closer.
fn difference(addr: &ListenAddr, configured: &ListenAddr) -> (bool, bool) {
    match (addr, configured) {
        (ListenAddr::Tcp(addr), ListenAddr::Tcp(configured)) => (
            addr.is_ipv4() != configured.is_ipv4(),
            addr.port() != configured.port(),
        ),
        _ => (false, false),
    }
}

/// Whether an IPv6 listener on `addr` that takes IPv4 too takes what comes for `wanted`.
fn is_covered(wanted: &ListenAddr, addr: &ListenAddr) -> bool {
    match (wanted, addr) {
        (ListenAddr::Tcp(SocketAddr::V4(wanted)), ListenAddr::Tcp(addr @ SocketAddr::V6(_))) => {
            addr.ip() == IpAddr::from([0_u16; 8]) && addr.port() == wanted.port()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
