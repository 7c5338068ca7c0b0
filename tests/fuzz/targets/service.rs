//! Services with every kind of reply, as the configuration would make them, and what one exchange
//! comes to that nothing disturbs.

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, UNIX_EPOCH};

use arbitrary::{Result, Unstructured};
use replyd::command::options::{self, Sharing};
use replyd::command::report::{Report, RunResult};
use replyd::command::{Argument, Delivery, End, Process, Runner, Supervisor};
use replyd::exchange::buffers::Buffers;
use replyd::exchange::{Context, Exchange, HalfClose, Options, Step};
use replyd::peer::Peer;
use replyd::reply::calendar::Calendar;
use replyd::reply::command::CommandReply;
use replyd::reply::file::Source;
use replyd::reply::http::{HttpHead, HttpOptions};
use replyd::reply::output::Output;
use replyd::reply::page::Page;
use replyd::reply::template::Template;
use replyd::reply::{Asked, Building, Built, BuiltReply, Job, Made, Replies, Reply};
use replyd::request::{Framing, Rules};

/// Exit codes that are answers, and the status of each.
pub(super) const STATUSES: [(u8, u16); 4] = [(0, 200), (1, 503), (4, 204), (5, 304)];

/// Files for all inputs: written once, never changed.
static FILES: LazyLock<(tempfile::TempDir, [PathBuf; 3])> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    let files = [0, 100, 70_000].map(|size| {
        let path = folder.path().join(size.to_string());
        let content: Vec<u8> = (0..=250).cycle().take(size).collect();
        std::fs::write(&path, content).expect("written");
        path
    });
    (folder, files)
});

/// A service of three bytes.
pub(super) fn any(input: &mut Unstructured<'_>) -> Result<Options> {
    let [kind, size, reply]: [u8; 3] = input.arbitrary()?;
    let framing = match kind & 0x7 {
        0 => Framing::Nothing,
        1 => Framing::Line,
        2 => Framing::Delimiter(Box::from(*b"\r\n\r\n")),
        3 => Framing::Bytes(usize::from(size % 32)),
        4 => Framing::Eof,
        _ => Framing::Http,
    };
    let reply = any_reply(reply, framing == Framing::Http);
    let mut options = service(framing, reply);
    if kind & 0x8 != 0 {
        options.half_close = HalfClose::Cancel;
    }
    Ok(options)
}

fn any_reply(number: u8, is_http: bool) -> Reply {
    let ok = HttpOptions::of(200);
    let http = is_http.then(|| HttpHead::new(&ok));
    let page = |text: &str| Reply::Page(Page::new(text.as_bytes(), is_http.then_some(&ok)));
    let template = |text: &str, http| Reply::Template {
        template: Box::new(Template::new(text, is_http, false).expect("a template")),
        http,
    };
    match number % 11 {
        0 => page("hello\n"),
        1 => page(""),
        2 => page(&"x".repeat(5000)),
        3 => Reply::Echo { http },
        4 if is_http => template(
            "{{ method }} {{ path }}?{{ query }} {{ headers['x'] }}",
            http,
        ),
        4 => template("<{{ request }}>", http),
        5 => template("{{ 1 // 0 }}", http),
        number @ 6..=8 => Reply::File {
            source: Source::new(&FILES.1[usize::from(number) - 6]).into(),
            http,
        },
        9 if is_http => Reply::Built(Arc::new(HeadBack)),
        number => command(is_http, number == 10),
    }
}

