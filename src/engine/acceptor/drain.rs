//! Stopping without losing anyone.

use std::time::{Duration, Instant};

use crate::engine::Report;
use crate::engine::acceptor::{Acceptor, Drain};
use crate::engine::home::Home;
use crate::engine::room::Wait;
use crate::exchange::outcome::Outcome;

/// Connections accepted from a listener that is about to close: no kernel queue is longer.
const LAST_BATCH: usize = 65_536;

/// How long a worker may take to bring home what it has in hand: a turn is a millisecond.
const LAST_TURN: Duration = Duration::from_millis(100);

impl Acceptor {
    /// Lets nobody new in; accepting goes on for those on the way.
    pub(super) fn stop_newcomers(&mut self, now: Instant) {
        for listening in &self.listeners {
            if let Err(error) = listening.listener.stop_newcomers() {
                tracing::warn!(listener = %listening.listener.addr(), %error, "cannot stop newcomers");
            }
        }
        self.room.drain(now);
        let report = Report {
            drained: self.room.open(),
            abandoned: 0,
        };
        self.drain.get_or_insert(Drain {
            until: None,
            report,
        });
    }

    /// Takes what the kernel has queued, and closes the listeners.
    pub(super) fn close_listeners(&mut self, until: Instant, now: Instant) {
        for number in 0..self.listeners.len() {
            if let Err(error) = self.accept_batch(number, LAST_BATCH, now) {
                tracing::warn!(%error, "cannot accept what is queued");
            }
        }
        self.listeners.clear();
        let report = Report {
            drained: self.room.open(),
            abandoned: 0,
        };
        self.drain
            .get_or_insert(Drain {
                until: None,
                report,
            })
            .until = Some(until);
    }

    /// The report, when the drain is over.
    pub(super) fn drained(&mut self, now: Instant) -> Option<Report> {
        let drain = self.drain.as_ref()?;
        let until = drain.until?;
        if self.room.open() > 0 && now < until {
            return None;
        }
        let mut report = drain.report;
        report.abandoned = self.abandon(now);
        self.publish(now);
        Some(report)
    }

    /// Counts what is still open, and ends it. How many were abandoned.
    fn abandon(&mut self, now: Instant) -> usize {
        let mut abandoned = 0;
        for token in self.room.open_tokens() {
            // A connection that lingers has its outcome; the others that wait are cut.
            let lingers = self.room.waits_for(token) == Some(Wait::Linger);
            if let Some(mut connection) = self.connections[token.index()].take() {
                if lingers {
                    connection.close();
                } else {
                    connection.abort(Outcome::Abandoned);
                    abandoned += 1;
                }
                self.closed(connection);
            }
        }
        // What is with the workers comes home within a turn; it was not to be continued.
        while self.room.open() > 0 && now.elapsed() < LAST_TURN {
            match self.inbox.next() {
                Some(Home::Closed(connection)) => self.closed(connection),
                Some(Home::Lingers(mut connection)) => {
                    connection.close();
                    self.closed(connection);
                }
                Some(Home::Waits(mut connection, _) | Home::Again(mut connection)) => {
                    connection.abort(Outcome::Abandoned);
                    abandoned += 1;
                    self.closed(connection);
                }
                Some(Home::Answer(..) | Home::Order(_)) => {}
                None => std::thread::yield_now(),
            }
        }
        for token in self.room.open_tokens() {
            let service = self.room.service(token);
            self.services[service].metrics.closed[Outcome::Abandoned.index()].inc();
            self.room.close(token);
            abandoned += 1;
        }
        abandoned
    }
}
