//! Events of a connection, in any order that a transport could bring them in: an exchange has one
//! thing to do at a time, an end, one outcome, and nothing after it; and what was sent by then is
//! the reply, a page instead of it, or visibly a part of either.

use std::sync::Arc;

use arbitrary::{Result, Unstructured};
use replyd::command::Delivery;
use replyd::command::report::Report;
use replyd::exchange::outcome::Outcome;
use replyd::exchange::{Close, Exchange, Options, Step};
use replyd::reply::{Job, Made, Reply};
use replyd::request::Framing;

use super::response::Response;
use super::service::{self, Driver, undisturbed};

/// Source: RFC 9110 section 15.2.1.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What goes beside the bytes that an exchange announces: the head of a file's reply.
const HEAD_BYTES_MAX: u64 = 1024;

/// More steps than the longest reply takes.
const STEPS_MAX: usize = 1000;

/// What clients send; the rest is made of bytes.
const PIECES: [&[u8]; 12] = [
    b"query\r\n",
    b"q\n",
    b"a\r\n\r\n",
    b"GET /p?q HTTP/1.1\r\nHost: h\r\nX: y\r\n\r\n",
    b"HEAD / HTTP/1.0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"hello",
    b"5;a=b\r\nhello\r\n",
    b"0\r\n\r\n",
    b"\r\n",
    b"\x16\x03\x01",
];

pub(super) fn check(bytes: &[u8]) {
    let mut input = Unstructured::new(bytes);
    let Ok(options) = service::any(&mut input) else {
        return;
    };
    let mut connection = Connection::new(&options);
    while let (false, Ok(())) = (input.is_empty(), connection.act(&mut input)) {}
    connection.finish();
    connection.assert_over();
    connection.assert_sent();
}

/// An exchange, and what its transport and its maker know.
struct Connection<'a> {
    options: &'a Options,
    driver: Driver<'a>,

    /// What was received before the request was complete.
    asked: Vec<u8>,
    has_ended: bool,

    /// It ended while the request was not complete.
    has_ended_asking: bool,

    /// The job that somebody runs.
    job: Option<Box<Job>>,

    /// What the last command has said.
    report: Arc<Report>,

    /// What the exchange has announced to send.
    announced: u64,

    /// What the exchange has come to so far.
    outcome: Outcome,

    /// Ended from outside.
    is_aborted: bool,
}

impl<'a> Connection<'a> {
    fn new(options: &'a Options) -> Self {
        Self {
            options,
            driver: Driver::new(options),
            asked: Vec::new(),
            has_ended: false,
            has_ended_asking: false,
            job: None,
            report: service::report(0, b"nobody asked", 0),
            announced: 0,
            outcome: Outcome::Replied,
            is_aborted: false,
        }
    }

    fn exchange(&self) -> &Exchange {
        &self.driver.exchange
    }

    /// Does what the next bytes say, if the transport could do so now.
    fn act(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let [act, size]: [u8; 2] = input.arbitrary()?;
        match (act & 0x7, self.exchange().step()) {
            (0..=2, Step::Receive) => {
                let known = PIECES.get(usize::from(act >> 3));
                let bytes =
                    known.map_or_else(|| input.bytes(usize::from(size) + 1), |known| Ok(*known));
                self.receive(bytes?);
            }
            (3 | 4, Step::Send) => self.send(usize::from(size) + 1),
            (5, Step::Make) => self.take_job(),
            (6, Step::Make) if self.job.is_some() => {
                let said = input.bytes(input.len().min(usize::from(act >> 3)))?;
                self.answer(size, said);
            }
            (7, step) => self.happen(act >> 3, step),
            _ => {}
        }
        self.inspect();
        Ok(())
    }

    fn receive(&mut self, bytes: &[u8]) {
        self.asked.extend_from_slice(bytes);
        self.driver.receive(bytes);
    }

