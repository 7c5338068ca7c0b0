//! What the supervisor's thread does: it takes what it is asked and what its children have come to,
//! has each service's flights decide, and does what they say.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::command::children::{Children, Event, Input, RunId};
use crate::command::flights::{Action, FlightId, Flights};
use crate::command::report::Report;
use crate::command::runner::Request;
use crate::command::served::Served;
use crate::command::supervisor::{Message, ServiceId, Stopping};
use crate::command::variables::variables;
use crate::inbox::Inbox;

/// Messages taken in one turn, so that commands are looked after in between.
const MESSAGES_PER_TURN: usize = 256;

/// How long a turn may go on starting commands: others have their deadlines.
const STARTS_MAX: Duration = Duration::from_millis(5);

/// What the thread has in hand.
pub(super) struct Watch<'a> {
    inbox: &'a Inbox<Message>,
    children: Children,
    services: HashMap<ServiceId, Served>,
    stopping: Vec<Stopping>,

    /// Runs that have been decided, and not begun.
    starts: VecDeque<(RunId, Request)>,
    events: Vec<Event>,
    actions: Vec<Action>,
}

impl<'a> Watch<'a> {
    pub(super) fn new(inbox: &'a Inbox<Message>, children: Children) -> Self {
        Self {
            inbox,
            children,
            services: HashMap::new(),
            stopping: Vec::new(),
            starts: VecDeque::new(),
            events: Vec::new(),
            actions: Vec::new(),
        }
    }

    /// Ends when it is told to.
    pub(super) fn run(mut self) {
        loop {
            let may_sleep =
                self.inbox.lie_down() && self.events.is_empty() && self.starts.is_empty();
            let timeout = if may_sleep {
                self.sleep_max(Instant::now())
            } else {
                Some(Duration::ZERO)
            };
            let turned = self.children.turn(timeout, &mut self.events);
            self.inbox.get_up();
            match turned {
                Ok(true) => self.inbox.hush(),
                Ok(false) => {}
                Err(error) => tracing::error!(%error, "the supervisor of commands"),
            }
            let now = Instant::now();
            self.take_events(now);
            self.take_messages(now);
            self.keep_schedules(now);
            self.start_some(now);
            if self.is_over(now) {
                break;
            }
        }
        // What is left is killed.
        drop(self.children);
        for Stopping { done, .. } in self.stopping {
            // Disconnected: nobody waits for it anymore.
            let _told = done.try_send(());
        }
    }

    fn sleep_max(&self, now: Instant) -> Option<Duration> {
        let due = self.services.values().filter_map(|it| it.flights.due());
        let until = self.stopping.last().map(|stopping| stopping.until);
        let first = due.chain(until).min()?;
        Some(first.saturating_duration_since(now))
    }

    fn take_messages(&mut self, now: Instant) {
        for _ in 0..MESSAGES_PER_TURN {
            let Some(message) = self.inbox.next() else {
                return;
            };
            match message {
                Message::Join(id, joining) => {
                    self.services.insert(id, Served::new(*joining, now));
                }
                // Nobody would wait for it: it came behind a stop.
                Message::Ask(..) | Message::Renew(..) if !self.stopping.is_empty() => {}
                Message::Ask(id, ticket, request) => {
                    self.decide(id, now, |flights, actions| {
                        flights.ask(ticket, request, now, actions);
                    });
                }
                Message::Renew(id, request) => {
                    self.decide(id, now, |flights, actions| {
                        flights.renew(request, now, actions);
                    });
                }
                Message::Leave(id, ticket) => {
                    self.decide(id, now, |flights, actions| flights.leave(ticket, actions));
                }
                Message::Retire(id) => {
                    self.decide(id, now, |flights, _| flights.end_schedule());
                }
                Message::Forget(id) => self.forget(id, now),
                Message::Stop(stopping) => self.stop(stopping, now),
            }
        }
    }

    /// A second stop can only shorten the first.
    fn stop(&mut self, stopping: Stopping, now: Instant) {
        let until = self.stopping.iter().map(|before| before.until).min();
        let until = until.map_or(stopping.until, |before| before.min(stopping.until));
        self.stopping.push(Stopping { until, ..stopping });
        let ids: Vec<_> = self.services.keys().copied().collect();
        for id in ids {
            self.forget(id, now);
        }
    }

