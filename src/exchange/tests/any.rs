//! What holds however the bytes are cut and whatever happens when.

use std::sync::LazyLock;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;

/// Files for all cases: written once, never changed.
struct Files {
    empty: (tempfile::TempDir, Arc<Path>, Vec<u8>),
    small: (tempfile::TempDir, Arc<Path>, Vec<u8>),
    large: (tempfile::TempDir, Arc<Path>, Vec<u8>),
}

static FILES: LazyLock<Files> = LazyLock::new(|| Files {
    empty: temporary(0),
    small: temporary(100),
    large: temporary(150_000),
});

/// The number of a reply that [`reply`] makes.
const REPLIES: usize = 9;

fn reply(number: usize, is_http: bool) -> Reply {
    let page = if is_http { http_text } else { text };
    match number {
        0 => page("hello\n"),
        1 => page(""),
        2 => page(&"x".repeat(5000)),
        3 => Reply::Echo {
            http: is_http.then(head_of_200),
        },
        4 => template("<{{ request }}>", is_http),
        5 => file(&FILES.empty.1, is_http),
        6 => file(&FILES.small.1, is_http),
        7 => file(&FILES.large.1, is_http),
        // Only code that speaks HTTP builds replies.
        _ if is_http => Reply::Built(Arc::new(HeadBack)),
        _ => template("{{ 1 // 0 }}", false),
    }
}

fn any_framing() -> impl Strategy<Value = Framing> {
    prop_oneof![
        1 => Just(Framing::Nothing),
        2 => Just(Framing::Line),
        2 => select(vec!["\0", "\r\n\r\n"]).prop_map(|end| Framing::Delimiter(end.as_bytes().into())),
        1 => (1..20_usize).prop_map(Framing::Bytes),
        1 => Just(Framing::Eof),
        5 => Just(Framing::Http),
    ]
}

prop_compose! {
    fn any_service()(
        framing in any_framing(),
        number in 0..REPLIES,
        is_cancelling: bool,
    ) -> Options {
        let reply = reply(number, framing == Framing::Http);
        let half_close = if is_cancelling { HalfClose::Cancel } else { HalfClose::Reply };
        Options { half_close, ..service(framing, reply) }
    }
}

/// Requests of every framing, whole, cut short, too long or wrong; and bytes of any kind.
fn any_stream() -> impl Strategy<Value = Vec<u8>> {
    let chunked = "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\
                   Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\n\r\n";
    let long = "x".repeat(300);
    let known = [
        "",
        "q\n",
        "query\r\n",
        "a\r\n\r\nb",
        "a\0b",
        GET,
        HEAD,
        POST,
        chunked,
        &long,
    ];
    let known: Vec<Vec<u8>> = known.iter().map(|text| text.as_bytes().to_vec()).collect();
    prop_oneof![
        4 => select(known.clone()),
        2 => (select(known), any::<Index>()).prop_map(|(mut stream, at)| {
            stream.truncate(at.index(stream.len() + 1));
            stream
        }),
        1 => vec(any::<u8>(), 0..100),
    ]
}

/// What the kernel takes; never so little for so long that a large file takes for ever.
fn any_portions() -> impl Strategy<Value = Vec<usize>> {
    let portion = prop_oneof![1..40_usize, 1000..100_000_usize];
    vec(portion, 0..6).prop_map(|mut portions| {
        portions.push(8192);
        portions
    })
}

fn any_event() -> impl Strategy<Value = Event> {
    select(vec![Event::End, Event::Break, Event::Expire, Event::Shed])
}

/// Cuts `stream` at the given places; no piece is empty, since none that is received is.
fn cut<'a>(stream: &'a [u8], places: &[Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = places.iter().map(|at| at.index(stream.len() + 1)).collect();
    places.extend([0, stream.len()]);
    places.sort_unstable();
    places.dedup();
    places
        .windows(2)
        .map(|pair| &stream[pair[0]..pair[1]])
        .collect()
}

/// An answer, sensible or not.
#[derive(Clone, Copy, Debug)]
enum Answer {
    /// What the job says.
    Run,
    Failed,
    Part {
        size: usize,
        has_more: bool,
    },
}

#[derive(Clone, Debug)]
enum Act {
    Receive(Vec<u8>),
    Send(usize),
    Answer(Answer),
    Happen(Event),
}

fn any_act() -> impl Strategy<Value = Act> {
    let answer = prop_oneof![
        3 => Just(Answer::Run),
        1 => Just(Answer::Failed),
        1 => (0..200_usize, any::<bool>())
            .prop_map(|(size, has_more)| Answer::Part { size, has_more }),
    ];
    prop_oneof![
        4 => any_stream().prop_map(Act::Receive),
        4 => prop_oneof![1..40_usize, Just(100_000)].prop_map(Act::Send),
        3 => answer.prop_map(Act::Answer),
        1 => any_event().prop_map(Act::Happen),
    ]
}

