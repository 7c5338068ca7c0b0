//! Signals: SIGINT by ctrlc, SIGTERM and SIGHUP by signal-hook.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use replyd::command::Supervisor;
use replyd::failpoint;
use replyd::server::Reloader;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::cli::{FAILED, say};

/// What is added to a signal's number for the exit code of a second one, which ends the process at once.
const SECOND: i32 = 128;

/// What comes so soon after the first signal is the same one: `timeout` sends it to its child, and
/// then to the child's whole group.
const SAME_SIGNAL: Duration = Duration::from_millis(2);

/// Gets a message at the first SIGINT or SIGTERM; the second one ends commands and the process. SIGHUP asks for
/// a reload.
///
/// ctrlc's `termination` feature would make SIGHUP a stop too, so SIGTERM comes from elsewhere.
pub(super) fn handle(reloader: Reloader, supervisor: &Arc<Supervisor>) -> io::Result<Receiver<()>> {
    let (stop_tx, stop_rx) = crossbeam_channel::bounded(1);
    let stopped_at = Arc::new(OnceLock::new());
    let on_interrupt = stopper(&stop_tx, &stopped_at, supervisor);
    let on_terminate = stopper(&stop_tx, &stopped_at, supervisor);
    // Not try_set_handler: a shell's background job starts with SIGINT ignored, and that refuses.
    let on_interrupt = move || {
        failpoint::reach("signal");
        on_interrupt(SIGINT);
    };
    ctrlc::set_handler(on_interrupt).map_err(io::Error::other)?;
    let mut signals = Signals::new([SIGTERM, SIGHUP])?;
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for signal in signals.forever() {
                failpoint::reach("signal");
                if signal == SIGTERM {
                    on_terminate(SIGTERM);
                } else {
                    reloader.ask();
                }
            }
        })?;
    Ok(stop_rx)
}

/// Gets a message at the first signal that ends a program; the second one ends commands and the process.
pub(super) fn leave(supervisor: &Arc<Supervisor>) -> io::Result<Receiver<()>> {
    let (stop_tx, stop_rx) = crossbeam_channel::bounded(1);
    let on_signal = stopper(&stop_tx, &Arc::default(), supervisor);
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || signals.forever().for_each(on_signal))?;
    Ok(stop_rx)
}

fn stopper(
    stop: &Sender<()>,
    stopped_at: &Arc<OnceLock<Instant>>,
    supervisor: &Arc<Supervisor>,
) -> impl Fn(i32) + Send + use<> {
    let (stop, stopped_at) = (stop.clone(), Arc::clone(stopped_at));
    let ender = Ender(Arc::clone(supervisor));
    move |signal| {
        if stopped_at.get_or_init(Instant::now).elapsed() > SAME_SIGNAL {
            ender.end(SECOND + signal);
        }
        // Full or disconnected: the stop is known already.
        let _told = stop.try_send(());
    }
}

/// Ends the process at once; also if the thread that has it panics, as nobody would hear of a signal anymore.
struct Ender(Arc<Supervisor>);

impl Ender {
    fn end(&self, code: i32) {
        // Commands are in groups of their own: no signal to ours reaches them.
        self.0.stop(Duration::ZERO);
        std::process::exit(code);
    }
}

impl Drop for Ender {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Not by the log, which would not come to it anymore.
            say("replyd: a thread that takes signals has panicked\n");
            self.end(FAILED.into());
        }
    }
}
