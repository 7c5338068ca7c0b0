//! Listeners: inherited or bound, and kept by systemd for our successor where it does that.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::time::Duration;

use crate::engine::listener::{ListenAddr, Listener};
use crate::server::StartError;
use crate::server::roster::{Bound, Keeper, Missing, Next};
use crate::systemd::inherit::{Inheritance, Inherited};
use crate::systemd::matching::{self, Matching, Offered, Source, Wanted};
use crate::systemd::notify::Notifier;
use crate::systemd::store;

/// How long a start waits for systemd to close what nobody wants anymore: its address may be in the
/// way of another.
const STRAYS_MAX: Duration = Duration::from_secs(1);

/// Opens listeners.
#[derive(Debug)]
pub(super) struct Opener {
    notifier: Notifier,

    /// How many of them systemd keeps.
    stored: usize,
}

/// A listener that has been opened for one of the engines.
struct Opened {
    engine: usize,
    missing: Missing,
    listener: Listener,
    keeper: Keeper,
}

impl Opener {
    pub(super) fn new(notifier: Notifier) -> Self {
        Self {
            notifier,
            stored: 0,
        }
    }

    /// Opens every listener that `nexts` miss, or none. `ours` are open already.
    ///
    /// # Errors
    /// * an address is taken or not allowed
    pub(super) fn open(
        &mut self,
        nexts: &mut [&mut Next],
        inheritance: Inheritance,
        ours: &[ListenAddr],
    ) -> Result<(), StartError> {
        let mut missing = Vec::new();
        for (engine, next) in nexts.iter_mut().enumerate() {
            let of_engine = std::mem::take(&mut next.missing);
            missing.extend(of_engine.into_iter().map(|missing| (engine, missing)));
        }
        let (matching, mut inherited) = self.settle(&missing, inheritance);
        let mut opened: Vec<Opened> = Vec::new();
        for ((engine, missing), source) in missing.into_iter().zip(matching.sources) {
            let result = match source {
                Source::Bind => Listener::bind(&missing.addr, &missing.options)
                    .map(|listener| (listener, Keeper::Nobody)),
                Source::Offered(number) => match inherited[number].take() {
                    Some(inherited) => adopt(inherited, &missing),
                    None => Err(io::Error::other("inherited twice")),
                },
                Source::Covered(number) => {
                    let addr = matching.addrs[number].clone();
                    nexts[engine].roster.add(&missing, addr, Keeper::Covering);
                    continue;
                }
            };
            match result {
                Ok((listener, keeper)) => opened.push(Opened {
                    engine,
                    missing,
                    listener,
                    keeper,
                }),
                Err(error) => {
                    give_up(&opened);
                    return Err(cannot_listen(missing, error, ours));
                }
            }
        }
        for opened in opened {
            self.hand_over(opened, nexts);
        }
        Ok(())
    }

    /// Takes a listener that nobody wants anymore back from systemd.
    pub(super) fn release(&mut self, bound: &Bound) {
        match bound.keeper {
            Keeper::Store => {
                // Unheard: it is closed as a stray when we start the next time.
                let _removed = self.notifier.remove(&store::stored_name(&bound.addr));
                self.stored = self.stored.saturating_sub(1);
            }
            Keeper::Unit => tracing::warn!(
                addr = %bound.addr,
                "nobody is served here anymore, but a systemd .socket unit still listens: stop it"
            ),
            Keeper::Nobody | Keeper::Covering => {}
        }
    }

