//! How a connection ends: closed, cut, turned away, or lingered for; and what is told of it then.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::engine::access_log::AccessRecord;
use crate::engine::clock;
use crate::engine::connection::Connection;
use crate::engine::transport::Transport;
use crate::exchange::outcome::Outcome;

impl Connection {
    /// Closes the socket, whatever the state.
    pub(in crate::engine) fn close(&mut self) {
        self.transport = None;
        if let Some(job) = self.exchange.take_unfinished() {
            self.service.discard(job);
        }
    }

    /// It is turned away: what became of its socket, for who does that.
    pub(in crate::engine) fn turn_away(&mut self, now: Instant) -> Option<Transport> {
        self.exchange.abort(Outcome::Busy);
        self.since = self.age(now);
        self.transport.take()
    }

    /// What was moved while it was turned away.
    pub(in crate::engine) fn turned_away(&mut self, received_bytes: usize, sent_bytes: usize) {
        self.tally.received(received_bytes);
        self.tally.sent(sent_bytes);
    }

    /// Ends it without a word.
    pub(in crate::engine) fn abort(&mut self, outcome: Outcome) {
        self.exchange.abort(outcome);
        self.since = self.age(clock::now());
        if let Some(transport) = &self.transport {
            transport.reset_on_close();
        }
        self.close();
    }

    /// While lingering: throws away what the peer still sends. Whether that is over: the peer has
    /// ended its side, or is gone, or has sent more than it may.
    pub(in crate::engine) fn discard(&mut self, scratch: &mut [u8]) -> bool {
        let Some(transport) = &self.transport else {
            return true;
        };
        match transport.discard(scratch) {
            Ok(0) => true,
            Ok(count) => {
                self.tally.received(count);
                self.service.metrics.received_bytes.inc_by(count as u64);
                let count = u32::try_from(count).unwrap_or(u32::MAX);
                self.lingered_bytes = self.lingered_bytes.saturating_add(count);
                u64::from(self.lingered_bytes) > self.service.linger.max_bytes
            }
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }

    /// Until when to linger, after something was seen of the peer at `now`.
    pub(in crate::engine) fn linger_deadline(&self, now: Instant) -> Instant {
        let linger = &self.service.linger;
        (now + linger.idle).min(self.lingers_since() + linger.total)
    }

    /// What the access log tells of it, once it is closed.
    pub(in crate::engine) fn access_record(&self, at: SystemTime) -> AccessRecord {
        AccessRecord {
            at,
            service: Arc::clone(&self.service.exchange.service),
            peer: self.peer,
            outcome: self.outcome(),
            received_bytes: self.tally.received_bytes(),
            sent_bytes: self.tally.sent_bytes(),
            duration: self.since.into(),
            queue_wait: self.tally.queue_wait(),
        }
    }

    /// Since when it lingers.
    pub(in crate::engine) fn lingers_since(&self) -> Instant {
        self.accepted_at + Duration::from(self.since)
    }
}
