//! An accepted connection: its socket, its exchange, and who it belongs to.
//!
//! It is moved, never shared: acceptor, queue, worker, inbox, acceptor. A worker advances it as
//! far as it goes without waiting.

mod ending;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::command::Delivery;
use crate::engine::clock;
use crate::engine::discipline::Discipline;
use crate::engine::room::{Reason, Wait};
use crate::engine::service::Service;
use crate::engine::socket::Socket;
use crate::engine::tally::{Age, Tally};
use crate::engine::token::Token;
use crate::engine::transport::Transport;
use crate::exchange::buffers::Buffers;
use crate::exchange::outcome::Outcome;
use crate::exchange::{Close, Context, Exchange, HalfClose, Step};
use crate::peer::Peer;
use crate::reply::Made;
use crate::reply::calendar::Calendar;

/// Bytes that a connection may move in one turn: then others have theirs.
const QUANTUM_BYTES: usize = 256 * 1024;

/// Time that it may take, looked at every [`STEPS_PER_LOOK`] steps.
const QUANTUM: Duration = Duration::from_millis(1);

const STEPS_PER_LOOK: usize = 8;

/// An accepted connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) service: Arc<Service>,
    pub(super) token: Token,
    pub(super) peer: Peer,

    /// `None` once it is closed.
    transport: Option<Transport>,
    exchange: Exchange,

    /// What came of the job it waited for.
    answer: Option<Box<Made>>,
    accepted_at: Instant,

    /// When it went into the queue; once the exchange is over, when that was.
    since: Age,

    /// Of the request, then of the reply.
    deadline: Age,

    tally: Tally,

    /// Bytes thrown away while lingering; stops at the end of its range, above any bound.
    lingered_bytes: u32,
    pub(super) wake: Wake,
    has_asked: bool,

    pub(super) claim: Claim,

    /// The poller has seen the socket before.
    pub(super) is_polled: bool,
}

// In unit tests a socket may be a simulated one, which makes it larger.
const _: () = assert!(
    cfg!(test) || size_of::<Connection>() <= 192,
    "every open connection is one"
);

/// What it may ask of the workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// To be begun with, though others are turned away: its service keeps to its share.
    WithinShare,
    /// To be begun with, if there is time for it.
    BeyondShare,
    /// To be brought to its end: a worker has begun with it.
    Begun,
}

/// Why a worker gets the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wake {
    /// It was just accepted.
    New,
    /// What it waited for may be there.
    Ready,
    /// Its job has been run.
    Answered,
    /// Its deadline has passed.
    Expired,
    /// The peer has left while the reply was being made.
    Left,
    /// There is no room to let it wait.
    Shed,
}

/// What a worker has at hand.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) scratch: Box<[u8]>,
    pub(super) buffers: Buffers,
    pub(super) calendar: Calendar,
    pub(super) discipline: Discipline,
}

/// What comes after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It has to wait.
    Wait(Wait),
    /// It could go on, but it is others' turn.
    Again,
    /// The reply is out; whether the peer has ended its side is to be looked at.
    Linger,
    /// The socket is closed.
    Closed,
    /// It has waited too long in the queue: it is to be turned away.
    Shed,
}

impl Connection {
    /// A connection accepted at `now`.
    pub(super) fn new(
        service: Arc<Service>,
        token: Token,
        socket: Socket,
        peer: Peer,
        now: Instant,
    ) -> Self {
        Self {
            deadline: service.timeouts.request.into(),
            service,
            token,
            peer,
            transport: Some(Transport::new(socket)),
            exchange: Exchange::new(),
            answer: None,
            accepted_at: now,
            since: Duration::ZERO.into(),
            tally: Tally::default(),
            lingered_bytes: 0,
            wake: Wake::New,
            has_asked: false,
            claim: Claim::BeyondShare,
            is_polled: false,
        }
    }

    pub(super) fn transport(&self) -> Option<&Transport> {
        self.transport.as_ref()
    }

    /// Mutable for its job; see [`Exchange::take_job`].
    pub(super) fn exchange(&mut self) -> &mut Exchange {
        &mut self.exchange
    }

    pub(super) fn outcome(&self) -> Outcome {
        self.exchange.outcome()
    }

    pub(super) fn deadline(&self) -> Instant {
        self.accepted_at + Duration::from(self.deadline)
    }

    /// How old it is at `now`.
    fn age(&self, now: Instant) -> Age {
        now.saturating_duration_since(self.accepted_at).into()
    }

    pub(super) fn answer(&mut self, made: Box<Made>) {
        self.answer = Some(made);
    }

    /// Whether a peer that ends its side has left.
    pub(super) fn cancels(&self) -> bool {
        self.service.exchange.half_close == HalfClose::Cancel
    }

    /// Whether nobody would get a reply.
    pub(super) fn is_peer_gone(&self) -> bool {
        let transport = self.transport.as_ref();
        transport.is_none_or(|transport| transport.is_gone(self.cancels()))
    }

    /// It goes into the queue, as `wake` says why.
    pub(super) fn queued(&mut self, wake: Wake, now: Instant) {
        self.wake = wake;
        self.since = self.age(now);
    }

