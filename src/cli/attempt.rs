//! `replyd try`: one exchange as the server would have it, and what happened.

mod account;

use std::fs::File;
use std::io::{self, IsTerminal as _, Read, Write};
use std::path::Path;

use replyd::config::log::{self, Level, LogFormat};
use replyd::config::reply::Body;
use replyd::config::types;
use replyd::exchange::outcome::Outcome;
use replyd::server::StartError;
use replyd::server::trial::{Trial, TrialError};

use crate::cli::arguments::Try;
use crate::cli::log::Log;
use crate::cli::{DRAINED, FAILED, USAGE, refuse, say, signals, source};

/// The most bytes of a request that are read: no service takes so many. A chunked body may be twice as long
/// as what is in it.
const REQUEST_BYTES_MAX: u64 = 64 << 20;

/// The reply goes to stdout, what happened to stderr.
pub(super) fn attempt(arguments: &Try) -> u8 {
    let loaded = match source::load(arguments.config.as_deref()) {
        Ok(loaded) => loaded,
        Err(faults) => return refuse(&faults),
    };
    let trial = match Trial::new(loaded, &arguments.service) {
        Ok(trial) => trial,
        Err(TrialError::Unknown(what)) => {
            say(&format!("error: {what}\n"));
            return USAGE;
        }
        Err(TrialError::Start(error)) => return refused(error),
    };
    let file = arguments.request.as_deref();
    let request = match file.map_or_else(|| Ok(Vec::new()), read) {
        Ok(request) => request,
        Err(error) => {
            let name = file.unwrap_or(Path::new("")).display();
            say(&format!(
                "error: cannot read the request from {name}: {error}\n"
            ));
            return FAILED;
        }
    };
    match run(arguments.peer, trial, request) {
        Ok(Outcome::Replied) => DRAINED,
        Ok(_) => FAILED,
        Err(error) => refused(error),
    }
}

fn run(
    peer: Option<replyd::peer::Peer>,
    trial: Trial,
    request: Vec<u8>,
) -> Result<Outcome, StartError> {
    let system = |what| move |error| StartError::System { what, error };
    let leaves = signals::leave(trial.supervisor()).map_err(system("handle signals"))?;
    let log = Log::start(&log_of(trial.table())).map_err(system("start the log"))?;
    let (table, peer) = (trial.table().clone(), peer.unwrap_or(trial.usual_peer()));
    let mut stdout = Watched {
        out: io::stdout().lock(),
        ends_a_line: true,
    };
    let request_bytes = request.len();
    let tried = trial.run(peer, request, &mut stdout, &leaves)?;
    // What it has to tell comes first.
    drop(log);
    if !stdout.ends_a_line && stdout.out.is_terminal() {
        say("\n");
    }
    say(&account::of(&tried, &table, peer, request_bytes));
    Ok(tried.exchange.outcome)
}

/// Says why a reply can't be made. What is wrong with a command is told in any case.
fn log_of(table: &types::Service) -> log::Log {
    let is_command = matches!(table.reply.body, Body::Command(_));
    log::Log {
        level: if is_command {
            Level::Error
        } else {
            Level::Warn
        },
        format: LogFormat::Human,
        ..log::Log::default()
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut request = Vec::new();
    let count = if path == Path::new("-") {
        let stdin = io::stdin().lock();
        stdin
            .take(REQUEST_BYTES_MAX + 1)
            .read_to_end(&mut request)?
    } else {
        let file = File::open(path)?;
        file.take(REQUEST_BYTES_MAX + 1).read_to_end(&mut request)?
    };
    if count as u64 > REQUEST_BYTES_MAX {
        let message = format!("more than {} MiB", REQUEST_BYTES_MAX >> 20);
        return Err(io::Error::other(message));
    }
    Ok(request)
}

fn refused(error: StartError) -> u8 {
    match error {
        StartError::Config(faults) => refuse(&faults),
        error => {
            say(&format!("error: {error}\n"));
            FAILED
        }
    }
}

/// Takes bytes, and knows whether the last one ended a line.
struct Watched<W> {
    out: W,
    ends_a_line: bool,
}

impl<W: Write> Write for Watched<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        if let Some(last) = bytes[..count].last() {
            self.ends_a_line = *last == b'\n';
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
