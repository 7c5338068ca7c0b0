//! One line of the log before it has a form: what happened, and the fields that say with what.
//!
//! Bounded when it is made, so that what waits for the log's thread is too.

use std::fmt::{self, Write};
use std::time::SystemTime;

use replyd::engine::access_log::AccessRecord;
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

/// Bytes of one text, message or value; the rest is cut off, and said to be. Six times as many,
/// when all is escaped, go well into one datagram: `net.core.wmem_default` is 208 KiB.
const TEXT_BYTES_MAX: usize = 8 * 1024;

/// What happened.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) at: SystemTime,
    pub(super) level: Level,

    /// Who says so: a module's path, or `access`.
    pub(super) target: &'static str,
    pub(super) message: Text,
    pub(super) fields: Vec<(&'static str, Value)>,
}

/// What a field can hold.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(Text),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Flag(bool),
}

/// A text with a bound. It may hold anything: whoever writes it out escapes it.
#[derive(Clone, Debug, Default)]
pub(super) struct Text {
    text: String,
    bytes_cut: usize,
}

impl Record {
    pub(super) fn new(level: Level, target: &'static str, message: &str) -> Self {
        Self {
            at: SystemTime::now(),
            level,
            target,
            message: Text::of(&message),
            fields: Vec::new(),
        }
    }

    pub(super) fn with(mut self, name: &'static str, value: Value) -> Self {
        self.fields.push((name, value));
        self
    }
}

impl From<&Event<'_>> for Record {
    fn from(event: &Event<'_>) -> Self {
        let metadata = event.metadata();
        let mut record = Self::new(*metadata.level(), metadata.target(), "");
        event.record(&mut record);
        record
    }
}

/// Target of what the access log tells.
const ACCESS: &str = "access";

impl From<AccessRecord> for Record {
    fn from(record: AccessRecord) -> Self {
        let text = |shown: &dyn fmt::Display| Value::Text(Text::of(shown));
        let mut line = Self::new(Level::INFO, ACCESS, "exchange");
        line.at = record.at;
        line.fields = vec![
            ("service", text(&record.service)),
            ("peer", text(&record.peer)),
            ("outcome", text(&record.outcome.label())),
            ("received_bytes", Value::Unsigned(record.received_bytes)),
            ("sent_bytes", Value::Unsigned(record.sent_bytes)),
            (
                "duration_seconds",
                Value::Float(record.duration.as_secs_f64()),
            ),
            (
                "queue_wait_seconds",
                Value::Float(record.queue_wait.as_secs_f64()),
            ),
        ];
        line
    }
}

impl Visit for Record {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, &format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.fields.push((field.name(), Value::Unsigned(value)));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.fields.push((field.name(), Value::Signed(value)));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.fields.push((field.name(), Value::Float(value)));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.fields.push((field.name(), Value::Flag(value)));
    }
}

impl Record {
    fn text(&mut self, field: &Field, shown: &dyn fmt::Display) {
        let text = Text::of(shown);
        if field.name() == "message" {
            self.message = text;
        } else {
            self.fields.push((field.name(), Value::Text(text)));
        }
    }
}

impl Text {
    pub(super) fn of(shown: &dyn fmt::Display) -> Self {
        let mut text = Self::default();
        // Fails only if what is shown does; then so much of it is told.
        let _shown = write!(text, "{shown}");
        if text.bytes_cut > 0 {
            let cut = text.bytes_cut;
            // Past the bound, but once.
            let _shown = write!(text.text, "… ({cut} bytes cut)");
        }
        text
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        let room = TEXT_BYTES_MAX.saturating_sub(self.text.len());
        // What comes after a cut is cut too, though a short character may still fit.
        let mut kept = if self.bytes_cut > 0 {
            0
        } else {
            room.min(part.len())
        };
        while !part.is_char_boundary(kept) {
            kept -= 1;
        }
        self.text.push_str(&part[..kept]);
        self.bytes_cut += part.len() - kept;
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use replyd::exchange::outcome::Outcome;

    use super::*;
    use crate::cli::log::access::tests::record as exchange;
    use crate::cli::log::human;

    /// What a peer would send to forge a line: ends of lines, escapes of terminals in 7 and in 8
    /// bits, a field, a quote, and an override of the direction.
    pub(in crate::cli::log) const FORGED: &str = "a\r\n2026-11-22T00:00:00Z ERROR forged\u{1b}[2J\u{9b}2J\u{7f}\0 outcome=replied \"\\\u{202e}ä";

    /// A record with it in the message and in a field.
    pub(in crate::cli::log) fn forged() -> Record {
        let mut record = Record::new(Level::WARN, "replyd::test", FORGED)
            .with("error", Value::Text(Text::of(&FORGED)))
            .with("unsaid", Value::Unsigned(7));
        record.at = SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(1500);
        record
    }

    #[test]
    fn a_text_is_cut_at_its_bound_between_characters_and_says_so() {
        let long = "ä".repeat(TEXT_BYTES_MAX);
        let text = Text::of(&format_args!("x{long}y"));
        let kept = text.as_str().find('…').expect("it says so");
        assert_eq!(kept, TEXT_BYTES_MAX - 1, "half an ä does not fit");
        let cut = 2 * TEXT_BYTES_MAX + 2 - kept;
        assert!(text.as_str().ends_with(&format!("ä… ({cut} bytes cut)")));
    }

    #[test]
    fn an_exchange_is_told_with_what_it_took() {
        let record = Record::from(exchange("hello", Outcome::Replied, 0));
        let mut line = String::new();
        human::write(&record, false, &mut line);
        assert_eq!(
            line,
            "1970-01-01T00:00:00.000000Z  INFO exchange service=hello peer=unix outcome=replied \
             received_bytes=6 sent_bytes=12 duration_seconds=0.000125 queue_wait_seconds=0.000003\n"
        );
    }

    #[test]
    fn a_text_that_fits_is_told_whole() {
        let whole = "x".repeat(TEXT_BYTES_MAX);
        assert_eq!(Text::of(&whole).as_str(), whole);
    }
}
