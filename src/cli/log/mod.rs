//! The log: what happens, line by line, to stderr or to systemd's journal.
//!
//! Events become records where they happen, and records become lines in the one thread of the
//! log, which alone waits for whoever takes them.

mod access;
mod human;
mod journald;
mod json;
mod page;
mod panics;
mod record;
mod subscriber;
mod writer;

// What must hold of every record, for `cargo test` here and for libFuzzer there.
#[cfg(test)]
#[path = "../../../tests/fuzz/log.rs"]
mod fuzz;

use std::convert::Infallible;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use replyd::config::log::{self, Level, LogFormat};
use replyd::engine::access_log::AccessLog;
use replyd::metrics::LogMetrics;
use tracing::level_filters::LevelFilter;

pub(super) use crate::cli::log::human::{escape, is_word};

use crate::cli::log::access::Access;
use crate::cli::log::journald::Journal;
use crate::cli::log::page::Waiting;
use crate::cli::log::subscriber::{Events, Threshold};
use crate::cli::log::writer::{Form, Message, RECORDS_MAX, Writer};

/// The name of the thread that writes.
const THREAD: &str = "log";

/// How long the end of the process waits for lines to be written.
const END_MAX: Duration = Duration::from_secs(1);

/// The log, as long as it is kept. What waits is written when it is dropped, unless nobody takes
/// it.
#[derive(Debug)]
pub(super) struct Log {
    control: Control,
    is_over: Arc<AtomicBool>,
    ended: Receiver<Infallible>,
    metrics: LogMetrics,
}

/// Changes what the log tells, while it does.
#[derive(Clone, Debug)]
pub(super) struct Control {
    threshold: Threshold,
    access: Access,
    records: Sender<Message>,
}

impl Log {
    /// Starts its thread. From here on, events of every thread go there.
    ///
    /// # Errors
    /// * out of threads or descriptors
    pub(super) fn start(config: &log::Log) -> io::Result<Self> {
        let metrics = LogMetrics::new();
        let (records, records_rx) = crossbeam_channel::bounded(RECORDS_MAX);
        let (access, access_lines) = Access::new(metrics.dropped.clone());
        let is_over = Arc::new(AtomicBool::new(false));
        let writer = Writer::new(
            records_rx,
            access_lines,
            Arc::clone(&is_over),
            form(config.format)?,
            Waiting(io::stderr()),
            metrics.dropped.clone(),
        );
        let (ended_tx, ended) = crossbeam_channel::bounded(0);
        std::thread::Builder::new()
            .name(THREAD.to_owned())
            .spawn(move || {
                let _tells_the_end: Sender<Infallible> = ended_tx;
                writer.run();
            })?;
        let control = Control {
            threshold: Threshold::default(),
            access,
            records,
        };
        let events = Events {
            threshold: control.threshold.clone(),
            records: control.records.clone(),
            dropped: metrics.dropped.clone(),
        };
        tracing::subscriber::set_global_default(events).map_err(io::Error::other)?;
        panics::tell();
        control.set(config);
        Ok(Self {
            control,
            is_over,
            ended,
            metrics,
        })
    }

    /// Changes it while it runs.
    pub(super) fn control(&self) -> &Control {
        &self.control
    }

    /// Where exchanges are told.
    pub(super) fn access(&self) -> &AccessLog {
        self.control.access.log()
    }

    /// What a scrape is to be told of it.
    pub(super) fn metrics(&self) -> &LogMetrics {
        &self.metrics
    }
}

impl Control {
    /// Takes a new configuration: the level, and which exchanges get a line. The format stays what
    /// it was at the start.
    pub(super) fn set(&self, config: &log::Log) {
        self.threshold.set(match config.level {
            Level::Error => LevelFilter::ERROR,
            Level::Warn => LevelFilter::WARN,
            Level::Info => LevelFilter::INFO,
            Level::Debug => LevelFilter::DEBUG,
            Level::Trace => LevelFilter::TRACE,
        });
        self.access.set(config.access);
        self.wake();
    }

    /// Has the thread look at what was changed. A queue that is full has it awake.
    fn wake(&self) {
        let _sent = self.records.try_send(Message::Wake);
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        self.control.wake();
        // Disconnected when the thread has ended.
        let _ended = self.ended.recv_timeout(END_MAX);
    }
}

fn form(format: LogFormat) -> io::Result<Form> {
    let to_journal = || {
        Ok(Form::Journald(Journal::new(PathBuf::from(
            journald::SOCKET,
        ))?))
    };
    let human = Form::Human {
        has_colors: io::stderr().is_terminal(),
    };
    match format {
        LogFormat::Auto => {
            let stream = std::env::var("JOURNAL_STREAM").ok();
            if journald::is_at(stream.as_deref(), io::stderr()) {
                to_journal()
            } else {
                Ok(human)
            }
        }
        LogFormat::Human => Ok(human),
        LogFormat::Journald => to_journal(),
        LogFormat::Json => Ok(Form::Json),
    }
}
