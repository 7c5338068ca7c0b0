//! What a config may say, as a JSON Schema: editors complete and underline by it.
//!
//! It is derived from the types. Here is what serde's own reading does not tell: the ranges and forms
//! of values that are read by hand. A rule that takes more than one key is `check.rs`'s alone.

use std::borrow::Cow;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use crate::config::Config;
use crate::config::address::Address;
use crate::config::command::{
    ARGUMENT_BYTES_MAX, ARGUMENTS_MAX, CacheKey, Environment, ExitStatus, Run, VARIABLES_MAX,
};
use crate::config::duration::{
    PositiveSeconds, SECONDS_MAX, Seconds, USER_TIMEOUT_SECONDS_MAX, UserTimeout, WholeSeconds,
};
use crate::config::framing::{DELIMITER_BYTES_MAX, REQUEST_BYTES_MAX, Read};
use crate::config::header::{HEADERS_MAX, Headers};
use crate::config::maintenance::{Maintenance, MaintenanceTable};
use crate::config::network::Networks;
use crate::config::rate::{RATE_MAX, RATE_MIN, Rate};
use crate::config::reply::{Notice, NoticeTable, Reply, ReplyTable};
use crate::config::types::Service;
use crate::config::value::{Account, LIST_MAX, Name, OneOrMore, Whole};

/// Writes the schema of `server.toml`, draft 2020-12; ends with a newline.
///
/// # Panics
/// Never: a test writes it.
#[must_use]
pub fn page() -> String {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<Config>();
    schema.insert("title".to_owned(), json!("replyd's server.toml"));
    let text = serde_json::to_string_pretty(&schema);
    let text = text.expect("invariant: a schema is JSON");
    format!("{text}\n")
}

/// Says which keys of a service have no default.
pub(super) fn required(schema: &mut Schema) {
    for key in Service::REQUIRED {
        let property = schema.pointer_mut(&format!("/properties/{key}"));
        if let Some(property) = property.and_then(Value::as_object_mut) {
            property.remove("default");
        }
    }
    schema.insert("required".to_owned(), json!(Service::REQUIRED));
}

/// Says that a command without a program is none.
pub(super) fn required_of_command(schema: &mut Schema) {
    if let Some(run) = schema
        .pointer_mut("/properties/run")
        .and_then(Value::as_object_mut)
    {
        run.remove("default");
    }
    schema.insert("required".to_owned(), json!(["run"]));
}

/// Adds the key that is followed while the files are read, and in no type.
pub(super) fn include(schema: &mut Schema) {
    let include = json!({
        "description": "More files, relative to this one: [\"conf.d/*.toml\"]. They hold [[service]] and nothing else.",
        "type": "array",
        "items": { "type": "string" },
        "default": [],
    });
    let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
    if let Some(properties) = properties {
        properties.insert("include".to_owned(), include);
    }
}

/// Describes types whose values are read by hand.
macro_rules! described {
    ($($({ $($generic:tt)* })? $type:ty = $schema:tt)*) => {
        $(impl $(<$($generic)*>)? JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        })*
    };
}

described! {
    { const MIN: u64, const MAX: u64 } Whole<MIN, MAX> = {
        "type": "integer",
        "minimum": MIN,
        "maximum": MAX,
    }
    { const MAX: u64 } WholeSeconds<MAX> = {
        "type": "integer",
        "minimum": 0,
        "maximum": MAX,
    }
    Seconds = {
        "type": "number",
        "minimum": 0,
        "maximum": SECONDS_MAX,
    }
    PositiveSeconds = {
        "type": "number",
        "exclusiveMinimum": 0,
        "maximum": SECONDS_MAX,
    }
    Rate = {
        "type": "number",
        "anyOf": [{ "const": 0 }, { "minimum": RATE_MIN }],
        "minimum": 0,
        "maximum": RATE_MAX,
    }
    UserTimeout = {
        "type": "number",
        "minimum": 0,
        "maximum": USER_TIMEOUT_SECONDS_MAX,
    }
    Name = {
        "type": "string",
        "pattern": "^[a-z0-9_-]{1,63}$",
        "not": { "const": "admin" },
    }
    Account = {
        "type": "string",
        "pattern": "^[^:/\\u0000-\\u001f]*$",
    }
    Address = {
        "type": "string",
        "pattern": "^([0-9.]+:[0-9]{1,5}|\\[[0-9a-fA-F:.]+(%[0-9]+)?\\]:[0-9]{1,5}|unix:/.*[^/])$",
    }
    Networks = {
        "type": "array",
        "items": {
            "type": "string",
            "pattern": "^([0-9.]+|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*)(/[0-9]{1,3})?$",
        },
    }
    Headers = {
        "type": "object",
        "additionalProperties": { "type": "string", "pattern": "^[^\\u0000\\r\\n]*$" },
        "propertyNames": { "pattern": "^[0-9A-Za-z!#$%&'*+.^_`|~-]+$" },
        "maxProperties": HEADERS_MAX,
    }
    Run = {
        "type": "array",
        "items": { "type": "string", "maxLength": ARGUMENT_BYTES_MAX, "pattern": "^[^\\u0000]*$" },
        "minItems": 1,
        "maxItems": ARGUMENTS_MAX,
    }
    CacheKey = {
        "type": "array",
        "items": { "enum": ["request", "peer"] },
    }
    ExitStatus = {
        "type": "object",
        "additionalProperties": { "type": "integer", "minimum": 200, "maximum": 599 },
        "propertyNames": { "pattern": "^[0-9]{1,3}(-[0-9]{1,3})?$" },
        "minProperties": 1,
    }
    Environment = {
        "type": "object",
        "additionalProperties": { "type": "string", "pattern": "^[^\\u0000]*$" },
        "propertyNames": { "pattern": "^[^=\\u0000]+$" },
        "maxProperties": VARIABLES_MAX,
    }
    Read = {
        "anyOf": [
            { "enum": ["nothing", "line", "eof", "http"] },
            {
                "type": "object",
                "properties": {
                    "delimiter": { "type": "string", "minLength": 1, "maxLength": DELIMITER_BYTES_MAX },
                },
                "required": ["delimiter"],
                "additionalProperties": false,
            },
            {
                "type": "object",
                "properties": {
                    "bytes": { "type": "integer", "minimum": 1, "maximum": REQUEST_BYTES_MAX },
                },
                "required": ["bytes"],
                "additionalProperties": false,
            },
        ],
    }
}

impl JsonSchema for OneOrMore {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "OneOrMore".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let address = generator.subschema_for::<Address>();
        json_schema!({
            "anyOf": [
                address,
                { "type": "array", "items": address, "minItems": 1, "maxItems": LIST_MAX },
            ],
        })
    }
}

impl JsonSchema for Reply {
    fn schema_name() -> Cow<'static, str> {
        "Reply".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = ReplyTable::json_schema(generator);
        let exactly_one =
            ["text", "echo", "file", "command"].map(|key| json!({ "required": [key] }));
        schema.insert("oneOf".to_owned(), json!(exactly_one));
        schema
    }
}

impl JsonSchema for Maintenance {
    fn schema_name() -> Cow<'static, str> {
        "Maintenance".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = MaintenanceTable::json_schema(generator);
        schema.insert("required".to_owned(), json!(["file"]));
        schema
    }
}

impl JsonSchema for Notice {
    fn schema_name() -> Cow<'static, str> {
        "Notice".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        NoticeTable::json_schema(generator)
    }
}
