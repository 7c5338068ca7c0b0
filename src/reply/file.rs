//! A file as the reply: any size in bounded memory, and a change on disk is served.
//!
//! Reading may hang for as long as a network mount does, so it is a job. Each part is read when
//! the one before it was sent. A job that is over is used again, with its buffer: a file that is
//! asked for all the time takes no new memory.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender};
use rustix::fs::{FileType, Mode, OFlags};

use crate::complaint::Complaint;
use crate::reply::{Begun, Job, Made};

/// Bytes read at once: what one open exchange may hold.
const PART_BYTES: u64 = 64 * 1024;

/// Jobs of one file kept for the next ones, so up to 1 MiB of buffers: what is read at a time, and
/// what is sent meanwhile.
const SPARE_MAX: usize = 16;

/// The file that a service replies with.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    complaint: Complaint,

    /// Jobs that are over: whoever begins one takes it here, whoever ends one leaves it here.
    spare: (Sender<Box<Job>>, Receiver<Box<Job>>),
}

impl Source {
    /// What `path` holds, at the time it is asked for.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            complaint: Complaint::new(Instant::now()),
            spare: crossbeam_channel::bounded(SPARE_MAX),
        }
    }

    /// Begins the reply with a job that reads the file; for `head_only` just how large it is.
    pub(super) fn begin(self: &Arc<Self>, head_only: bool) -> Begun {
        let (_, spare) = &self.spare;
        let mut job = spare
            .try_recv()
            .unwrap_or_else(|_| Box::new(Job::File(FileJob::default())));
        if let Job::File(file) = &mut *job {
            file.source = Some(Arc::clone(self));
            file.head_only = head_only;
        }
        Begun::Later(job)
    }

    /// Takes a job of this file back that is over.
    pub(super) fn keep(&self, job: Box<Job>) {
        // Full: there are enough.
        let _kept = self.spare.0.try_send(job);
    }
}

/// Whether what `path` names can be read at this moment. May block for as long as a disk hangs.
///
/// # Errors
/// * it can't be opened
/// * it is no regular file
pub fn try_out(path: &Path) -> io::Result<()> {
    open(path).map(|_| ())
}

/// Reads the next part of a file; opens it first.
#[derive(Debug, Default)]
pub struct FileJob {
    /// `None`: it is over, and holds nothing but memory.
    source: Option<Arc<Source>>,
    head_only: bool,
    reading: Option<Reading>,
    buffer: Vec<u8>,

    /// What the next part is handed over in.
    made: Option<Box<Made>>,
}

/// A part of a file.
#[derive(Debug)]
pub(super) struct Part {
    /// Of the whole, told with the first part.
    pub(super) total_bytes: Option<u64>,
    pub(super) bytes: Vec<u8>,
}

/// A file being read. The size is what was promised at its start: of a file that grows, the new
/// end isn't sent; one that shrinks fails.
#[derive(Debug)]
struct Reading {
    file: File,
    left: u64,
}

impl FileJob {
    /// Whether the last part was read.
    pub(super) fn is_over(&self) -> bool {
        self.source.is_none()
    }

    pub(super) fn reuse(&mut self, buffer: Vec<u8>) {
        self.buffer = buffer;
    }

    pub(super) fn reuse_box(&mut self, made: Box<Made>) {
        self.made = Some(made);
    }

    pub(super) fn take_box(&mut self) -> Box<Made> {
        (self.made.take()).unwrap_or_else(|| Box::new(Made::Failed))
    }

    /// Reads the next part; says why if that fails.
    pub(super) fn run(&mut self) -> Option<Part> {
        let source = self.source.take()?;
        match self.read(&source.path) {
            Ok(part) => {
                self.source = self.reading.is_some().then_some(source);
                Some(part)
            }
            Err(error) => {
                let Source {
                    path, complaint, ..
                } = &*source;
                complaint.raise(Instant::now(), |unsaid| {
                    tracing::warn!(file = %path.display(), %error, unsaid, "cannot read the file of a reply");
                });
                None
            }
        }
    }

