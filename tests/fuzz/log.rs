//! Any text in the log: whatever is told, one record is one line, one object or one entry, with the
//! fields it has and no others, and nothing in it is for a terminal.
//!
//! A module of `src/cli/log`, beside the forms that it looks at.

use std::time::{Duration, SystemTime};

use arbitrary::{Result, Unstructured};
use replyd::config::written::is_hidden;
use tracing::Level;

use super::record::{Record, Text, Value};
use super::{human, journald, json};

/// Inputs in folders.
#[cfg(test)]
#[path = "corpus.rs"]
mod corpus;

/// The names of the fields that a record is given.
const NAMES: [&str; 4] = ["error", "service", "path", "unsaid"];

pub(crate) fn check(bytes: &[u8]) {
    let mut input = Unstructured::new(bytes);
    let Ok(record) = record(&mut input) else {
        return;
    };
    let mut line = String::new();
    human::write(&record, false, &mut line);
    assert_line(&line);
    let mut colored = String::new();
    human::write(&record, true, &mut colored);
    let around_the_level = colored.matches('\u{1b}').count();
    assert_eq!(around_the_level, 2, "{colored:?}");
    assert_object(&record);
    assert_entry(&record);
}

/// A level, a time, and texts that are cut from the rest by 0xff: a message, and fields.
fn record(input: &mut Unstructured<'_>) -> Result<Record> {
    let [level, number]: [u8; 2] = input.arbitrary()?;
    let seconds: u32 = input.arbitrary()?;
    let levels = [
        Level::ERROR,
        Level::WARN,
        Level::INFO,
        Level::DEBUG,
        Level::TRACE,
    ];
    let rest = input.bytes(input.len())?;
    let mut texts = rest.split(|byte| *byte == 0xff);
    let mut text = || String::from_utf8_lossy(texts.next().unwrap_or_default()).into_owned();
    let message = text();
    let mut record = Record::new(
        levels[usize::from(level) % levels.len()],
        "replyd::fuzz",
        &message,
    );
    record.at = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(seconds) << (number & 0x1f));
    for name in &NAMES[..3] {
        let value = Text::of(&text());
        record = record.with(name, Value::Text(value));
    }
    let number = match number >> 6 {
        0 => Value::Unsigned(seconds.into()),
        1 => Value::Signed(-i64::from(seconds)),
        2 => Value::Float(f32::from_bits(seconds).into()),
        _ => Value::Flag(seconds.is_multiple_of(2)),
    };
    Ok(record.with(NAMES[3], number))
}

fn assert_line(line: &str) {
    let line = line.strip_suffix('\n').expect("a line has an end");
    assert!(!line.contains(is_hidden), "{line:?}");
    // From its end, as a message may have anything in it that looks like a field.
    let mut rest = line;
    for name in NAMES.iter().rev() {
        rest = before_field(rest, name);
    }
}

/// What is before the last field of a line, which has this name.
fn before_field<'a>(line: &'a str, name: &str) -> &'a str {
    let quoted = line.strip_suffix('"').map(|within| {
        // The quote that opens is the last one without a backslash before it.
        let is_opening = |at: &usize| {
            let before = &within[..*at];
            let backslashes = before.len() - before.trim_end_matches('\\').len();
            backslashes % 2 == 0
        };
        let opening = within
            .rmatch_indices('"')
            .map(|(at, _)| at)
            .find(is_opening);
        &within[..opening.expect("a quote that opens")]
    });
    let value_start = quoted.map_or_else(
        || line.rfind('=').map(|at| at + 1),
        |before| Some(before.len()),
    );
    let before = &line[..value_start.expect("a field")];
    let before = before
        .strip_suffix('=')
        .and_then(|before| before.strip_suffix(name));
    let before = before.and_then(|before| before.strip_suffix(' '));
    before.unwrap_or_else(|| panic!("no field {name} at the end of {line:?}"))
}

fn assert_object(record: &Record) {
    let mut line = String::new();
    json::write(record, &mut line);
    let line = line.strip_suffix('\n').expect("a line has an end");
    assert!(!line.contains(is_hidden), "{line:?}");
    let object: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(line).expect("an object");
    assert_eq!(object["message"], record.message.as_str());
    for (name, value) in &record.fields {
        if let Value::Text(text) = value {
            assert_eq!(object[*name], text.as_str());
        }
    }
    let has_time = usize::from(object.contains_key("timestamp"));
    assert_eq!(object.len(), record.fields.len() + 3 + has_time, "{line}");
}

/// The journal's own form: names, lengths, values.
fn assert_entry(record: &Record) {
    let mut entry = Vec::new();
    journald::encode(record, &mut entry);
    let mut rest = &entry[..];
    let mut names = Vec::new();
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b'\n').expect("a name");
        let (name, after) = rest.split_at(end);
        let (length, after) = after[1..].split_first_chunk().expect("a length");
        let length = usize::try_from(u64::from_le_bytes(*length)).expect("it fits");
        let value = std::str::from_utf8(&after[..length]).expect("UTF-8");
        assert!(!value.contains(is_hidden), "{value:?}");
        rest = after[length..]
            .strip_prefix(b"\n")
            .expect("the value ends here");
        names.push(std::str::from_utf8(name).expect("UTF-8"));
    }
    let ours = NAMES.map(|name| format!("REPLYD_{}", name.to_uppercase()));
    let all = ["MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER", "REPLYD_TARGET"];
    let expected: Vec<&str> = all
        .into_iter()
        .chain(ours.iter().map(String::as_str))
        .collect();
    assert_eq!(names, expected);
}

#[cfg(test)]
#[test]
fn fuzz_log() {
    corpus::replay("log", check);
}
