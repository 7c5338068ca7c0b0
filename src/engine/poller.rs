//! The epoll set of one acceptor.
//!
//! Listeners are level-triggered. Connections are one-shot: an event disarms, so a connection
//! that is with a worker raises none; closing its only descriptor takes it out of the set.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

#[cfg(test)]
use crate::engine::simulation::{handles::SimulatedSource, poller as simulated, world};
use crate::engine::token::{Key, Token};

/// Events taken from the kernel at once; the rest comes with the next turn.
const EVENTS_MAX: usize = 256;

/// What to be told about a connection; errors and hang-ups always are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interest {
    /// Bytes, or the peer's end.
    Readable,
    /// Room for more bytes.
    Writable,
    /// The peer's end, but not bytes.
    Ended,
    /// Nothing.
    Broken,
}

impl From<Interest> for EventFlags {
    fn from(interest: Interest) -> Self {
        EventFlags::ONESHOT
            | match interest {
                Interest::Readable => EventFlags::IN | EventFlags::RDHUP,
                Interest::Writable => EventFlags::OUT,
                Interest::Ended => EventFlags::RDHUP,
                Interest::Broken => EventFlags::empty(),
            }
    }
}

/// What can be watched.
pub(super) trait Watched {
    /// By what the poller knows it.
    fn source(&self) -> Source<'_>;
}

/// By what the poller knows what it watches.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source<'a> {
    /// A descriptor.
    Kernel(BorrowedFd<'a>),
    /// Something in a simulated network.
    #[cfg(test)]
    Simulated(SimulatedSource),
}

impl Watched for BorrowedFd<'_> {
    fn source(&self) -> Source<'_> {
        Source::Kernel(*self)
    }
}

/// An epoll set.
#[derive(Debug)]
pub(super) struct Poller {
    set: Set,
    events: Vec<Key>,
}

#[derive(Debug)]
enum Set {
    Kernel(OwnedFd),
    /// A simulation's.
    #[cfg(test)]
    Simulated,
}

impl Poller {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            set: Set::new()?,
            events: Vec::with_capacity(EVENTS_MAX),
        })
    }

    /// Tells of `source` whenever it is readable. Level-triggered.
    pub(super) fn watch(&self, source: &impl Watched, key: Key) -> io::Result<()> {
        self.set.add(source.source(), key, EventFlags::IN)
    }

    /// Goes on telling of a watched source, or stops for a while.
    pub(super) fn pause(&self, source: &impl Watched, key: Key, paused: bool) -> io::Result<()> {
        let flags = if paused {
            EventFlags::empty()
        } else {
            EventFlags::IN
        };
        self.set.modify(source.source(), key, flags)
    }

    /// Tells nothing of a watched source anymore. To be said of one that somebody else holds too:
    /// then our end of it is not its close, which would do (epoll(7)).
    pub(super) fn forget(&self, source: &impl Watched) -> io::Result<()> {
        self.set.delete(source.source())
    }

    /// Tells once of a connection. `is_known`: it was in the set before.
    pub(super) fn arm(
        &self,
        socket: &impl Watched,
        token: Token,
        interest: Interest,
        is_known: bool,
    ) -> io::Result<()> {
        let (source, key) = (socket.source(), Key::Connection(token));
        if is_known {
            self.set.modify(source, key, interest.into())
        } else {
            self.set.add(source, key, interest.into())
        }
    }

    /// Waits for events, at most for `timeout`; forever without one. A signal ends it early.
    pub(super) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.events.clear();
        let timeout = timeout.map(|timeout| {
            // Up, or a deadline less than a millisecond away would be polled for.
            let milliseconds = timeout.as_nanos().div_ceil(1_000_000).min(1000 * 60 * 60);
            let milliseconds = u64::try_from(milliseconds).expect("invariant: at most an hour");
            Duration::from_millis(milliseconds)
        });
        self.set.wait(timeout, &mut self.events)
    }

    /// How many events the last wait gave.
    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether there may have been more than the last wait gave.
    pub(super) fn is_full(&self) -> bool {
        self.len() == EVENTS_MAX
    }

    /// Event number `index` of the last wait.
    pub(super) fn event(&self, index: usize) -> Key {
        self.events[index]
    }
}

impl Set {
    fn new() -> io::Result<Self> {
        #[cfg(test)]
        if world::is_there() {
            return Ok(Self::Simulated);
        }
        Ok(Self::Kernel(epoll::create(CreateFlags::CLOEXEC)?))
    }

    fn add(&self, source: Source<'_>, key: Key, flags: EventFlags) -> io::Result<()> {
        let data = EventData::new_u64(key.into());
        match (self, source) {
            (Self::Kernel(epoll), Source::Kernel(fd)) => Ok(epoll::add(epoll, fd, data, flags)?),
            #[cfg(test)]
            (_, source) => Ok(simulated::add(source, key, flags)?),
        }
    }

    fn modify(&self, source: Source<'_>, key: Key, flags: EventFlags) -> io::Result<()> {
        let data = EventData::new_u64(key.into());
        match (self, source) {
            (Self::Kernel(epoll), Source::Kernel(fd)) => Ok(epoll::modify(epoll, fd, data, flags)?),
            #[cfg(test)]
            (_, source) => Ok(simulated::modify(source, key, flags)?),
        }
    }

    fn delete(&self, source: Source<'_>) -> io::Result<()> {
        match (self, source) {
            (Self::Kernel(epoll), Source::Kernel(fd)) => Ok(epoll::delete(epoll, fd)?),
            #[cfg(test)]
            (_, source) => Ok(simulated::delete(source)?),
        }
    }

    fn wait(&self, timeout: Option<Duration>, keys: &mut Vec<Key>) -> io::Result<()> {
        let epoll = match self {
            Self::Kernel(epoll) => epoll,
            #[cfg(test)]
            Self::Simulated => {
                simulated::wait(timeout, EVENTS_MAX, keys);
                return Ok(());
            }
        };
        let timeout = timeout.map(|time| Timespec::try_from(time).expect("invariant: small"));
        let mut buffer = [const { MaybeUninit::<Event>::uninit() }; EVENTS_MAX];
        match epoll::wait(epoll, &mut buffer, timeout.as_ref()) {
            Ok((events, _)) => {
                keys.extend(events.iter().map(|event| Key::from(event.data.u64())));
                Ok(())
            }
            Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
