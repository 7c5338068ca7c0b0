//! The log's thread: takes what was said from its queue, and writes it.
//!
//! Whoever has something to say never waits: a queue that is full drops it, and counts. This
//! thread alone waits for stderr or the journal, for as long as they like.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::Receiver;
use prometheus::IntCounter;
use tracing::Level;

use super::journald::Journal;
use super::page::Page;
use super::record::{Record, Value};
use super::{access, human, json};

/// Records that wait to be written.
pub(super) const RECORDS_MAX: usize = 1024;

/// Bytes of lines that are written at once.
const PAGE_BYTES: usize = 64 * 1024;

/// What comes to the log's thread.
#[derive(Debug)]
pub(super) enum Message {
    /// To be written.
    Record(Record),
    /// Something else is to be looked at: the settings, or the end.
    Wake,
}

/// How a record is written, and where to.
#[derive(Debug)]
pub(super) enum Form {
    /// For people, to stderr.
    Human { has_colors: bool },
    /// For programs, to stderr.
    Json,
    /// To the journal; for people, to stderr, while there is none.
    Journald(Journal),
}

/// The state of the log's thread.
#[derive(Debug)]
pub(super) struct Writer<W> {
    records: Receiver<Message>,
    access: access::Lines,
    is_over: Arc<AtomicBool>,
    form: Form,
    page: Page<W>,
    dropped: IntCounter,

    /// How many dropped lines the log has told of.
    told: u64,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(
        records: Receiver<Message>,
        access: access::Lines,
        is_over: Arc<AtomicBool>,
        form: Form,
        stderr: W,
        dropped: IntCounter,
    ) -> Self {
        Self {
            records,
            access,
            is_over,
            form,
            page: Page::new(stderr),
            dropped,
            told: 0,
        }
    }

    /// Runs until `is_over`; what was said before that is written.
    pub(super) fn run(mut self) {
        loop {
            // Before the queue: who wakes this thread sets it first, and what was said before that
            // is in there.
            let is_over = self.is_over.load(Ordering::Acquire);
            let message = if is_over {
                self.records.try_recv().ok()
            } else if self.access.is_on() {
                self.records.recv_timeout(access::INTERVAL).ok()
            } else {
                self.records.recv().ok()
            };
            for _ in 0..self.access.waiting() {
                if let Some(record) = self.access.next() {
                    self.write(&record.into());
                }
            }
            if let Some(message) = message {
                self.take(message);
            }
            // No more than were there: new ones are the next turn's.
            for _ in 0..RECORDS_MAX {
                let Ok(message) = self.records.try_recv() else {
                    break;
                };
                self.take(message);
            }
            self.flush();
            self.tell_dropped();
            if is_over {
                return;
            }
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Record(record) => self.write(&record),
            Message::Wake => {}
        }
    }

    fn write(&mut self, record: &Record) {
        match &mut self.form {
            Form::Human { has_colors } => human::write(record, *has_colors, self.page.lines()),
            Form::Json => json::write(record, self.page.lines()),
            Form::Journald(journal) => match journal.send(record) {
                Ok(()) => return,
                Err(_) => human::write(record, false, self.page.lines()),
            },
        }
        if self.page.lines().len() >= PAGE_BYTES {
            self.flush();
        }
    }

    /// Says how many lines are missing, as soon as something can be said again. What says so is no
    /// such line itself.
    fn tell_dropped(&mut self) {
        let dropped = self.dropped.get();
        if dropped == self.told {
            return;
        }
        let lines = Value::Unsigned(dropped - self.told);
        let message = "lines of the log were dropped";
        self.write(&Record::new(Level::WARN, module_path!(), message).with("lines", lines));
        if self.page.flush() == 0 {
            self.told = dropped;
        }
    }

