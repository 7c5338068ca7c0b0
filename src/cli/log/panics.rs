//! Panics, as lines of the log.
//!
//! By itself Rust writes them to stderr in the thread that panics: a worker would wait for it, and
//! the message may hold what a peer has sent.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{PanicHookInfo, set_hook, take_hook};
use std::thread;

use tracing::Dispatch;
use tracing::subscriber::NoSubscriber;

/// From here on a panic is an event, where somebody takes events.
pub(super) fn tell() {
    let before = take_hook();
    set_hook(Box::new(move |info| {
        let is_heard = !tracing::dispatcher::get_default(Dispatch::is::<NoSubscriber>);
        // Who would write that the log's own thread is gone?
        if is_heard && thread::current().name() != Some(super::THREAD) {
            tell_one(info);
        } else {
            before(info);
        }
    }));
}

fn tell_one(info: &PanicHookInfo<'_>) {
    // RUST_BACKTRACE says whether there is one.
    let backtrace = Backtrace::capture();
    let is_there = backtrace.status() == BacktraceStatus::Captured;
    tracing::error!(
        thread = thread::current().name(),
        at = info.location().map(tracing::field::display),
        backtrace = is_there.then(|| tracing::field::display(&backtrace)),
        "panicked: {}",
        message(info.payload())
    );
}

fn message(payload: &dyn Any) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("it doesn't say why")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::log::human;
    use crate::cli::log::subscriber::tests::events;
    use crate::cli::log::writer::Message;

    #[test]
    fn a_panic_is_one_line_of_the_log() {
        tell();
        let (events, records) = events(8);
        let panics = move || {
            let _taker = tracing::subscriber::set_default(events);
            panic!("what a peer\nhas sent");
        };
        let thread = thread::Builder::new().name("worker-0".to_owned());
        let thread = thread.spawn(panics).expect("started");
        assert!(thread.join().is_err());
        let Ok(Message::Record(record)) = records.try_recv() else {
            panic!("nothing was told");
        };
        let mut line = String::new();
        human::text(&record, &mut line);
        let began = "panicked: what a peer\\nhas sent thread=worker-0 at=src/cli/log/panics.rs:";
        assert!(line.starts_with(began), "{line}");
    }
}
