//! The one thread that starts commands, watches them and reaps them.
//!
//! It sleeps in its poller: for who asks, for what commands say, for their ends and deadlines. It
//! is started with the first command of the configuration, or at once where the process is the
//! first one of a container, whose orphans are its to reap.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

use crate::command::Ticket;
use crate::command::cache::Cache;
use crate::command::children::Children;
use crate::command::flights::Delivery;
use crate::command::options::Options;
use crate::command::runner::Request;
use crate::command::watch::Watch;
use crate::inbox::{Outbox, inbox};
use crate::metrics::CommandMetrics;

/// Messages that are on their way to the supervisor. Who asks beyond that is answered busy.
const MESSAGES_MAX: usize = 16_384;

/// Of those, room that is kept for what must not get lost: that a service begins, is replaced or
/// ends.
const RESERVED: usize = 1024;

/// What is left when a stop is over is killed, and what that leaves behind.
const LAST_MOMENT: Duration = Duration::from_millis(500);

/// Starts the supervisor's thread when it is needed, and ends it.
#[derive(Debug, Default)]
pub struct Supervisor {
    thread: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    outbox: Outbox<Message>,
    next_service: ServiceId,

    /// Disconnected at the thread's end.
    ended: Receiver<Infallible>,
}

/// The number of a service; never used again.
pub(super) type ServiceId = u32;

pub(super) type Deliver = Box<dyn Fn(Ticket, Delivery) -> bool + Send>;

/// A service that is to be served.
pub(super) struct Joining {
    pub(super) options: Arc<Options>,
    pub(super) cache: Arc<Cache>,
    pub(super) metrics: CommandMetrics,
    pub(super) rests: Box<dyn Fn() -> bool + Send>,
    pub(super) deliver: Deliver,
}

/// A service that is served. Dropped, it is no more.
#[derive(Debug)]
pub(super) struct Joined {
    id: ServiceId,
    pub(super) metrics: CommandMetrics,
    outbox: Outbox<Message>,
}

#[derive(Debug)]
pub(super) enum Message {
    Join(ServiceId, Box<Joining>),
    Ask(ServiceId, Ticket, Request),
    Renew(ServiceId, Request),
    Leave(ServiceId, Ticket),
    Retire(ServiceId),
    Forget(ServiceId),
    Stop(Stopping),
}

/// An end of everything.
#[derive(Debug)]
pub(super) struct Stopping {
    /// When what is left gets no more time.
    pub(super) until: Instant,

    /// Told when nothing is left.
    pub(super) done: Sender<()>,
}

impl Supervisor {
    /// Starts the thread, if it is not there yet.
    ///
    /// # Errors
    /// * out of descriptors or threads
    pub fn start(&self) -> io::Result<()> {
        self.running(|_| ())
    }

    /// Disconnected when the thread has ended; never, as long as there is none.
    #[must_use]
    pub fn ended(&self) -> Receiver<Infallible> {
        let thread = self.lock();
        let ended = thread.as_ref().map(|running| running.ended.clone());
        ended.unwrap_or_else(crossbeam_channel::never)
    }

    /// # Errors
    /// * the thread can't be started, or has so much to do that it may be stuck
    pub(super) fn join(&self, joining: Joining) -> io::Result<Joined> {
        self.running(|running| {
            let id = running.next_service;
            running.next_service += 1;
            let metrics = joining.metrics.clone();
            let stuck = |_| io::Error::other("the supervisor of commands takes nothing in");
            let join = Message::Join(id, Box::new(joining));
            running.outbox.try_send(join).map_err(stuck)?;
            Ok(Joined {
                id,
                metrics,
                outbox: running.outbox.clone(),
            })
        })?
    }

    /// Ends every command: SIGTERM now, SIGKILL after its own time or after `within`. Back when
    /// nothing is left. Whoever says it again can only shorten that.
    pub fn stop(&self, within: Duration) {
        let outbox = self.lock().as_ref().map(|running| running.outbox.clone());
        let Some(outbox) = outbox else {
            return;
        };
        let (done, done_rx) = crossbeam_channel::bounded(1);
        let until = Instant::now() + within;
        let stop = Message::Stop(Stopping { until, done });
        // Full: it is stuck, and who waits for it would be too.
        if outbox.try_send(stop).is_ok() {
            let _done = done_rx.recv_timeout(within + LAST_MOMENT);
        }
    }

    fn running<T>(&self, then: impl FnOnce(&mut Running) -> T) -> io::Result<T> {
        let mut thread = self.lock();
        let running = match thread.take() {
            Some(running) => running,
            None => start()?,
        };
        Ok(then(thread.insert(running)))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.stop(Duration::ZERO);
    }
}

impl fmt::Debug for Joining {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Joining")
            .field("service", &self.options.service)
            .finish_non_exhaustive()
    }
}

impl Joined {
    /// Whether it is on its way.
    pub(super) fn ask(&self, ticket: Ticket, request: Request) -> bool {
        self.has_room() && self.send(Message::Ask(self.id, ticket, request))
    }

    /// Whether it is on its way.
    pub(super) fn renew(&self, request: Request) -> bool {
        self.has_room() && self.send(Message::Renew(self.id, request))
    }

    /// One that gets lost is one run more, until its deadline.
    pub(super) fn leave(&self, ticket: Ticket) {
        let _sent = self.has_room() && self.send(Message::Leave(self.id, ticket));
    }

    pub(super) fn retire(&self) {
        self.send(Message::Retire(self.id));
    }

    fn has_room(&self) -> bool {
        !self.outbox.is_nearly_full(RESERVED)
    }

    fn send(&self, message: Message) -> bool {
        self.outbox.try_send(message).is_ok()
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        self.send(Message::Forget(self.id));
    }
}

/// Starts the thread, and comes back when it has its descriptors.
fn start() -> io::Result<Running> {
    let (outbox, inbox) = inbox(MESSAGES_MAX)?;
    let (ready_tx, ready_rx) = crossbeam_channel::bounded(1);
    let (alive, ended) = crossbeam_channel::bounded(0);
    thread::Builder::new()
        .name("supervisor".to_owned())
        .spawn(move || {
            let _tells_the_end: Sender<Infallible> = alive;
            match Children::new(inbox.source()) {
                Ok(children) => {
                    // Who starts us waits for it.
                    let _told = ready_tx.send(Ok(()));
                    Watch::new(&inbox, children).run();
                }
                Err(error) => {
                    let _told = ready_tx.send(Err(error));
                }
            }
        })?;
    let died = |_| Err(io::Error::other("the supervisor has died"));
    ready_rx.recv().unwrap_or_else(died)?;
    Ok(Running {
        outbox,
        next_service: 0,
        ended,
    })
}
