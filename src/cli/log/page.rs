//! Lines on their way to stderr, by the page.

use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

/// Lines that are written at once, and where to.
#[derive(Debug)]
pub(super) struct Page<W> {
    stream: W,
    lines: String,

    /// What was written last has no end: an error came in the middle of a line.
    is_cut: bool,
}

impl<W: Write> Page<W> {
    pub(super) fn new(stream: W) -> Self {
        Self {
            stream,
            lines: String::new(),
            is_cut: false,
        }
    }

    /// The next page, to which whole lines are added.
    pub(super) fn lines(&mut self) -> &mut String {
        &mut self.lines
    }

    /// Writes it, and begins another one. Returns how many of its lines are lost, as the stream
    /// can't be written.
    pub(super) fn flush(&mut self) -> u64 {
        let page = self.lines.as_bytes();
        if self.is_cut && !page.is_empty() {
            self.is_cut = !write(&mut self.stream, b"\n").is_empty();
        }
        let left = if self.is_cut {
            page
        } else {
            write(&mut self.stream, page)
        };
        let written = &page[..page.len() - left.len()];
        self.is_cut |= written.last().is_some_and(|byte| *byte != b'\n');
        let lost = memchr::memchr_iter(b'\n', left).count();
        self.lines.clear();
        lost as u64
    }
}

/// Writes as much as the stream takes; what is left.
fn write<'b>(stream: &mut impl Write, mut bytes: &'b [u8]) -> &'b [u8] {
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(0) => break,
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    bytes
}

/// A stream that is waited for, even where it is non-blocking: a terminal or a pipe is for all who
/// share it, if one of them asks for that.
#[derive(Debug)]
pub(super) struct Waiting<W>(pub(super) W);

impl<W: Write + AsFd> Write for Waiting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.0.write(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                written => return written,
            }
            let mut streams = [PollFd::new(&self.0, PollFlags::OUT)];
            match poll(&mut streams, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::net::UnixStream;
    use std::thread;

    use super::*;

    /// A disk that is full after so many bytes.
    #[derive(Debug, Default)]
    struct Disk {
        room: usize,
        written: Vec<u8>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.room);
            if count == 0 {
                return Err(ErrorKind::StorageFull.into());
            }
            self.room -= count;
            self.written.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_that_was_cut_is_lost_and_begins_no_other() {
        let mut page = Page::new(Disk::default());
        let mut lost = |room, lines: &str| {
            page.stream.room = room;
            page.lines().push_str(lines);
            let lost = page.flush();
            (
                lost,
                String::from_utf8_lossy(&page.stream.written).into_owned(),
            )
        };
        assert_eq!(lost(6, "one\ntwo\n"), (1, "one\ntw".to_owned()));
        assert_eq!(lost(0, "three\n"), (1, "one\ntw".to_owned()));
        assert_eq!(lost(9, ""), (0, "one\ntw".to_owned()));
        assert_eq!(lost(1, "four\n"), (1, "one\ntw\n".to_owned()));
        assert_eq!(lost(9, "five\n"), (0, "one\ntw\nfive\n".to_owned()));
    }

    #[test]
    fn a_stream_that_does_not_block_is_waited_for() {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        ours.set_nonblocking(true).expect("set");
        // More than any socket holds.
        let long = "x".repeat(16 << 20);
        let reader = thread::spawn(move || {
            let mut read = String::new();
            theirs.read_to_string(&mut read).map(|_| read)
        });
        let mut page = Page::new(Waiting(ours));
        page.lines().push_str(&long);
        assert_eq!(page.flush(), 0);
        drop(page);
        assert!(reader.join().expect("it read").expect("UTF-8") == long);
    }
}
