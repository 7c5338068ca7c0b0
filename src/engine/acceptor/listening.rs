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
    pub(super) is_ready: bool,

    /// How many to accept this time: it grows while there are more, since an accept(2) that finds
    /// nothing costs more than one that succeeds.
    pub(super) batch: usize,
    pub(super) errors_in_a_row: usize,
    pub(super) paused_until: Option<Instant>,
    measured_at: Instant,
    has_queue: bool,
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
            is_ready: false,
            batch: 1,
            errors_in_a_row: 0,
            paused_until: None,
            measured_at: Instant::now(),
            has_queue: false,
        })
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

    /// When it wants something, at the latest.
    fn due(&self) -> Option<Instant> {
        let measure = self.has_queue.then(|| self.measured_at + MEASURE_INTERVAL);
        [self.paused_until, measure].into_iter().flatten().min()
    }

    fn measure(&mut self, now: Instant) {
        let Some(metrics) = &self.metrics else {
            return;
        };
        if now.saturating_duration_since(self.measured_at) < MEASURE_INTERVAL {
            return;
        }
        self.measured_at = now;
        if let Some(queue) = self.listener.queue() {
            self.has_queue = queue.length > 0;
            metrics.queue_length.set(number(queue.length as usize));
            metrics.queue_limit.set(number(queue.limit as usize));
        }
    }
}

impl Acceptor {
    pub(super) fn listener_is_ready(&mut self, number: u32) {
        if let Some(Some(listening)) = self.listeners.get_mut(number as usize) {
            listening.is_ready = true;
        }
    }

    /// When a listener wants something, at the latest.
    pub(super) fn listeners_due(&self) -> Option<Instant> {
        self.listeners
            .iter()
            .flatten()
            .filter_map(Listening::due)
            .min()
    }

    /// Looks at the kernel's queues, now and then, and as long as there is something in them.
    pub(super) fn measure_listeners(&mut self, now: Instant) {
        for listening in self.listeners.iter_mut().flatten() {
            listening.measure(now);
        }
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
