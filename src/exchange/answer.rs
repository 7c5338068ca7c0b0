//! From what was received to what is sent: how an exchange goes from state to state.

use crate::exchange::buffers::Buffers;
use crate::exchange::outcome::Outcome;
use crate::exchange::{CONTINUE, Close, Context, Exchange, State};
use crate::reply::http::HttpOptions;
use crate::reply::output::Output;
use crate::reply::page::Page;
use crate::reply::{Asked, Begun, Job};
use crate::request::{Fault, Progress};

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
                }
                *interim_left = interim_bytes(interim, *interim_left);
                return;
            }
            self.is_head = reader.is_head();
            return self.take_progress(progress, bytes, cx);
        }
        kept.extend_from_slice(bytes);
        let progress = reader.advance(rules, kept);
        if let Progress::More { keep, interim } = progress {
            kept.truncate(keep);
            *interim_left = interim_bytes(interim, *interim_left);
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
                self.reply(&input[request.head], &input[request.body], cx);
            }
            Progress::Fault(fault) => self.refuse(fault, cx),
            Progress::Nothing => self.finish(Outcome::NoRequest, Close::Plain, cx),
            Progress::More { .. } => unreachable!("invariant: the callers have handled it"),
        }
    }

    pub(super) fn reply(&mut self, head: &[u8], request: &[u8], cx: &mut Context<'_>) {
        let mut output = Output::new(cx.buffers.take());
        let asked = Asked {
            service: &cx.options.service,
            peer: cx.peer,
            calendar: cx.calendar,
            head,
            request,
            is_head: self.is_head,
        };
        match cx.options.replies.reply.begin(&asked, &mut output) {
            Begun::Written => {
                self.reply_bytes += output.total_bytes() as u64;
                self.write(output, None, cx);
            }
            Begun::Later(job) => {
                put_back(output, cx.buffers);
                self.state = State::Making { job: Some(job) };
            }
            Begun::Failed => {
                put_back(output, cx.buffers);
                self.give_up(Outcome::Failed, cx);
            }
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

    /// Says that there will be no reply, if none has begun.
    pub(super) fn give_up(&mut self, outcome: Outcome, cx: &mut Context<'_>) {
        if self.has_replied_partly || matches!(self.state, State::Finished { .. }) {
            return self.finish(outcome, Close::Abort, cx);
        }
        let replies = &cx.options.replies;
        let page = match outcome {
            Outcome::Busy => &replies.busy,
            Outcome::Denied => &replies.denied,
            Outcome::TimedOut => &replies.timed_out,
            _ => &replies.failed,
        };
        self.write_page(page, outcome, cx);
    }

    pub(super) fn write_page(&mut self, page: &Page, outcome: Outcome, cx: &mut Context<'_>) {
        self.outcome = outcome;
        let mut output = Output::new(cx.buffers.take());
        page.write(cx.calendar, self.is_head, &mut output);
        self.reply_bytes += output.total_bytes() as u64;
        self.write(output, None, cx);
    }

    pub(super) fn write(&mut self, output: Output, more: Option<Box<Job>>, cx: &mut Context<'_>) {
        if output.is_sent() {
            // An empty reply, or an empty file.
            self.all_sent(output, more, cx);
        } else {
            self.replace(State::Writing { output, more }, cx);
        }
    }

    pub(super) fn all_sent(
        &mut self,
        output: Output,
        more: Option<Box<Job>>,
        cx: &mut Context<'_>,
    ) {
        let (own, body) = output.into_buffers();
        cx.buffers.put(own);
        match more {
            Some(mut job) => {
                if let Some(body) = body {
                    job.reuse(body);
                }
                self.replace(State::Making { job: Some(job) }, cx);
            }
            None => self.replace(
                State::Finished {
                    close: Close::Linger,
                },
                cx,
            ),
        }
    }

    pub(super) fn finish(&mut self, outcome: Outcome, close: Close, cx: &mut Context<'_>) {
        self.outcome = outcome;
        self.replace(State::Finished { close }, cx);
    }

    /// Goes to another state; the buffers of the one before are for others now.
    pub(super) fn replace(&mut self, state: State, cx: &mut Context<'_>) {
        match std::mem::replace(&mut self.state, state) {
            State::Reading { kept, .. } => cx.buffers.put(kept),
            State::Writing { output, .. } => put_back(output, cx.buffers),
            State::Making { .. } | State::Finished { .. } => {}
        }
    }
}

fn interim_bytes(interim: bool, left: u8) -> u8 {
    const { assert!(CONTINUE.len() <= u8::MAX as usize) };
    if interim {
        u8::try_from(CONTINUE.len()).unwrap_or(left)
    } else {
        left
    }
}

fn put_back(output: Output, buffers: &mut Buffers) {
    let (own, body) = output.into_buffers();
    buffers.put(own);
    if let Some(body) = body {
        buffers.put(body);
    }
}
