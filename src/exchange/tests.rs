//! Exchanges driven without a socket: what the engine's connection does, by script.
//!
//! Here the driver and what the tests share. `replies.rs`: what a reply is when nothing goes wrong.
//! `ends.rs`, `refused.rs`: every other way to end. `any.rs`: what holds for whatever happens.
//! `memory.rs`: what an exchange holds, and gives back.

mod any;
mod ends;
mod memory;
mod refused;
mod replies;

use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, UNIX_EPOCH};

use crate::exchange::buffers::Buffers;
use crate::exchange::outcome::Outcome;
use crate::exchange::{CONTINUE, Close, Context, Exchange, HalfClose, Options, State, Step};
use crate::peer::Peer;
use crate::reply::calendar::Calendar;
use crate::reply::file::Source;
use crate::reply::http::{HttpHead, HttpOptions};
use crate::reply::page::Page;
use crate::reply::template::Template;
use crate::reply::{Asked, Building, Built, BuiltReply, Made, Replies, Reply};
use crate::request::{Framing, Rules};

/// What happens to an exchange from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    End,
    Break,
    Expire,
    Shed,
    Abort(Outcome),
}

/// When it happens, beside the input's end.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// Before this job's answer is told, counted from 0.
    Making(usize),
    /// As soon as so many bytes are out, and there are more.
    Sending(usize),
}

/// What the peer and the clock do.
#[derive(Debug)]
struct Script<'a> {
    /// What is received, in these pieces.
    input: Vec<&'a [u8]>,
    /// What happens when all of them were, and the exchange wants more.
    then: Event,
    /// What the kernel takes at most, round and round.
    portions: &'a [usize],
    interrupt: Option<(Moment, Event)>,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ended {
    outcome: Outcome,
    close: Close,
    bytes: Vec<u8>,
}

/// One exchange and all that a worker would have at hand for it.
#[derive(Debug)]
struct Driver<'a> {
    options: &'a Options,
    exchange: Exchange,
    buffers: Buffers,
    calendar: Calendar,
    out: Vec<u8>,
}

/// More steps than any script needs: whoever takes them goes round in circles.
const STEPS_MAX: usize = 100_000;

impl<'a> Driver<'a> {
    fn new(options: &'a Options) -> Self {
        let mut driver = Self {
            options,
            exchange: Exchange::new(),
            buffers: Buffers::new(),
            calendar: Calendar::new(UNIX_EPOCH),
            out: Vec::new(),
        };
        driver.tell(Exchange::begin);
        driver
    }

    fn tell(&mut self, what: impl FnOnce(&mut Exchange, &mut Context<'_>)) {
        let mut cx = Context {
            options: self.options,
            peer: Peer::Unix,
            calendar: &self.calendar,
            now: Instant::now(),
            buffers: &mut self.buffers,
        };
        what(&mut self.exchange, &mut cx);
        self.inspect();
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::End => self.tell(Exchange::ended),
            Event::Break => self.tell(Exchange::broken),
            Event::Expire => self.tell(Exchange::expired),
            Event::Shed => self.tell(Exchange::shed),
            Event::Abort(outcome) => self.tell(|exchange, _| exchange.abort(outcome)),
        }
    }

    fn receive(&mut self, piece: &[u8]) {
        let mut scratch = piece.to_vec();
        self.tell(|exchange, cx| exchange.received(&mut scratch, cx));
    }

    /// Takes at most `portion` bytes of what is left.
    fn send(&mut self, portion: usize) {
        let left = self.exchange.left().concat();
        let count = portion.min(left.len());
        self.out.extend_from_slice(&left[..count]);
        self.tell(|exchange, cx| exchange.sent(count, cx));
    }

    /// Runs the job, as a maker would.
    #[expect(clippy::unnecessary_box_returns, reason = "it travels in its box")]
    fn make(&mut self) -> Box<Made> {
        let job = self.exchange.take_job().expect("a job at Step::Make");
        assert!(self.exchange.take_job().is_none(), "a job is taken twice");
        job.run()
    }

    /// What holds in every state.
    fn inspect(&self) {
        let has_left = self.exchange.left().iter().any(|bytes| !bytes.is_empty());
        let step = self.exchange.step();
        assert_eq!(step == Step::Send, has_left, "{step:?} with {has_left}");
        assert!(step == Step::Send || !self.exchange.is_last(), "{step:?}");
        if let State::Reading { kept, .. } = &self.exchange.state {
            let max = kept_max(&self.options.rules);
            assert!(kept.len() <= max, "{} kept of {max}", kept.len());
        }
    }

    fn run(&mut self, script: &Script<'_>) -> Ended {
        let mut input = script.input.iter();
        let mut portions = script.portions.iter().cycle();
        let (mut jobs, mut interrupt) = (0, script.interrupt);
        for _ in 0..STEPS_MAX {
            let step = self.exchange.step();
            let is_now = match (interrupt, step) {
                (Some((Moment::Making(job), _)), Step::Make) => job == jobs,
                (Some((Moment::Sending(count), _)), Step::Send) => self.out.len() >= count,
                _ => false,
            };
            if let (true, Some((_, event))) = (is_now, interrupt.take_if(|_| is_now)) {
                self.happen(event);
                continue;
            }
            match step {
                Step::Receive => match input.next() {
                    Some(piece) => self.receive(piece),
                    None => self.happen(script.then),
                },
                Step::Send => self.send(*portions.next().expect("portions")),
                Step::Make => {
                    let made = self.make();
                    self.tell(|exchange, cx| exchange.answered(made, cx));
                    jobs += 1;
                }
                Step::Finish(close) => {
                    let outcome = self.exchange.outcome();
                    return Ended {
                        outcome,
                        close,
                        bytes: std::mem::take(&mut self.out),
                    };
                }
            }
        }
        panic!("never finished: {script:?}");
    }
}