    /// Finds out who of the inherited serves whom, and closes the others.
    fn settle(
        &mut self,
        missing: &[(usize, Missing)],
        inheritance: Inheritance,
    ) -> (Settled, Vec<Option<Inherited>>) {
        let wanted = missing.iter().map(|(_, missing)| Wanted {
            service: &missing.service_name,
            addr: &missing.addr,
        });
        let wanted: Vec<Wanted<'_>> = wanted.collect();
        let offered = inheritance.listeners.iter().map(|inherited| Offered {
            name: &inherited.name,
            addr: &inherited.addr,
            takes_ipv4: inherited.takes_ipv4,
        });
        let offered: Vec<Offered<'_>> = offered.collect();
        let Matching {
            sources,
            strays,
            warnings,
        } = matching::match_listeners(&wanted, &offered);
        let addrs = offered.iter().map(|offered| offered.addr.clone()).collect();
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        let mut names: Vec<String> = Vec::new();
        for stray in inheritance.strays {
            tracing::warn!("{stray}");
            names.push(stray.name);
        }
        let mut listeners: Vec<_> = inheritance.listeners.into_iter().map(Some).collect();
        // A reload inherits nothing, and what is stored stays.
        self.stored += (listeners.iter().flatten())
            .filter(|inherited| store::is_stored(&inherited.name))
            .count();
        for (number, reason) in strays {
            if let Some(stray) = listeners[number].take() {
                tracing::warn!(name = %stray.name, addr = %stray.addr, reason, "closed an inherited listener");
                self.stored -= usize::from(store::is_stored(&stray.name));
                names.push(stray.name);
            }
        }
        names.retain(|name| store::is_stored(name));
        for name in &names {
            let _removed = self.notifier.remove(name);
        }
        if !names.is_empty() {
            // In vain: then an address may be in use, which is told.
            let _closed = self.notifier.barrier(STRAYS_MAX);
        }
        (Settled { sources, addrs }, listeners)
    }

    /// Asks systemd to keep a listener, if nobody does, and gives it to its engine.
    fn hand_over(&mut self, opened: Opened, nexts: &mut [&mut Next]) {
        let Opened {
            engine,
            missing,
            listener,
            mut keeper,
        } = opened;
        let addr = listener.addr().clone();
        tracing::info!(service = %missing.service_name, %addr, "listening");
        let asked = missing.options.backlog;
        if let Some(granted) = listener.backlog_granted()
            && granted < u32::from(asked)
        {
            tracing::warn!(%addr, asked, granted, "net.core.somaxconn cuts the backlog");
        }
        if keeper == Keeper::Nobody
            && self.stored < self.notifier.store_max()
            && (self.notifier).store(&store::stored_name(&addr), listener.as_fd())
        {
            self.stored += 1;
            keeper = Keeper::Store;
        }
        let listener = match keeper {
            Keeper::Store | Keeper::Unit => listener.kept_by_others(),
            Keeper::Nobody | Keeper::Covering => listener,
        };
        let next = &mut *nexts[engine];
        next.roster.add(&missing, addr, keeper);
        next.change.added.push((listener, missing.service));
    }
}

/// Where each listener comes from, and where those are that were inherited.
struct Settled {
    sources: Vec<Source>,
    addrs: Vec<ListenAddr>,
}

fn adopt(inherited: Inherited, missing: &Missing) -> io::Result<(Listener, Keeper)> {
    let is_stored = store::is_stored(&inherited.name);
    let Inherited { fd, addr, .. } = inherited;
    let listener = Listener::adopt(fd, addr, is_stored, &missing.options)?;
    let keeper = if is_stored {
        Keeper::Store
    } else {
        Keeper::Unit
    };
    Ok((listener, keeper))
}

/// Leaves no path behind of what was bound in vain.
fn give_up(opened: &[Opened]) {
    let bound = opened
        .iter()
        .filter(|opened| opened.keeper == Keeper::Nobody);
    for opened in bound {
        // What can't be removed is replaced by the next who listens there.
        let _removed = opened.listener.unlink();
    }
}

fn cannot_listen(missing: Missing, error: io::Error, ours: &[ListenAddr]) -> StartError {
    let is_in_the_way = |addr: &&ListenAddr| overlap(addr, &missing.addr);
    StartError::Listen {
        beside: ours.iter().find(is_in_the_way).cloned(),
        service: missing.service_name,
        addr: missing.addr,
        error,
    }
}

/// Whether one address is in the way of the other.
fn overlap(one: &ListenAddr, other: &ListenAddr) -> bool {
    let family_and_port = |addr: SocketAddr| (addr.is_ipv4(), addr.port());
    match (one, other) {
        (ListenAddr::Tcp(one), ListenAddr::Tcp(other)) => {
            family_and_port(*one) == family_and_port(*other)
        }
        _ => one == other,
    }
}
