//! A thread's inbox: whatever comes to it, in one order.
//!
//! Bounded. Who sleeps in a poller is woken through a descriptor, and only then.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError};
use rustix::event::EventfdFlags;
use rustix::io::Errno;

use crate::bell::Bell;

/// How often the bell is rung if it doesn't: eventfd(2) has no such error, but a tracer may.
const RINGS_MAX: usize = 16;

/// Sends to the thread.
#[derive(Debug)]
pub(crate) struct Outbox<T> {
    tx: Sender<T>,
    bell: Arc<(Bell, OwnedFd)>,
}

impl<T> Clone for Outbox<T> {
    fn clone(&self) -> Self {
        Self {
            tx: self.tx.clone(),
            bell: Arc::clone(&self.bell),
        }
    }
}

/// The thread's end.
#[derive(Debug)]
pub(crate) struct Inbox<T> {
    rx: Receiver<T>,
    bell: Arc<(Bell, OwnedFd)>,
}

/// An inbox for `capacity` messages.
pub(crate) fn inbox<T>(capacity: usize) -> io::Result<(Outbox<T>, Inbox<T>)> {
    let (tx, rx) = crossbeam_channel::bounded(capacity);
    let eventfd = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let bell = Arc::new((Bell::new(), eventfd));
    Ok((
        Outbox {
            tx,
            bell: Arc::clone(&bell),
        },
        Inbox { rx, bell },
    ))
}

impl<T> Outbox<T> {
    /// Sends `message`, and wakes the thread if it sleeps. Gives the message back if there is
    /// no thread anymore.
    pub(crate) fn send(&self, message: T) -> Result<(), T> {
        self.send_quietly(message)?;
        self.ring();
        Ok(())
    }

    fn ring(&self) {
        let (bell, eventfd) = &*self.bell;
        if bell.is_mine_to_ring() {
            // A mark that is off with a bell that has not rung is a thread that sleeps for ever.
            for _ in 0..RINGS_MAX {
                match rustix::io::write(eventfd, &1_u64.to_ne_bytes()) {
                    // EAGAIN: its counter is at its end, so it rings already.
                    Ok(_) | Err(Errno::AGAIN) => return,
                    Err(_) => {}
                }
            }
        }
    }

    /// Sends `message` if there is room for it, and never waits. Gives it back else.
    pub(crate) fn try_send(&self, message: T) -> Result<(), T> {
        self.tx
            .try_send(message)
            .map_err(TrySendError::into_inner)?;
        self.ring();
        Ok(())
    }

    /// Whether fewer than `count` messages fit.
    pub(crate) fn is_nearly_full(&self, count: usize) -> bool {
        let room = (self.tx.capacity()).map_or(usize::MAX, |capacity| capacity - self.tx.len());
        room < count
    }

    /// Sends what the thread need not hear of before it is awake anyway.
    pub(crate) fn send_quietly(&self, message: T) -> Result<(), T> {
        self.tx.send(message).map_err(|error| error.0)
    }
}

impl<T> Inbox<T> {
    /// What the poller has to watch.
    pub(crate) fn source(&self) -> BorrowedFd<'_> {
        self.bell.1.as_fd()
    }

    /// About to sleep: whether that may be, since nothing is here.
    pub(crate) fn lie_down(&self) -> bool {
        self.bell.0.lie_down();
        self.rx.is_empty()
    }

    /// Awake again.
    pub(crate) fn get_up(&self) {
        // Whoever has rung: it looks into the inbox either way.
        let _was_rung = self.bell.0.get_up();
    }

    /// The bell was heard: it is silent again.
    pub(crate) fn hush(&self) {
        // EAGAIN: it was silent.
        let _read = rustix::io::read(&self.bell.1, &mut [0; 8]);
    }

    /// The next message, waiting for it at most so long.
    pub(crate) fn next_within(&self, timeout: Duration) -> Option<T> {
        self.rx.recv_timeout(timeout).ok()
    }

    /// The next message, if there is one.
    pub(crate) fn next(&self) -> Option<T> {
        self.rx.try_recv().ok()
    }
}
