//! What is answered: the keys `reply`, `busy`, `denied`, `failed`, `timed_out`.
//!
//! `status`, `headers` and `content_type` mean something to an HTTP service only; `check.rs`
//! refuses them elsewhere. Templates are taken as text here, and compiled where they are rendered.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::config::command::Command;
use crate::config::header::{self, Headers, Status};
use crate::config::value;

/// The `Content-Type` of a reply that names none.
pub const CONTENT_TYPE: &str = "text/plain; charset=utf-8";

/// The keys of the texts that a service may say: each is a table.
pub const TEXTS: [&str; 6] = [
    "reply",
    "busy",
    "denied",
    "failed",
    "timed_out",
    "maintenance",
];

/// The keys in those tables that only an HTTP service has.
pub const HTTP_KEYS: [&str; 3] = ["status", "headers", "content_type"];

/// `reply`: the answer of a service.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(into = "ReplyTable")]
pub struct Reply {
    /// Where its bytes come from.
    pub body: Body,

    /// 200 to 599.
    pub status: u16,

    /// Name and value, in the order of the file; none that replyd computes.
    pub headers: Vec<(String, String)>,

    /// The value of that header.
    pub content_type: String,
}

/// Where a reply's bytes come from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Body {
    /// A template.
    Text(String),
    /// The request.
    Echo,
    /// A file, its path as written.
    File(PathBuf),
    /// A program's output.
    Command(Box<Command>),
}

impl<'de> Deserialize<'de> for Reply {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let table: ReplyTable = value::table(deserializer, "{ text = \"…\" }")?;
        Ok(table.into())
    }
}

impl Default for Reply {
    fn default() -> Self {
        ReplyTable::default().into()
    }
}

/// The answer: exactly one of `text`, `echo`, `file` and `command`.
// `None` is what is not written.
#[derive(Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ReplyTable {
    /// Constant bytes, or a template if it has placeholders.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    text: Option<String>,

    /// The request; over HTTP its body.
    #[serde(
        skip_serializing_if = "std::ops::Not::not",
        deserialize_with = "value::yes"
    )]
    #[schemars(extend("const" = true))]
    echo: bool,

    /// What this file holds at that moment.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "value::path"
    )]
    #[schemars(with = "String", length(min = 1))]
    file: Option<PathBuf>,

    /// What this program writes to stdout.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "command")]
    #[schemars(with = "Command")]
    command: Option<Box<Command>>,

    /// Of an HTTP reply. Left out: 200.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "header::status"
    )]
    #[schemars(with = "Status")]
    status: Option<u16>,

    /// Of an HTTP reply; none that replyd computes.
    #[serde(with = "Headers")]
    headers: Vec<(String, String)>,

    /// Of an HTTP reply. Left out: plain text in UTF-8.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "header::content_type"
    )]
    #[schemars(with = "String", length(min = 1))]
    content_type: Option<String>,
}

impl From<ReplyTable> for Reply {
    /// That exactly one of the four was given is `check.rs`'s to say: it can point at each.
    fn from(table: ReplyTable) -> Self {
        let body = match (table.file, table.command) {
            (_, Some(command)) => Body::Command(command),
            (Some(file), None) => Body::File(file),
            (None, None) if table.echo => Body::Echo,
            (None, None) => Body::Text(table.text.unwrap_or_default()),
        };
        Self {
            body,
            status: table.status.unwrap_or(200),
            headers: table.headers,
            content_type: table
                .content_type
                .unwrap_or_else(|| CONTENT_TYPE.to_owned()),
        }
    }
}

impl From<Reply> for ReplyTable {
    fn from(reply: Reply) -> Self {
        let mut table = Self {
            status: Some(reply.status),
            headers: reply.headers,
            content_type: Some(reply.content_type),
            ..Self::default()
        };
        match reply.body {
            Body::Text(text) => table.text = Some(text),
            Body::Echo => table.echo = true,
            Body::File(file) => table.file = Some(file),
            Body::Command(command) => table.command = Some(command),
        }
        table
    }
}

/// Reads the table of a command.
fn command<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<Command>>, D::Error> {
    value::table(deserializer, "{ run = [\"/usr/bin/date\", \"-u\"] }").map(Some)
}

/// What is said instead of the reply: `busy`, `denied`, `failed`, `timed_out`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Notice {
    /// A template.
    pub text: String,

    /// 200 to 599.
    pub status: u16,

    /// Name and value, in the order of the file; none that replyd computes.
    #[serde(with = "Headers")]
    pub headers: Vec<(String, String)>,

    /// The value of that header.
    pub content_type: String,
}

impl Notice {
    /// The default of `busy`.
    #[must_use]
    pub fn busy() -> Self {
        Self::new("busy\n", 503)
    }

    /// The default of `denied`.
    #[must_use]
    pub fn denied() -> Self {
        Self::new("denied\n", 403)
    }

    /// The default of `failed`.
    #[must_use]
    pub fn failed() -> Self {
        Self::new("failed\n", 500)
    }

    /// The default of `timed_out`.
    #[must_use]
    pub fn timed_out() -> Self {
        Self::new("timed out\n", 504)
    }

    fn new(text: &str, status: u16) -> Self {
        Self {
            text: text.to_owned(),
            status,
            headers: Vec::new(),
            content_type: CONTENT_TYPE.to_owned(),
        }
    }
}

pub(crate) fn busy<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Notice, D::Error> {
    notice(deserializer, Notice::busy())
}

pub(crate) fn denied<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Notice, D::Error> {
    notice(deserializer, Notice::denied())
}

pub(crate) fn failed<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Notice, D::Error> {
    notice(deserializer, Notice::failed())
}

pub(crate) fn timed_out<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Notice, D::Error> {
    notice(deserializer, Notice::timed_out())
}

/// What is said instead of the reply. What is left out is as it is by default.
#[derive(Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct NoticeTable {
    /// Constant bytes, no template.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    text: Option<String>,

    /// Of an HTTP reply.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "header::status"
    )]
    #[schemars(with = "Status")]
    status: Option<u16>,

    /// Of an HTTP reply; none that replyd computes.
    #[serde(with = "Headers")]
    headers: Vec<(String, String)>,

    /// Of an HTTP reply. Left out: plain text in UTF-8.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "header::content_type"
    )]
    #[schemars(with = "String", length(min = 1))]
    content_type: Option<String>,
}

/// Reads a notice; what the file leaves out is as in `default`.
fn notice<'de, D: Deserializer<'de>>(deserializer: D, default: Notice) -> Result<Notice, D::Error> {
    let table: NoticeTable = value::table(deserializer, "{ text = \"…\" }")?;
    Ok(Notice {
        text: table.text.unwrap_or(default.text),
        status: table.status.unwrap_or(default.status),
        headers: table.headers,
        content_type: table.content_type.unwrap_or(default.content_type),
    })
}