/// A service with room for 64 bytes.
pub(super) fn service(framing: Framing, reply: Reply) -> Options {
    let is_http = framing == Framing::Http;
    let rules = Rules {
        framing,
        max_request_bytes: 64,
        max_head_bytes: 256,
        keep_head: reply.uses_head(),
        keep_body: reply.uses_request(),
    };
    let page = |text: &str, status| {
        let http = HttpOptions::of(status);
        Page::new(text.as_bytes(), is_http.then_some(&http))
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

/// A command that nobody runs: answers are made up.
pub(super) fn command(is_http: bool, has_body_output: bool) -> Reply {
    let process = Process {
        run: vec![Argument::Text("/nowhere/command".to_owned())],
        environment: Vec::new(),
        working_directory: "/".into(),
        identity: None,
        timeout: Duration::from_secs(1),
        kill_after: Duration::from_secs(1),
        max_output_bytes: 64 * 1024,
        descriptors: None,
    };
    let options = options::Options {
        service: "test".into(),
        process: process.into(),
        reads_request: true,
        has_head: is_http && !has_body_output,
        answers: STATUSES.iter().map(|(code, _)| *code).collect(),
        concurrency: 1,
        max_waiting: 1,
        sharing: Sharing::Nobody,
    };
    let head = |(code, status): &(u8, u16)| (*code, HttpHead::new(&HttpOptions::of(*status)));
    Reply::Command(CommandReply {
        runner: Runner::new(options, Arc::<Supervisor>::default()).into(),
        heads: (is_http && has_body_output).then(|| STATUSES.iter().map(head).collect()),
        is_http,
    })
}

/// What came of a run; an answer if its exit code is one, and `failure` else.
pub(super) fn report(code: u8, stdout: &[u8], failure: u8) -> Arc<Report> {
    let failures = [
        (RunResult::Failed, Some(End::Exited(code.into()))),
        (RunResult::Failed, Some(End::Signaled(9))),
        (RunResult::TimedOut, None),
        (RunResult::TooLarge, None),
        (RunResult::NotStarted, None),
    ];
    let is_answer = STATUSES.iter().any(|(answer, _)| *answer == code);
    let (result, end) = if is_answer {
        (RunResult::Answered, Some(End::Exited(code.into())))
    } else {
        failures[usize::from(failure) % failures.len()]
    };
    Arc::new(Report {
        result,
        end,
        stdout: if is_answer {
            stdout.into()
        } else {
            Arc::default()
        },
        stdout_bytes: stdout.len(),
        stderr: Vec::new(),
        duration: Duration::ZERO,
    })
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

/// One exchange, and all that a worker would have at hand for it.
#[derive(Debug)]
pub(super) struct Driver<'a> {
    options: &'a Options,
    pub(super) exchange: Exchange,
    buffers: Buffers,
    calendar: Calendar,

    /// What was sent.
    pub(super) out: Vec<u8>,
}

impl<'a> Driver<'a> {
    pub(super) fn new(options: &'a Options) -> Self {
        let mut driver = Self {
            options,
            exchange: Exchange::new(),
            buffers: Buffers::new(),
            // Always the same, so that replies are.
            calendar: Calendar::new(UNIX_EPOCH),
            out: Vec::new(),
        };
        driver.tell(Exchange::begin);
        driver
    }

    pub(super) fn tell(&mut self, what: impl FnOnce(&mut Exchange, &mut Context<'_>)) {
        let mut cx = Context {
            options: self.options,
            peer: Peer::Unix,
            calendar: &self.calendar,
            now: Instant::now(),
            buffers: &mut self.buffers,
        };
        what(&mut self.exchange, &mut cx);
    }

    pub(super) fn receive(&mut self, bytes: &[u8]) {
        let mut scratch = bytes.to_vec();
        self.tell(|exchange, cx| exchange.received(&mut scratch, cx));
    }

    /// Takes at most `portion` bytes of what is left.
    pub(super) fn send(&mut self, portion: usize) {
        let left = self.exchange.left().concat();
        let count = portion.min(left.len());
        self.out.extend_from_slice(&left[..count]);
        self.tell(|exchange, cx| exchange.sent(count, cx));
    }

    pub(super) fn answer(&mut self, made: Box<Made>) {
        self.tell(|exchange, cx| exchange.answered(made, cx));
    }
}

/// All that `request`, received at once, is answered with; commands say `report`. Where `has_ended`
/// the peer has then ended its side. `None`: the request isn't complete.
pub(super) fn undisturbed(
    options: &Options,
    request: &[u8],
    has_ended: bool,
    report: &Arc<Report>,
) -> Option<Vec<u8>> {
    let mut driver = Driver::new(options);
    if !request.is_empty() {
        driver.receive(request);
    }
    let mut is_open = has_ended;
    loop {
        match driver.exchange.step() {
            Step::Receive if std::mem::take(&mut is_open) => driver.tell(Exchange::ended),
            Step::Receive => return None,
            Step::Send => driver.send(usize::MAX),
            Step::Make => {
                let job = driver.exchange.take_job().expect("a job");
                let made = if let Job::Command(_) = *job {
                    Box::new(Made::Command(Delivery::Report(Arc::clone(report))))
                } else {
                    job.run()
                };
                driver.answer(made);
            }
            Step::Finish(_) => return Some(driver.out),
        }
    }
}

/// A constant reply, as it is sent.
pub(super) fn page(text: &str, status: u16, is_http: bool, is_head: bool) -> Vec<u8> {
    let http = HttpOptions::of(status);
    let mut output = Output::default();
    let page = Page::new(text.as_bytes(), is_http.then_some(&http));
    page.write(&Calendar::new(UNIX_EPOCH), is_http && is_head, &mut output);
    output.left().concat()
}
