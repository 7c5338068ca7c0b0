//! Stopping without losing anyone.

use std::io;
use std::time::{Duration, Instant};

use crate::engine::Report;
use crate::engine::acceptor::arrive::Batch;
use crate::engine::acceptor::{Acceptor, Drain};
use crate::engine::connection::Connection;
use crate::engine::home::Home;
use crate::engine::room::Wait;
use crate::exchange::outcome::Outcome;

/// Connections accepted in one turn from a listener that is about to close.
const LAST_BATCH: usize = 256;

/// How long a worker may take to bring home what it has in hand: a turn is a millisecond.
const LAST_TURN: Duration = Duration::from_millis(100);

impl Acceptor {
    /// Lets nobody new in; accepting goes on for those on the way.
    pub(super) fn stop_newcomers(&mut self, now: Instant) {
        for listening in &self.listeners {
            if let Err(error) = listening.listener.stop_newcomers() {
                // Some systems allow it to root alone. Then newcomers are refused a moment later
                // instead of being unheard; who was let in is served all the same.
                tracing::debug!(listener = %listening.listener.addr(), %error, "newcomers still come");
            }
        }
        self.room.drain(now);
        self.begin_drain();
    }

    /// From now on a listener is closed as soon as the kernel has nothing queued for it.
    pub(super) fn close_listeners(&mut self, until: Instant) {
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
        })
    }

    /// Whether the listeners are to be closed.
    pub(super) fn is_closing(&self) -> bool {
        (self.drain.as_ref()).is_some_and(|drain| drain.until.is_some())
    }

    /// Takes a batch of what is queued from each listener, and closes those that have no more.
    pub(super) fn accept_last(&mut self, now: Instant) -> io::Result<()> {
        for number in (0..self.listeners.len()).rev() {
            if !self.listeners[number].is_paused(now)
                && self.accept_batch(number, LAST_BATCH, now)? == Batch::Last
            {
                // The numbers of the others may change: no event is asked for anymore.
                self.listeners.swap_remove(number);
            }
        }
        Ok(())
    }

    /// The report, when the drain is over.
    pub(super) fn drained(&mut self, now: Instant) -> Option<Report> {
        let drain = self.drain.as_ref()?;
        let until = drain.until?;
        let is_over =
            self.room.open() == 0 && self.listeners.is_empty() && self.turned_away.is_empty();
        if !is_over && now < until {
            return None;
        }
        let mut report = drain.report;
        report.abandoned = self.abandon(now);
        self.publish(now);
        Some(report)
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
            while let Ok(connection) = self.pools[number].unserved.try_recv() {
                abandoned += usize::from(self.cut(connection, false));
            }
        }
        // What the workers have in hand comes home within a turn, but is not to go on.
        while self.room.open() > 0 {
            let left = LAST_TURN.saturating_sub(now.elapsed());
            match self.inbox.next_within(left) {
                Some(Home::Closed(connection) | Home::Lingers(connection)) => {
                    self.cut(connection, true);
                }
                Some(Home::Waits(connection, _) | Home::Again(connection)) => {
                    abandoned += usize::from(self.cut(connection, false));
                }
                Some(Home::Answer(..) | Home::Order(_)) => {}
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
