//! Reloading: another configuration while we run, taken as a whole or not at all.
//!
//! It is read by a short-lived thread, so that a disk that hangs makes us deaf to nothing. What is
//! asked for while that goes on is one more reload after it, however often it is asked.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvError, Sender, TryRecvError};

use crate::admin::Reloaded;
use crate::config::fault::Faults;
use crate::engine::change::Change;
use crate::server::drain::{HALF_OPEN_MAX, ON_THE_WAY};
use crate::server::read::{self, Difference, Read, Running};
use crate::server::roster::{Bound, Next};
use crate::server::{Server, StartError, build, half_open, unix_seconds};
use crate::systemd::inherit::Inheritance;

/// Requests that wait to be seen; one of them is as good as all.
const REQUESTS_MAX: usize = 64;

/// How long a configuration may be read: less than the admin listener waits with its answer.
const READ_MAX: Duration = Duration::from_secs(20);

/// How often retiring listeners are looked at.
const RETIRING_LOOK: Duration = Duration::from_millis(10);

/// Asks a server to reload.
#[derive(Clone, Debug)]
pub struct Reloader {
    requests: Sender<Request>,
}

/// Who is to be told what came of it, if anybody.
pub(super) type Request = Option<Sender<Reloaded>>;

/// A server's end of its [`Reloader`]s.
pub(super) fn requests() -> (Reloader, Receiver<Request>) {
    let (requests, rx) = crossbeam_channel::bounded(REQUESTS_MAX);
    (Reloader { requests }, rx)
}

impl Reloader {
    /// Asks, and waits for nothing.
    pub fn ask(&self) {
        // Full: there will be a reload after this anyway. Disconnected: the server ends.
        let _asked = self.requests.try_send(None);
    }

    /// Asks, and waits for what comes of it.
    #[must_use]
    pub fn reload(&self) -> Reloaded {
        let (done_tx, done_rx) = crossbeam_channel::bounded(1);
        let asked = self.requests.send(Some(done_tx));
        asked
            .ok()
            .and_then(|()| done_rx.recv().ok())
            .unwrap_or(Reloaded::Ending)
    }
}

/// Reloads: those asked for, the one under way, and what the last one has left.
#[derive(Debug)]
pub(super) struct Reloads {
    requests: Receiver<Request>,

    /// Asked for since the last one began. Bounded by the admin listener's connections.
    asked: Vec<Sender<Reloaded>>,
    is_asked: bool,
    reading: Option<Reading>,
    retiring: Option<Retiring>,
}

#[derive(Debug)]
struct Reading {
    read: Receiver<Result<Read, Faults>>,

    /// When it has taken too long.
    until: Instant,

    /// Who is to be told what comes of it.
    asked: Vec<Sender<Reloaded>>,
}

/// Listeners that a reload has dropped, on their way out.
#[derive(Debug)]
struct Retiring {
    since: Instant,

    /// When to look at them next.
    look_at: Instant,

    /// Where the kernel holds connections back until they speak.
    deferring: Vec<SocketAddr>,

    /// Disconnected when they are closed.
    closed: Option<Receiver<Infallible>>,
}

impl Reloads {
    pub(super) fn new(requests: Receiver<Request>) -> Self {
        Self {
            requests,
            asked: Vec::new(),
            is_asked: false,
            reading: None,
            retiring: None,
        }
    }

    pub(super) fn requests(&self) -> &Receiver<Request> {
        &self.requests
    }

    /// What is being read; never, if nothing is.
    pub(super) fn read(&self) -> Receiver<Result<Read, Faults>> {
        match &self.reading {
            Some(reading) => reading.read.clone(),
            None => crossbeam_channel::never(),
        }
    }

    /// When what is being read has taken too long.
    pub(super) fn overdue(&self) -> Receiver<Instant> {
        match &self.reading {
            Some(reading) => crossbeam_channel::at(reading.until),
            None => crossbeam_channel::never(),
        }
    }

    /// When to look at what the last one has left.
    pub(super) fn look(&self) -> Receiver<Instant> {
        match &self.retiring {
            Some(retiring) => crossbeam_channel::at(retiring.look_at),
            None => crossbeam_channel::never(),
        }
    }

