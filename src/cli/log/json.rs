//! The log for programs: one JSON object a line, the fields beside what every line has.

use std::fmt::Write as _;

use jiff::Timestamp;
use replyd::config::written::is_hidden;
use serde::ser::{Serialize, SerializeMap as _, Serializer};

use super::record::{Record, Value};

/// Adds one line.
pub(super) fn write(record: &Record, out: &mut String) {
    let object = serde_json::to_string(record)
        .expect("invariant: writing to memory does not fail and every key is a string");
    // JSON asks for the escape of the first 32 characters alone; the others are within strings too.
    for character in object.chars() {
        if is_hidden(character) {
            let _written = write!(out, "\\u{:04x}", u32::from(character));
        } else {
            out.push(character);
        }
    }
    out.push('\n');
}

/// A field never has the name of what every line has: `timestamp`, `level`, `message`, `target`.
impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        if let Ok(at) = Timestamp::try_from(self.at) {
            object.serialize_entry("timestamp", &format_args!("{at:.6}"))?;
        }
        object.serialize_entry("level", self.level.as_str())?;
        object.serialize_entry("message", self.message.as_str())?;
        for (name, value) in &self.fields {
            object.serialize_entry(name, value)?;
        }
        object.serialize_entry("target", self.target)?;
        object.end()
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text.as_str()),
            Self::Unsigned(number) => serializer.serialize_u64(*number),
            Self::Signed(number) => serializer.serialize_i64(*number),
            Self::Float(number) => serializer.serialize_f64(*number),
            Self::Flag(flag) => serializer.serialize_bool(*flag),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::{FORGED, forged};
    use super::*;

    #[test]
    fn nothing_that_is_told_can_forge_a_line_and_all_of_it_can_be_read_back() {
        let mut out = String::new();
        write(&forged(), &mut out);
        let line = out.strip_suffix('\n').expect("a line");
        assert!(!line.contains(is_hidden), "{line:?}");
        let read: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let expected = serde_json::json!({
            "timestamp": "1970-01-01T00:00:01.500000Z",
            "level": "WARN",
            "message": FORGED,
            "error": FORGED,
            "unsaid": 7,
            "target": "replyd::test",
        });
        assert_eq!(read, expected);
    }
}
