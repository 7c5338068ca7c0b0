//! What a service's commands are like, beside the process itself.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::command::children::Process;

/// One service's commands.
#[derive(Debug)]
pub struct Options {
    /// The service's name.
    pub service: Arc<str>,

    /// What is run.
    pub process: Arc<Process>,

    /// Whether the command reads the request on its standard input; else it is empty.
    pub reads_request: bool,

    /// Whether it sees HTTP's HEAD and leaves out what GET gets: then the two never share an answer.
    pub has_head: bool,

    /// Exit codes that mean an answer.
    pub answers: BTreeSet<u8>,

    /// Commands that run at a time; at least 1.
    pub concurrency: usize,

    /// Requests that wait for one of those to end; one more is turned away.
    pub max_waiting: usize,

    /// Who may share an answer.
    pub sharing: Sharing,
}

/// Who may share an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Nobody: each request has a run of its own.
    Nobody,
    /// Who asks the same while a run is under way, and for a while after it.
    Cached(Caching),
    /// Everyone gets what the last run said.
    Scheduled {
        /// From the start of a run to that of the next.
        every: Duration,

        /// How long an answer is one at most: without a new one until then, something is stuck.
        good_for: Duration,
    },
}

/// How long answers are kept, and for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caching {
    /// From the end of the run.
    pub fresh: Duration,

    /// After that, while a new run is under way.
    pub stale: Duration,

    /// Of a run that failed, from its end.
    pub failure: Duration,

    /// Only those who send the same bytes share.
    pub by_request: bool,

    /// Only those who ask from the same IP address share.
    pub by_peer: bool,
}
