//! Makes the replies that come later.
//!
//! One thread a service: when a disk hangs, that service's replies wait, and nobody else's. Its
//! queue is bounded, and a job that doesn't fit has failed.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

use crossbeam_channel::{Receiver, Sender};

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

    /// Starts the thread, for at most `capacity` jobs at a time. `answer` takes what came of each,
    /// and says whether there is still someone who wants to know.
    pub(super) fn start(
        &self,
        service: &str,
        capacity: usize,
        answer: impl Fn(Token, Box<Made>) -> bool + Send + 'static,
    ) -> io::Result<()> {
        let (jobs_tx, jobs_rx) = crossbeam_channel::bounded(capacity);
        std::thread::Builder::new()
            .name(format!("m-{service}").chars().take(15).collect())
            .spawn(move || make(&jobs_rx, answer))?;
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

/// Ends when the service is gone, or whoever wants the answers.
fn make(jobs: &Receiver<(Token, Box<Job>)>, answer: impl Fn(Token, Box<Made>) -> bool) {
    for (token, job) in jobs {
        let made = catch_unwind(AssertUnwindSafe(|| job.run()));
        if !answer(token, Box::new(made.unwrap_or(Made::Failed))) {
            return;
        }
    }
}