    /// What is left afterwards begins with what was not taken, unless that was the last of it.
    fn send(&mut self, portion: usize) {
        let before = self.exchange().left().concat();
        self.driver.send(portion);
        let after = self.exchange().left().concat();
        if let Some(rest) = before.get(portion..).filter(|rest| !rest.is_empty()) {
            assert!(
                after == rest,
                "{} bytes were left of {}",
                after.len(),
                rest.len()
            );
        }
    }

    fn take_job(&mut self) {
        if let Some(job) = self.driver.exchange.take_job() {
            assert!(self.job.is_none(), "two jobs at a time");
            self.job = Some(job);
        }
        assert!(
            self.driver.exchange.take_job().is_none(),
            "a job is taken twice"
        );
    }

    fn answer(&mut self, kind: u8, said: &[u8]) {
        let Some(job) = self.job.take() else { return };
        let made = match (kind % 4, *job) {
            (0, _) => Box::new(Made::Failed),
            (1, Job::Command(_)) => Box::new(Made::Command(Delivery::Busy)),
            (_, Job::Command(_)) => {
                self.report = service::report(kind >> 2, said, kind);
                Box::new(Made::Command(Delivery::Report(Arc::clone(&self.report))))
            }
            (_, job) => Box::new(job).run(),
        };
        self.driver.answer(made);
    }

    fn happen(&mut self, event: u8, step: Step) {
        match event % 6 {
            0 | 1 if step == Step::Receive && !self.has_ended => {
                self.has_ended = true;
                self.has_ended_asking = self.exchange().is_reading();
                self.driver.tell(Exchange::ended);
            }
            2 => self.driver.tell(Exchange::broken),
            3 => self.driver.tell(Exchange::expired),
            4 => self.driver.tell(Exchange::shed),
            5 if !matches!(step, Step::Finish(_)) => {
                self.is_aborted = true;
                self.driver.exchange.abort(Outcome::Abandoned);
            }
            _ => {}
        }
    }

    /// What holds in every state.
    fn inspect(&mut self) {
        let exchange = &mut self.driver.exchange;
        let outcome = exchange.outcome();
        let before = std::mem::replace(&mut self.outcome, outcome);
        let stays = before == Outcome::Replied || before == outcome || self.is_aborted;
        assert!(stays, "{before:?} has become {outcome:?}");
        self.announced += exchange.take_reply_bytes();
        let step = exchange.step();
        let has_left = exchange.left().iter().any(|bytes| !bytes.is_empty());
        assert_eq!(step == Step::Send, has_left, "{step:?}");
        assert!(step == Step::Send || !exchange.is_last(), "{step:?}");
        let waits = step == Step::Receive && self.has_ended;
        assert!(!waits, "it waits for a peer that has ended its side");
        assert!(step != Step::Receive || exchange.is_reading());
        assert!(
            step == Step::Make || exchange.take_job().is_none(),
            "a job at {step:?}"
        );
    }

    /// Whatever was left undone is done.
    fn finish(&mut self) {
        for _ in 0..STEPS_MAX {
            match self.exchange().step() {
                Step::Receive => self.happen(0, Step::Receive),
                Step::Send => self.send(usize::MAX),
                Step::Make => {
                    self.take_job();
                    self.answer(3, b"said\n");
                }
                Step::Finish(_) => return,
            }
            self.inspect();
        }
        panic!("it goes round in circles: {:?}", self.exchange());
    }

    /// Nothing that comes now changes anything.
    fn assert_over(&mut self) {
        let exchange = &mut self.driver.exchange;
        let end = (exchange.step(), exchange.outcome());
        // Whose closing may hang, so it is not to be dropped by just anyone.
        let _unfinished = exchange.take_unfinished();
        for event in 2..5 {
            self.happen(event, end.0);
        }
        self.driver.tell(Exchange::ended);
        self.driver.receive(b"late");
        self.driver.answer(Box::new(Made::Failed));
        self.inspect();
        let exchange = &mut self.driver.exchange;
        assert_eq!(
            (exchange.step(), exchange.outcome()),
            end,
            "changed after the end"
        );
        assert!(
            exchange.take_unfinished().is_none(),
            "a job that is left twice"
        );
    }

