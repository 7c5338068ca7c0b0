//! What is told, how, and where: the table `[log]`.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::config::value;

/// `[log]`: what is told, and how.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// The least important event still written.
    pub level: Level,

    /// What a line looks like, and where it goes.
    pub format: LogFormat,

    /// Which exchanges get a line.
    pub access: LogAccess,
}

/// What a line of the log looks like, and where it goes.
#[derive(Clone, Copy, Debug, Default, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// The journal if stderr is connected to it, else for people.
    #[default]
    Auto,
    /// For people, to stderr.
    Human,
    /// To systemd's journal, in its native protocol.
    Journald,
    /// One object a line, to stderr.
    Json,
}

impl<'de> Deserialize<'de> for LogFormat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const WORDS: &[(&str, LogFormat)] = &[
            ("auto", LogFormat::Auto),
            ("human", LogFormat::Human),
            ("journald", LogFormat::Journald),
            ("json", LogFormat::Json),
        ];
        value::word(deserializer, WORDS)
    }
}

/// Which exchanges get a line in the log.
#[derive(Clone, Copy, Debug, Default, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogAccess {
    /// None.
    #[default]
    Off,
    /// Those whose peer waited for a reply and didn't get it; some of them if there are many.
    Failures,
    /// Some of every outcome.
    Sampled,
    /// All.
    All,
}

impl<'de> Deserialize<'de> for LogAccess {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const WORDS: &[(&str, LogAccess)] = &[
            ("off", LogAccess::Off),
            ("failures", LogAccess::Failures),
            ("sampled", LogAccess::Sampled),
            ("all", LogAccess::All),
        ];
        value::word(deserializer, WORDS)
    }
}

/// How important an event is; each level includes those before it.
#[derive(Clone, Copy, Debug, Default, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Something is lost.
    Error,
    /// Something needs a look.
    Warn,
    /// What the process does: starts, listens, drains.
    #[default]
    Info,
    /// What a developer wants to know.
    Debug,
    /// All that there is.
    Trace,
}

impl<'de> Deserialize<'de> for Level {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const WORDS: &[(&str, Level)] = &[
            ("error", Level::Error),
            ("warn", Level::Warn),
            ("info", Level::Info),
            ("debug", Level::Debug),
            ("trace", Level::Trace),
        ];
        value::word(deserializer, WORDS)
    }
}
