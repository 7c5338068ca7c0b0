//! Makes the replies that come later: on a thread that may be kept waiting, or by a command.

mod thread;

use std::io;
use std::sync::Arc;

use crate::command::Runner;
#[cfg(test)]
use crate::engine::simulation::handles::SimulatedMaker;
use crate::engine::token::Token;
use crate::metrics::CommandMetrics;
use crate::reply::maintenance::Flag;
use crate::reply::{Job, Made};

pub use crate::engine::maker::thread::MakerThread;
pub(in crate::engine) use crate::engine::maker::thread::drop_elsewhere;

/// Where one service's jobs go.
#[derive(Debug)]
pub enum Maker {
    /// A thread of its own.
    Thread(MakerThread),

    /// The supervisor of commands.
    Command {
        /// The service's side of it.
        runner: Arc<Runner>,
        /// What the runs are counted by.
        metrics: CommandMetrics,
        /// Nothing is run by schedule while this is so.
        maintenance: Option<Arc<Flag>>,
    },

    /// In a simulation, whoever makes its replies there.
    #[cfg(test)]
    #[allow(
        private_interfaces,
        reason = "nobody outside of the engine's tests has it"
    )]
    Simulated(SimulatedMaker),
}

impl Maker {
    /// Begins to make, for at most `capacity` connections at a time. `answer` takes what came of
    /// each job, and says whether there is still someone who wants to know.
    pub(super) fn start(
        &self,
        service: &str,
        capacity: usize,
        answer: impl Fn(Token, Box<Made>) -> bool + Send + 'static,
    ) -> io::Result<()> {
        match self {
            Self::Thread(thread) => thread.start(service, capacity, answer),
            Self::Command {
                runner,
                metrics,
                maintenance,
            } => {
                let maintenance = maintenance.clone();
                let rests = move || maintenance.as_ref().is_some_and(|flag| flag.is_active());
                runner.join(metrics.clone(), rests, move |ticket, delivery| {
                    answer(Token::from(ticket), Box::new(Made::Command(delivery)))
                })
            }
            #[cfg(test)]
            Self::Simulated(_) => Ok(()),
        }
    }

    /// Whether a look at the peer costs less than a job for nobody.
    pub(super) fn is_costly(&self) -> bool {
        match self {
            Self::Thread(_) => false,
            Self::Command { .. } => true,
            #[cfg(test)]
            Self::Simulated(_) => true,
        }
    }

    /// Hands a job over; the answer comes home. There may be too many: then it has failed.
    pub(super) fn submit(&self, token: Token, job: Box<Job>) -> Result<(), Made> {
        match self {
            Self::Thread(thread) => thread.submit(token, job),
            Self::Command { runner, .. } => match *job {
                Job::Command(request) => {
                    runner.submit(token.into(), request).map_err(Made::Command)
                }
                _ => Err(Made::Failed),
            },
            #[cfg(test)]
            Self::Simulated(maker) => maker.submit(token, job),
        }
    }

    /// Who has submitted a job waits no more for what comes of it.
    pub(super) fn leave(&self, token: Token) {
        match self {
            Self::Thread(_) => {}
            Self::Command { runner, .. } => runner.leave(token.into()),
            #[cfg(test)]
            Self::Simulated(maker) => maker.leave(token),
        }
    }

    /// Another service is in the place of this one: nothing is made that nobody has asked for.
    pub(super) fn retire(&self) {
        if let Self::Command { runner, .. } = self {
            runner.retire();
        }
    }

    /// Ends, once it has done what it was given. What comes later has failed.
    pub(super) fn end(&self) {
        match self {
            Self::Thread(thread) => thread.end(),
            Self::Command { runner, .. } => runner.retire(),
            #[cfg(test)]
            Self::Simulated(_) => {}
        }
    }

    /// Takes a job that nobody wants anymore.
    pub(super) fn discard(&self, job: Box<Job>) {
        match self {
            Self::Thread(thread) => thread.discard(job),
            // It holds nothing; or was made for a service that this one has taken the place of.
            Self::Command { .. } if matches!(*job, Job::Command(_)) => {}
            Self::Command { .. } => drop_elsewhere(job),
            #[cfg(test)]
            Self::Simulated(_) => drop(job),
        }
    }
}
