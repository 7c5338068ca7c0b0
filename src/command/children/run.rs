//! One run: what it is fed, what it has said, and what is to become of it.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use rustix::io::Errno;
use rustix::process::{self, Pid, Signal};

use crate::command::children::watch::{Stream, Watch};
use crate::command::children::{End, Ended, Failed, Failure, Process};

/// How many bytes of stderr are kept, of its end.
pub(super) const STDERR_TAIL_BYTES_MAX: usize = 4096;

/// How many bytes of a pipe are read at once: what it holds, by default.
pub(super) const READ_BYTES_MAX: usize = 64 * 1024;

/// What happens to a run at its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its output is wanted. At the deadline it is too late.
    Wanted,
    /// It is not, and it was told to end. At the deadline it is killed.
    Terminated,
    /// It was killed, and only its end is still to come.
    Killed,
}

/// One run, from its start until its first process is reaped.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) process: Arc<Process>,
    pub(super) pid: Pid,
    pub(super) phase: Phase,

    /// When its phase changes. `None`: only with its end.
    pub(super) deadline: Option<Instant>,

    started: Instant,
    stdin: Option<Feed>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    output: Vec<u8>,
    tail: Tail,
}

impl Run {
    /// `stdin`: what did not fit into the pipe.
    pub(super) fn new(
        process: &Arc<Process>,
        pid: Pid,
        (stdin, stdout, stderr): (Option<Feed>, OwnedFd, OwnedFd),
        now: Instant,
    ) -> Self {
        Self {
            process: Arc::clone(process),
            pid,
            phase: Phase::Wanted,
            deadline: now.checked_add(process.timeout),
            started: now,
            stdin,
            stdout: Some(stdout),
            stderr: Some(stderr),
            output: Vec::new(),
            tail: Tail::default(),
        }
    }

    /// A pipe is ready: moves bytes once, at most as many as `buffer` holds.
    pub(super) fn ready(&mut self, stream: Stream, buffer: &mut [u8]) -> Result<(), Failure> {
        match stream {
            Stream::Stdin => self.stdin = self.stdin.take().and_then(Feed::write),
            Stream::Stdout => self.read_stdout(buffer)?,
            Stream::Stderr => self.read_stderr(buffer),
        }
        Ok(())
    }

    /// The first process has ended: reads what is in the pipes now, which is at most what they can
    /// hold. What others in its group go on to write is not its output.
    pub(super) fn read_rest(&mut self, buffer: &mut [u8]) -> Result<(), Failure> {
        let mut rest = held(self.stderr.as_ref());
        while rest > 0 {
            let bytes_max = rest.min(buffer.len());
            self.read_stderr(&mut buffer[..bytes_max]);
            rest -= bytes_max;
        }
        let mut rest = held(self.stdout.as_ref());
        while rest > 0 {
            let bytes_max = rest.min(buffer.len());
            self.read_stdout(&mut buffer[..bytes_max])?;
            rest -= bytes_max;
        }
        Ok(())
    }

    fn read_stdout(&mut self, buffer: &mut [u8]) -> Result<(), Failure> {
        let room = self.process.max_output_bytes - self.output.len();
        let bytes = read(&mut self.stdout, buffer);
        // A part must never be taken for the whole.
        if bytes.len() > room {
            return Err(Failure::TooLarge);
        }
        self.output.extend_from_slice(bytes);
        Ok(())
    }

    fn read_stderr(&mut self, buffer: &mut [u8]) {
        self.tail.push(read(&mut self.stderr, buffer));
    }

    /// Nobody wants its output anymore. Its pipes stay open, so that what it does to end well meets
    /// no broken one; but they are read no further.
    pub(super) fn terminate(&mut self, watch: &Watch, now: Instant) {
        self.phase = Phase::Terminated;
        self.deadline = now.checked_add(self.process.kill_after);
        self.stdin = None;
        for pipe in [&self.stdout, &self.stderr].into_iter().flatten() {
            watch.forget(pipe);
        }
        self.output = Vec::new();
        self.signal(Signal::TERM);
        // One that is stopped would not see it.
        self.signal(Signal::CONT);
    }

    pub(super) fn kill(&mut self) {
        self.phase = Phase::Killed;
        self.deadline = None;
        self.signal(Signal::KILL);
    }

    /// To the group, whose number nobody else can have before the first process is reaped; and to
    /// that, as it may have joined another group.
    fn signal(&self, signal: Signal) {
        // They can only fail for who is dead, or has become somebody else.
        let _sent = process::kill_process_group(self.pid, signal);
        let _sent = process::kill_process(self.pid, signal);
    }

    /// What to tell of it, with the last it has said.
    pub(super) fn failed(&mut self, failure: Failure, buffer: &mut [u8], now: Instant) -> Failed {
        self.read_stderr(buffer);
        Failed {
            failure,
            stdout_bytes: self.output.len(),
            stderr: std::mem::take(&mut self.tail).bytes,
            duration: now.saturating_duration_since(self.started),
        }
    }

    /// What to tell of it.
    pub(super) fn ended(self, end: End, now: Instant) -> Ended {
        Ended {
            end,
            stdout: self.output,
            stderr: self.tail.bytes,
            duration: now.saturating_duration_since(self.started),
        }
    }
}

/// How many bytes a pipe holds.
fn held(pipe: Option<&OwnedFd>) -> usize {
    let bytes = pipe.and_then(|pipe| rustix::io::ioctl_fionread(pipe).ok());
    bytes.map_or(0, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX))
}

/// Reads once from a pipe; one whose writers are gone is closed.
fn read<'a>(pipe: &mut Option<OwnedFd>, buffer: &'a mut [u8]) -> &'a [u8] {
    let Some(fd) = pipe else {
        return &[];
    };
    match rustix::io::read(fd, &mut *buffer) {
        Err(Errno::AGAIN | Errno::INTR) => &[],
        Ok(0) | Err(_) => {
            *pipe = None;
            &[]
        }
        Ok(count) => &buffer[..count],
    }
}

/// What is still to be written to a child's stdin.
#[derive(Debug)]
pub(super) struct Feed {
    pipe: OwnedFd,
    bytes: Vec<u8>,
    written: usize,
}

impl Feed {
    pub(super) fn new(pipe: OwnedFd, bytes: Vec<u8>) -> Self {
        Self {
            pipe,
            bytes,
            written: 0,
        }
    }

    pub(super) fn pipe(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }

    /// Writes what fits. `None`, and the pipe is closed: that was all, or the child reads no more.
    pub(super) fn write(mut self) -> Option<Self> {
        match rustix::io::write(&self.pipe, &self.bytes[self.written..]) {
            Ok(count) => self.written += count,
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => return None,
        }
        (self.written < self.bytes.len()).then_some(self)
    }
}

/// The end of what a child has written to stderr.
#[derive(Debug, Default)]
struct Tail {
    bytes: Vec<u8>,
}

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        let kept = &bytes[bytes.len().saturating_sub(STDERR_TAIL_BYTES_MAX)..];
        let excess = (self.bytes.len() + kept.len()).saturating_sub(STDERR_TAIL_BYTES_MAX);
        self.bytes.drain(..excess);
        self.bytes.extend_from_slice(kept);
    }
}
