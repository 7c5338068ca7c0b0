//! A whole exchange, from the first byte to the end, by the steps that a worker takes.

use std::time::{Instant, SystemTime};

use criterion::Criterion;
use replyd::exchange::buffers::Buffers;
use replyd::exchange::outcome::Outcome;
use replyd::exchange::{Context, Exchange, HalfClose, Options, Step};
use replyd::peer::Peer;
use replyd::reply::calendar::Calendar;
use replyd::reply::http::HttpOptions;
use replyd::reply::page::Page;
use replyd::reply::{Replies, Reply};
use replyd::request::Framing;

use crate::framing::rules;

const GET: &[u8] =
    b"GET /status HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n";

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("exchange");
    let text = |http: Option<&HttpOptions>| Reply::Page(Page::new(b"a constant\n", http));
    let http = HttpOptions::of(200);
    let too_large = [b'x'; 5000];
    for (name, framing, reply, request, outcome) in [
        (
            "text",
            Framing::Line,
            text(None),
            &b"you\n"[..],
            Outcome::Replied,
        ),
        (
            "http text",
            Framing::Http,
            text(Some(&http)),
            GET,
            Outcome::Replied,
        ),
        (
            "echo",
            Framing::Line,
            Reply::Echo { http: None },
            b"a line\n",
            Outcome::Replied,
        ),
        (
            "too large",
            Framing::Line,
            text(None),
            &too_large,
            Outcome::TooLarge,
        ),
    ] {
        let options = options(framing, reply);
        let mut desk = Desk::new();
        group.bench_function(name, |bencher| {
            bencher.iter(|| assert_eq!(desk.exchange(&options, request), outcome));
        });
    }
    group.finish();
}

fn options(framing: Framing, reply: Reply) -> Options {
    let is_http = framing == Framing::Http;
    let page = |text: &[u8]| Page::new(text, is_http.then(|| HttpOptions::of(503)).as_ref());
    let mut rules = rules(framing);
    rules.keep_head = reply.uses_head();
    rules.keep_body = reply.uses_request();
    Options {
        service: "bench".into(),
        rules,
        replies: Replies {
            reply,
            busy: page(b"busy\n"),
            denied: page(b"denied\n"),
            failed: page(b"failed\n"),
            timed_out: page(b"timed out\n"),
            maintenance: None,
            is_http,
        },
        half_close: HalfClose::Reply,
    }
}

/// What a worker has at hand.
struct Desk {
    scratch: Vec<u8>,
    buffers: Buffers,
    calendar: Calendar,
    now: Instant,
}

impl Desk {
    fn new() -> Self {
        Self {
            scratch: vec![0; 64 * 1024],
            buffers: Buffers::new(),
            calendar: Calendar::new(SystemTime::now()),
            now: Instant::now(),
        }
    }

    /// One exchange whose request is there at once, and whose reply is taken at once.
    fn exchange(&mut self, options: &Options, request: &[u8]) -> Outcome {
        let mut cx = Context {
            options,
            peer: Peer::Unix,
            calendar: &self.calendar,
            now: self.now,
            buffers: &mut self.buffers,
        };
        let mut exchange = Exchange::new();
        exchange.begin(&mut cx);
        // Ends with the exchange: none of these replies comes later.
        loop {
            match exchange.step() {
                Step::Receive => {
                    // As recv(2) would.
                    let received = &mut self.scratch[..request.len()];
                    received.copy_from_slice(request);
                    exchange.received(received, &mut cx);
                }
                Step::Send => {
                    let count = exchange.left().iter().map(|bytes| bytes.len()).sum();
                    exchange.sent(count, &mut cx);
                }
                Step::Make => panic!("a reply that comes later"),
                Step::Finish(_) => return exchange.outcome(),
            }
        }
    }
}
