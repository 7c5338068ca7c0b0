//! Makes the replies that come later.
//!
//! One thread a service: when a disk hangs, that service's replies wait, and nobody else's. Its
//! queue is bounded, and a job that doesn't fit has failed.

use std::fmt;
use std::io;
use std::sync::OnceLock;

use crossbeam_channel::{Receiver, Sender};

use crate::engine::home::Home;
use crate::engine::inbox::Outbox;
use crate::engine::token::Token;
use crate::reply::{Job, Made};

/// Where one service's jobs go.
pub struct Maker {
    jobs: OnceLock<Sender<(Token, Box<Job>)>>,
}

impl Maker {
    /// A maker whose thread is not there yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            jobs: OnceLock::new(),
        }
    }

    /// Starts the thread, for at most `capacity` jobs at a time.
    pub(super) fn start(
        &self,
        service: &str,
        capacity: usize,
        outbox: Outbox<Home>,
    ) -> io::Result<()> {
        let (jobs_tx, jobs_rx) = crossbeam_channel::bounded(capacity);
        std::thread::Builder::new()
            .name(format!("m-{service}").chars().take(15).collect())
            .spawn(move || make(&jobs_rx, &outbox))?;
        self.jobs
            .set(jobs_tx)
            .map_err(|_| io::Error::other("started twice"))
    }

    /// Hands a job over; the answer comes home. Gives it back as failed when there are too many.
    pub(super) fn submit(&self, token: Token, job: Box<Job>) -> Result<(), Made> {
        let jobs = self.jobs.get().ok_or(Made::Failed)?;
        jobs.try_send((token, job)).map_err(|_| Made::Failed)
    }
}

impl Default for Maker {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Maker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Maker").finish_non_exhaustive()
    }
}

/// Ends when the service is gone, or the acceptor.
fn make(jobs: &Receiver<(Token, Box<Job>)>, outbox: &Outbox<Home>) {
    for (token, job) in jobs {
        let made = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| job.run()));
        let made = Box::new(made.unwrap_or(Made::Failed));
        if outbox.send(Home::Answer(token, made)).is_err() {
            return;
        }
    }
}
