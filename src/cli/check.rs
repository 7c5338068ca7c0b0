//! `replyd check`: every fault of a configuration at once.

use std::path::Path;

use crate::cli::{DRAINED, refuse, say, source};

/// Checks the configuration that was named, or the one that replyd would run with.
pub(super) fn check(file: Option<&Path>) -> u8 {
    let checked =
        source::load(file).and_then(|loaded| replyd::server::check(&loaded).map(|()| loaded));
    match checked {
        Ok(loaded) => {
            say(&format!("{}: good\n", source::name(&loaded)));
            DRAINED
        }
        Err(faults) => refuse(&faults),
    }
}
