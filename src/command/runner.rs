//! A service's side of its commands: what a worker looks up, and what is asked of the supervisor.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use crate::command::Ticket;
use crate::command::cache::{Age, Cache, Key, KeyOf};
use crate::command::children::Argument;
use crate::command::flights::Delivery;
use crate::command::launch::Launch;
use crate::command::options::{Caching, Options, Sharing};
use crate::command::report::{Report, Source};
use crate::command::supervisor::{Joined, Joining, Supervisor};
use crate::metrics::CommandMetrics;
use crate::peer::Peer;

/// One service's commands.
pub struct Runner {
    options: Arc<Options>,
    cache: Arc<Cache>,
    supervisor: Arc<Supervisor>,
    joined: OnceLock<Joined>,
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    /// The bytes that were received.
    pub received: &'a [u8],

    /// The request in them.
    pub request: &'a [u8],

    /// Who asks.
    pub peer: Peer,

    /// By HTTP's HEAD.
    pub is_head: bool,
}

/// What is to be found out by a run.
#[derive(Debug)]
pub struct Request {
    pub(super) stdin: Vec<u8>,
    pub(super) argument: Vec<u8>,
    pub(super) peer: Peer,

    /// Who may share the answer; `None`: nobody.
    pub(super) key: Option<Key>,
}

/// Where the answer is.
#[derive(Debug)]
pub enum Looked {
    /// Here.
    There(Arc<Report>),
    /// It takes a run, or waiting for one.
    Later(Request),
}

impl Request {
    /// Nobody's.
    pub(super) fn scheduled() -> Self {
        Self {
            stdin: Vec::new(),
            argument: Vec::new(),
            peer: Peer::Unix,
            key: Some(Key::default()),
        }
    }
}

impl Runner {
    /// A runner that `supervisor` does not serve yet.
    #[must_use]
    pub fn new(options: Options, supervisor: Arc<Supervisor>) -> Self {
        Self {
            options: Arc::new(options),
            cache: Arc::default(),
            supervisor,
            joined: OnceLock::new(),
        }
    }

    /// Has the supervisor serve it, once. Nothing is run by schedule while it `rests`. `deliver` takes
    /// what came of each run, and says whether there is still someone who wants to know.
    ///
    /// # Errors
    /// * the supervisor can't be started
    pub fn join(
        &self,
        metrics: CommandMetrics,
        rests: impl Fn() -> bool + Send + 'static,
        deliver: impl Fn(Ticket, Delivery) -> bool + Send + 'static,
    ) -> std::io::Result<()> {
        let joining = Joining {
            options: Arc::clone(&self.options),
            cache: Arc::clone(&self.cache),
            metrics,
            rests: Box::new(rests),
            deliver: Box::new(deliver),
        };
        let first = self.joined.set(self.supervisor.join(joining)?).is_ok();
        debug_assert!(first, "joined twice");
        Ok(())
    }

    /// The service's name.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.options.service
    }

    /// Whether [`Asking::received`] is used.
    #[must_use]
    pub fn uses_received(&self) -> bool {
        self.options.reads_request || self.is_by_request()
    }

    /// Whether [`Asking::request`] is used.
    #[must_use]
    pub fn uses_request(&self) -> bool {
        self.options.process.run.contains(&Argument::Request)
    }

    /// Looks for an answer, at `now`. Waits for nothing.
    #[must_use]
    pub fn look(&self, asking: &Asking<'_>, now: Instant) -> Looked {
        let key = match self.options.sharing {
            Sharing::Nobody => return Looked::Later(self.request(asking, None)),
            Sharing::Scheduled { .. } => KeyOf::default(),
            Sharing::Cached(Caching {
                by_request,
                by_peer,
                ..
            }) => KeyOf {
                peer: asking.peer.ip().filter(|_| by_peer),
                is_head: asking.is_head && self.options.has_head,
                request: if by_request { asking.received } else { &[] },
            },
        };
        let Some(entry) = self.cache.get(key) else {
            return Looked::Later(self.request(asking, Some(key)));
        };
        let source = match entry.age(now) {
            Age::Fresh => Source::Hit,
            Age::Stale => Source::Stale,
            Age::Over => return Looked::Later(self.request(asking, Some(key))),
        };
        if source == Source::Stale && entry.is_mine_to_renew() {
            let request = self.request(asking, Some(key));
            let asked = self.joined.get().map(|joined| joined.renew(request));
            if asked != Some(true) {
                entry.not_renewed();
            }
        }
        if let Some(joined) = self.joined.get() {
            joined.metrics.cache[source as usize].inc();
        }
        Looked::There(Arc::clone(&entry.report))
    }

    /// What a run for `request` is started with.
    #[must_use]
    pub fn launch(&self, request: &Request) -> Launch {
        Launch::of(&self.options, request)
    }

    /// Asks for a run on behalf of `ticket`: what comes of it is delivered, unless it
    /// [leaves](Self::leave). The error: there is no room.
    ///
    /// # Errors
    /// * the supervisor has too much to do
    pub fn submit(&self, ticket: Ticket, request: Request) -> Result<(), Delivery> {
        let joined = self.joined.get();
        if joined.is_some_and(|joined| joined.ask(ticket, request)) {
            Ok(())
        } else {
            Err(Delivery::Busy)
        }
    }

    /// Whoever has submitted as `ticket` waits no more.
    pub fn leave(&self, ticket: Ticket) {
        if let Some(joined) = self.joined.get() {
            joined.leave(ticket);
        }
    }

    /// The service is not served anymore: no more runs by schedule.
    pub fn retire(&self) {
        if let Some(joined) = self.joined.get() {
            joined.retire();
        }
    }

    fn is_by_request(&self) -> bool {
        matches!(self.options.sharing, Sharing::Cached(caching) if caching.by_request)
    }

    fn request(&self, asking: &Asking<'_>, key: Option<KeyOf<'_>>) -> Request {
        let if_used = |bytes: &[u8], is_used: bool| if is_used { bytes } else { &[] }.to_vec();
        Request {
            stdin: if_used(asking.received, self.options.reads_request),
            argument: if_used(asking.request, self.uses_request()),
            peer: asking.peer,
            key: key.map(Key::from),
        }
    }
}

impl fmt::Debug for Runner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runner")
            .field("service", &self.options.service)
            .finish_non_exhaustive()
    }
}
