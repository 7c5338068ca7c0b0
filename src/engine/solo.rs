//! One exchange by itself, as a service has it with each of its connections, but without a socket,
//! a queue and an acceptor: the request is here, and the reply goes to whoever takes bytes.

use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::Receiver;

use crate::command::report::Report;
use crate::command::{Delivery, Launch};
use crate::engine::service::Service;
use crate::engine::token::Token;
use crate::exchange::buffers::Buffers;
use crate::exchange::outcome::Outcome;
use crate::exchange::{Close, Context, Exchange, Step};
use crate::peer::Peer;
use crate::reply::calendar::Calendar;
use crate::reply::output::Output;
use crate::reply::{Job, Made, Reply};

/// Jobs that are under way at a time.
const JOBS_MAX: usize = 1;

/// Who asks.
pub struct Client<'a> {
    /// Who it is.
    pub peer: Peer,

    /// All that it sends, at once. It ends its side only if the service waits for more.
    pub request: Vec<u8>,

    /// Takes the reply. It may wait for whoever reads it.
    pub reply: &'a mut dyn Write,

    /// Tells when it leaves before the reply is there.
    pub leaves: &'a Receiver<()>,
}

/// What came of an exchange.
#[derive(Debug)]
pub struct Solo {
    /// In a word.
    pub outcome: Outcome,

    /// Whether the peer was told that what it got is not the whole.
    pub is_cut: bool,

    /// Of the reply, or of what was said instead.
    pub sent_bytes: u64,

    /// From the request to the last byte of the reply.
    pub duration: Duration,

    /// The command that was run for it, if one was.
    pub run: Option<Run>,

    /// Why the reply could not be handed over.
    pub unsent: Option<io::Error>,
}

/// A command that was run.
#[derive(Debug)]
pub struct Run {
    /// What it was started with.
    pub launch: Launch,

    /// What it came to. `None`: nobody waited for that.
    pub report: Option<Arc<Report>>,
}

/// Has one exchange with `service`, which nobody else serves.
///
/// # Errors
/// * out of descriptors or threads
pub fn exchange<'a>(service: &'a Service, client: Client<'a>) -> io::Result<Solo> {
    let mut driver = Driver {
        service,
        client,
        exchange: Exchange::new(),
        buffers: Buffers::new(),
        calendar: Calendar::new(SystemTime::now()),
        begun: Instant::now(),
        reply_bytes: 0,
        sent_bytes: 0,
        answers: None,
        run: None,
        unsent: None,
    };
    if !service.access.admits(driver.client.peer) {
        driver.deny();
        return Ok(driver.over(Outcome::Denied, Close::Linger));
    }
    driver.tell(Exchange::begin);
    loop {
        match driver.exchange.step() {
            Step::Receive => driver.receive(),
            Step::Send => driver.send(),
            Step::Make => driver.make()?,
            Step::Finish(close) => {
                if let Some(job) = driver.exchange.take_unfinished() {
                    service.discard(job);
                }
                let outcome = driver.exchange.outcome();
                return Ok(driver.over(outcome, close));
            }
        }
    }
}

impl fmt::Debug for Client<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

struct Driver<'a> {
    service: &'a Service,
    client: Client<'a>,
    exchange: Exchange,
    buffers: Buffers,
    calendar: Calendar,
    begun: Instant,

    /// Of the reply, as far as known: its deadline grows with them.
    reply_bytes: u64,
    sent_bytes: u64,

    /// What jobs come to; `None` before the first, as the command of a schedule is run from then on.
    answers: Option<Receiver<Box<Made>>>,
    run: Option<Run>,
    unsent: Option<io::Error>,
}

