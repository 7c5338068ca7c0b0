//! Stopping without losing anyone.
//!
//! A listener that is ours alone lets nobody new in, and is closed when its queue is empty. One
//! that outlives us (systemd keeps it for our successor) is accepted from as long as others are
//! being served anyway: who comes would wait for the successor else. Then it rests, for a moment,
//! and we are gone if that was enough for everyone to be.

use std::io;
use std::time::{Duration, Instant};

use crate::engine::Report;
use crate::engine::acceptor::Acceptor;
use crate::engine::acceptor::arrive::Batch;
use crate::engine::acceptor::listening::{Listening, Stage, key};
use crate::engine::clock;
use crate::engine::connection::Connection;
use crate::engine::home::Home;
use crate::engine::queue::Task;
use crate::engine::room::Wait;
use crate::exchange::outcome::Outcome;

/// Connections accepted in one turn from a listener that is about to close.
const LAST_BATCH: usize = 256;

/// How long a worker may take to bring home what it has in hand: a turn is a millisecond.
const LAST_TURN: Duration = Duration::from_millis(100);

/// How long listeners that outlive us rest: what a client may have to wait for our successor, and
/// what those have who were accepted last.
pub(super) const REST: Duration = Duration::from_millis(300);

/// How long a peer has at least, after its reply, before the end of a rest closes on it.
const LINGER: Duration = Duration::from_millis(100);

/// What is left for a request of which nothing has come when they begin to rest.
const REST_REQUEST: Duration = Duration::from_millis(200);

/// A drain under way.
#[derive(Debug)]
pub(super) struct Drain {
    /// `None`: still accepting who was on the way.
    pub(super) until: Option<Instant>,
    pub(super) report: Report,

    /// Since when the listeners that outlive us rest.
    resting_since: Option<Instant>,
}

impl Acceptor {
    /// Lets nobody new in at the listeners that are ours alone.
    pub(super) fn stop_newcomers(&mut self, now: Instant) {
        for number in 0..self.listeners.len() {
            if !self.outlives_us(number) {
                self.retire(number, false);
            }
        }
        self.room.drain(now);
        self.begin_drain();
    }

    /// From now on a listener that is ours alone is closed as soon as the kernel has nothing queued
    /// for it. It ends when nothing is open, or at `until`.
    pub(super) fn drain_until(&mut self, until: Instant) {
        self.close_retired();
        self.begin_drain().until = Some(until);
    }

    fn begin_drain(&mut self) -> &mut Drain {
        let drained = self.room.open();
        self.drain.get_or_insert(Drain {
            until: None,
            report: Report {
                drained,
                abandoned: 0,
            },
            resting_since: None,
        })
    }

    /// Takes a batch of what is queued for each listener that is closing, and closes it if there is
    /// no more.
    pub(super) fn accept_from_closing(&mut self, now: Instant) -> io::Result<()> {
        if !self.upkeep.has_closing {
            return Ok(());
        }
        let is_closing = |listening: &mut Listening| listening.stage == Stage::Closing;
        for number in 0..self.listeners.len() {
            let wants_to =
                |listening: &mut Listening| is_closing(listening) && !listening.is_paused(now);
            if !self.listening(number).is_some_and(wants_to) {
                continue;
            }
            let ended = self.accept_batch(number, LAST_BATCH, now)?;
            let is_hopeless = self.listening(number).is_some_and(|it| it.is_hopeless());
            if ended == Batch::Last || is_hopeless {
                self.close_listener(number);
            }
        }
        self.upkeep.has_closing = (self.listeners.iter_mut().flatten()).any(is_closing);
        Ok(())
    }

    /// When the drain wants something, at the latest.
    pub(super) fn drain_due(&self, now: Instant) -> Option<Instant> {
        let Drain {
            until,
            resting_since,
            ..
        } = self.drain.as_ref()?;
        let until = (*until)?;
        let rest = match resting_since {
            Some(since) => *since + REST,
            None => until.checked_sub(REST).unwrap_or(now),
        };
        // Resting at the end: there is nothing to do before it.
        Some(if rest > now { rest.min(until) } else { until })
    }

    /// The report, when the drain is over.
    pub(super) fn drained(&mut self, now: Instant) -> io::Result<Option<Report>> {
        let Some(until) = self.drain.as_ref().and_then(|drain| drain.until) else {
            return Ok(None);
        };
        let is_everyone_gone = self.hand_over(until, now)?;
        let mut listeners = self.listeners.iter().flatten();
        let is_over = is_everyone_gone && listeners.all(|one| one.stage == Stage::Resting);
        if !is_over && now < until {
            return Ok(None);
        }
        let abandoned = self.abandon(now);
        self.publish(now);
        let report = self.begin_drain().report;
        Ok(Some(Report {
            abandoned,
            ..report
        }))
    }

