//! What is said instead of the reply while a file exists: the key `maintenance`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::config::header::{self, Headers, Status};
use crate::config::reply::{CONTENT_TYPE, Notice};
use crate::config::value;

/// The text that an HTTP service says if it names none.
const HTTP_TEXT: &str = "down for maintenance, please try again later\n";

/// The text that any other service says: to HAProxy's agent-check it means just that.
const TEXT: &str = "maint\n";

/// What is said instead of the reply, and while which file exists.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Maintenance {
    /// Its path as written. Never empty.
    pub file: PathBuf,

    /// What is said.
    #[serde(flatten)]
    pub notice: Notice,
}

impl Maintenance {
    /// Takes the text of HTTP for the one that was left out.
    pub(super) fn speak_http(&mut self) {
        HTTP_TEXT.clone_into(&mut self.notice.text);
    }
}

/// Said instead of the reply while a file exists. What is left out is as it is by default.
#[derive(Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct MaintenanceTable {
    /// While there is anything at this path. Required.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "value::path"
    )]
    #[schemars(with = "String", length(min = 1))]
    file: Option<PathBuf>,

    /// Constant bytes, no template. Left out: a sentence over HTTP, else `maint`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    text: Option<String>,

    /// Of an HTTP reply. Left out: 503.
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

impl<'de> Deserialize<'de> for Maintenance {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let table: MaintenanceTable =
            value::table(deserializer, "{ file = \"/run/replyd/hello.down\" }")?;
        let file = table.file.ok_or_else(|| {
            serde::de::Error::custom(
                "it has no `file`\nwrite file = \"/run/replyd/hello.down\": while it exists, this is said",
            )
        })?;
        let notice = Notice {
            text: table.text.unwrap_or_else(|| TEXT.to_owned()),
            status: table.status.unwrap_or(503),
            headers: table.headers,
            content_type: table
                .content_type
                .unwrap_or_else(|| CONTENT_TYPE.to_owned()),
        };
        Ok(Self { file, notice })
    }
}
