//! A config as tables, with every key written out.
//!
//! The keys and units are those of `server.toml`: what is written here can be read again, and is
//! then the same config.

use std::fmt::{self, Write as _};

use toml::{Table, Value};
use toml_writer::{TomlKeyBuilder, TomlStringBuilder, TomlWrite as _};

use crate::config::Config;
use crate::config::reply::{HTTP_KEYS, TEXTS};

/// Writes a config as tables, in the order of its types. The services are a list under `service`.
///
/// # Panics
/// Never: every value of a config that was read can be written.
#[must_use]
pub fn tables(config: &Config) -> Table {
    let mut root = Table::try_from(config).expect("invariant: a config was read from tables");
    let services = root.get_mut("service").and_then(Value::as_array_mut);
    let services = services.into_iter().flatten();
    for service in services.filter_map(Value::as_table_mut) {
        if service.get("read").and_then(Value::as_str) != Some("http") {
            leave_out_http(service);
        }
        if let Some(reply) = service.get_mut("reply").and_then(Value::as_table_mut) {
            leave_out_head(reply);
        }
    }
    root
}

/// Whether a table is one value: a file that has one has all of it.
pub(crate) fn is_whole(key: &str) -> bool {
    ["environment", "exit_status"].contains(&key)
}

/// Takes out what a service may not say that speaks no HTTP.
fn leave_out_http(service: &mut Table) {
    for text in TEXTS {
        let table = service.get_mut(text).and_then(Value::as_table_mut);
        if let Some(table) = table {
            table.retain(|key, _| !HTTP_KEYS.contains(&key));
        }
    }
}

/// Takes out what the reply of a command may not say: it writes its head itself, or its exit code
/// decides the status.
fn leave_out_head(reply: &mut Table) {
    let Some(command) = reply.get("command").and_then(Value::as_table) else {
        return;
    };
    if command.get("output").and_then(Value::as_str) == Some("body") {
        reply.remove("status");
    } else {
        reply.retain(|key, _| !HTTP_KEYS.contains(&key));
    }
}

/// Writes a value on one line. No character in it can move a terminal's cursor, turn its colour or
/// its direction.
///
/// # Panics
/// Never: a String takes everything.
#[must_use]
pub fn inline(value: &Value) -> String {
    let mut text = String::new();
    write_inline(value, &mut text).expect("invariant: a String takes everything");
    escape(&text)
}

/// Writes a key, in quotes where it has to be.
///
/// # Panics
/// Never: a String takes everything.
#[must_use]
pub fn key(name: &str) -> String {
    let mut text = String::new();
    let key = TomlKeyBuilder::new(name).as_default();
    text.key(key).expect("invariant: a String takes everything");
    escape(&text)
}

fn write_inline(value: &Value, text: &mut String) -> fmt::Result {
    match value {
        Value::String(string) => text.value(TomlStringBuilder::new(string).as_basic()),
        Value::Integer(number) => text.value(number),
        Value::Float(number) => text.value(number),
        Value::Boolean(truth) => text.value(truth),
        Value::Datetime(time) => write!(text, "{time}"),
        Value::Array(list) => {
            text.push('[');
            for (i, element) in list.iter().enumerate() {
                text.push_str(if i == 0 { "" } else { ", " });
                write_inline(element, text)?;
            }
            text.push(']');
            Ok(())
        }
        Value::Table(table) => {
            text.push('{');
            for (i, (name, value)) in table.iter().enumerate() {
                text.push_str(if i == 0 { " " } else { ", " });
                write!(text, "{} = ", key(name))?;
                write_inline(value, text)?;
            }
            text.push_str(if table.is_empty() { "}" } else { " }" });
            Ok(())
        }
    }
}

/// Whether a character could be taken for more than itself, or for nothing: it ends a line, moves the
/// cursor of a terminal, turns the direction of what follows (UAX #9), or has no width. Whoever
/// shows a text escapes it.
#[must_use]
pub fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}' | '\u{61c}' | '\u{feff}'
                | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        )
}

/// Escapes what TOML takes as it is and a terminal does not. In a value or a key, such characters
/// are in strings only.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hidden(c) {
            let _infallible = write!(escaped, "\\u{:04X}", u32::from(c));
        } else {
            escaped.push(c);
        }
    }
    escaped
}
