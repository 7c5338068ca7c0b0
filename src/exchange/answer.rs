//! From what was received to what is sent: how an exchange goes from state to state.

use crate::command::report::{Report, RunResult};
use crate::exchange::buffers::Buffers;
use crate::exchange::outcome::Outcome;
use crate::exchange::{CONTINUE, Close, Context, Exchange, State};
use crate::reply::http::HttpOptions;
use crate::reply::output::Output;
use crate::reply::page::Page;
use crate::reply::{Asked, Begun, Job};
use crate::request::{Fault, Progress, Request};

impl Exchange {
    pub(super) fn read(&mut self, bytes: &mut [u8], cx: &mut Context<'_>) {
        let State::Reading {
            reader,
            kept,
            interim_left,
        } = &mut self.state
        else {
            return;
        };
        let rules = &cx.options.rules;
        if kept.is_empty() {
            let progress = reader.advance(rules, bytes);
            if let Progress::More { keep, interim } = progress {
                if keep > 0 {
                    *kept = cx.buffers.take();
                    kept.extend_from_slice(&bytes[..keep]);
                    keep_only(kept, keep);
                }
                if interim {
                    *interim_left = INTERIM_BYTES;
                }
                return;
            }
            self.is_head = reader.is_head();
            return self.take_progress(progress, bytes, cx);
        }
        kept.extend_from_slice(bytes);
        let progress = reader.advance(rules, kept);
        if let Progress::More { keep, interim } = progress {
            keep_only(kept, keep);
            if interim {
                *interim_left = INTERIM_BYTES;
            }
            return;
        }
        self.is_head = reader.is_head();
        let kept = std::mem::take(kept);
        self.take_progress(progress, &kept, cx);
        cx.buffers.put(kept);
    }

    pub(super) fn take_progress(&mut self, progress: Progress, input: &[u8], cx: &mut Context<'_>) {
        match progress {
            Progress::Complete(request) => {
                self.reply(&request, input, cx);
            }
            Progress::Fault(fault) => self.refuse(fault, cx),
            Progress::Nothing => self.finish(Outcome::NoRequest, Close::Plain, cx),
            Progress::More { .. } => unreachable!("invariant: the callers have handled it"),
        }
    }

    fn reply(&mut self, request: &Request, input: &[u8], cx: &mut Context<'_>) {
        let mut output = Output::new(cx.buffers.take());
        let asked = Asked {
            service: &cx.options.service,
            peer: cx.peer,
            calendar: cx.calendar,
            now: cx.now,
            head: &input[request.head.clone()],
            request: &input[request.body.clone()],
            received: &input[request.received.clone()],
            is_head: self.is_head,
        };
        match cx.options.replies.begin(&asked, &mut output) {
            Begun::Written => {
                self.reply_bytes += output.total_bytes() as u64;
                self.write(output, None, cx);
            }
            Begun::Later(job) => {
                put_back(output, cx.buffers);
                self.replace(State::Making { job: Some(job) }, cx.buffers);
            }
            Begun::Failed => {
                put_back(output, cx.buffers);
                self.fail(Outcome::Failed, Some(&cx.options.replies.failed), cx);
            }
            Begun::Reported(report) => self.reported(&report, output, cx),
        }
    }

    /// What a command was run for has come of it.
    pub(super) fn reported(&mut self, report: &Report, mut output: Output, cx: &mut Context<'_>) {
        let replies = &cx.options.replies;
        if report.result == RunResult::Answered {
            let reply = &replies.reply;
            reply.write_report(report, cx.calendar, self.is_head, &mut output);
            self.reply_bytes += output.total_bytes() as u64;
            return self.write(output, None, cx);
        }
        put_back(output, cx.buffers);
        match report.result {
            RunResult::TimedOut => self.fail(Outcome::TimedOut, Some(&replies.timed_out), cx),
            _ => self.fail(Outcome::Failed, Some(&replies.failed), cx),
        }
    }

    pub(super) fn refuse(&mut self, fault: Fault, cx: &mut Context<'_>) {
        let outcome = if fault.is_too_large() {
            Outcome::TooLarge
        } else {
            Outcome::Invalid
        };
        if !cx.options.replies.is_http {
            return self.finish(outcome, Close::Linger, cx);
        }
        let mut http = HttpOptions::of(fault.status());
        if http.status == 405 {
            // RFC 9110 section 15.5.6: must be there.
            let allowed = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
            http.headers.push(("Allow".to_owned(), allowed.to_owned()));
        }
        let page = Page::new(format!("{fault}\n").as_bytes(), Some(&http));
        self.write_page(&page, outcome, cx);
    }

