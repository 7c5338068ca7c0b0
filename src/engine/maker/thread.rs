//! A thread that makes replies for as long as it takes.
//!
//! One a service: when a disk hangs, that service's replies wait, and nobody else's. Its
//! queue is bounded, and a job that doesn't fit has failed.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

use crossbeam_channel::{Receiver, Sender, TrySendError};

use crate::engine::token::Token;
use crate::reply::{Job, Made};

/// Where one service's jobs go.
pub struct MakerThread {
    work: OnceLock<Sender<Work>>,
}

/// What a maker's thread has to do.
enum Work {
    /// Run a job for somebody.
    Run(Token, Box<Job>),

    /// Drop a job nobody wants anymore: it may hold a file open, whose closing can hang too.
    Discard(Box<Job>),

    /// There will be no more.
    End,
}

impl MakerThread {
    /// A maker whose thread is not there yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            work: OnceLock::new(),
        }
    }

    /// Starts the thread, for at most `capacity` jobs at a time. `answer` takes what came of each,
    /// and says whether there is still someone who wants to know.
    pub(in crate::engine) fn start(
        &self,
        service: &str,
        capacity: usize,
        answer: impl Fn(Token, Box<Made>) -> bool + Send + 'static,
    ) -> io::Result<()> {
        let (work_tx, work_rx) = crossbeam_channel::bounded(capacity);
        std::thread::Builder::new()
            .name(format!("m-{service}").chars().take(15).collect())
            .spawn(move || make(&work_rx, answer))?;
        self.work
            .set(work_tx)
            .map_err(|_| io::Error::other("started twice"))
    }

    /// Hands a job over; the answer comes home. There may be too many: then it has failed.
    pub(in crate::engine) fn submit(&self, token: Token, job: Box<Job>) -> Result<(), Made> {
        let work = self.work.get().ok_or(Made::Failed)?;
        let unsent = work.try_send(Work::Run(token, job)).err();
        match unsent.map(TrySendError::into_inner) {
            None => Ok(()),
            Some(Work::Run(_, job)) => {
                drop_elsewhere(job);
                Err(Made::Failed)
            }
            Some(Work::Discard(_) | Work::End) => Err(Made::Failed),
        }
    }

    /// Ends the thread, once it has done what it was given. What comes later has failed.
    pub(in crate::engine) fn end(&self) {
        if let Some(work) = self.work.get() {
            // Full: it ends with the service, then.
            let _told = work.try_send(Work::End);
        }
    }

    /// Takes a job that nobody wants anymore.
    pub(in crate::engine) fn discard(&self, job: Box<Job>) {
        let unsent = match self.work.get() {
            Some(work) => work.try_send(Work::Discard(job)).err(),
            None => None,
        };
        if let Some(Work::Discard(job)) = unsent.map(TrySendError::into_inner) {
            drop_elsewhere(job);
        }
    }
}

impl Default for MakerThread {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MakerThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MakerThread").finish_non_exhaustive()
    }
}

/// Drops a job on a thread of its own: the file that it may hold open can keep its closer waiting.
pub(in crate::engine) fn drop_elsewhere(job: Box<Job>) {
    let name = "m-discard".to_owned();
    // Without a thread it is dropped here, rather than never.
    let _thread = std::thread::Builder::new()
        .name(name)
        .spawn(move || drop(job));
}

/// Ends when the service is gone, or whoever wants the answers.
fn make(work: &Receiver<Work>, answer: impl Fn(Token, Box<Made>) -> bool) {
    for work in work {
        let (token, job) = match work {
            Work::Run(token, job) => (token, job),
            Work::Discard(job) => {
                drop(job);
                continue;
            }
            Work::End => return,
        };
        let made = catch_unwind(AssertUnwindSafe(|| job.run()));
        if !answer(token, made.unwrap_or_else(|_| Box::new(Made::Failed))) {
            return;
        }
    }
}