    /// There will be no more: whoever waits is told so, and whoever asks from now on. What the last
    /// one has dropped and is not closed yet is for the drain: where the kernel holds connections
    /// back there.
    pub(super) fn end(&mut self) -> Option<Vec<SocketAddr>> {
        self.asked.clear();
        self.reading = None;
        self.requests = crossbeam_channel::never();
        self.retiring.take().map(|retiring| retiring.deferring)
    }

    pub(super) fn ask(&mut self, request: Request) {
        self.is_asked = true;
        self.asked.extend(request);
    }
}

impl Server {
    /// Begins what was asked for, one after the other.
    pub(super) fn begin_reload(&mut self) {
        let reloads = &mut self.reloads;
        if !reloads.is_asked || reloads.reading.is_some() || reloads.retiring.is_some() {
            return;
        }
        reloads.is_asked = false;
        let asked = std::mem::take(&mut reloads.asked);
        self.notifier.reloading();
        let running = Running {
            config: self.config.clone(),
            threads: self.main.roster.threads(),
            lookout: self.lookout.clone(),
            commands: self.commands.clone(),
        };
        match read::read(&self.source, running) {
            Ok(read) => {
                let until = Instant::now() + READ_MAX;
                self.reloads.reading = Some(Reading { read, until, asked });
            }
            Err(error) => self.refused(&format!("cannot start a thread: {error}"), "", asked),
        }
    }

    /// Takes the configuration that was read, or refuses it, and tells everyone.
    /// Disconnected: the thread that was to read it has panicked.
    pub(super) fn finish_reload(&mut self, read: Result<Result<Read, Faults>, RecvError>) {
        let Some(Reading { asked, .. }) = self.reloads.reading.take() else {
            return;
        };
        let taken = match read {
            Ok(Ok(read)) => self.take(read),
            Ok(Err(faults)) => Err(StartError::Config(faults)),
            Err(RecvError) => Err(StartError::System {
                what: "read the configuration",
                error: io::Error::other("its thread panicked, which only a bug can do"),
            }),
        };
        // Taken or not: what is served decides.
        self.lookout.keep(&self.main.roster, &self.metrics);
        match taken {
            Ok(difference) => self.taken(&difference, asked),
            Err(StartError::Config(faults)) => {
                for fault in faults.as_slice() {
                    tracing::error!("reload: {fault}");
                }
                let first = faults.as_slice().first().map(ToString::to_string);
                let summary = format!("{faults}: {}", first.unwrap_or_default());
                self.refused(&summary, &faults.render(false), asked);
            }
            Err(error) => self.refused(&error.to_string(), "", asked),
        }
    }

    /// Tells everyone that the reading takes too long. It goes on, and whoever asks meanwhile is told
    /// the same: a disk that hangs is to hold one thread, not one for each reload.
    pub(super) fn reload_is_overdue(&mut self) {
        let Some(reading) = &mut self.reloads.reading else {
            return;
        };
        reading.until = Instant::now() + READ_MAX;
        let mut asked = std::mem::take(&mut reading.asked);
        asked.append(&mut self.reloads.asked);
        let summary = format!("it is still being read, after {READ_MAX:?}; does a disk hang?");
        self.refused(&summary, "", asked);
    }

    /// Looks at the listeners that were dropped: who was on the way to them is accepted, and then
    /// they are closed.
    pub(super) fn look_at_retiring(&mut self) {
        let Some(retiring) = &mut self.reloads.retiring else {
            return;
        };
        retiring.look_at = Instant::now() + RETIRING_LOOK;
        if let Some(closed) = &retiring.closed {
            if closed.try_recv() == Err(TryRecvError::Disconnected) {
                self.reloads.retiring = None;
            }
            return;
        }
        let elapsed = retiring.since.elapsed();
        if elapsed >= HALF_OPEN_MAX
            || (elapsed >= ON_THE_WAY && !half_open::any(&retiring.deferring))
        {
            retiring.closed = Some(self.main.engine.close_retired());
        }
    }

    /// All or nothing: whatever can be refused comes first. What has changed.
    fn take(&mut self, read: Read) -> Result<Difference, StartError> {
        let Read {
            loaded,
            drafts,
            difference,
        } = read;
        let config = loaded.config;
        let (main, admin) = (&self.main.roster, &self.admin.roster);
        let main = main.next(drafts, build::common_pool(&config), &self.metrics);
        let admin_drafts = vec![build::admin(&config.admin, &self.admin_page)];
        let admin = admin.next(admin_drafts, build::admin_pool(), &self.metrics);
        let newcomers = main.newcomers.clone();
        let taken = self.change(main, admin);
        if taken.is_err() {
            self.metrics.forget_services(&newcomers);
        }
        taken?;
        self.admin_page
            .may_reload
            .store(config.admin.reload, Relaxed);
        (self.on_taken)(&config);
        self.config = config;
        Ok(difference)
    }

