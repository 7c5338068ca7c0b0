//! The committed inputs: what fuzzing has found to matter, and what once went wrong.

use std::collections::BTreeSet;
use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};

/// Where each target has a folder of inputs.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz/corpus");

/// Runs every input of a target, and fails with all that fail.
#[track_caller]
pub(crate) fn replay(target: &str, check: fn(&[u8])) {
    let inputs = files(&Path::new(FOLDER).join(target));
    assert!(inputs.len() > 3, "{target} has {} inputs", inputs.len());
    let failed: Vec<String> = inputs
        .iter()
        .filter_map(|path| failed(path, check))
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// Runs one input: what went wrong.
fn failed(path: &Path, check: fn(&[u8])) -> Option<String> {
    let input = fs::read(path).expect("an input");
    let panic = panic::catch_unwind(AssertUnwindSafe(|| check(&input))).err()?;
    let why = panic.downcast_ref::<String>().map(String::as_str);
    let why = why.or(panic.downcast_ref::<&str>().copied());
    Some(format!("{}: {}", path.display(), why.unwrap_or_default()))
}

/// The targets that have a folder.
#[allow(dead_code, reason = "asked for all targets in one place")]
pub(crate) fn names() -> BTreeSet<String> {
    let name = |path: &PathBuf| {
        path.file_name()
            .map(|name| name.to_string_lossy().into_owned())
    };
    files(Path::new(FOLDER)).iter().filter_map(name).collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    files
}
