//! What a command says as a reply: byte by byte, or as the body of an HTTP reply whose status its
//! exit code decides; and what the client gets when there is no answer.

use arbitrary::{Result, Unstructured};
use replyd::command::Delivery;
use replyd::command::report::RunResult;
use replyd::exchange::outcome::Outcome;
use replyd::exchange::{Close, Options, Step};
use replyd::reply::{Job, Made};
use replyd::request::Framing;

use super::response::Response;
use super::service::{self, Driver, STATUSES};

pub(super) fn check(bytes: &[u8]) {
    let mut input = Unstructured::new(bytes);
    if let Ok(run) = run(&mut input) {
        run.answered(input.take_rest());
    }
}

/// A run, before it has said anything.
struct Run {
    is_http: bool,
    has_body_output: bool,
    is_head: bool,

    /// How much the client takes at once.
    portion: usize,
    code: u8,
    failure: u8,
}

fn run(input: &mut Unstructured<'_>) -> Result<Run> {
    let flags: u8 = input.arbitrary()?;
    Ok(Run {
        is_http: flags & 1 != 0,
        has_body_output: flags & 2 != 0,
        is_head: flags & 4 != 0,
        portion: usize::from(input.arbitrary::<u8>()?) + 1,
        code: input.arbitrary()?,
        failure: input.arbitrary()?,
    })
}

impl Run {
    fn answered(&self, stdout: &[u8]) {
        let framing = if self.is_http {
            Framing::Http
        } else {
            Framing::Line
        };
        let options = service::service(
            framing,
            service::command(self.is_http, self.has_body_output),
        );
        let mut driver = Driver::new(&options);
        driver.receive(match (self.is_http, self.is_head) {
            (true, true) => b"HEAD / HTTP/1.0\r\n\r\n",
            (true, false) => b"GET / HTTP/1.0\r\n\r\n",
            _ => b"query\n",
        });
        let job = driver.exchange.take_job().expect("a job");
        assert!(matches!(*job, Job::Command(_)), "{job:?}");
        let report = service::report(self.code, stdout, self.failure);
        let result = report.result;
        driver.answer(Box::new(Made::Command(Delivery::Report(report))));
        while driver.exchange.step() == Step::Send {
            driver.send(self.portion);
        }
        assert_eq!(driver.exchange.step(), Step::Finish(Close::Linger));
        let outcome = driver.exchange.outcome();
        if result == RunResult::Answered {
            assert_eq!(outcome, Outcome::Replied);
            self.assert_said(&driver.out, stdout);
        } else {
            let is_late = result == RunResult::TimedOut;
            let expected = if is_late {
                Outcome::TimedOut
            } else {
                Outcome::Failed
            };
            assert_eq!(outcome, expected, "{result:?}");
            self.assert_page(&options, &driver.out, is_late);
        }
    }

    fn assert_said(&self, out: &[u8], stdout: &[u8]) {
        if !self.is_http || !self.has_body_output {
            assert!(
                out == stdout,
                "{} of {}",
                out.escape_ascii(),
                stdout.escape_ascii()
            );
            return;
        }
        let response = Response::read(out, self.is_head);
        let status = STATUSES.iter().find(|(code, _)| *code == self.code);
        assert_eq!(status.map(|(_, status)| *status), Some(response.status));
        if !self.is_head && response.status != 204 && response.status != 304 {
            assert!(response.body == stdout, "{response:?}");
        } else if response.status == 200 {
            assert_eq!(response.all("Content-Length"), [stdout.len().to_string()]);
        }
    }

    /// Nothing of a run that is no answer reaches the client.
    fn assert_page(&self, options: &Options, out: &[u8], is_late: bool) {
        let (text, status) = if is_late {
            ("timed out\n", 504)
        } else {
            ("failed\n", 500)
        };
        if options.replies.is_http {
            let response = Response::read(out, self.is_head);
            assert_eq!(response.status, status);
            assert!(
                self.is_head || response.body == text.as_bytes(),
                "{response:?}"
            );
        } else {
            assert_eq!(out, text.as_bytes());
        }
    }
}