    /// A stderr that can't be written loses what was for it: that is counted, and changes nothing.
    fn flush(&mut self) {
        self.dropped.inc_by(self.page.flush());
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use crossbeam_channel::Sender;

    use super::*;

    /// A stderr that can be broken and mended.
    #[derive(Clone, Debug, Default)]
    struct Stderr {
        is_broken: Arc<AtomicBool>,
        written: Arc<std::sync::Mutex<Vec<u8>>>,
    }

    impl Write for Stderr {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.is_broken.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            self.written.lock().expect("not poisoned").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Stderr {
        /// What was written, without time stamps.
        fn lines(&self) -> Vec<String> {
            let written = self.written.lock().expect("not poisoned");
            let text = str::from_utf8(&written).expect("UTF-8");
            let lines = text
                .lines()
                .map(|line| line.split_once(' ').expect("a time").1.to_owned());
            lines.collect()
        }
    }

    fn writer(form: Form, stderr: &Stderr) -> (Writer<Stderr>, Sender<Message>, IntCounter) {
        let (records_tx, records) = crossbeam_channel::bounded(RECORDS_MAX);
        let dropped = IntCounter::new("dropped", "Lines.").expect("a name");
        let (_, access) = access::Access::new(dropped.clone());
        let over = Arc::new(AtomicBool::new(true));
        let writer = Writer::new(records, access, over, form, stderr.clone(), dropped.clone());
        (writer, records_tx, dropped)
    }

    fn say(records: &Sender<Message>, message: &str) {
        let record = Record::new(Level::INFO, "test", message);
        records
            .send(Message::Record(record))
            .expect("there is room");
    }

    #[test]
    fn what_waits_at_the_end_is_written() {
        let stderr = Stderr::default();
        let (writer, records, _) = writer(Form::Human { has_colors: false }, &stderr);
        say(&records, "one");
        say(&records, "two");
        writer.run();
        assert_eq!(stderr.lines(), [" INFO one", " INFO two"]);
    }

    /// A stderr whose first line is the end.
    struct Last(Arc<AtomicBool>);

    impl Write for Last {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.store(true, Ordering::Release);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Else the process would wait for a second before it ends. A queue that is full takes no
    /// message that it is over.
    #[test]
    fn an_end_that_comes_while_lines_are_written_is_not_missed() {
        let (records, records_rx) = crossbeam_channel::bounded(RECORDS_MAX);
        let dropped = IntCounter::new("dropped", "Lines.").expect("a name");
        let (_, access) = access::Access::new(dropped.clone());
        let over = Arc::new(AtomicBool::new(false));
        let form = Form::Human { has_colors: false };
        let stderr = Last(Arc::clone(&over));
        let writer = Writer::new(records_rx, access, over, form, stderr, dropped);
        say(&records, "the end");
        let (ended_tx, ended) = crossbeam_channel::bounded(1);
        std::thread::spawn(move || {
            writer.run();
            ended_tx.send(()).expect("the test waits");
        });
        let ended = ended.recv_timeout(std::time::Duration::from_secs(10));
        assert_eq!(ended, Ok(()), "it waits for more");
    }

    #[test]
    fn lines_that_were_dropped_are_told_once() {
        let stderr = Stderr::default();
        let (mut writer, records, dropped) = writer(Form::Human { has_colors: false }, &stderr);
        dropped.inc_by(3);
        say(&records, "one");
        writer.tell_dropped();
        writer.run();
        let told = " WARN lines of the log were dropped lines=3";
        assert_eq!(stderr.lines(), [told, " INFO one"]);
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted_and_told_when_others_can() {
        let stderr = Stderr::default();
        let (mut writer, _records, dropped) = writer(Form::Human { has_colors: false }, &stderr);
        stderr.is_broken.store(true, Ordering::Relaxed);
        writer.write(&Record::new(Level::INFO, "test", "lost"));
        writer.flush();
        assert_eq!(dropped.get(), 1);
        // What tells of it is lost as well, but is no line of anybody's.
        writer.tell_dropped();
        assert_eq!(dropped.get(), 1);
        stderr.is_broken.store(false, Ordering::Relaxed);
        writer.write(&Record::new(Level::INFO, "test", "kept"));
        writer.flush();
        writer.tell_dropped();
        let told = " WARN lines of the log were dropped lines=1";
        assert_eq!(stderr.lines(), [" INFO kept", told]);
        assert_eq!(dropped.get(), 1);
    }

    #[test]
    fn without_a_journal_it_goes_to_stderr() {
        let folder = tempfile::tempdir().expect("a folder");
        let journal = Journal::new(folder.path().join("nobody")).expect("a socket");
        let stderr = Stderr::default();
        let (writer, records, dropped) = writer(Form::Journald(journal), &stderr);
        say(&records, "one");
        writer.run();
        assert_eq!(stderr.lines(), [" INFO one"]);
        assert_eq!(dropped.get(), 0);
    }

    #[test]
    fn a_page_is_written_when_it_is_full() {
        let stderr = Stderr::default();
        let (mut writer, _records, _) = writer(Form::Json, &stderr);
        let record = Record::new(Level::INFO, "test", &"x".repeat(1000));
        // Not a byte more than a page and a line is ever held.
        for _ in 0..2 * PAGE_BYTES / 1000 {
            writer.write(&record);
            assert!(writer.page.lines().len() < PAGE_BYTES);
        }
        assert!(stderr.written.lock().expect("not poisoned").len() >= PAGE_BYTES);
    }
}
