//! Servers beside each other, asked the same by one load generator, by turns.
//!
//! ```text
//!  commands, peers ─▶ servers ─▶ rounds, crowd ─▶ load ─▶ exchange     what is compared, with whom, how often, how hard, asking what
//!     │                            │  └──▶ processor, calls, processes  and at what cost
//!     │                            ▼
//!     └───────▶ statistics ─▶ report, chart, csv                        medians, intervals, verdicts; each measurement
//! ```
//!
//! A module of its own below `main.rs`, so that it can be compiled once more for its tests: a benchmark has no test harness.

mod arguments;
mod calls;
mod chart;
mod commands;
mod crowd;
mod csv;
mod exchange;
mod load;
mod machine;
mod peers;
mod processes;
mod processor;
mod readings;
mod report;
mod rounds;
mod servers;
mod statistics;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Parser as _;
use signal_hook::consts::{SIGINT, SIGTERM};
use tempfile::TempDir;

use arguments::{Arguments, Comparison};

/// Runs the comparison that the arguments name. Fails if it can't, or if a figure is missed or not certain.
pub(crate) fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match &arguments.comparison {
        Comparison::Commands(commands) => commands::run(commands),
        Comparison::Peers(peers) => peers::run(peers),
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

/// Set once this is to end.
fn stopped_by_signals() -> Result<Arc<AtomicBool>, String> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))
            .map_err(|error| format!("signals: {error}"))?;
    }
    Ok(stop)
}

fn scratch() -> Result<TempDir, String> {
    tempfile::tempdir().map_err(|error| format!("no folder for the servers: {error}"))
}

/// Those of `all` that take part, in their order: `only` these, or all if it is empty.
fn wanted(all: &[&'static str], only: &[String]) -> Result<Vec<&'static str>, String> {
    if let Some(unknown) = only.iter().find(|name| !all.contains(&name.as_str())) {
        return Err(format!(
            "no server `{unknown}`; there are {}",
            all.join(", ")
        ));
    }
    let is_wanted = |name: &&str| only.is_empty() || only.iter().any(|wanted| wanted == name);
    Ok(all.iter().copied().filter(is_wanted).collect())
}

/// Writes files with their names, and tells the first of them.
fn write_results(folder: &Path, files: &[(&str, String)]) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for (name, text) in files {
        servers::write(&folder.join(name), text)?;
    }
    let told = files.first().map_or("", |(_, text)| text.as_str());
    say(&format!("\n{told}\nwritten to {}", folder.display()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_or_all_take_part_in_their_order() {
        let all = ["a", "b", "c"];
        assert_eq!(wanted(&all, &[]).expect("all"), all);
        let only = ["c".to_owned(), "a".to_owned()];
        assert_eq!(wanted(&all, &only).expect("two"), ["a", "c"]);
        let unknown = wanted(&all, &["d".to_owned()]).expect_err("no such");
        assert_eq!(unknown, "no server `d`; there are a, b, c");
    }
}
