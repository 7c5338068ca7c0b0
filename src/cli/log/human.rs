//! The log for people: time, level, message, then the fields as `name=value`.

use std::fmt::Write as _;

use jiff::Timestamp;
use replyd::config::written::is_hidden;
use tracing::Level;

use super::record::{Record, Value};

/// Ends what [`color`] begins. Source: SGR, ECMA-48 8.3.117.
const PLAIN: &str = "\u{1b}[0m";

/// Adds one line.
pub(super) fn write(record: &Record, has_colors: bool, out: &mut String) {
    let level = record.level;
    // A clock out of jiff's years has no time to tell.
    if let Ok(at) = Timestamp::try_from(record.at) {
        let _written = write!(out, "{at:.6} ");
    }
    let _written = if has_colors {
        write!(out, "{}{level:>5}{PLAIN} ", color(level))
    } else {
        write!(out, "{level:>5} ")
    };
    text(record, out);
    out.push('\n');
}

/// Adds message and fields, in one line without its end.
pub(super) fn text(record: &Record, out: &mut String) {
    escape(record.message.as_str(), &[], out);
    for (name, value) in &record.fields {
        out.push(' ');
        out.push_str(name);
        out.push('=');
        let shown = shown(value);
        if is_word(&shown) {
            out.push_str(&shown);
        } else {
            out.push('"');
            escape(&shown, &['\\', '"'], out);
            out.push('"');
        }
    }
}

/// A value by itself.
pub(super) fn escaped(value: &Value) -> String {
    let mut out = String::new();
    escape(&shown(value), &[], &mut out);
    out
}

fn shown(value: &Value) -> String {
    match value {
        Value::Text(text) => text.as_str().to_owned(),
        Value::Unsigned(number) => number.to_string(),
        Value::Signed(number) => number.to_string(),
        // Never with an exponent.
        Value::Float(number) => number.to_string(),
        Value::Flag(flag) => flag.to_string(),
    }
}

/// Whether a value can go without quotes and be taken for nothing but itself.
pub(in crate::cli) fn is_word(text: &str) -> bool {
    let is_special = |c: char| c.is_whitespace() || is_hidden(c) || matches!(c, '"' | '\\' | '=');
    !text.is_empty() && !text.contains(is_special)
}

/// Adds a text, with a backslash before each of `special`, and what is hidden as Rust writes it.
pub(in crate::cli) fn escape(text: &str, special: &[char], out: &mut String) {
    for character in text.chars() {
        if is_hidden(character) {
            out.extend(character.escape_default());
        } else {
            if special.contains(&character) {
                out.push('\\');
            }
            out.push(character);
        }
    }
}

fn color(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\u{1b}[31m",
        Level::WARN => "\u{1b}[33m",
        Level::INFO => "\u{1b}[32m",
        Level::DEBUG => "\u{1b}[34m",
        Level::TRACE => "\u{1b}[35m",
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::Text;
    use super::super::record::tests::forged;
    use super::*;

    fn line(record: &Record) -> String {
        let mut out = String::new();
        write(record, false, &mut out);
        out
    }

    #[test]
    fn a_line_has_time_level_message_and_fields() {
        let mut record = Record::new(Level::INFO, "replyd", "listening")
            .with("service", Value::Text(Text::of(&"hello")))
            .with("addr", Value::Text(Text::of(&"[::1]:7000")))
            .with("error", Value::Text(Text::of(&"no such file")))
            .with("nothing", Value::Text(Text::of(&"")))
            .with("seconds", Value::Float(3e-6))
            .with("change", Value::Signed(-1))
            .with("ready", Value::Flag(true));
        record.at = forged().at;
        assert_eq!(
            line(&record),
            "1970-01-01T00:00:01.500000Z  INFO listening service=hello addr=[::1]:7000 \
             error=\"no such file\" nothing=\"\" seconds=0.000003 change=-1 ready=true\n"
        );
    }

    #[test]
    fn nothing_that_is_told_can_forge_a_line_or_a_field() {
        const ESCAPED: &str = "a\\r\\n2026-11-22T00:00:00Z ERROR forged\\u{1b}[2J\\u{9b}2J\
            \\u{7f}\\u{0} outcome=replied QUOTED\\u{202e}ä";
        let message = ESCAPED.replace("QUOTED", "\"\\");
        let value = ESCAPED.replace("QUOTED", "\\\"\\\\");
        assert_eq!(
            line(&forged()),
            format!("1970-01-01T00:00:01.500000Z  WARN {message} error=\"{value}\" unsaid=7\n")
        );
    }

    #[test]
    fn colors_are_around_the_level_alone() {
        let mut out = String::new();
        write(&forged(), true, &mut out);
        assert!(out.contains("Z \u{1b}[33m WARN\u{1b}[0m a\\r"), "{out:?}");
        assert_eq!(out.matches('\u{1b}').count(), 2, "{out:?}");
    }
}
