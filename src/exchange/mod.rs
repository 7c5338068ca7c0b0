//! One request and its reply, as a state machine that knows no socket, no clock and no thread.
//!
//! Whoever drives it asks for the next [`Step`], does it, and says what came of it. Bytes in,
//! bytes out; so tests drive it without a network, and every outcome can be reached on purpose.
//!
//! ```text
//!            received, ended            (job)  answered              sent
//! Reading ──────────────────────▶ Making ─────────────────▶ Writing ──────▶ Finished
//!    │            request complete,  ▲ │ part of a larger reply │              ▲
//!    │            reply at hand      │ └────────────────────────┘              │
//!    └───────────────────────────────┼──────────▶ Writing ─────────────────────┤
//!              expired, shed, a fault: the page for it, or nothing ────────────┘
//! ```

mod answer;
pub mod buffers;
pub mod outcome;

use std::sync::Arc;
use std::time::Instant;

use crate::command::Delivery;
use crate::exchange::answer::goes_on;
use crate::exchange::buffers::Buffers;
use crate::exchange::outcome::Outcome;
use crate::peer::Peer;
use crate::reply::calendar::Calendar;
use crate::reply::http::HttpOptions;
use crate::reply::output::Output;
use crate::reply::page::Page;
use crate::reply::{Job, Made, Replies};
use crate::request::{Framing, Reader, Rules};

/// What all exchanges of one service have in common.
#[derive(Debug)]
pub struct Options {
    /// The service's name.
    pub service: Arc<str>,

    /// How a request ends, and how large it may be.
    pub rules: Rules,

    /// What is answered.
    pub replies: Replies,

    /// What it means when the peer ends its side before it has the reply.
    pub half_close: HalfClose,
}

/// What it means when the peer ends its side before it has the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HalfClose {
    /// It still wants the reply.
    Reply,
    /// It has left.
    Cancel,
}

/// What an exchange is given with each call.
#[derive(Debug)]
pub struct Context<'a> {
    /// What all exchanges of the service have in common.
    pub options: &'a Options,

    /// Who is at the other end.
    pub peer: Peer,

    /// What time it is, for replies that say so.
    pub calendar: &'a Calendar,

    /// The same on the monotonic clock, for replies that are kept for a while.
    pub now: Instant,

    /// Where buffers come from and go to.
    pub buffers: &'a mut Buffers,
}

/// What has to happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Receive bytes, and tell [`Exchange::received`], [`Exchange::ended`] or
    /// [`Exchange::broken`].
    Receive,

    /// Send some of [`Exchange::left`], and tell [`Exchange::sent`] or [`Exchange::broken`].
    Send,

    /// Wait for a reply that is still being made: run [`Exchange::take_job`], and tell
    /// [`Exchange::answered`].
    Make,

    /// Close the connection in this way; [`Exchange::outcome`] says what it was.
    Finish(Close),
}

/// How to close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// End our side, then wait for the peer's end: what was sent arrives. KERNEL K1 to K5 in the
    /// design's notes: a plain close with unread input destroys the reply.
    Linger,

    /// Just close: nothing of a reply was sent.
    Plain,

    /// Reset: the peer must not take a part of a reply for the whole.
    Abort,
}

/// One exchange, from accept to the last byte.
#[derive(Debug)]
pub struct Exchange {
    state: State,
    outcome: Outcome,

    /// Of the reply, as far as known and not yet asked for by [`Self::take_reply_bytes`].
    reply_bytes: u64,
    heard: Heard,

    /// Some of the reply, or of a page instead of it, was sent.
    has_sent: bool,

    /// The HTTP method is HEAD.
    is_head: bool,
}

/// What the peer was heard of, at the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    Nothing,
    Bytes,
    /// It has ended its side.
    End,
}