    fn change(&mut self, mut main: Next, mut admin: Next) -> Result<(), StartError> {
        let ours = self
            .main
            .roster
            .listeners()
            .chain(self.admin.roster.listeners());
        let ours: Vec<_> = ours.map(|(_, bound)| bound.addr.clone()).collect();
        let nexts = &mut [&mut main, &mut admin];
        self.opener.open(nexts, Inheritance::default(), &ours)?;
        let failed = |error| StartError::System {
            what: "change what is served",
            error,
        };
        let deferring = main.dropped.iter().filter_map(Bound::deferring);
        let retiring = Retiring {
            since: Instant::now(),
            look_at: Instant::now() + ON_THE_WAY,
            deferring: deferring.collect(),
            closed: None,
        };
        let prepared = self.admin.engine.prepare(admin.change);
        let changed = prepared.and_then(|admin_change| {
            self.main.engine.change(main.change)?;
            Ok(admin_change)
        });
        if changed.is_err() {
            let bounds = main.roster.listeners().map(|(_, bound)| bound);
            for bound in bounds.filter(|bound| !ours.contains(&bound.addr)) {
                self.opener.release(bound);
            }
        }
        let admin_change = changed.map_err(failed)?;
        self.main.roster = main.roster;
        for bound in &main.dropped {
            self.opener.release(bound);
        }
        if !main.dropped.is_empty() {
            self.reloads.retiring = Some(retiring);
        }
        // Its listeners stay and its threads run: what is left is to swap its service.
        self.admin.engine.take(admin_change).map_err(failed)?;
        self.admin.roster = admin.roster;
        Ok(())
    }

    fn taken(&mut self, difference: &Difference, asked: Vec<Sender<Reloaded>>) {
        self.metrics.config_taken(unix_seconds());
        let mut lines = difference.lines();
        for line in &lines {
            tracing::info!("reload: {line}");
        }
        for warning in &difference.warnings {
            tracing::warn!("reload: {warning}");
            lines.push(format!("warning: {warning}"));
        }
        tracing::info!("reloaded");
        self.notifier.ready(&self.status());
        let mut page = lines.join("\n");
        page.push('\n');
        tell(asked, &Reloaded::Taken(page));
    }

    /// `page` may be empty: then it is as `summary`.
    fn refused(&mut self, summary: &str, page: &str, asked: Vec<Sender<Reloaded>>) {
        self.metrics.config_refused();
        tracing::error!("reload refused, the configuration before it stays: {summary}");
        // Ready again, with what we have: there is no word for a reload that failed (KERNEL K47).
        let status = self.status();
        self.notifier
            .ready(&format!("{status}; reload refused: {summary}"));
        let page = if page.is_empty() {
            format!("{summary}\n")
        } else {
            page.to_owned()
        };
        tell(asked, &Reloaded::Refused(page));
    }

    /// Looks after the services that are gone. When to do so again.
    pub(super) fn look_after_gone(&mut self) -> Duration {
        if self.reloads.retiring.is_some() {
            // Somebody may still come.
            return RETIRING_LOOK;
        }
        let left = self.main.roster.look_after_gone(Instant::now());
        for emptied in &left.emptied {
            if emptied.own_pool.is_some() {
                let name = self.main.roster.name(emptied.service);
                self.metrics.forget_pool(name);
            }
        }
        if !left.emptied.is_empty() {
            let change = Change {
                emptied: left.emptied,
                ..Change::default()
            };
            if let Err(error) = self.main.engine.change(change) {
                tracing::debug!(%error, "threads of services that are gone stay");
            }
        }
        self.metrics.forget_services(&left.forgotten);
        left.again.unwrap_or(NOBODY_GONE)
    }
}

/// How often to look for services that are gone, when there are none.
const NOBODY_GONE: Duration = Duration::from_secs(3600);

fn tell(asked: Vec<Sender<Reloaded>>, reloaded: &Reloaded) {
    for asked in asked {
        // Who has asked may have left.
        let _told = asked.try_send(reloaded.clone());
    }
}