    /// Lets the listeners that outlive us rest when all have gone who were there before, or when
    /// time is up; and wakes them if that wasn't enough for everyone to go. Whether everyone has.
    fn hand_over(&mut self, until: Instant, now: Instant) -> io::Result<bool> {
        let is_everyone_gone = self.room.open() == 0 && self.turned_away.is_empty();
        if !(0..self.listeners.len()).any(|number| self.outlives_us(number)) {
            return Ok(is_everyone_gone);
        }
        let is_last_rest = until.saturating_duration_since(now) <= REST;
        let resting_since = self.begin_drain().resting_since;
        match resting_since {
            None if is_last_rest || self.room.older() == 0 => {
                self.rest(true)?;
                self.room.hurry(Some(now + REST_REQUEST));
                self.begin_drain().resting_since = Some(now);
                Ok(is_everyone_gone)
            }
            None => Ok(false),
            Some(since) if now.saturating_duration_since(since) < REST => Ok(is_everyone_gone),
            // Their replies are out, and for long enough: one that is still sending would lose its.
            Some(_) if self.room.lingering() == self.room.open() => {
                Ok(self.last_linger(now) >= LINGER)
            }
            Some(_) if is_last_rest => Ok(false),
            Some(_) => {
                self.rest(false)?;
                self.room.hurry(None);
                self.begin_drain().resting_since = None;
                Ok(false)
            }
        }
    }

    /// For how long the last of those who linger has.
    fn last_linger(&self, now: Instant) -> Duration {
        let connections = self.connections.iter().flatten();
        let since = connections
            .map(|connection| connection.lingers_since())
            .max();
        since.map_or(Duration::MAX, |since| now.saturating_duration_since(since))
    }

    /// Accepts no more from listeners that outlive us, or does again.
    pub(super) fn rest(&mut self, rests: bool) -> io::Result<()> {
        for number in 0..self.listeners.len() {
            if !self.outlives_us(number) {
                continue;
            }
            if let Some(Some(listening)) = self.listeners.get_mut(number) {
                listening.stage = if rests { Stage::Resting } else { Stage::Open };
                listening.paused_until = None;
                self.poller.pause(&listening.listener, key(number), rests)?;
            }
        }
        self.note_pauses();
        Ok(())
    }

    /// Whether somebody keeps a listener for our successor. One that a change has retired has none.
    fn outlives_us(&self, number: usize) -> bool {
        self.listeners[number].as_ref().is_some_and(|listening| {
            let is_wanted = matches!(listening.stage, Stage::Open | Stage::Resting);
            is_wanted && listening.listener.outlives_us()
        })
    }

    /// Counts what is still open, and ends it. How many were abandoned.
    fn abandon(&mut self, now: Instant) -> usize {
        self.listeners.clear();
        let mut abandoned = 0;
        for token in self.room.open_tokens() {
            // A connection that lingers has its outcome; the others that wait are cut.
            let lingers = self.room.waits_for(token) == Some(Wait::Linger);
            if let Some(connection) = self.take(token) {
                abandoned += usize::from(self.cut(connection, lingers));
            }
        }
        for number in 0..self.pools.len() {
            while let Some(task) = self.pools[number].queue.take_unserved() {
                if let Task::Serve(connection) = task {
                    abandoned += usize::from(self.cut(connection, false));
                }
            }
        }
        // What the workers have in hand comes home within a turn, but is not to go on.
        while self.room.open() > 0 {
            let left = LAST_TURN.saturating_sub(clock::since(now));
            match clock::next_message(&self.inbox, left) {
                Some(Home::Closed(connection) | Home::Lingers(connection)) => {
                    self.cut(connection, true);
                }
                Some(
                    Home::Waits(connection, _) | Home::Again(connection) | Home::Shed(connection),
                ) => {
                    abandoned += usize::from(self.cut(connection, false));
                }
                Some(Home::Answer(service, _, made)) => self.discard_answer(service, *made),
                Some(Home::Order(_)) => {}
                None => break,
            }
        }
        // A worker that is stuck has it for ever.
        for token in self.room.open_tokens() {
            let service = self.room.service(token);
            self.services[service].metrics.closed[Outcome::Abandoned.index()].inc();
            self.room.close(token);
            abandoned += 1;
        }
        abandoned
    }

    /// Closes a connection at the end of the grace period. Whether it was abandoned: one that
    /// `is_finished` has its outcome.
    fn cut(&mut self, mut connection: Box<Connection>, is_finished: bool) -> bool {
        if is_finished {
            connection.close();
        } else {
            connection.abort(Outcome::Abandoned);
        }
        self.count_closed(connection);
        !is_finished
    }
}
