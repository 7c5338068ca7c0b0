//! What flights decide: who runs, who waits, who shares.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::command::children::{Argument, Process};
use crate::command::options::Caching;
use crate::metrics::{Labels, Metrics};
use crate::peer::Peer;

const SECOND: Duration = Duration::from_secs(1);

/// A service, and what its flights have decided.
struct Desk {
    flights: Flights,
    now: Instant,
    actions: Vec<Action>,
    metrics: CommandMetrics,
}

fn desk(concurrency: usize, max_waiting: usize, sharing: Sharing) -> Desk {
    let process = Process {
        run: vec![Argument::Text("/bin/true".to_owned())],
        environment: Vec::new(),
        working_directory: PathBuf::from("/"),
        identity: None,
        timeout: SECOND,
        kill_after: SECOND,
        max_output_bytes: 100,
        descriptors: None,
    };
    let options = Options {
        service: "test".into(),
        process: process.into(),
        reads_request: false,
        has_head: false,
        answers: BTreeSet::from([0]),
        concurrency,
        max_waiting,
        sharing,
    };
    let labels = Labels {
        outcomes: &[],
        waits: &[],
        reasons: &[],
        runs: &RunResult::LABELS,
        answers: &Source::LABELS,
    };
    let metrics = Metrics::new(labels).command("test");
    let now = Instant::now();
    Desk {
        flights: Flights::new(options.into(), Arc::default(), metrics.clone(), now),
        now,
        actions: Vec::new(),
        metrics,
    }
}

fn cached(stale: Duration, failure: Duration) -> Sharing {
    Sharing::Cached(Caching {
        fresh: SECOND,
        stale,
        failure,
        by_request: false,
        by_peer: false,
    })
}

impl Desk {
    fn request(&self) -> Request {
        Request {
            stdin: Vec::new(),
            argument: Vec::new(),
            peer: Peer::Unix,
            key: (self.flights.options.sharing != Sharing::Nobody).then(Key::default),
        }
    }

    fn ask(&mut self, ticket: Ticket) -> &mut Self {
        let request = self.request();
        (self.flights).ask(ticket, request, self.now, &mut self.actions);
        self
    }

    fn leave(&mut self, ticket: Ticket) -> &mut Self {
        self.flights.leave(ticket, &mut self.actions);
        self
    }

    fn ended(&mut self, id: FlightId, result: RunResult) -> &mut Self {
        let code = i32::from(result != RunResult::Answered);
        let report = Report {
            result,
            end: Some(End::Exited(code)),
            stdout: Arc::default(),
            stdout_bytes: 0,
            stderr: Vec::new(),
            duration: SECOND,
        };
        (self.flights).ended(id, report, self.now, &mut self.actions);
        self
    }

    fn gone(&mut self, id: FlightId) -> &mut Self {
        self.flights.gone(id, &mut self.actions);
        self
    }

    fn after(&mut self, time: Duration) -> &mut Self {
        self.now += time;
        self
    }

    /// What was decided since the last look, in short.
    fn decided(&mut self) -> String {
        let word = |action: Action| match action {
            Action::Start(id, _) => format!("start {id}"),
            Action::Stop(id) => format!("stop {id}"),
            Action::Deliver(ticket, Delivery::Busy) => format!("{ticket} busy"),
            Action::Deliver(ticket, Delivery::Report(report)) => {
                format!("{ticket} {}", RunResult::LABELS[report.result as usize])
            }
        };
        let words: Vec<String> = self.actions.drain(..).map(word).collect();
        words.join(", ")
    }

    #[track_caller]
    fn check(&mut self, expected: &str) -> &mut Self {
        assert_eq!(self.decided(), expected);
        self
    }

    #[track_caller]
    fn check_counts(&mut self, running: i64, waiting: i64) -> &mut Self {
        let counts = (self.metrics.running.get(), self.metrics.waiting.get());
        assert_eq!(counts, (running, waiting));
        self
    }
}

#[test]
fn without_sharing_each_has_a_run_of_its_own() {
    desk(4, 0, Sharing::Nobody)
        .ask(1)
        .ask(2)
        .check("start 0, start 1")
        .ended(1, RunResult::Answered)
        .ended(0, RunResult::Failed)
        .check("2 answered, 1 failed");
}

#[test]
fn a_place_is_free_when_the_process_is_gone_and_not_before() {
    desk(1, 1, Sharing::Nobody)
        .ask(1)
        .ask(2)
        .ask(3)
        .check("start 0, 3 busy")
        .check_counts(1, 1)
        .ended(0, RunResult::TimedOut)
        .check("1 timed_out")
        .gone(0)
        .check("start 1")
        .check_counts(1, 0);
}

#[test]
fn a_run_ends_with_the_last_who_waits_for_it() {
    desk(1, 1, Sharing::Nobody)
        .ask(1)
        .ask(2)
        .check("start 0")
        .leave(2)
        .check_counts(1, 0)
        .leave(1)
        .leave(1)
        .check("stop 0")
        .gone(0)
        .check("")
        .check_counts(0, 0);
}

