//! How runs end: by themselves, at their deadline, or because nobody wants them.

use super::*;
use crate::command::children::Failure;

/// From SIGTERM to SIGKILL.
const MOMENT: Duration = Duration::from_millis(50);

#[test]
fn an_exit_code_and_all_output_come_with_the_end() {
    let mut owner = Owner::new();
    let id = owner.start(script("echo out; echo err >&2; exit 7"));
    let ended = owner.ended(id);
    assert_eq!(ended.end, End::Exited(7));
    assert_eq!(ended.stdout, b"out\n");
    assert_eq!(ended.stderr, b"err\n");
    assert_eq!(
        owner
            .children
            .turn(Some(Duration::ZERO), &mut owner.events)
            .ok(),
        Some(false)
    );
    assert!(owner.events.is_empty(), "that was all");
}

#[test]
fn every_signal_is_an_end() {
    let mut owner = Owner::new();
    // The last has no name, and none of the libraries in between knows it.
    for signal in [9, 15, 34, 64] {
        let ended = script(&format!("echo out; kill -{signal} $$; sleep 1000"));
        let id = owner.start(ended);
        let ended = owner.ended(id);
        assert_eq!(ended.end, End::Signaled(signal));
        assert_eq!(ended.stdout, b"out\n");
    }
}

#[test]
fn at_its_deadline_a_run_fails_at_once_and_is_told_to_end() {
    let mut owner = Owner::new();
    let mut process = script("sleep 1000");
    process.timeout = MOMENT;
    let id = owner.start(process);
    let failed = owner.failed(id);
    assert_eq!(failed.failure, Failure::TimedOut);
    assert!(failed.duration >= MOMENT, "{failed:?}");
}

#[test]
fn who_ignores_sigterm_is_killed_a_while_later() {
    let mut owner = Owner::new();
    let mut process = script("trap '' TERM; echo err >&2; echo out; sleep 1000");
    (process.max_output_bytes, process.kill_after) = (0, MOMENT);
    let id = owner.start(process);
    owner.turn_until(|events| matches!(events, [Event::Failed(..)]));
    let failed = Instant::now();
    assert_eq!(owner.failed(id).stderr, b"err\n");
    assert!(failed.elapsed() > MOMENT / 2, "it had its time");
}

#[test]
fn who_is_stopped_ends_like_any_other() {
    let mut owner = Owner::new();
    let mut process = script("kill -STOP $$");
    process.timeout = MOMENT;
    let id = owner.start(process);
    assert_eq!(owner.failed(id).failure, Failure::TimedOut);
}

#[test]
fn of_a_run_that_nobody_wants_only_its_going_is_told() {
    let mut owner = Owner::new();
    let polite = owner.start(script("sleep 1000"));
    let mut process = script("trap '' TERM; sleep 1000");
    process.kill_after = MOMENT;
    let stubborn = owner.start(process);
    for id in [polite, stubborn, stubborn, RunId(1000)] {
        owner.children.stop(id, Instant::now());
    }
    for id in [polite, stubborn] {
        assert_eq!(owner.take(id), [Event::Gone(id)]);
        owner.children.stop(id, Instant::now());
    }
}

#[test]
fn the_whole_group_ends_with_its_first_process() {
    let mut owner = Owner::new();
    let said = owner.said(script("sleep 1000 & echo $!"), Input::default());
    owner.turn_until_gone(said.trim());
}

#[test]
fn the_whole_group_is_killed() {
    let mut owner = Owner::new();
    let mut process = script("trap '' TERM; sleep 1000 & echo $! >&2; echo out; wait");
    (process.max_output_bytes, process.kill_after) = (0, MOMENT);
    let id = owner.start(process);
    let said = String::from_utf8(owner.failed(id).stderr).expect("UTF-8");
    owner.turn_until_gone(said.trim());
}

#[test]
fn many_end_at_once() {
    let mut owner = Owner::new();
    let ids: Vec<RunId> = (0..20)
        .map(|number| owner.start(script(&format!("exit {number}"))))
        .collect();
    for (code, id) in (0..).zip(ids) {
        assert_eq!(owner.ended(id).end, End::Exited(code));
    }
}

#[test]
fn whoever_is_left_is_killed_with_its_owner() {
    let mut owner = Owner::new();
    let id = owner.start(script("echo $$ >&2; exec sleep 1000"));
    let pid = owner.children.runs[&id].pid;
    drop(owner);
    let there = rustix::process::test_kill_process(pid);
    assert_eq!(there, Err(rustix::io::Errno::SRCH), "killed and reaped");
}

#[test]
fn the_inbox_rings_until_it_is_hushed() {
    let mut owner = Owner::new();
    assert!(!owner.turn_for(Duration::ZERO));
    rustix::io::write(&owner.inbox, &1_u64.to_ne_bytes()).expect("rung");
    assert!(owner.turn_for(NEVER) && owner.turn_for(NEVER));
    rustix::io::read(&owner.inbox, &mut [0; 8]).expect("hushed");
    assert!(!owner.turn_for(Duration::ZERO));
}
