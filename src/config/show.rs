//! A config as the file that says all of it, and where each key is from.

use std::fmt::Write as _;

use toml::Value;

use crate::config::document::Sources;
use crate::config::load::Loaded;
use crate::config::written;

/// The column of the comments, where the line is not too long for that.
const COMMENT_COLUMN: usize = 40;

/// Writes a `server.toml` with every key, each followed by the file and line it is from. It is the
/// same config when it is read again; what was included is part of it.
#[must_use]
pub fn page(loaded: &Loaded) -> String {
    let mut page = Page {
        sources: &loaded.sources,
        text: "# Every key, and where it is from.\n".to_owned(),
    };
    for (name, value) in written::tables(&loaded.config) {
        match value {
            Value::Array(services) => {
                for (index, service) in services.iter().enumerate() {
                    page.table("[[service]]", Some(index), &[], service);
                }
            }
            table => page.table(&format!("[{name}]"), None, &[&name], &table),
        }
    }
    page.text
}

struct Page<'a> {
    sources: &'a Sources,
    text: String,
}

impl Page<'_> {
    fn table(&mut self, header: &str, service: Option<usize>, steps: &[&str], table: &Value) {
        self.text.push('\n');
        if service.is_some() {
            self.line(header, service, steps);
        } else {
            // Its keys may be written anywhere: `queue.capacity = 5`.
            self.text.push_str(header);
            self.text.push('\n');
        }
        let table = table.as_table().into_iter().flatten();
        for (key, value) in table {
            self.value(
                &written::key(key),
                service,
                &[steps, &[key]].concat(),
                value,
            );
        }
    }

    /// Writes a value, or with dotted keys each value of a table.
    fn value(&mut self, dotted: &str, service: Option<usize>, steps: &[&str], value: &Value) {
        let is_whole = steps.last().is_some_and(|key| written::is_whole(key));
        let table = value.as_table().filter(|table| !table.is_empty());
        if let Some(table) = table.filter(|_| !is_whole) {
            for (key, value) in table {
                let dotted = format!("{dotted}.{}", written::key(key));
                self.value(&dotted, service, &[steps, &[key]].concat(), value);
            }
        } else {
            let line = format!("{dotted} = {}", written::inline(value));
            self.line(&line, service, steps);
        }
    }

    fn line(&mut self, line: &str, service: Option<usize>, steps: &[&str]) {
        let origin = match self.sources.written(service, steps) {
            None => "default".to_owned(),
            Some(spot) => {
                let (line, _) = spot.document.line(spot.span.start);
                format!("{}:{line}", written::escape(&spot.document.name))
            }
        };
        let _infallible = writeln!(self.text, "{line:<COMMENT_COLUMN$}  # {origin}");
    }
}
