//! Waiting for the peer, or for a reply that comes later.

use std::sync::Arc;
use std::time::Instant;

use crate::engine::acceptor::Acceptor;
use crate::engine::connection::{Connection, Wake};
use crate::engine::room::Wait;
use crate::engine::token::Token;
use crate::engine::transport::Transport;
use crate::reply::Made;

impl Acceptor {
    /// Lets a connection wait, and then hands its job over, so that the answer finds it.
    pub(super) fn wait(&mut self, mut connection: Box<Connection>, wait: Wait, now: Instant) {
        let token = connection.token;
        let has_received = connection.exchange().has_received();
        let deadline = connection.deadline();
        let service = Arc::clone(&connection.service);
        let job = connection.exchange().take_job();
        let was_working = (self.room).wait(token, wait, has_received, Some(deadline));
        debug_assert!(was_working, "a connection has come home twice");
        let is_armed = self.arm(&mut connection, wait);
        self.keep(connection);
        if !is_armed {
            if let Some(job) = job {
                service.discard(job);
            }
            return self.resume(token, Wake::Shed, now);
        }
        let (Some(job), Some(maker)) = (job, &service.maker) else {
            return;
        };
        if maker.is_costly() && self.waiting(token).is_some_and(|it| it.is_peer_gone()) {
            self.resume(token, Wake::Left, now);
        } else if let Err(made) = maker.submit(token, job) {
            self.answer(self.room.service(token), token, Box::new(made), now);
        }
    }

    /// Has the poller tell of it. False: out of memory or of watches, so it can't wait.
    pub(super) fn arm(&self, connection: &mut Connection, wait: Wait) -> bool {
        let interest = Transport::interest(wait, connection.cancels());
        let Some(transport) = connection.transport() else {
            return false;
        };
        let armed = self
            .poller
            .arm(transport, connection.token, interest, connection.is_polled);
        connection.is_polled |= armed.is_ok();
        armed.is_ok()
    }

    pub(super) fn answer(&mut self, service: usize, token: Token, made: Box<Made>, now: Instant) {
        if self.room.waits_for(token) == Some(Wait::Reply)
            && let Some(connection) = self.waiting(token)
        {
            connection.answer(made);
            self.resume(token, Wake::Answered, now);
        } else {
            self.discard_answer(service, *made);
        }
    }

    /// Nobody waits for it anymore.
    pub(super) fn discard_answer(&self, service: usize, made: Made) {
        if let Made::Part {
            more: Some(job), ..
        } = made
            && !job.is_over()
        {
            self.services[service].discard(job);
        }
    }
}
