//! The epoll set of one acceptor.
//!
//! Listeners are level-triggered. Connections are one-shot: an event disarms, so a connection
//! that is with a worker raises none; closing its only descriptor takes it out of the set.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

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

/// An epoll set.
#[derive(Debug)]
pub(super) struct Poller {
    epoll: OwnedFd,
    events: Vec<Key>,
}

impl Poller {
    pub(super) fn new() -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        Ok(Self {
            epoll,
            events: Vec::with_capacity(EVENTS_MAX),
        })
    }

    /// Tells of `source` whenever it is readable. Level-triggered.
    pub(super) fn watch(&self, source: impl AsFd, key: Key) -> io::Result<()> {
        Ok(epoll::add(
            &self.epoll,
            source,
            EventData::new_u64(key.into()),
            EventFlags::IN,
        )?)
    }

    /// Goes on telling of a watched source, or stops for a while.
    pub(super) fn pause(&self, source: impl AsFd, key: Key, paused: bool) -> io::Result<()> {
        let flags = if paused {
            EventFlags::empty()
        } else {
            EventFlags::IN
        };
        Ok(epoll::modify(
            &self.epoll,
            source,
            EventData::new_u64(key.into()),
            flags,
        )?)
    }

    /// Tells nothing of a watched source anymore. To be said of one that somebody else holds too:
    /// then our end of it is not its close, which would do (epoll(7)).
    pub(super) fn forget(&self, source: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, source)?)
    }

    /// Tells once of a connection. `is_known`: it was in the set before.
    pub(super) fn arm(
        &self,
        socket: impl AsFd,
        token: Token,
        interest: Interest,
        is_known: bool,
    ) -> io::Result<()> {
        let data = EventData::new_u64(Key::Connection(token).into());
        if is_known {
            Ok(epoll::modify(&self.epoll, socket, data, interest.into())?)
        } else {
            Ok(epoll::add(&self.epoll, socket, data, interest.into())?)
        }
    }

    /// Waits for events, at most for `timeout`; forever without one. A signal ends it early.
    pub(super) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.events.clear();
        let timeout = timeout.map(|timeout| {
            // Up, or a deadline less than a millisecond away would be polled for.
            let milliseconds = timeout.as_nanos().div_ceil(1_000_000).min(1000 * 60 * 60);
            let milliseconds = u64::try_from(milliseconds).expect("invariant: at most an hour");
            Timespec::try_from(Duration::from_millis(milliseconds)).expect("invariant: small")
        });
        let mut buffer = [const { MaybeUninit::<Event>::uninit() }; EVENTS_MAX];
        match epoll::wait(&self.epoll, &mut buffer, timeout.as_ref()) {
            Ok((events, _)) => {
                self.events
                    .extend(events.iter().map(|event| Key::from(event.data.u64())));
                Ok(())
            }
            Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// How many events the last wait gave.
    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    /// Event number `index` of the last wait.
    pub(super) fn event(&self, index: usize) -> Key {
        self.events[index]
    }
}
