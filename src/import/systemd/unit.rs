//! A unit file and its drop-ins, systemd.syntax(7).
//!
//! No crate: those for INI files keep one value for a key, and units repeat keys on purpose.

use std::path::{Path, PathBuf};

use crate::import::attribute::{Attribute, Attributes, Operator};
use crate::import::files::{ImportError, Reader};

/// The sections of a unit that matter here, and the rest.
#[derive(Debug, Default)]
pub(super) struct Unit {
    /// `[Unit]` and `[Install]`.
    pub(super) general: Attributes,

    /// `[Socket]` or `[Service]`.
    pub(super) main: Attributes,

    /// All of it, in order.
    pub(super) said: Vec<String>,

    /// Lines that are none, or in a section that a unit of this kind doesn't have.
    pub(super) strays: Vec<String>,
}

/// Reads a unit, and what is in the folder `NAME.d` beside it.
pub(super) fn read(reader: &mut Reader, path: &Path) -> Result<Option<Unit>, ImportError> {
    let Some(mut text) = reader.read(path)? else {
        return Ok(None);
    };
    let mut folder = path.as_os_str().to_owned();
    folder.push(".d");
    let folder = PathBuf::from(folder);
    if folder.is_dir() {
        for file in reader.list(&folder)? {
            if file
                .extension()
                .is_some_and(|extension| extension == "conf")
                && let Some(more) = reader.read(&file)?
            {
                text.push('\n');
                text.push_str(&more);
            }
        }
    }
    let is_socket = path.extension().is_some_and(|kind| kind == "socket");
    Ok(Some(parse(
        &text,
        if is_socket { "Socket" } else { "Service" },
    )))
}

/// Reads a unit whose own section is `main_section`.
fn parse(text: &str, main_section: &str) -> Unit {
    let mut unit = Unit::default();
    let (mut general, mut main) = (Vec::new(), Vec::new());
    let mut section = String::new();
    for line in joined(text) {
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'))
        {
            name.clone_into(&mut section);
            continue;
        }
        let Some((key, value)) = line.split_once('=') else {
            unit.strays.push(line);
            continue;
        };
        let attribute = Attribute {
            key: key.trim().to_owned(),
            operator: Operator::Set,
            value: value.trim().to_owned(),
            said: format!("{}={}", key.trim(), value.trim()),
        };
        unit.said.push(attribute.said.clone());
        match section.as_str() {
            own if own == main_section => main.push(attribute),
            "Unit" | "Install" => general.push(attribute),
            _ => unit.strays.push(attribute.said),
        }
    }
    unit.general = Attributes::new(general);
    unit.main = Attributes::new(main);
    unit
}

/// Lines without comments, a `\` at the end joining one with the next.
fn joined(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut open: Option<String> = None;
    for line in text.lines() {
        let line = line.trim();
        // A comment may stand between a line and the one that goes on with it.
        if line.starts_with(['#', ';']) || (line.is_empty() && open.is_none()) {
            continue;
        }
        // An even number of them are escaped ones.
        let backslashes = line.len() - line.trim_end_matches('\\').len();
        let (part, goes_on) = match line.strip_suffix('\\') {
            Some(part) if backslashes % 2 == 1 => (part.trim_end(), true),
            _ => (line, false),
        };
        let whole = match open.take() {
            Some(before) => format!("{before} {part}"),
            None => part.to_owned(),
        };
        if goes_on {
            open = Some(whole);
        } else {
            lines.push(whole);
        }
    }
    lines.extend(open);
    lines
}