    /// What the client has by now.
    fn assert_sent(&mut self) {
        let Step::Finish(close) = self.exchange().step() else {
            panic!("not at the end");
        };
        let outcome = self.exchange().outcome();
        let out = std::mem::take(&mut self.driver.out);
        let out = out.strip_prefix(CONTINUE).unwrap_or(&out);
        let is_interim = out.len() < CONTINUE.len() && CONTINUE.starts_with(out);
        let announced = self.announced + HEAD_BYTES_MAX;
        assert!(
            out.len() as u64 <= announced,
            "{} bytes, {announced} announced",
            out.len()
        );
        let shown = out[..out.len().min(1000)].escape_ascii();
        match close {
            Close::Linger => {
                let whole = self.wholes(outcome).contains(&out.to_vec());
                assert!(
                    whole || self.is_fault_page(outcome, out),
                    "{outcome:?} {shown}"
                );
            }
            Close::Plain => {
                assert_eq!(out, b"", "{outcome:?}: bytes, and a plain close");
                assert_ne!(outcome, Outcome::Replied);
            }
            Close::Abort => {
                assert_ne!(outcome, Outcome::Replied, "{shown}");
                let all = Outcome::ALL
                    .into_iter()
                    .flat_map(|outcome| self.wholes(outcome));
                let is_part = all.into_iter().any(|whole| whole.starts_with(out));
                let is_fault = out.starts_with(b"HTTP/1.1 4") || out.starts_with(b"HTTP/1.1 5");
                assert!(is_part || is_interim || is_fault, "{outcome:?} {shown}");
                // Of a file that has begun to be read: it is not for a worker to close it.
                let is_file = matches!(self.options.replies.reply, Reply::File { .. });
                let is_reset_for_nothing = out.is_empty() && !self.is_aborted && !is_file;
                assert!(!is_reset_for_nothing, "{outcome:?}");
            }
        }
    }

    /// All that may have been sent as a whole with this outcome.
    fn wholes(&self, outcome: Outcome) -> Vec<Vec<u8>> {
        let is_http = self.options.rules.framing == Framing::Http;
        let pages: &[(&str, u16)] = match outcome {
            Outcome::Replied => {
                let (asked, has_ended) = (&self.asked[..], self.has_ended_asking);
                let reply = undisturbed(self.options, asked, has_ended, &self.report);
                return reply.into_iter().collect();
            }
            Outcome::Busy => &[("busy\n", 503)],
            Outcome::Failed => &[("failed\n", 500)],
            Outcome::TimedOut => &[("timed out\n", 504), ("the request took too long\n", 408)],
            Outcome::Invalid | Outcome::TooLarge if !is_http => return vec![Vec::new()],
            _ => return Vec::new(),
        };
        let bodies = pages.iter().flat_map(|page| [(page, false), (page, true)]);
        let whole = |((text, status), is_head): (&(&str, u16), bool)| {
            service::page(text, *status, is_http, is_head)
        };
        bodies.map(whole).collect()
    }

    fn is_fault_page(&self, outcome: Outcome, out: &[u8]) -> bool {
        let is_fault = matches!(outcome, Outcome::Invalid | Outcome::TooLarge);
        if !is_fault || self.options.rules.framing != Framing::Http {
            return false;
        }
        let has_no_body = out.ends_with(b"\r\n\r\n");
        let response = Response::read(out, has_no_body);
        let is_too_large = matches!(response.status, 413 | 431);
        assert_eq!(is_too_large, outcome == Outcome::TooLarge, "{response:?}");
        assert_eq!(
            response.all("Allow").len(),
            usize::from(response.status == 405)
        );
        response.status >= 400
    }
}
