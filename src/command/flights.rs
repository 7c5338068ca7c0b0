//! Who gets which run: one service's decisions, without a process and without a clock.
//!
//! A flight is a run with those who wait for it, from the first request to the end of the process.
//! Where answers are shared, who asks for the same joins it (a single flight); else each request has
//! one of its own. So many are under way at a time, so many wait to begin.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::command::Ticket;
use crate::command::cache::{Age, Cache, Entry, Key};
use crate::command::children::End;
use crate::command::options::{Options, Sharing};
use crate::command::report::{Report, RunResult, Source};
use crate::command::runner::Request;
use crate::metrics::CommandMetrics;

/// How often to look whether a service still rests.
const REST: Duration = Duration::from_millis(250);

/// The number of a flight: no other that is there has it.
pub(super) type FlightId = u32;

/// What has to be done about a decision.
#[derive(Debug)]
pub(super) enum Action {
    /// Start a run for this request.
    Start(FlightId, Request),
    /// End a run: nobody wants it anymore.
    Stop(FlightId),
    /// Tell who waits.
    Deliver(Ticket, Delivery),
}

/// What who waits is told.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// What the run came to.
    Report(Arc<Report>),
    /// Too many wait already.
    Busy,
}

/// One service's flights.
#[derive(Debug)]
pub(super) struct Flights {
    options: Arc<Options>,
    cache: Arc<Cache>,
    metrics: CommandMetrics,
    by_id: HashMap<FlightId, Flight>,

    /// Which one each waits for.
    waiters: HashMap<Ticket, FlightId>,

    /// Those that may be joined.
    shared: HashMap<Key, FlightId>,

    /// Those that have not begun; at most `max_waiting`.
    line: VecDeque<FlightId>,

    /// Those that have begun, and are not gone; at most `concurrency`.
    under_way: usize,
    next_id: FlightId,

    /// Of `under_way` and `line`, what the metrics know.
    told: (i64, i64),

    /// When the next run by schedule is due.
    due: Option<Instant>,
}

#[derive(Debug)]
struct Flight {
    key: Option<Key>,
    waiters: Vec<Ticket>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// In the line.
    Waiting(Request),
    Running,
    /// It has been told what came of it, or nobody wants to know.
    Ending,
}

impl Flights {
    pub(super) fn new(
        options: Arc<Options>,
        cache: Arc<Cache>,
        metrics: CommandMetrics,
        now: Instant,
    ) -> Self {
        let is_scheduled = matches!(options.sharing, Sharing::Scheduled { .. });
        Self {
            options,
            cache,
            metrics,
            by_id: HashMap::new(),
            waiters: HashMap::new(),
            shared: HashMap::new(),
            line: VecDeque::new(),
            under_way: 0,
            next_id: 0,
            told: (0, 0),
            due: is_scheduled.then_some(now),
        }
    }

    /// Somebody waits for the answer to `request`.
    pub(super) fn ask(
        &mut self,
        ticket: Ticket,
        request: Request,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        if let Some(key) = &request.key {
            // A run may have ended since the worker looked.
            if let Some(entry) = self.cache.of(key).filter(|it| it.age(now) == Age::Fresh) {
                self.count(Source::Hit);
                let delivery = Delivery::Report(Arc::clone(&entry.report));
                return actions.push(Action::Deliver(ticket, delivery));
            }
            if let Some(id) = self.shared.get(key).copied()
                && let Some(flight) = self.by_id.get_mut(&id)
            {
                flight.waiters.push(ticket);
                self.waiters.insert(ticket, id);
                return self.count(Source::Coalesced);
            }
            self.count(Source::Miss);
        }
        if self.begin(request, Some(ticket), actions).is_err() {
            actions.push(Action::Deliver(ticket, Delivery::Busy));
        }
    }

    /// Somebody got a stale answer, and asks for a new one behind it.
    pub(super) fn renew(&mut self, request: Request, now: Instant, actions: &mut Vec<Action>) {
        let Some(key) = request.key.clone() else {
            return;
        };
        // One may be under way, or have just ended.
        let is_fresh = |entry: Arc<Entry>| entry.age(now) == Age::Fresh;
        let is_needless =
            self.shared.contains_key(&key) || self.cache.of(&key).is_some_and(is_fresh);
        if !is_needless
            && self.begin(request, None, actions).is_err()
            && let Some(entry) = self.cache.of(&key)
        {
            entry.not_renewed();
        }
    }

    /// Somebody has left who waited.
    pub(super) fn leave(&mut self, ticket: Ticket, actions: &mut Vec<Action>) {
        let Some(id) = self.waiters.remove(&ticket) else {
            return;
        };
        let Some(flight) = self.by_id.get_mut(&id) else {
            return;
        };
        flight.waiters.retain(|waiter| *waiter != ticket);
        if !flight.waiters.is_empty() {
            return;
        }
        match &flight.state {
            State::Waiting(_) => self.forget_waiting(id),
            // What fills a cache is not for them alone.
            State::Running if flight.key.is_none() => {
                flight.state = State::Ending;
                self.metrics.runs[RunResult::Cancelled as usize].inc();
                actions.push(Action::Stop(id));
            }
            State::Running | State::Ending => {}
        }
    }

