//! `replyd show`: the configuration with every key, and where each is from.

use std::path::Path;

use replyd::config::show;

use crate::cli::{print, refuse, source};

/// Shows the configuration that was named, or the one that replyd would run with.
pub(super) fn show(file: Option<&Path>) -> u8 {
    match source::load(file) {
        Ok(loaded) => print(&show::page(&loaded)),
        Err(faults) => refuse(&faults),
    }
}