    /// Goes as far as it can without waiting, within its quantum. `now` is when the worker took
    /// it.
    pub(super) fn advance(&mut self, now: Instant, desk: &mut Desk) -> Next {
        if self.wake == Wake::New && self.is_shed(now, &mut desk.discipline) {
            return Next::Shed;
        }
        self.take_wake(now, desk);
        let mut moved_bytes = 0;
        for step in 1.. {
            let moved = match self.exchange.step() {
                Step::Receive => self.receive(now, desk),
                Step::Send => self.send(now, desk),
                Step::Make => Err(Next::Wait(Wait::Reply)),
                Step::Finish(close) => Err(self.finish(close)),
            };
            self.note_deadline(now);
            match moved {
                Ok(bytes) => moved_bytes += bytes,
                Err(next) => return next,
            }
            let is_over = moved_bytes >= QUANTUM_BYTES
                || (step % STEPS_PER_LOOK == 0 && clock::since(now) >= QUANTUM);
            if is_over && !matches!(self.exchange.step(), Step::Finish(_)) {
                break;
            }
        }
        Next::Again
    }

    /// Whether it has waited too long for anyone to begin with it.
    fn is_shed(&mut self, now: Instant, discipline: &mut Discipline) -> bool {
        let waited = now.saturating_duration_since(self.accepted_at + self.since.into());
        let metrics = &self.service.metrics;
        metrics.queue_wait.observe(waited.as_secs_f64());
        self.tally.waited(waited);
        discipline.sheds(waited, self.claim == Claim::WithinShare, now)
    }

    fn take_wake(&mut self, now: Instant, desk: &mut Desk) {
        let is_late = self.age(now) >= self.deadline;
        let metrics = &self.service.metrics;
        let cx = &mut context(&self.service, self.peer, now, desk);
        match self.wake {
            Wake::New => self.exchange.begin(cx),
            // Ready is no excuse: who always is would never be late.
            Wake::Ready if is_late => self.exchange.expired(cx),
            Wake::Ready => {}
            Wake::Answered => {
                let made = self.answer.take();
                let made = made.unwrap_or_else(|| Box::new(Made::Failed));
                if matches!(*made, Made::Command(Delivery::Busy)) {
                    metrics.rejected[Reason::MaxWaiting as usize].inc();
                }
                self.exchange.answered(made, cx);
            }
            Wake::Expired => self.exchange.expired(cx),
            Wake::Left => self.exchange.broken(cx),
            Wake::Shed => self.exchange.shed(cx),
        }
        self.wake = Wake::Ready;
        self.note_deadline(now);
    }

    fn receive(&mut self, now: Instant, desk: &mut Desk) -> Result<usize, Next> {
        let Some(transport) = &self.transport else {
            return Err(Next::Closed);
        };
        let received = transport.receive(&mut desk.scratch);
        // The scratch is lent to the exchange together with the rest of the desk.
        let mut scratch = std::mem::take(&mut desk.scratch);
        let cx = &mut context(&self.service, self.peer, now, desk);
        let moved = match received {
            Ok(0) => {
                self.exchange.ended(cx);
                Ok(0)
            }
            Ok(count) => {
                self.tally.received(count);
                self.service.metrics.received_bytes.inc_by(count as u64);
                self.exchange.received(&mut scratch[..count], cx);
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Err(Next::Wait(Wait::Request))
            }
            Err(_) => {
                self.exchange.broken(cx);
                Ok(0)
            }
        };
        desk.scratch = scratch;
        moved
    }

    fn send(&mut self, now: Instant, desk: &mut Desk) -> Result<usize, Next> {
        let Some(transport) = &self.transport else {
            return Err(Next::Closed);
        };
        let cx = &mut context(&self.service, self.peer, now, desk);
        match transport.send(self.exchange.left(), self.exchange.is_last()) {
            Ok(count) => {
                self.tally.sent(count);
                self.service.metrics.sent_bytes.inc_by(count as u64);
                self.exchange.sent(count, cx);
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(Next::Wait(Wait::Write)),
            Err(_) => {
                self.exchange.broken(cx);
                Ok(0)
            }
        }
    }

    /// The deadline of the reply begins when the request is complete, and grows with its size.
    fn note_deadline(&mut self, now: Instant) {
        let timeouts = &self.service.timeouts;
        if !self.has_asked && !self.exchange.is_reading() {
            self.has_asked = true;
            self.deadline = (Duration::from(self.age(now)) + timeouts.reply).into();
        }
        let bytes = self.exchange.take_reply_bytes();
        if bytes > 0 {
            let more = timeouts.for_bytes(bytes);
            self.deadline = Duration::from(self.deadline).saturating_add(more).into();
        }
    }

    fn finish(&mut self, close: Close) -> Next {
        let ended_at = clock::now();
        self.since = self.age(ended_at);
        if self.outcome() == Outcome::Replied {
            let duration = Duration::from(self.since);
            self.service
                .metrics
                .exchange_duration
                .observe(duration.as_secs_f64());
        }
        let Some(transport) = &self.transport else {
            return Next::Closed;
        };
        match close {
            Close::Abort => transport.reset_on_close(),
            // No look whether it is over: hardly any peer has answered our end while we sent it, and
            // one that ended its side before that loses nothing by standing in line.
            Close::Linger if transport.end().is_ok() && !self.exchange.has_ended() => {
                return Next::Linger;
            }
            Close::Linger | Close::Plain => {}
        }
        self.close();
        Next::Closed
    }
}

fn context<'a>(service: &'a Service, peer: Peer, now: Instant, desk: &'a mut Desk) -> Context<'a> {
    Context {
        options: &service.exchange,
        peer,
        calendar: &desk.calendar,
        now,
        buffers: &mut desk.buffers,
    }
}