#[test]
fn one_run_answers_all_who_ask_meanwhile_and_goes_on_without_them() {
    desk(4, 0, cached(Duration::ZERO, Duration::ZERO))
        .ask(1)
        .ask(2)
        .ask(3)
        .leave(2)
        .check("start 0")
        .ended(0, RunResult::Answered)
        .check("1 answered, 3 answered")
        .gone(0)
        .ask(4)
        .check("4 answered")
        .after(SECOND)
        .ask(5)
        .leave(5)
        .check("start 1");
}

#[test]
fn a_failure_is_kept_for_as_long_as_it_says() {
    desk(4, 0, cached(Duration::ZERO, 2 * SECOND))
        .ask(1)
        .ended(0, RunResult::Failed)
        .after(SECOND)
        .ask(2)
        .check("start 0, 1 failed, 2 failed")
        .after(SECOND)
        .ask(3)
        .check("start 1");
    desk(4, 0, cached(Duration::ZERO, Duration::ZERO))
        .ask(1)
        .ended(0, RunResult::Failed)
        .ask(2)
        .check("start 0, 1 failed, start 1");
}

#[test]
fn a_stale_answer_is_over_with_the_run_behind_it() {
    let mut desk = desk(4, 0, cached(SECOND, Duration::ZERO));
    desk.ask(1)
        .ended(0, RunResult::Answered)
        .gone(0)
        .after(SECOND);
    let cache = Arc::clone(&desk.flights.cache);
    let age = |now| cache.of(&Key::default()).map(|entry| entry.age(now));
    assert_eq!(age(desk.now), Some(Age::Stale));
    desk.decided();
    for _ in 0..2 {
        let request = desk.request();
        desk.flights.renew(request, desk.now, &mut desk.actions);
    }
    desk.check("start 1").ended(1, RunResult::Failed).check("");
    assert_eq!(age(desk.now), None);
}

#[test]
fn a_renewal_without_room_leaves_it_to_the_next_one() {
    let mut desk = desk(1, 0, cached(SECOND, Duration::ZERO));
    desk.ask(1)
        .ended(0, RunResult::Answered)
        .check("start 0, 1 answered");
    desk.after(SECOND);
    let entry = desk.flights.cache.of(&Key::default()).expect("an answer");
    assert!(entry.is_mine_to_renew());
    let request = desk.request();
    desk.flights.renew(request, desk.now, &mut desk.actions);
    desk.check("");
    assert!(entry.is_mine_to_renew(), "it was not begun");
}

#[test]
fn a_schedule_runs_from_start_to_start_and_never_two_at_once() {
    let scheduled = Sharing::Scheduled {
        every: 10 * SECOND,
        good_for: 25 * SECOND,
    };
    let mut desk = desk(1, 0, scheduled);
    let due = |desk: &mut Desk| {
        desk.flights
            .keep_schedule(desk.now, false, &mut desk.actions);
        desk.decided()
    };
    assert_eq!(due(&mut desk), "start 0");
    assert_eq!(due(&mut desk), "");
    desk.ask(1)
        .check("")
        .ended(0, RunResult::Failed)
        .check("1 failed");
    desk.ask(2).check("2 failed").after(10 * SECOND);
    assert_eq!(due(&mut desk), "", "the first process is still there");
    desk.gone(0).after(10 * SECOND);
    assert_eq!(due(&mut desk), "start 1");
    desk.gone(1).after(10 * SECOND);
    (desk.flights).keep_schedule(desk.now, true, &mut desk.actions);
    desk.check("").after(REST);
    assert_eq!(due(&mut desk), "start 2", "it has rested");
    desk.flights.end_schedule();
    assert_eq!(desk.flights.due(), None);
}

#[test]
fn when_all_is_abandoned_what_runs_is_stopped_and_nothing_begins() {
    desk(1, 5, Sharing::Nobody)
        .ask(1)
        .ask(2)
        .check("start 0")
        .abandoned();
}

impl Desk {
    #[track_caller]
    fn abandoned(&mut self) {
        self.flights.abandon(&mut self.actions);
        self.check("stop 0").check_counts(1, 0);
        assert!(!self.flights.is_idle());
        self.gone(0).check("");
        assert!(self.flights.is_idle());
    }
}

#[test]
fn flights_of_the_same_service_before_a_reload_count_too() {
    let mut old = desk(4, 4, Sharing::Nobody);
    let mut new = desk(4, 4, Sharing::Nobody);
    new.flights.metrics = old.metrics.clone();
    old.ask(1).check_counts(1, 0);
    new.ask(2).ask(3);
    old.check_counts(3, 0)
        .ended(0, RunResult::Answered)
        .gone(0)
        .check_counts(2, 0);
    drop(new);
    old.check_counts(0, 0);
}