    /// Leaves the file closed after its last part.
    fn read(&mut self, path: &Path) -> io::Result<Part> {
        let (mut reading, mut total_bytes) = if let Some(reading) = self.reading.take() {
            (reading, None)
        } else {
            let reading = open(path)?;
            let size = reading.left;
            (reading, Some(size))
        };
        let mut bytes = std::mem::take(&mut self.buffer);
        bytes.clear();
        if self.head_only {
            return Ok(Part { total_bytes, bytes });
        }
        // Nothing may be what stat says of a file in /proc, and a page what it says of one in /sys.
        let part = match reading.left {
            0 => PART_BYTES,
            left => left.min(PART_BYTES),
        };
        bytes.reserve(usize::try_from(part).expect("invariant: a part fits in memory"));
        let count = (&mut reading.file).take(part).read_to_end(&mut bytes)? as u64;
        if total_bytes.is_some() && count < part {
            // Nothing is promised yet: the size is what there was.
            reading.left = count;
            total_bytes = Some(count);
        } else if reading.left == 0 {
            return Err(io::Error::other("a file without a size is over 64 KiB"));
        } else if count < part {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the file has shrunk",
            ));
        }
        reading.left -= count;
        self.reading = (reading.left > 0).then_some(reading);
        Ok(Part { total_bytes, bytes })
    }
}

/// Opens a regular file. NONBLOCK, since opening a FIFO would wait for its writer.
fn open(path: &Path) -> io::Result<Reading> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let stat = rustix::fs::fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a regular file",
        ));
    }
    let left = u64::try_from(stat.st_size).map_err(|_| io::ErrorKind::InvalidData)?;
    Ok(Reading { file, left })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::unnecessary_box_returns, reason = "jobs travel in their boxes")]
    fn job(source: &Arc<Source>) -> Box<Job> {
        let Begun::Later(job) = source.begin(false) else {
            panic!("a file is read later")
        };
        job
    }

    #[track_caller]
    fn read_all(path: &Path) -> Option<(u64, Vec<u8>)> {
        read_all_by(job(&Arc::new(Source::new(path)))).map(|(size, content, _)| (size, content))
    }

    /// The size, the content, and the job, which is over.
    #[track_caller]
    fn read_all_by(mut job: Box<Job>) -> Option<(u64, Vec<u8>, Box<Job>)> {
        let mut all = Vec::new();
        let mut size = None;
        loop {
            let Made::Part {
                total_bytes,
                bytes,
                more: Some(next),
            } = *job.run()
            else {
                return None;
            };
            assert!(bytes.len() as u64 <= PART_BYTES, "a part is bounded");
            size = size.or(total_bytes);
            all.extend_from_slice(&bytes);
            job = next;
            job.reuse(bytes);
            if job.is_over() {
                return Some((size?, all, job));
            }
        }
    }

    #[test]
    fn a_job_that_is_over_is_used_again_and_holds_neither_file_nor_source() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        std::fs::write(&path, b"first").expect("written");
        let source = Arc::new(Source::new(&path));
        let (_, _, over) = read_all_by(job(&source)).expect("read");
        assert_eq!(Arc::strong_count(&source), 1, "the job holds it");
        let address = &raw const *over;
        source.keep(over);

        std::fs::write(&path, b"the second").expect("written");
        let again = job(&source);
        assert_eq!(&raw const *again, address, "it is another one");
        let (size, content, _) = read_all_by(again).expect("read");
        assert_eq!((size, &content[..]), (10, &b"the second"[..]));
    }

    #[test]
    fn a_file_is_read_whole_in_bounded_parts() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let bound = usize::try_from(PART_BYTES).expect("small");
        for size in [0, 1, bound, bound + 1, 3 * bound] {
            let content: Vec<u8> = (0..=250).cycle().take(size).collect();
            std::fs::write(&path, &content).expect("written");
            assert!(
                read_all(&path) == Some((size as u64, content)),
                "a file of {size} bytes"
            );
        }
    }

    #[test]
    fn what_is_no_readable_file_fails_and_does_not_hang() {
        let folder = tempfile::tempdir().expect("a folder");
        let fifo = folder.path().join("fifo");
        let made = rustix::fs::mknodat(rustix::fs::CWD, &fifo, FileType::Fifo, Mode::RUSR, 0);
        made.expect("a FIFO");
        for path in [&fifo, folder.path(), &folder.path().join("missing")] {
            assert!(
                read_all(path).is_none(),
                "{} is no regular file",
                path.display()
            );
        }
    }

    #[test]
    fn a_file_whose_size_is_not_known_is_read_all_the_same() {
        let (size, content) = read_all(Path::new("/proc/self/status")).expect("read");
        assert_eq!(size, content.len() as u64);
        assert!(content.starts_with(b"Name:"));
    }

    #[test]
    fn a_file_that_shrinks_fails_rather_than_ending_early() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        std::fs::write(&path, vec![b'x'; 100_000]).expect("written");
        let Made::Part {
            more: Some(more), ..
        } = *job(&Arc::new(Source::new(&path))).run()
        else {
            panic!("a first part")
        };
        std::fs::write(&path, b"short").expect("written");
        assert!(matches!(*more.run(), Made::Failed));
    }
}