#[derive(Debug)]
enum State {
    Reading {
        reader: Reader,
        /// The part of an incomplete request that the reader wants to see again.
        kept: Vec<u8>,
        /// Bytes of [`CONTINUE`] still to be sent.
        interim_left: u8,
    },
    Making {
        /// `None`: somebody runs it.
        job: Option<Box<Job>>,
    },
    Writing {
        output: Output,
        /// Makes the next part, or is over and waits for its buffer.
        job: Option<Box<Job>>,
    },
    Finished {
        close: Close,
        /// Would have made the next part.
        unfinished: Option<Box<Job>>,
    },
}

/// Source: RFC 9110 section 15.2.1.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

impl Exchange {
    /// An exchange that has seen nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: State::Reading {
                reader: Reader::new(),
                kept: Vec::new(),
                interim_left: 0,
            },
            outcome: Outcome::Replied,
            reply_bytes: 0,
            heard: Heard::Nothing,
            has_sent: false,
            is_head: false,
        }
    }

    /// What has to happen next.
    #[must_use]
    pub fn step(&self) -> Step {
        match &self.state {
            State::Reading {
                interim_left: 0, ..
            } => Step::Receive,
            State::Reading { .. } | State::Writing { .. } => Step::Send,
            State::Making { .. } => Step::Make,
            State::Finished { close, .. } => Step::Finish(*close),
        }
    }

    /// How it ended; before [`Step::Finish`], how it will if all goes well from here.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Whether the request is still incomplete.
    #[must_use]
    pub fn is_reading(&self) -> bool {
        matches!(self.state, State::Reading { .. })
    }

    /// Whether the peer has sent anything.
    #[must_use]
    pub fn has_received(&self) -> bool {
        self.heard != Heard::Nothing
    }

    /// Whether the peer was seen to end its side.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.heard == Heard::End
    }

    /// Bytes of the reply that became known since the last call; its deadline grows with them.
    pub fn take_reply_bytes(&mut self) -> u64 {
        std::mem::take(&mut self.reply_bytes)
    }

    /// What is left to send, in order. Either slice may be empty.
    #[must_use]
    pub fn left(&self) -> [&[u8]; 2] {
        match &self.state {
            State::Reading { interim_left, .. } => [
                &CONTINUE[CONTINUE.len() - usize::from(*interim_left)..],
                &[],
            ],
            State::Writing { output, .. } => output.left(),
            State::Making { .. } | State::Finished { .. } => [&[], &[]],
        }
    }

    /// Whether nothing comes after what is left, so that the end of our side may go with it.
    #[must_use]
    pub fn is_last(&self) -> bool {
        matches!(&self.state, State::Writing { job, .. } if !goes_on(job.as_deref()))
    }

    /// The job to be run while the exchange is at [`Step::Make`]; once.
    pub fn take_job(&mut self) -> Option<Box<Job>> {
        match &mut self.state {
            State::Making { job } => job.take(),
            _ => None,
        }
    }

    /// The job that was left when the exchange ended early. It may hold a file open whose closing
    /// can hang, so it is not to be dropped by just anyone.
    pub fn take_unfinished(&mut self) -> Option<Box<Job>> {
        match &mut self.state {
            State::Finished { unfinished, .. } => unfinished.take(),
            _ => None,
        }
    }

    /// Starts: a service that reads nothing replies at once.
    pub fn begin(&mut self, cx: &mut Context<'_>) {
        if matches!(cx.options.rules.framing, Framing::Nothing) {
            self.read(&mut [], cx);
        }
    }

    /// The peer has sent `bytes`, at least one. Ignored once the request is complete.
    pub fn received(&mut self, bytes: &mut [u8], cx: &mut Context<'_>) {
        self.heard = Heard::Bytes;
        self.read(bytes, cx);
    }

    /// The peer has ended its side.
    pub fn ended(&mut self, cx: &mut Context<'_>) {
        let has_spoken = std::mem::replace(&mut self.heard, Heard::End) != Heard::Nothing;
        let is_cancelled = cx.options.half_close == HalfClose::Cancel && has_spoken;
        let State::Reading { reader, kept, .. } = &mut self.state else {
            return;
        };
        if is_cancelled {
            return self.finish(Outcome::PeerClosed, Close::Plain, cx);
        }
        let mut reader = reader.clone();
        let mut kept = std::mem::take(kept);
        let progress = reader.ended(&cx.options.rules, &mut kept);
        self.is_head = reader.is_head();
        self.take_progress(progress, &kept, cx);
        cx.buffers.put(kept);
    }

    /// The connection is broken: reset, or the peer has left while the reply was being made.
    pub fn broken(&mut self, cx: &mut Context<'_>) {
        let has_asked = !self.is_reading() || self.has_received();
        let outcome = if has_asked {
            Outcome::PeerClosed
        } else {
            Outcome::NoRequest
        };
        self.fail(outcome, None, cx);
    }

    /// The kernel has taken `count` bytes of what was left.
    pub fn sent(&mut self, count: usize, cx: &mut Context<'_>) {
        match &mut self.state {
            State::Reading { interim_left, .. } => {
                let count = u8::try_from(count).unwrap_or(u8::MAX);
                *interim_left = interim_left.saturating_sub(count);
            }
            State::Writing { output, job } => {
                self.has_sent |= count > 0;
                output.sent(count);
                if output.is_sent() {
                    let output = std::mem::take(output);
                    let job = job.take();
                    self.all_sent(output, job, cx);
                }
            }
            State::Making { .. } | State::Finished { .. } => {}
        }
    }

    /// The job has been run. Ignored when nobody waits for it anymore.
    pub fn answered(&mut self, mut made: Box<Made>, cx: &mut Context<'_>) {
        if !matches!(self.state, State::Making { job: None }) {
            return;
        }
        match std::mem::replace(&mut *made, Made::Failed) {
            Made::Part {
                total_bytes,
                bytes,
                mut more,
            } => {
                if let Some(job) = &mut more {
                    job.reuse_box(made);
                }
                let mut output = Output::new(cx.buffers.take());
                self.reply_bytes += total_bytes.unwrap_or(0);
                let reply = &cx.options.replies.reply;
                reply.write_part(total_bytes, bytes, cx.calendar, &mut output);
                self.write(output, more, cx);
            }
            Made::Command(Delivery::Report(report)) => {
                let output = Output::new(cx.buffers.take());
                self.reported(&report, output, cx);
            }
            Made::Command(Delivery::Busy) => self.shed(cx),
            Made::Failed => self.fail(Outcome::Failed, Some(&cx.options.replies.failed), cx),
        }
    }

    /// The deadline of the request, or of the reply, has passed.
    pub fn expired(&mut self, cx: &mut Context<'_>) {
        let replies = &cx.options.replies;
        match &self.state {
            // A peer that never spoke would take a page for the answer to what it says next.
            State::Reading { .. } if replies.is_http && !self.has_received() => {
                self.fail(Outcome::TimedOut, None, cx);
            }
            State::Reading { .. } if replies.is_http => {
                let page = Page::new(b"the request took too long\n", Some(&HttpOptions::of(408)));
                self.fail(Outcome::TimedOut, Some(&page), cx);
            }
            State::Reading { .. } | State::Making { .. } => {
                self.fail(Outcome::TimedOut, Some(&replies.timed_out), cx);
            }
            State::Writing { .. } | State::Finished { .. } => {
                self.fail(Outcome::TimedOut, None, cx);
            }
        }
    }

    /// There is no room: the busy reply, if no other has begun.
    pub fn shed(&mut self, cx: &mut Context<'_>) {
        self.fail(Outcome::Busy, Some(&cx.options.replies.busy), cx);
    }

    /// Ends without a word, whatever the state: abandoned, or panicked.
    pub fn abort(&mut self, outcome: Outcome) {
        self.outcome = outcome;
        let finished = State::Finished {
            close: Close::Abort,
            unfinished: None,
        };
        self.replace(finished, &mut Buffers::default());
    }
}

impl Default for Exchange {
    fn default() -> Self {
        Self::new()
    }
}

const _: () = assert!(
    size_of::<Exchange>() <= 96,
    "every open connection holds one"
);

#[cfg(test)]
mod tests;
