//! The table `[service.reply.command]`: a program whose output is the reply.
//!
//! What it says is checked here, key by key; `check/command.rs` has the rules that take more than
//! one. Whether the program is there and who may run it depends on the machine, which is not this
//! module's to look at.

/// Its environment.
pub mod environment;
/// Its exit codes.
pub mod exit_status;
/// It and its arguments.
pub mod run;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize, Serializer};

use crate::config::duration::{PositiveSeconds, Seconds};
use crate::config::schema;
use crate::config::value::{self, Account, Whole};

pub(super) use crate::config::command::environment::{Environment, VARIABLES_MAX};
pub(super) use crate::config::command::exit_status::ExitStatus;
pub(super) use crate::config::command::run::{ARGUMENT_BYTES_MAX, ARGUMENTS_MAX, Run, is_request};

/// The most bytes of output that a run may be allowed, 16 MiB: as many as a request's. Each run holds
/// as many in memory.
const OUTPUT_BYTES_MAX: u64 = 16 << 20;

/// The most runs of one service at once: each is a process, with three pipes.
const CONCURRENCY_MAX: u64 = 1024;

/// The most that may wait for a run of one service: as many as there may be connections.
const WAITING_MAX: u64 = 1_000_000;

/// The shortest time from a scheduled run to the next: a process takes milliseconds to start, and a
/// typing error can't take a CPU.
const REFRESH_MIN: Duration = Duration::from_millis(100);

/// `[service.reply.command]`: a program that is run without a shell, and whose output is the reply.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
#[schemars(transform = schema::required_of_command)]
pub struct Command {
    /// The program's absolute path and its arguments. One of them may be "{{ request }}", after a
    /// "--". Required.
    #[serde(with = "Run")]
    pub run: Vec<String>,

    /// What it reads.
    pub stdin: Stdin,

    /// Total, of one run. Never zero, and below the service's `reply_timeout_seconds`.
    #[serde(rename = "timeout_seconds", with = "PositiveSeconds")]
    pub timeout: Duration,

    /// From SIGTERM to SIGKILL. Zero: at once.
    #[serde(rename = "kill_after_seconds", with = "Seconds")]
    pub kill_after: Duration,

    /// Bytes of output; more are a failure.
    #[serde(with = "Whole::<1, OUTPUT_BYTES_MAX>")]
    pub max_output_bytes: usize,

    /// Runs at once.
    #[serde(with = "Whole::<1, CONCURRENCY_MAX>")]
    pub concurrency: usize,

    /// Those that may wait for a run; one more is answered busy.
    #[serde(with = "Whole::<0, WAITING_MAX>")]
    pub max_waiting: usize,

    /// How long one run answers everyone, from its end. Zero: every request has a run of its own.
    #[serde(rename = "cache_seconds", with = "Seconds")]
    pub cache: Duration,

    /// And how long after that, while a new run is under way behind it.
    #[serde(rename = "stale_seconds", with = "Seconds")]
    pub stale: Duration,

    /// From start to start of runs that no request asks for. Zero: requests ask for them.
    #[serde(
        rename = "refresh_seconds",
        serialize_with = "Seconds::serialize",
        deserialize_with = "refresh"
    )]
    #[schemars(with = "Seconds")]
    pub refresh: Duration,

    /// How long a failure answers everyone. Zero: who asks next asks for another run.
    #[serde(rename = "failure_cache_seconds", with = "Seconds")]
    pub failure_cache: Duration,

    /// What a reply that is kept depends on.
    pub cache_key: CacheKey,

    /// What its output is.
    pub output: Output,

    /// The exit codes that are answers, with the status each has over HTTP if `output` is "body".
    /// Of several codes: 2-255 = 500.
    #[serde(with = "ExitStatus")]
    pub exit_status: BTreeMap<u8, u16>,

    /// Its environment, but for the variables that tell of the peer.
    #[serde(with = "Environment")]
    pub environment: BTreeMap<String, String>,

    /// The folder that it is started in, an absolute path.
    #[serde(deserialize_with = "folder")]
    #[schemars(with = "String", regex(pattern = "^/[^\\u0000]*$"))]
    pub working_directory: PathBuf,

    /// Whom it is run as. Empty or left out: whoever replyd is, but for root.
    #[serde(with = "Account")]
    pub user: Option<String>,

    /// Its group, only together with `user`. Empty or left out: the user's own.
    #[serde(with = "Account")]
    pub group: Option<String>,
}

