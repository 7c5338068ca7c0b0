//! Servers beside each other, asked the same by one load generator, by turns.
//!
//! ```text
//!  commands ─▶ servers ─▶ rounds ─▶ load ─▶ exchange     what is compared, with whom, how often, how hard, asking what
//!     │                     │  └──▶ processor            and at what cost
//!     │                     ▼
//!     └──────────────▶ statistics ─▶ report, csv         medians, intervals, verdicts; each measurement
//! ```
//!
//! A module of its own below `main.rs`, so that it can be compiled once more for its tests: a benchmark has no test harness.

mod arguments;
mod commands;
mod csv;
mod exchange;
mod load;
mod machine;
mod processor;
mod report;
mod rounds;
mod servers;
mod statistics;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

use arguments::{Arguments, Comparison};

/// Runs the comparison that the arguments name. Fails if it can't, or if a figure is missed or not certain.
pub(crate) fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match &arguments.comparison {
        Comparison::Commands(options) => commands::run(options),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(fault) => {
            say(&fault);
            ExitCode::FAILURE
        }
    }
}

/// A line of progress.
fn say(line: &str) {
    // Nothing to do about a terminal that is gone.
    let _written = writeln!(std::io::stderr(), "{line}");
}