impl Driver<'_> {
    /// Does what may happen at any time; whether the exchange wants it is not asked.
    fn act(&mut self, act: Act) {
        match act {
            Act::Receive(bytes) if bytes.is_empty() => {}
            Act::Receive(bytes) => self.receive(&bytes),
            Act::Send(portion) => self.send(portion),
            // The caller has one only while it waits; see `ends.rs` for the bug.
            Act::Happen(Event::Shed) if matches!(self.exchange.step(), Step::Finish(_)) => {}
            Act::Happen(event) => self.happen(event),
            Act::Answer(answer) => {
                let job = self.exchange.take_job();
                let made = match answer {
                    Answer::Run => match job {
                        Some(job) => job.run(),
                        None => Box::new(Made::Failed),
                    },
                    Answer::Failed => Box::new(Made::Failed),
                    Answer::Part { size, has_more } => Box::new(Made::Part {
                        total_bytes: Some(size as u64),
                        bytes: vec![b'p'; size],
                        more: job.filter(|_| has_more),
                    }),
                };
                self.tell(|exchange, cx| exchange.answered(made, cx));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1024,
        // A test run leaves no files in the tree; a failure prints its input.
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// P1 and P3, as far as they are the exchange's.
    #[test]
    fn how_the_bytes_are_cut_changes_nothing(
        options in any_service(),
        stream in any_stream(),
        places in vec(any::<Index>(), 0..6),
        portions in any_portions(),
        then in any_event(),
    ) {
        let whole = run_until(&options, &stream, then, None);
        let bytes = stream.chunks(1).collect();
        for input in [bytes, cut(&stream, &places)] {
            let script = Script { input, then, portions: &portions, interrupt: None };
            let cut = Driver::new(&options).run(&script);
            // Whether a client waits to be asked for its body shows in how it sends.
            let without_continue = |bytes: &[u8]| bytes.strip_prefix(CONTINUE).unwrap_or(bytes).to_vec();
            prop_assert_eq!((cut.outcome, cut.close), (whole.outcome, whole.close));
            prop_assert!(without_continue(&cut.bytes) == without_continue(&whole.bytes));
            let interims = cut.bytes.windows(CONTINUE.len()).filter(|bytes| *bytes == CONTINUE);
            prop_assert!(interims.count() <= 1);
        }
    }

    /// Who asks well and waits gets the reply, in any portions, and nothing is cut.
    #[test]
    fn a_good_request_gets_the_whole_reply(
        number in 0..REPLIES - 1,
        portions in any_portions(),
    ) {
        let options = service(Framing::Line, reply(number, false));
        let script =
            Script { input: vec![b"q\n"], then: Event::Expire, portions: &portions, interrupt: None };
        let ended = Driver::new(&options).run(&script);
        let expected = match number {
            0 => b"hello\n".to_vec(),
            2 => vec![b'x'; 5000],
            3 => b"q".to_vec(),
            4 => b"<q>".to_vec(),
            6 => FILES.small.2.clone(),
            7 => FILES.large.2.clone(),
            _ => Vec::new(),
        };
        check(&ended, Outcome::Replied, Close::Linger, expected);
    }

    /// Events that nobody asked for, in any order: no panic, one thing to do at a time, an end,
    /// and nothing after it. [`Driver::inspect`] looks after each.
    #[test]
    fn whatever_happens_it_ends_once(
        options in any_service(),
        acts in vec(any_act(), 0..20),
        portions in any_portions(),
        then in any_event(),
    ) {
        let mut driver = Driver::new(&options);
        let mut end = None;
        for act in acts {
            driver.act(act);
            let now = match driver.exchange.step() {
                Step::Finish(close) => Some((close, driver.exchange.outcome(), driver.out.len())),
                _ => None,
            };
            if end.is_some() {
                prop_assert_eq!(now, end, "changed after the end");
            }
            end = now;
        }
        // A job taken by an answer that never came: the deadline ends that.
        let is_lost = matches!(driver.exchange.state, State::Making { job: None });
        if is_lost {
            driver.happen(Event::Expire);
        }
        let script = Script { input: vec![], then, portions: &portions, interrupt: None };
        let ended = driver.run(&script);
        if let Some((close, outcome, sent)) = end {
            prop_assert_eq!((ended.close, ended.outcome, ended.bytes.len()), (close, outcome, sent));
        }
        let is_unfinished = ended.close == Close::Abort;
        prop_assert!(!is_unfinished || ended.outcome != Outcome::Replied, "replied, and cut");
        let is_silent = ended.close == Close::Plain && ended.outcome == Outcome::NoRequest;
        prop_assert!(!is_silent || ended.bytes.is_empty(), "no request, and bytes for it");
    }

    /// A reply interrupted anywhere is a beginning of the whole one, and says so by its close; or
    /// nothing of it is there, but another page.
    #[test]
    fn a_part_of_a_reply_never_looks_whole(
        at in 0..160_000_usize,
        portions in any_portions(),
        event in select(vec![Event::Expire, Event::Shed]),
    ) {
        let options = service(Framing::Line, reply(7, false));
        let interrupt = Some((Moment::Sending(at), event));
        let script = Script { input: vec![b"q\n"], then: Event::End, portions: &portions, interrupt };
        let ended = Driver::new(&options).run(&script);
        let content = &FILES.large.2;
        match ended.close {
            Close::Abort => prop_assert!(content.starts_with(&ended.bytes)),
            Close::Linger if ended.outcome == Outcome::Busy => prop_assert_eq!(ended.bytes, b"busy\n"),
            Close::Linger => prop_assert!(&ended.bytes == content),
            Close::Plain => prop_assert!(false, "closed plainly"),
        }
    }
}