    /// Ends an exchange that can't go on: with `page`, if there is one and nothing was sent yet. A
    /// fault that was found before stays the outcome.
    pub(super) fn fail(&mut self, outcome: Outcome, page: Option<&Page>, cx: &mut Context<'_>) {
        if matches!(self.state, State::Finished { .. }) {
            return;
        }
        let has_failed_before = self.outcome != Outcome::Replied;
        let outcome = if has_failed_before {
            self.outcome
        } else {
            outcome
        };
        match page {
            _ if self.is_cut() => self.finish(outcome, Close::Abort, cx),
            Some(page) if !has_failed_before => self.write_page(page, outcome, cx),
            _ => self.finish(outcome, Close::Plain, cx),
        }
    }

    /// Whether ending here would leave the peer with a part of something.
    fn is_cut(&self) -> bool {
        let is_between = match &self.state {
            State::Reading { interim_left, .. } => (1..INTERIM_BYTES).contains(interim_left),
            State::Writing { job, .. } => goes_on(job.as_deref()),
            State::Making { .. } | State::Finished { .. } => false,
        };
        self.has_sent || is_between
    }

    pub(super) fn write_page(&mut self, page: &Page, outcome: Outcome, cx: &mut Context<'_>) {
        self.outcome = outcome;
        if let State::Reading { reader, .. } = &self.state {
            self.is_head = reader.is_head();
        }
        let mut output = Output::new(cx.buffers.take());
        page.write(cx.calendar, self.is_head, &mut output);
        self.reply_bytes += output.total_bytes() as u64;
        self.write(output, None, cx);
    }

    pub(super) fn write(&mut self, output: Output, job: Option<Box<Job>>, cx: &mut Context<'_>) {
        if output.is_sent() {
            // An empty reply, or an empty file.
            self.all_sent(output, job, cx);
        } else {
            self.replace(State::Writing { output, job }, cx.buffers);
        }
    }

    pub(super) fn all_sent(
        &mut self,
        output: Output,
        mut job: Option<Box<Job>>,
        cx: &mut Context<'_>,
    ) {
        let (own, body) = output.into_buffers();
        cx.buffers.put(own);
        if let (Some(job), Some(body)) = (&mut job, body) {
            job.reuse(body);
        }
        if goes_on(job.as_deref()) {
            return self.replace(State::Making { job }, cx.buffers);
        }
        if let Some(job) = job {
            cx.options.replies.reply.keep(job);
        }
        self.finish(self.outcome, Close::Linger, cx);
    }

    pub(super) fn finish(&mut self, outcome: Outcome, close: Close, cx: &mut Context<'_>) {
        self.outcome = outcome;
        let unfinished = None;
        self.replace(State::Finished { close, unfinished }, cx.buffers);
    }

    /// Goes to another state. The buffers of the one before are for others now; an end keeps the
    /// job that was left.
    pub(super) fn replace(&mut self, state: State, buffers: &mut Buffers) {
        let left = match std::mem::replace(&mut self.state, state) {
            State::Reading { kept, .. } => {
                buffers.put(kept);
                None
            }
            State::Writing { output, job } => {
                put_back(output, buffers);
                job.filter(|job| !job.is_over())
            }
            State::Making { job } => job,
            State::Finished { unfinished, .. } => unfinished,
        };
        if let State::Finished { unfinished, .. } = &mut self.state {
            *unfinished = left;
        }
    }
}

/// [`CONTINUE`]'s length.
#[allow(clippy::cast_possible_truncation, reason = "25")]
const INTERIM_BYTES: u8 = CONTINUE.len() as u8;

/// A request that waits keeps no more than this beside the bytes it needs.
const SLACK_BYTES: usize = 1024;

/// Keeps the first `keep` bytes, and gives back memory that a larger read has left.
fn keep_only(kept: &mut Vec<u8>, keep: usize) {
    kept.truncate(keep);
    if kept.capacity() > keep + SLACK_BYTES {
        kept.shrink_to(keep);
    }
}

/// Whether a job makes another part.
pub(super) fn goes_on(job: Option<&Job>) -> bool {
    job.is_some_and(|job| !job.is_over())
}

fn put_back(output: Output, buffers: &mut Buffers) {
    let (own, body) = output.into_buffers();
    buffers.put(own);
    if let Some(body) = body {
        buffers.put(body);
    }
}