impl Driver<'_> {
    fn tell(&mut self, what: impl FnOnce(&mut Exchange, &mut Context<'_>)) {
        let mut cx = Context {
            options: &self.service.exchange,
            peer: self.client.peer,
            calendar: &self.calendar,
            now: Instant::now(),
            buffers: &mut self.buffers,
        };
        what(&mut self.exchange, &mut cx);
        self.reply_bytes += self.exchange.take_reply_bytes();
    }

    /// The request, and then its end.
    fn receive(&mut self) {
        let mut request = std::mem::take(&mut self.client.request);
        if request.is_empty() {
            self.tell(Exchange::ended);
        } else {
            self.tell(|exchange, cx| exchange.received(&mut request, cx));
        }
    }

    fn send(&mut self) {
        let reply = &mut self.client.reply;
        let left = self.exchange.left();
        let count = left[0].len() + left[1].len();
        let written = left.iter().try_for_each(|bytes| reply.write_all(bytes));
        match written.and_then(|()| reply.flush()) {
            Ok(()) => {
                self.sent_bytes += count as u64;
                self.tell(|exchange, cx| exchange.sent(count, cx));
            }
            Err(error) => {
                self.unsent = Some(error);
                self.tell(Exchange::broken);
            }
        }
    }

    /// Has the job run, and waits for what comes of it, for its deadline, or for the peer to leave.
    fn make(&mut self) -> io::Result<()> {
        let token = Token::new(0, 0);
        let Some((job, maker)) = self.exchange.take_job().zip(self.service.maker.as_ref()) else {
            self.tell(|exchange, cx| exchange.answered(Box::new(Made::Failed), cx));
            return Ok(());
        };
        self.note_run(&job);
        let answers = self.answers()?;
        if let Err(made) = maker.submit(token, job) {
            self.answered(Box::new(made));
            return Ok(());
        }
        let deadline = crossbeam_channel::at(self.deadline());
        crossbeam_channel::select! {
            recv(answers) -> made => self.answered(made.unwrap_or_else(|_| Box::new(Made::Failed))),
            recv(self.client.leaves) -> _ => {
                maker.leave(token);
                self.tell(Exchange::broken);
            }
            recv(deadline) -> _ => {
                maker.leave(token);
                self.tell(Exchange::expired);
            }
        }
        Ok(())
    }

    fn note_run(&mut self, job: &Job) {
        if let (Job::Command(request), Reply::Command(command)) =
            (job, &self.service.exchange.replies.reply)
        {
            self.run = Some(Run {
                launch: command.runner.launch(request),
                report: None,
            });
        }
    }

    /// Where answers come in. With the first job, whoever runs them begins.
    fn answers(&mut self) -> io::Result<Receiver<Box<Made>>> {
        if let Some(answers) = &self.answers {
            return Ok(answers.clone());
        }
        let (answers_tx, answers) = crossbeam_channel::bounded(JOBS_MAX);
        if let Some(maker) = &self.service.maker {
            let service = &self.service.exchange.service;
            maker.start(service, JOBS_MAX, move |_, made| {
                answers_tx.try_send(made).is_ok()
            })?;
        }
        self.answers = Some(answers.clone());
        Ok(answers)
    }

    fn answered(&mut self, made: Box<Made>) {
        if let (Some(run), Made::Command(Delivery::Report(report))) = (&mut self.run, &*made) {
            run.report = Some(Arc::clone(report));
        }
        self.tell(|exchange, cx| exchange.answered(made, cx));
    }

    fn deadline(&self) -> Instant {
        let timeouts = &self.service.timeouts;
        self.begun + timeouts.reply + timeouts.for_bytes(self.reply_bytes)
    }

    /// Says to a peer that is not allowed what it is told.
    fn deny(&mut self) {
        let mut output = Output::new(self.buffers.take());
        let page = &self.service.exchange.replies.denied;
        page.write(&self.calendar, false, &mut output);
        let [head, body] = output.left();
        let reply = &mut self.client.reply;
        match reply.write_all(head).and_then(|()| reply.write_all(body)) {
            Ok(()) => self.sent_bytes = (head.len() + body.len()) as u64,
            Err(error) => self.unsent = Some(error),
        }
    }

    fn over(self, outcome: Outcome, close: Close) -> Solo {
        Solo {
            outcome,
            is_cut: close == Close::Abort,
            sent_bytes: self.sent_bytes,
            duration: self.begun.elapsed(),
            run: self.run,
            unsent: self.unsent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::maker::{Maker, MakerThread};
    use crate::engine::tests::{metrics, service};
    use crate::reply::call::Call;
    use crate::reply::http::HttpOptions;
    use crate::reply::{Asked, Building, Built, BuiltReply};

    /// Makes its reply when it is told to, which nobody does.
    #[derive(Debug)]
    struct Never(Receiver<()>);

    impl Built for Never {
        fn build(&self, _: &Asked<'_>) -> Building {
            let told = self.0.clone();
            Building::Later(Call::new(move || {
                let _told = told.recv();
                BuiltReply {
                    http: HttpOptions::of(200),
                    body: Vec::new(),
                }
            }))
        }
    }

    fn ask(service: &Service, reply: &mut dyn Write, leaves: &Receiver<()>) -> Solo {
        let client = Client {
            peer: Peer::Unix,
            request: b"you\n".to_vec(),
            reply,
            leaves,
        };
        exchange(service, client).expect("threads")
    }

    #[test]
    fn a_reply_that_is_not_made_is_waited_for_until_its_deadline_or_until_the_peer_leaves() {
        let (tell, told) = crossbeam_channel::bounded(0);
        let never = || {
            let mut service = service(&metrics());
            service.exchange.replies.reply = Reply::Built(Arc::new(Never(told.clone())));
            service.maker = Some(Maker::Thread(MakerThread::new()));
            service
        };
        let mut short = never();
        short.timeouts.reply = Duration::from_millis(10);
        let mut reply = Vec::new();
        let solo = ask(&short, &mut reply, &crossbeam_channel::never());
        assert_eq!(solo.outcome, Outcome::TimedOut);
        assert_eq!(reply, b"timed out\n");
        assert!(solo.duration >= short.timeouts.reply, "{solo:?}");

        let (leave, leaves) = crossbeam_channel::bounded(1);
        leave.send(()).expect("room");
        let mut reply = Vec::new();
        let solo = ask(&never(), &mut reply, &leaves);
        assert_eq!((solo.outcome, reply.len()), (Outcome::PeerClosed, 0));
        drop(tell);
    }

    #[test]
    fn a_reply_that_nobody_takes_is_a_peer_that_has_left() {
        let mut full = &mut [0; 3][..];
        let solo = ask(&service(&metrics()), &mut full, &crossbeam_channel::never());
        assert_eq!((solo.outcome, solo.sent_bytes), (Outcome::PeerClosed, 0));
        let kind = solo.unsent.map(|error| error.kind());
        assert_eq!(kind, Some(io::ErrorKind::WriteZero));
    }
}
