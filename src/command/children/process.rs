//! What is run: plain values.

use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Rlimit;

/// What all runs of one command have in common.
#[derive(Clone, Debug)]
pub struct Process {
    /// The program, by its absolute path, and its arguments.
    pub run: Vec<Argument>,

    /// All variables, but for those of a run alone.
    pub environment: Vec<(String, String)>,

    /// Where it is started.
    pub working_directory: PathBuf,

    /// As whom it is started. `None`: as who we are.
    pub identity: Option<Identity>,

    /// From its start until nobody waits for it anymore.
    pub timeout: Duration,

    /// From SIGTERM to SIGKILL.
    pub kill_after: Duration,

    /// What it may write to stdout.
    pub max_output_bytes: usize,

    /// How many descriptors it may have: what we were started with. `None`: as many as we.
    pub descriptors: Option<Rlimit>,
}

/// One argument of a program, or its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Argument {
    /// The same in every run.
    Text(String),

    /// What comes with the request of a run.
    Request,
}

/// A user and a group, without supplementary groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user's number.
    pub uid: u32,

    /// The group's number.
    pub gid: u32,
}

/// What one run is given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Input {
    /// What it can read from stdin. Empty: `/dev/null`.
    pub stdin: Vec<u8>,

    /// What [`Argument::Request`] stands for.
    pub argument: Vec<u8>,

    /// Variables of this run alone; they go before those of its [`Process`].
    pub variables: Vec<(&'static str, String)>,
}