    /// A run is over, as far as its reply goes: all who wait for it are told.
    pub(super) fn ended(
        &mut self,
        id: FlightId,
        report: Report,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        let Some(flight) = self.by_id.get_mut(&id) else {
            return;
        };
        if !matches!(flight.state, State::Running) {
            return;
        }
        flight.state = State::Ending;
        let (waiters, key) = (std::mem::take(&mut flight.waiters), flight.key.take());
        self.note(&report);
        let report = Arc::new(report);
        for ticket in waiters {
            self.waiters.remove(&ticket);
            actions.push(Action::Deliver(
                ticket,
                Delivery::Report(Arc::clone(&report)),
            ));
        }
        if let Some(key) = key {
            self.shared.remove(&key);
            self.settle(key, &report, now);
        }
    }

    /// Nothing is left of a run: its place is for another.
    pub(super) fn gone(&mut self, id: FlightId, actions: &mut Vec<Action>) {
        if self.by_id.remove(&id).is_none() {
            return;
        }
        self.under_way -= 1;
        while self.under_way < self.options.concurrency
            && let Some(id) = self.line.pop_front()
        {
            self.start(id, actions);
        }
        self.publish();
    }

    /// Begins the run that is due by schedule, unless the last one is still under way. A service that
    /// `rests` has it soon after.
    pub(super) fn keep_schedule(&mut self, now: Instant, rests: bool, actions: &mut Vec<Action>) {
        let Sharing::Scheduled { every, .. } = self.options.sharing else {
            return;
        };
        if self.due.is_none_or(|due| now < due) {
            return;
        }
        if rests {
            self.due = Some(now + every.min(REST));
            return;
        }
        self.due = Some(now + every);
        if self.by_id.is_empty() {
            // Nobody waits, so there is room.
            let _begun = self.begin(Request::scheduled(), None, actions);
        }
    }

    /// When the next run is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// No more runs by schedule.
    pub(super) fn end_schedule(&mut self) {
        self.due = None;
    }

    /// Nobody waits for anything anymore.
    pub(super) fn abandon(&mut self, actions: &mut Vec<Action>) {
        self.due = None;
        self.line.clear();
        self.waiters.clear();
        self.shared.clear();
        self.by_id
            .retain(|_, flight| !matches!(flight.state, State::Waiting(_)));
        for (id, flight) in &mut self.by_id {
            if matches!(flight.state, State::Running) {
                flight.state = State::Ending;
                self.metrics.runs[RunResult::Cancelled as usize].inc();
                actions.push(Action::Stop(*id));
            }
        }
        self.publish();
    }

    /// Whether nothing of any run is left.
    pub(super) fn is_idle(&self) -> bool {
        self.by_id.is_empty()
    }

    /// A new flight, with at most one who waits for it. The error: there is no room.
    fn begin(
        &mut self,
        request: Request,
        ticket: Option<Ticket>,
        actions: &mut Vec<Action>,
    ) -> Result<(), ()> {
        let has_room = self.under_way < self.options.concurrency;
        if !has_room && self.line.len() >= self.options.max_waiting {
            return Err(());
        }
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        if let Some(key) = &request.key {
            self.shared.insert(key.clone(), id);
        }
        if let Some(ticket) = ticket {
            self.waiters.insert(ticket, id);
        }
        let flight = Flight {
            key: request.key.clone(),
            waiters: ticket.into_iter().collect(),
            state: State::Waiting(request),
        };
        self.by_id.insert(id, flight);
        if has_room {
            self.start(id, actions);
        } else {
            self.line.push_back(id);
        }
        self.publish();
        Ok(())
    }

    fn start(&mut self, id: FlightId, actions: &mut Vec<Action>) {
        if let Some(flight) = self.by_id.get_mut(&id)
            && let State::Waiting(request) = std::mem::replace(&mut flight.state, State::Running)
        {
            self.under_way += 1;
            actions.push(Action::Start(id, request));
        }
    }

    fn forget_waiting(&mut self, id: FlightId) {
        self.line.retain(|waiting| *waiting != id);
        if let Some(Flight { key: Some(key), .. }) = self.by_id.remove(&id) {
            self.shared.remove(&key);
        }
        self.publish();
    }

    /// Whatever a run came to, the answer before it is over.
    fn settle(&mut self, key: Key, report: &Arc<Report>, now: Instant) {
        let entry = Entry::new(report, self.options.sharing, now);
        if entry.age(now) == Age::Fresh {
            self.cache.put(key, entry, now);
        } else {
            self.cache.remove(&key);
        }
        if report.result == RunResult::Answered {
            self.metrics.age.answered(now);
        }
    }

    fn note(&self, report: &Report) {
        let metrics = &self.metrics;
        metrics.runs[report.result as usize].inc();
        metrics.duration.observe(report.duration.as_secs_f64());
        if let Some(end) = report.end {
            metrics.last_exit_status.set(status(end));
        }
    }

    fn count(&self, source: Source) {
        self.metrics.cache[source as usize].inc();
    }

    /// Adds what is different: after a reload the flights of the service before count here too.
    fn publish(&mut self) {
        let now = (number(self.under_way), number(self.line.len()));
        let before = std::mem::replace(&mut self.told, now);
        self.metrics.running.add(now.0 - before.0);
        self.metrics.waiting.add(now.1 - before.1);
    }
}

impl Drop for Flights {
    fn drop(&mut self) {
        self.metrics.running.sub(self.told.0);
        self.metrics.waiting.sub(self.told.1);
    }
}

/// As a shell says it: of a signal, 128 and its number.
fn status(end: End) -> i64 {
    match end {
        End::Exited(code) => code.into(),
        End::Signaled(signal) => i64::from(signal) + 128,
    }
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
