//! The command line: arguments, logs, signals and exit codes. The only place that knows them.

mod arguments;
mod attempt;
mod check;
mod completions;
mod import;
mod log;
mod manual;
mod reload;
mod schema;
mod serve;
mod show;
mod signals;
mod source;

use std::io::{self, IsTerminal as _, Write as _};

use clap::Parser as _;
use replyd::config::fault::Faults;

use crate::cli::arguments::{Arguments, Command};

/// Exit codes. 64 and 78 are those of sysexits.h.
const DRAINED: u8 = 0;
const FAILED: u8 = 1;
const ABANDONED: u8 = 3;
const USAGE: u8 = 64;
const CONFIG: u8 = 78;

/// Does what the arguments say, and returns the exit code.
pub(crate) fn run() -> u8 {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let code = if error.use_stderr() { USAGE } else { DRAINED };
            // Nothing to do about a terminal that is gone.
            let _printed = error.print();
            return code;
        }
    };
    match arguments.command {
        Some(Command::Check(arguments)) => check::check(&arguments),
        Some(Command::Try(arguments)) => attempt::attempt(&arguments),
        Some(Command::Show { file }) => show::show(file.as_deref()),
        Some(Command::Reload { file, admin }) => reload::reload(file.as_deref(), admin.as_ref()),
        Some(Command::Completions { shell }) => completions::completions(shell),
        Some(Command::Manual { page }) => manual::manual(page),
        Some(Command::Import { paths }) => import::import(paths),
        Some(Command::Schema) => schema::schema(),
        None => serve::serve(arguments.config.as_deref()),
    }
}

/// To the terminal, without the decoration of a log.
fn say(text: &str) {
    let _written = io::stderr().write_all(text.as_bytes());
}

/// To whoever reads the output; the exit code that goes with it.
fn print(text: &str) -> u8 {
    match io::stdout().lock().write_all(text.as_bytes()) {
        // `| head` has read enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            say(&format!("cannot write to stdout: {error}\n"));
            FAILED
        }
        _ => DRAINED,
    }
}

/// Tells all faults of a configuration.
fn tell(faults: &Faults) {
    say(&faults.render(io::stderr().is_terminal()));
}

/// Tells all faults of a configuration that can't be run with; the exit code that goes with them.
fn refuse(faults: &Faults) -> u8 {
    tell(faults);
    CONFIG
}
