//! `replyd check`: every fault of a configuration at once.

use replyd::config::document::{Position, Spot};
use replyd::config::fault::{Fault, Faults, Severity};
use replyd::config::load::Loaded;
use replyd::server;
use serde::Serialize;

use crate::cli::arguments::{Check, Format};
use crate::cli::{CONFIG, DRAINED, FAILED, print, say, source, tell};

/// Checks the configuration that was named, or the one that replyd would run with.
pub(super) fn check(arguments: &Check) -> u8 {
    let faults = faults(arguments).err();
    let count = |severity| faults.as_ref().map_or(0, |faults| faults.count(severity));
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let name = source::name_of(arguments.file.as_deref());
    match (arguments.format, &faults) {
        (Format::Json, faults) => {
            let faults = faults.as_ref().map_or(&[][..], Faults::as_slice);
            let report = Report {
                file: name,
                errors,
                warnings,
                faults: faults.iter().map(Entry::from).collect(),
            };
            let text = serde_json::to_string(&report);
            let text = text.expect("invariant: text and numbers can be JSON");
            if print(&format!("{text}\n")) != DRAINED {
                return FAILED;
            }
        }
        (Format::Human, None) => say(&format!("{name}: good\n")),
        (Format::Human, Some(faults)) => tell(faults),
    }
    if errors > 0 || arguments.strict && warnings > 0 {
        CONFIG
    } else {
        DRAINED
    }
}

fn faults(arguments: &Check) -> Result<(), Faults> {
    let check = |loaded: &Loaded| {
        let errors = server::check(loaded).map_or_else(Faults::into_vec, |()| Vec::new());
        let warnings = server::warnings(loaded, arguments.offline);
        Faults::none(errors.into_iter().chain(warnings).collect())
    };
    source::load_and(arguments.file.as_deref(), check).map(|_| ())
}

/// What `--format json` prints. Fields are added, but none goes or changes its meaning.
#[derive(Serialize)]
struct Report<'a> {
    file: String,
    errors: usize,
    warnings: usize,
    faults: Vec<Entry<'a>>,
}

/// One fault. A fault of a file as a whole has no line; what has nothing to say is null.
#[derive(Serialize)]
struct Entry<'a> {
    severity: Severity,
    message: &'a str,
    file: &'a str,
    line: Option<usize>,
    column: Option<usize>,
    end_column: Option<usize>,
    label: Option<&'a str>,
    help: Option<&'a str>,
}

impl<'a> From<&'a Fault> for Entry<'a> {
    fn from(fault: &'a Fault) -> Self {
        let position = fault.spot.as_ref().map(Spot::position);
        let part = |part: fn(Position) -> usize| position.map(part);
        Self {
            severity: fault.severity,
            message: &fault.message,
            file: &fault.name,
            line: part(|position| position.line),
            column: part(|position| position.column),
            end_column: part(|position| position.end_column),
            label: Some(fault.label.as_str()).filter(|label| !label.is_empty()),
            help: fault.help.as_deref(),
        }
    }
}
