//! The epoll set of the supervisor: its inbox, SIGCHLD, and the pipes of all runs.
//!
//! Level-triggered throughout; a pipe that is closed is out of the set.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;

use crate::command::children::RunId;

/// Events taken from the kernel at once; the rest comes with the next turn.
const EVENTS_MAX: usize = 256;

/// The longest sleep; whoever has nothing to wait for sleeps again.
const SLEEP_MAX: Duration = Duration::from_secs(60 * 60);

/// One of the three pipes of a run, by the child's name of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    /// We write.
    Stdin,
    /// We read.
    Stdout,
    /// We read.
    Stderr,
}

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// The inbox was rung.
    Inbox,
    /// A child has ended.
    ChildSignal,
    /// A pipe is ready.
    Pipe(RunId, Stream),
}

/// The lowest two bits of a key tell what kind it is; those above, the run.
const KIND_BITS: u32 = 2;
const OTHER: u64 = 3;
const INBOX: u64 = OTHER;
const CHILD_SIGNAL: u64 = 1 << KIND_BITS | OTHER;

impl From<Key> for u64 {
    fn from(key: Key) -> Self {
        match key {
            Key::Inbox => INBOX,
            Key::ChildSignal => CHILD_SIGNAL,
            Key::Pipe(RunId(id), stream) => id << KIND_BITS | stream as u64,
        }
    }
}

impl From<u64> for Key {
    fn from(data: u64) -> Self {
        let pipe = |stream| Self::Pipe(RunId(data >> KIND_BITS), stream);
        match data {
            INBOX => Self::Inbox,
            CHILD_SIGNAL => Self::ChildSignal,
            _ if data & OTHER == Stream::Stdin as u64 => pipe(Stream::Stdin),
            _ if data & OTHER == Stream::Stdout as u64 => pipe(Stream::Stdout),
            _ => pipe(Stream::Stderr),
        }
    }
}

/// An epoll set.
#[derive(Debug)]
pub(super) struct Watch {
    epoll: OwnedFd,
    events: Vec<Key>,
}

impl Watch {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            events: Vec::with_capacity(EVENTS_MAX),
        })
    }

    pub(super) fn add(&self, source: impl AsFd, key: Key) -> io::Result<()> {
        let interest = match key {
            Key::Pipe(_, Stream::Stdin) => EventFlags::OUT,
            _ => EventFlags::IN,
        };
        let data = EventData::new_u64(key.into());
        Ok(epoll::add(&self.epoll, source, data, interest)?)
    }

    /// Tells nothing of a pipe anymore, though it stays open.
    pub(super) fn forget(&self, source: impl AsFd) {
        // It can only not have been in the set, which is as good.
        let _deleted = epoll::delete(&self.epoll, source);
    }

    /// Waits for events, at most for `timeout`. A signal ends it early.
    pub(super) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.events.clear();
        // Up, or a deadline less than a millisecond away would be polled for.
        let timeout = timeout.unwrap_or(SLEEP_MAX).min(SLEEP_MAX);
        let milliseconds = timeout.as_nanos().div_ceil(1_000_000);
        let milliseconds = u64::try_from(milliseconds).expect("invariant: at most an hour");
        let timeout =
            Timespec::try_from(Duration::from_millis(milliseconds)).expect("invariant: small");
        match self.take(&timeout) {
            // Mostly SIGCHLD, whose handler has just made an event of it.
            Err(Errno::INTR) => self.take(&Timespec::default()),
            other => other,
        }?;
        Ok(())
    }

    fn take(&mut self, timeout: &Timespec) -> Result<(), Errno> {
        let mut buffer = [const { MaybeUninit::<Event>::uninit() }; EVENTS_MAX];
        let (events, _) = epoll::wait(&self.epoll, &mut buffer, Some(timeout))?;
        let keys = events.iter().map(|event| Key::from(event.data.u64()));
        self.events.extend(keys);
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_the_kernel() {
        let last = RunId(u64::MAX >> KIND_BITS);
        let pipes = [Stream::Stdin, Stream::Stdout, Stream::Stderr]
            .into_iter()
            .flat_map(|stream| [RunId(0), RunId(1), last].map(|id| Key::Pipe(id, stream)));
        for key in pipes.chain([Key::Inbox, Key::ChildSignal]) {
            assert_eq!(Key::from(u64::from(key)), key);
        }
    }
}
