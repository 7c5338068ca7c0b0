//! Where tracing's events come in.
//!
//! tracing-subscriber's formats write the end of a line that is in a value as it is, so a record
//! is made of each event here, and written out by the log's thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crossbeam_channel::Sender;
use prometheus::IntCounter;
use tracing::level_filters::LevelFilter;
use tracing::{Event, Metadata, Subscriber, span};

use super::record::Record;
use super::writer::Message;

/// By the number that [`Threshold`] holds.
const LEVELS: [LevelFilter; 5] = [
    LevelFilter::ERROR,
    LevelFilter::WARN,
    LevelFilter::INFO,
    LevelFilter::DEBUG,
    LevelFilter::TRACE,
];

/// The least important level that is still written.
#[derive(Clone, Debug, Default)]
pub(super) struct Threshold(Arc<AtomicUsize>);

impl Threshold {
    /// From now on, in all threads.
    pub(super) fn set(&self, level: LevelFilter) {
        let number = LEVELS
            .iter()
            .position(|known| *known == level)
            .unwrap_or_default();
        self.0.store(number, Relaxed);
        // What is below costs a load and a comparison where it stands: that is asked anew.
        tracing::callsite::rebuild_interest_cache();
    }

    fn get(&self) -> LevelFilter {
        LEVELS[self.0.load(Relaxed)]
    }
}

/// Makes records of events, and drops those that find no room.
#[derive(Debug)]
pub(super) struct Events {
    pub(super) threshold: Threshold,
    pub(super) records: Sender<Message>,
    pub(super) dropped: IntCounter,
}

impl Subscriber for Events {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.threshold.get()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.threshold.get())
    }

    fn event(&self, event: &Event<'_>) {
        if self
            .records
            .try_send(Message::Record(Record::from(event)))
            .is_err()
        {
            self.dropped.inc();
        }
    }

    /// replyd has no spans.
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[cfg(test)]
pub(super) mod tests {
    use crossbeam_channel::Receiver;

    use super::*;

    pub(in crate::cli::log) fn events(records_max: usize) -> (Events, Receiver<Message>) {
        let (records, records_rx) = crossbeam_channel::bounded(records_max);
        let dropped = IntCounter::new("dropped", "Lines.").expect("a name");
        let threshold = Threshold::default();
        threshold.set(LevelFilter::INFO);
        (
            Events {
                threshold,
                records,
                dropped,
            },
            records_rx,
        )
    }

    fn messages(records: &Receiver<Message>) -> Vec<String> {
        let message = |message| match message {
            Message::Record(record) => record.message.as_str().to_owned(),
            Message::Wake => "wake".to_owned(),
        };
        records.try_iter().map(message).collect()
    }

    #[test]
    fn a_record_too_many_is_dropped_and_counted_and_nobody_waits() {
        let (events, records) = events(2);
        let dropped = events.dropped.clone();
        tracing::subscriber::with_default(events, || {
            for number in 0..5 {
                tracing::info!("{number}");
            }
        });
        assert_eq!(messages(&records), ["0", "1"]);
        assert_eq!(dropped.get(), 3);
    }

    #[test]
    fn the_level_can_be_changed_both_ways() {
        let (events, records) = events(8);
        let threshold = events.threshold.clone();
        tracing::subscriber::with_default(events, || {
            for (level, name) in [
                (LevelFilter::INFO, "info"),
                (LevelFilter::ERROR, "error"),
                (LevelFilter::TRACE, "trace"),
                (LevelFilter::INFO, "info"),
            ] {
                threshold.set(level);
                tracing::error!("error at {name}");
                tracing::info!("info at {name}");
                tracing::trace!("trace at {name}");
            }
        });
        let expected = [
            "error at info",
            "info at info",
            "error at error",
            "error at trace",
            "info at trace",
            "trace at trace",
            "error at info",
            "info at info",
        ];
        assert_eq!(messages(&records), expected);
    }
}