    fn take_events(&mut self, now: Instant) {
        for event in std::mem::take(&mut self.events) {
            let (Event::Ended(run, _) | Event::Failed(run, _) | Event::Gone(run)) = event;
            let (id, flight) = parts(run);
            let Some(service) = self.services.get(&id) else {
                continue;
            };
            let report = match event {
                Event::Ended(_, ended) => service.report_of(ended),
                Event::Failed(_, failed) => failed.into(),
                Event::Gone(_) => {
                    self.decide(id, now, |flights, actions| flights.gone(flight, actions));
                    self.remove_if_over(id);
                    continue;
                }
            };
            self.end(id, flight, report, now);
        }
    }

    fn keep_schedules(&mut self, now: Instant) {
        let is_due = |it: &Served| it.flights.due().is_some_and(|due| due <= now);
        let due = self.services.iter().filter(|(_, it)| is_due(it));
        let due: Vec<_> = due.map(|(id, it)| (*id, (it.rests)())).collect();
        for (id, rests) in due {
            self.decide(id, now, |flights, actions| {
                flights.keep_schedule(now, rests, actions);
            });
        }
    }

    /// Nobody can ask anymore.
    fn forget(&mut self, id: ServiceId, now: Instant) {
        if let Some(service) = self.services.get_mut(&id) {
            service.is_forgotten = true;
            self.decide(id, now, Flights::abandon);
        }
        self.remove_if_over(id);
    }

    /// A service that nobody can ask goes with its last run.
    fn remove_if_over(&mut self, id: ServiceId) {
        let is_over = |it: &Served| it.is_forgotten && it.flights.is_idle();
        if self.services.get(&id).is_some_and(is_over) {
            self.services.remove(&id);
        }
    }

    fn end(&mut self, id: ServiceId, flight: FlightId, report: Report, now: Instant) {
        if let Some(service) = self.services.get(&id) {
            service.complain(&report, now);
        }
        self.decide(id, now, |flights, actions| {
            flights.ended(flight, report, now, actions);
        });
    }

    /// Has one service's flights decide, and does what comes of it.
    fn decide(
        &mut self,
        id: ServiceId,
        now: Instant,
        decide: impl FnOnce(&mut Flights, &mut Vec<Action>),
    ) {
        let Some(service) = self.services.get_mut(&id) else {
            return;
        };
        let mut actions = std::mem::take(&mut self.actions);
        decide(&mut service.flights, &mut actions);
        for action in actions.drain(..) {
            self.act(id, action, now);
        }
        self.actions = actions;
    }

    fn act(&mut self, id: ServiceId, action: Action, now: Instant) {
        let Some(service) = self.services.get(&id) else {
            return;
        };
        match action {
            Action::Deliver(ticket, delivery) => {
                // Who wanted to know may have gone altogether.
                let _wanted = (service.deliver)(ticket, delivery);
            }
            Action::Start(flight, request) => {
                self.starts.push_back((run_id(id, flight), request));
            }
            Action::Stop(flight) => {
                let run = run_id(id, flight);
                let begun = self.starts.len();
                self.starts.retain(|(waiting, _)| *waiting != run);
                if self.starts.len() < begun {
                    self.events.push(Event::Gone(run));
                } else {
                    self.children.stop(run, now);
                }
            }
        }
    }

    /// Starts what has been decided, as far as there is time.
    fn start_some(&mut self, now: Instant) {
        while let Some((run, request)) = self.starts.pop_front() {
            let (id, flight) = parts(run);
            let Some(service) = self.services.get(&id) else {
                continue;
            };
            let process = Arc::clone(&service.options.process);
            let input = Input {
                variables: variables(request.peer, service.options.sharing),
                stdin: request.stdin,
                argument: request.argument,
            };
            // Its time begins now, not with the turn.
            if let Err(error) = self.children.start(run, &process, input, Instant::now()) {
                self.end(id, flight, Report::not_started(&error), now);
                self.events.push(Event::Gone(run));
            }
            if now.elapsed() >= STARTS_MAX {
                return;
            }
        }
    }

    /// Whether there is nothing left to be done, or no time left to do it.
    fn is_over(&self, now: Instant) -> bool {
        let stopping = self.stopping.last();
        stopping.is_some_and(|it| self.services.is_empty() || it.until <= now)
    }
}

/// A flight is one run of the process.
fn run_id(service: ServiceId, flight: FlightId) -> RunId {
    RunId(u64::from(service) << 32 | u64::from(flight))
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "the two halves of the number"
)]
fn parts(RunId(number): RunId) -> (ServiceId, FlightId) {
    ((number >> 32) as u32, number as u32)
}
