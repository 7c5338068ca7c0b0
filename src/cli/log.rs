//! The log: events to stderr, by a thread of its own.

use std::io::{self, IsTerminal as _};

use replyd::config::types::Level;
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};

/// Lines that wait for stderr; more are dropped, as nobody is to wait for a log.
const LOG_LINES_MAX: usize = 1024;

/// Writes the log on a thread of its own. What waits is written when the guard is dropped, unless
/// stderr takes nothing.
pub(super) fn to_stderr(level: Level) -> WorkerGuard {
    let level = match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(LOG_LINES_MAX)
        .thread_name("log")
        .finish(io::stderr());
    tracing_subscriber::fmt()
        .with_writer(writer)
        // What it would say to a stderr that is broken panics.
        .log_internal_errors(false)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .with_max_level(level)
        .init();
    guard
}