/// The most that the rules let an exchange keep of a request; see `Reader::advance`.
fn kept_max(rules: &Rules) -> usize {
    match &rules.framing {
        Framing::Nothing => 0,
        Framing::Line => rules.max_request_bytes + 1,
        Framing::Delimiter(delimiter) => rules.max_request_bytes + delimiter.len() - 1,
        Framing::Bytes(count) => count.saturating_sub(1),
        Framing::Eof => rules.max_request_bytes,
        Framing::Http => rules.max_head_bytes + rules.max_request_bytes,
    }
}

/// A service as the configuration makes it, with room for 64 bytes.
fn service(framing: Framing, reply: Reply) -> Options {
    let is_http = framing == Framing::Http;
    let page = |text: &str, status| {
        let http = HttpOptions::of(status);
        Page::new(text.as_bytes(), is_http.then_some(&http))
    };
    let rules = Rules {
        framing,
        max_request_bytes: 64,
        max_head_bytes: 256,
        keep_head: reply.uses_head(),
        keep_body: reply.uses_request(),
    };
    let replies = Replies {
        reply,
        busy: page("busy\n", 503),
        denied: page("denied\n", 403),
        failed: page("failed\n", 500),
        timed_out: page("timed out\n", 504),
        maintenance: None,
        is_http,
    };
    Options {
        service: "test".into(),
        rules,
        replies,
        half_close: HalfClose::Reply,
    }
}

/// Runs `input` in one piece, to which the peer's end, with sends that take all.
fn run(options: &Options, input: &[u8]) -> Ended {
    run_until(options, input, Event::End, None)
}

fn run_until(
    options: &Options,
    input: &[u8],
    then: Event,
    interrupt: Option<(Moment, Event)>,
) -> Ended {
    let input = if input.is_empty() {
        vec![]
    } else {
        vec![input]
    };
    Driver::new(options).run(&Script {
        input,
        then,
        portions: &[usize::MAX],
        interrupt,
    })
}

fn text(body: &str) -> Reply {
    Reply::Page(Page::new(body.as_bytes(), None))
}

fn http_text(body: &str) -> Reply {
    Reply::Page(Page::new(body.as_bytes(), Some(&HttpOptions::of(200))))
}

fn template(text: &str, is_http: bool) -> Reply {
    let template = Box::new(Template::new(text, is_http, false).expect("a template"));
    Reply::Template {
        template,
        http: is_http.then(head_of_200),
    }
}

fn file(path: &Path, is_http: bool) -> Reply {
    Reply::File {
        source: Source::new(path).into(),
        http: is_http.then(head_of_200),
    }
}

fn head_of_200() -> HttpHead {
    HttpHead::new(&HttpOptions::of(200))
}

/// A reply made by code: the head it was asked with.
#[derive(Debug)]
struct HeadBack;

impl Built for HeadBack {
    fn build(&self, asked: &Asked<'_>) -> Building {
        Building::Now(BuiltReply {
            http: HttpOptions::of(200),
            body: asked.head.to_vec(),
        })
    }
}

/// An HTTP reply with `further` headers, each with its line end.
fn http_page(status: &str, further: &str, length: usize, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\n{further}\
         Content-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n\
         Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

fn http_ok(body: &str) -> Vec<u8> {
    http_page("200 OK", "", body.len(), body.as_bytes())
}

/// How many, and the first of them.
fn shown(bytes: &[u8]) -> String {
    let first = &bytes[..bytes.len().min(300)];
    format!("{} bytes: {}", bytes.len(), first.escape_ascii())
}

#[track_caller]
fn check(ended: &Ended, outcome: Outcome, close: Close, bytes: impl AsRef<[u8]>) {
    let bytes = bytes.as_ref();
    let shown = shown(&ended.bytes);
    assert_eq!(
        (ended.outcome, ended.close),
        (outcome, close),
        "after {shown}"
    );
    assert!(
        ended.bytes == bytes,
        "sent {shown}\nnot  {}",
        self::shown(bytes)
    );
}

#[track_caller]
fn replied(options: &Options, input: &str, bytes: impl AsRef<[u8]>) {
    check(
        &run(options, input.as_bytes()),
        Outcome::Replied,
        Close::Linger,
        bytes,
    );
}

const GET: &str = "GET /p?q HTTP/1.1\r\nHost: h\r\n\r\n";
const HEAD: &str = "HEAD /p?q HTTP/1.1\r\nHost: h\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello";

/// A file in a folder of its own, which goes with it.
fn temporary(size: usize) -> (tempfile::TempDir, Arc<Path>, Vec<u8>) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("file");
    let content: Vec<u8> = (0..=250).cycle().take(size).collect();
    std::fs::write(&path, &content).expect("written");
    (folder, path.into(), content)
}

fn line() -> Options {
    service(Framing::Line, text("hello\n"))
}

fn http() -> Options {
    service(Framing::Http, http_text("hello\n"))
}

#[track_caller]
fn check_input(options: &Options, input: &str, then: Event, expected: (Outcome, Close, &[u8])) {
    let (outcome, close, bytes) = expected;
    check(
        &run_until(options, input.as_bytes(), then, None),
        outcome,
        close,
        bytes,
    );
}