impl Command {
    /// Which argument of `run` the request takes the place of, if one does.
    #[must_use]
    pub fn request_argument(&self) -> Option<usize> {
        self.run.iter().position(|argument| is_request(argument))
    }
}

/// The default of every key that has one; `run` is empty.
impl Default for Command {
    fn default() -> Self {
        let path = ("PATH", "/usr/local/bin:/usr/bin:/bin");
        Self {
            run: Vec::new(),
            stdin: Stdin::Request,
            timeout: Duration::from_secs(10),
            kill_after: Duration::from_secs(1),
            max_output_bytes: 65_536,
            concurrency: 4,
            max_waiting: 1024,
            cache: Duration::ZERO,
            stale: Duration::ZERO,
            refresh: Duration::ZERO,
            failure_cache: Duration::ZERO,
            cache_key: CacheKey::default(),
            output: Output::Raw,
            exit_status: BTreeMap::from([(0, 200), (1, 503)]),
            environment: BTreeMap::from([path].map(|(name, value)| (name.into(), value.into()))),
            working_directory: PathBuf::from("/"),
            user: None,
            group: None,
        }
    }
}

/// What a command reads.
#[derive(Clone, Copy, Debug, Default, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stdin {
    /// The request, byte by byte as it was received.
    #[default]
    Request,
    /// The end of a file.
    Nothing,
}

impl<'de> Deserialize<'de> for Stdin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const WORDS: &[(&str, Stdin)] = &[("request", Stdin::Request), ("nothing", Stdin::Nothing)];
        value::word(deserializer, WORDS)
    }
}

/// What a command's output is.
#[derive(Clone, Copy, Debug, Default, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Output {
    /// The reply, byte by byte.
    #[default]
    Raw,
    /// The content of an HTTP reply, whose head replyd makes.
    Body,
}

impl<'de> Deserialize<'de> for Output {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const WORDS: &[(&str, Output)] = &[("raw", Output::Raw), ("body", Output::Body)];
        value::word(deserializer, WORDS)
    }
}

/// What a reply that is kept depends on; on nothing: it is everyone's.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct CacheKey {
    /// Another request has another reply.
    pub request: bool,

    /// Another IP address has another reply.
    pub peer: bool,
}

/// One word of a `CacheKey`.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Part {
    Request,
    Peer,
}

impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const WORDS: &[(&str, Part)] = &[("request", Part::Request), ("peer", Part::Peer)];
        value::word(deserializer, WORDS)
    }
}

impl<'de> Deserialize<'de> for CacheKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let parts = Vec::<Part>::deserialize(deserializer)?;
        Ok(Self {
            request: parts.contains(&Part::Request),
            peer: parts.contains(&Part::Peer),
        })
    }
}

impl Serialize for CacheKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let parts = [(self.request, "request"), (self.peer, "peer")];
        let parts = parts.into_iter().filter(|(is_part, _)| *is_part);
        serializer.collect_seq(parts.map(|(_, word)| word))
    }
}

/// Reads how often to run. A number of milliseconds that was meant to be seconds would keep a CPU busy.
fn refresh<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let refresh = Seconds::deserialize(deserializer)?;
    if !refresh.is_zero() && refresh < REFRESH_MIN {
        return Err(D::Error::custom(
            "a process is not started that often: 0 (off), or 0.1 and more",
        ));
    }
    Ok(refresh)
}

/// Reads a folder that doesn't depend on another one.
fn folder<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    let path = value::path(deserializer)?.unwrap_or_default();
    if path.is_absolute() {
        return Ok(path);
    }
    Err(D::Error::custom(
        "a relative path: to what, depends on who starts replyd\nwrite the whole path",
    ))
}
