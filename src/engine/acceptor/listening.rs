//! A listener in the acceptor's hands.

use std::io;
use std::time::{Duration, Instant};

use crate::engine::acceptor::{Acceptor, number};
use crate::engine::listener::Listener;
use crate::engine::poller::Poller;
use crate::engine::token::Key;
use crate::metrics::{ListenerMetrics, Metrics};

/// How often the kernel's queue is looked at.
const MEASURE_INTERVAL: Duration = Duration::from_millis(100);

/// Errors of accept(2) in a row after which a closing listener isn't waited for anymore: ten seconds,
/// with the pauses. The next reload waits for it.
const HOPELESS_ERRORS: usize = 100;

/// Errors of accept(2) in a row that make even harmless ones suspicious.
pub(super) const ERRORS_IN_A_ROW_MAX: usize = 16;

/// Listeners that are looked at in a turn without the poller's having told of them: what is looked at
/// in vain costs a system call.
pub(super) const LISTENERS_PER_LOOK: usize = 16;

/// How far a listener is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Accepting.
    Open,
    /// Nobody new is let in; who was on the way is accepted.
    Retired,
    /// To be closed as soon as the kernel has nothing queued for it.
    Closing,
    /// Not accepting: who comes is for whoever holds it after us.
    Resting,
}

/// A listener in the acceptor's hands.
#[derive(Debug)]
pub(super) struct Listening {
    pub(super) listener: Listener,

    /// The number of its service.
    pub(super) service: usize,
    pub(super) stage: Stage,
    metrics: Option<ListenerMetrics>,

    /// How many to accept this time: it grows while there are more and others are about, since an
    /// accept(2) that finds nothing costs more than one that succeeds.
    pub(super) batch: usize,
    pub(super) errors_in_a_row: usize,
    pub(super) paused_until: Option<Instant>,
}

/// What listeners want beside being accepted from, and when: so a turn looks only at those that the
/// poller tells of, and not at each of a hundred.
#[derive(Debug)]
pub(super) struct Upkeep {
    /// When the first pause ends.
    pause_ends: Option<Instant>,
    measured_at: Instant,

    /// Somebody was in a kernel's queue when they were measured.
    has_queue: bool,

    /// Some are closing.
    pub(super) has_closing: bool,
}

impl Upkeep {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            pause_ends: None,
            measured_at: now,
            has_queue: false,
            has_closing: false,
        }
    }

    /// When something is wanted, at the latest.
    pub(super) fn due(&self) -> Option<Instant> {
        let measure = self.has_queue.then(|| self.measured_at + MEASURE_INTERVAL);
        [self.pause_ends, measure].into_iter().flatten().min()
    }
}

impl Listening {
    /// Begins to watch it.
    pub(super) fn new(
        listener: Listener,
        service: usize,
        number: usize,
        poller: &Poller,
    ) -> io::Result<Self> {
        poller.watch(&listener, key(number))?;
        Ok(Self {
            listener,
            service,
            stage: Stage::Open,
            metrics: None,
            batch: 1,
            errors_in_a_row: 0,
            paused_until: None,
        })
    }

    /// Whether accept(2) has failed for so long that whoever is in the queue is not to be had.
    pub(super) fn is_hopeless(&self) -> bool {
        self.errors_in_a_row >= HOPELESS_ERRORS
    }

    pub(super) fn is_paused(&self, now: Instant) -> bool {
        self.paused_until.is_some_and(|until| now < until)
    }

    /// It is measured for this service from now on.
    pub(super) fn measured_for(&mut self, service_name: &str, metrics: &Metrics) {
        self.metrics = self.listener.queue().map(|queue| {
            let metrics = metrics.listener(service_name, &self.listener.addr().to_string());
            metrics.queue_limit.set(i64::from(queue.limit));
            metrics
        });
    }

    /// Whether nobody is in the kernel's queue, as far as can be told.
    pub(super) fn is_empty(&self) -> bool {
        self.listener.queue().is_some_and(|queue| queue.length == 0)
    }

    /// Looks at the kernel's queue. Whether somebody is in it.
    fn measure(&self) -> bool {
        let Some(metrics) = &self.metrics else {
            return false;
        };
        let Some(queue) = self.listener.queue() else {
            return false;
        };
        metrics.queue_length.set(number(queue.length as usize));
        metrics.queue_limit.set(number(queue.limit as usize));
        queue.length > 0
    }
}

impl Acceptor {
    pub(super) fn listener_is_ready(&mut self, number: u32) {
        self.ready.push(number as usize);
    }

    /// The poller tells in the order in which things happen, and of a crowd that is thousands before a
    /// listener's turn comes: takes some as if it had told of them.
    pub(super) fn look_at_listeners(&mut self) {
        let count = self.listeners.len();
        let numbers = (0..count.min(LISTENERS_PER_LOOK)).map(|step| (self.turn + step) % count);
        for number in numbers {
            let is_wanted = self.listeners[number].as_ref().is_some_and(|listening| {
                listening.stage == Stage::Open && listening.paused_until.is_none()
            });
            if is_wanted && !self.ready.contains(&number) {
                self.ready.push(number);
            }
        }
    }

    /// Looks at the kernel's queues, now and then, and as long as there is something in them.
    pub(super) fn measure_listeners(&mut self, now: Instant) {
        let upkeep = &mut self.upkeep;
        if now.saturating_duration_since(upkeep.measured_at) < MEASURE_INTERVAL {
            return;
        }
        upkeep.measured_at = now;
        upkeep.has_queue = false;
        for listening in self.listeners.iter().flatten() {
            upkeep.has_queue |= listening.measure();
        }
    }

    /// A listener is not accepted from for a while.
    pub(super) fn pause(&mut self, number: usize, until: Instant) -> io::Result<()> {
        if let Some(Some(listening)) = self.listeners.get_mut(number) {
            listening.paused_until = Some(until);
            self.poller.pause(&listening.listener, key(number), true)?;
        }
        self.note_pauses();
        Ok(())
    }

    /// Ends the pauses that are over. The poller tells who has something to accept.
    pub(super) fn unpause(&mut self, now: Instant) -> io::Result<()> {
        if self.upkeep.pause_ends.is_none_or(|ends| ends > now) {
            return Ok(());
        }
        for (number, listening) in self.listeners.iter_mut().enumerate() {
            if let Some(listening) = listening
                && listening.paused_until.is_some_and(|until| until <= now)
            {
                listening.paused_until = None;
                (self.poller).pause(&listening.listener, key(number), false)?;
            }
        }
        self.note_pauses();
        Ok(())
    }

    pub(super) fn note_pauses(&mut self) {
        let listeners = self.listeners.iter().flatten();
        self.upkeep.pause_ends = listeners
            .filter_map(|listening| listening.paused_until)
            .min();
    }

    /// Closes a listener; its number is for another.
    pub(super) fn close_listener(&mut self, number: usize) {
        if let Some(listening) = self.listeners[number].take() {
            // It is watched, so this can't fail.
            let _forgotten = self.poller.forget(&listening.listener);
            let service = &self.services[listening.service].exchange.service;
            let addr = listening.listener.addr().to_string();
            self.metrics.forget_listener(service, &addr);
        }
    }
}

/// What the poller tells of listener `number` by.
pub(super) fn key(number: usize) -> Key {
    Key::Listener(u32::try_from(number).expect("invariant: fewer listeners than 2^32"))
}
