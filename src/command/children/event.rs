//! What becomes of a run.

use std::time::Duration;

/// One run. The number is the owner's, below 2^62, and never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RunId(pub u64);

/// What has happened. Of each run at most one of the first two comes, and then [`Event::Gone`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Its first process has ended by itself.
    Ended(RunId, Ended),

    /// It is not waited for any longer; it is being ended.
    Failed(RunId, Failed),

    /// Its first process is reaped, and its group is killed. Nothing is left of it but what has
    /// left its group, for less than 100 ms more.
    Gone(RunId),
}

/// How a run has ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// How its first process has ended.
    pub end: End,

    /// What it had written until then: all of it, at most [`Process::max_output_bytes`].
    pub stdout: Vec<u8>,

    /// The end of what it had written until then: at most 4 KiB.
    pub stderr: Vec<u8>,

    /// From its start.
    pub duration: Duration,
}

/// How a process has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With this exit code, 0 to 255.
    Exited(i32),

    /// By this signal.
    Signaled(i32),
}

/// What has gone wrong with a run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failed {
    /// What it was.
    pub failure: Failure,

    /// How much it had written until then, without what was too much.
    pub stdout_bytes: usize,

    /// The end of what it had written until then: at most 4 KiB.
    pub stderr: Vec<u8>,

    /// From its start.
    pub duration: Duration,
}

/// Why nobody waits for a run any longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It has written more than [`Process::max_output_bytes`].
    TooLarge,

    /// It was still running after [`Process::timeout`].
    TimedOut,
}
