//! `replyd schema`: what a configuration may say, for editors.

use replyd::config::schema;

use crate::cli::print;

/// Prints the JSON Schema of `server.toml`.
pub(super) fn schema() -> u8 {
    print(&schema::page())
}
