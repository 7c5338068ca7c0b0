//! The log for systemd's journal, in its native protocol: a datagram is an entry, its fields are
//! what `journalctl` filters by.
//!
//! Source: <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>. No crate: tracing-journald sends in the
//! thread that has something to say, and a journal that is stuck would hold that up.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use tracing::Level;

use super::human;
use super::record::Record;

/// Where the journal listens. Source: the same.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";

/// What begins the name of a field of ours, so that it is none of systemd.journal-fields(7).
const PREFIX: &str = "REPLYD_";

/// The way to the journal.
#[derive(Debug)]
pub(super) struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
    entry: Vec<u8>,
}

impl Journal {
    /// Connects to nobody: a journal that is started later, or again, is found.
    pub(super) fn new(path: PathBuf) -> io::Result<Self> {
        Ok(Self {
            socket: UnixDatagram::unbound()?,
            path,
            entry: Vec::new(),
        })
    }

    /// Sends one entry. Waits while the journal has no room.
    ///
    /// # Errors
    /// * nobody listens
    pub(super) fn send(&mut self, record: &Record) -> io::Result<()> {
        encode(record, &mut self.entry);
        self.socket.send_to(&self.entry, &self.path).map(|_| ())
    }
}

/// Whether stderr is connected to the journal: systemd says which device and inode it gave.
pub(super) fn is_at(stream: Option<&str>, stderr: impl AsFd) -> bool {
    let Ok(stat) = rustix::fs::fstat(stderr) else {
        return false;
    };
    stream == Some(&format!("{}:{}", stat.st_dev, stat.st_ino))
}

pub(super) fn encode(record: &Record, entry: &mut Vec<u8>) {
    entry.clear();
    let mut message = String::new();
    human::text(record, &mut message);
    field("MESSAGE", &message, entry);
    field("PRIORITY", priority(record.level), entry);
    field("SYSLOG_IDENTIFIER", "replyd", entry);
    let mut ours = |name: &str, value: &str| {
        field(
            &format!("{PREFIX}{}", name.to_ascii_uppercase()),
            value,
            entry,
        );
    };
    ours("target", record.target);
    for (name, value) in &record.fields {
        ours(name, &human::escaped(value));
    }
}

/// Adds a field in the form that says its length: a value can then hold no field of its own.
fn field(name: &str, value: &str, entry: &mut Vec<u8>) {
    entry.extend_from_slice(name.as_bytes());
    entry.push(b'\n');
    entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    entry.extend_from_slice(value.as_bytes());
    entry.push(b'\n');
}

/// Source: the levels of syslog(3).
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        Level::DEBUG | Level::TRACE => "7",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use replyd::config::written::is_hidden;

    use super::super::record::tests::forged;
    use super::super::record::{Text, Value};
    use super::*;

    /// An entry as the journal reads it.
    fn decode(mut entry: &[u8]) -> BTreeMap<String, String> {
        let mut fields = BTreeMap::new();
        while !entry.is_empty() {
            let name_end = entry
                .iter()
                .position(|byte| *byte == b'\n')
                .expect("a name");
            let (name, rest) = entry.split_at(name_end);
            let (length, rest) = rest[1..].split_at(8);
            let length = u64::from_le_bytes(length.try_into().expect("8 bytes"));
            let (value, rest) = rest.split_at(usize::try_from(length).expect("it fits"));
            entry = rest.strip_prefix(b"\n").expect("the value ends here");
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
            let known = fields.insert(text(name), text(value));
            assert_eq!(known, None, "twice");
        }
        fields
    }

    #[test]
    fn the_journal_gets_an_entry_with_a_field_for_each() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("socket");
        let listener = UnixDatagram::bind(&path).expect("bound");
        let mut journal = Journal::new(path).expect("a socket");
        let record = Record::new(Level::INFO, "replyd::server", "listening")
            .with("service", Value::Text(Text::of(&"hello")))
            .with("workers", Value::Unsigned(2));
        journal.send(&record).expect("sent");
        let mut datagram = [0; 4096];
        let length = listener.recv(&mut datagram).expect("received");
        let expected = [
            ("MESSAGE", "listening service=hello workers=2"),
            ("PRIORITY", "6"),
            ("REPLYD_SERVICE", "hello"),
            ("REPLYD_TARGET", "replyd::server"),
            ("REPLYD_WORKERS", "2"),
            ("SYSLOG_IDENTIFIER", "replyd"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(decode(&datagram[..length]), BTreeMap::from(expected));
    }

    #[test]
    fn nothing_that_is_told_can_forge_a_field_or_a_line() {
        let mut entry = Vec::new();
        encode(&forged(), &mut entry);
        let fields = decode(&entry);
        let names: Vec<&str> = fields.keys().map(String::as_str).collect();
        let expected = [
            "MESSAGE",
            "PRIORITY",
            "REPLYD_ERROR",
            "REPLYD_TARGET",
            "REPLYD_UNSAID",
        ];
        assert_eq!(names[..5], expected);
        for (name, value) in &fields {
            assert!(!value.contains(is_hidden), "{name}={value:?}");
        }
        assert!(
            fields["REPLYD_ERROR"].starts_with("a\\r\\n2026"),
            "{fields:?}"
        );
    }

    #[test]
    fn the_longest_text_goes_into_a_datagram_when_all_of_it_is_escaped() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("socket");
        let _listener = UnixDatagram::bind(&path).expect("bound");
        let mut journal = Journal::new(path).expect("a socket");
        let long = Text::of(&"\u{1b}".repeat(1024 * 1024));
        let record = Record::new(Level::INFO, "replyd", "long").with("long", Value::Text(long));
        journal.send(&record).expect("it is not too large");
    }

    #[test]
    fn stderr_is_the_journals_if_device_and_inode_are() {
        let file = tempfile::tempfile().expect("a file");
        let stat = rustix::fs::fstat(&file).expect("its numbers");
        let (device, inode) = (stat.st_dev, stat.st_ino);
        assert!(is_at(Some(&format!("{device}:{inode}")), &file));
        assert!(!is_at(Some(&format!("{device}:{}", inode + 1)), &file));
        assert!(!is_at(None, &file));
    }
}
