//! How runs end that don't end by themselves. P9: no command outlives its deadline or holds a client,
//! a descriptor or a zombie.

use std::net::Shutdown;
use std::time::{Duration, Instant};

use super::{COUNTED_AT_THE_GATE, Commands, script};
use crate::client::{is_silent_for, read_all, reset};
use crate::harness::{LIVENESS, wait_until};

/// Gives up soon, and is killed soon after.
const SHORT: &str = "timeout_seconds = 0.2\nkill_after_seconds = 0.1\n";

/// Gives up long after the test has: whatever ends before that is ended by something else.
const PATIENT: &str = "timeout_seconds = 60\n";

/// What a service with that needs.
const PATIENCE: &str = "reply_timeout_seconds = 90\n";

/// Says that it is there, and stays.
const STAY: &str = "echo begun >> begun; read _ < gate; echo done";

/// Does not go when it is asked to.
const STUBBORN: &str =
    "trap 'echo asked >> asked' TERM; echo begun >> begun; while :; do sleep 1; done";

/// Asks twice, which has to time out, and waits until nothing is left of it.
#[track_caller]
fn times_out(text: &str) {
    let server = Commands::start(&script("slow", "", text, SHORT));
    let mut fds = None;
    for count in 1..=2 {
        let began = Instant::now();
        assert_eq!(server.exchange("slow", b"\n"), "timed out\n", "{text}");
        assert!(began.elapsed() >= Duration::from_millis(200), "too early");
        server.wait_for_outcome("slow", "timed_out", count);
        server.wait_for_runs("slow", "timed_out", count);
        server.wait_for_queue("slow", 0, 0);
        server.at_rest();
        // Some may be opened by the first run, for all that come.
        let now = || server.process().resources().1;
        let before = *fds.get_or_insert_with(now);
        wait_until("its descriptors are closed", || now() <= before);
    }
}

#[test]
fn one_that_takes_too_long_is_asked_to_go() {
    times_out("sleep 60");
}

#[test]
fn one_that_ignores_it_is_killed() {
    times_out("trap '' TERM; while :; do sleep 1; done");
}

#[test]
fn one_that_waits_for_its_children_is_killed_with_them() {
    times_out("sleep 60 & sleep 60 & (trap '' TERM; sleep 60) & wait");
}

#[test]
fn one_whose_child_has_left_its_session_is_killed_and_the_child_too() {
    times_out("setsid sleep 60 & setsid sh -c 'sleep 60; :' & sleep 60");
    times_out("setsid sleep 60 <&- >&- 2>&- & sleep 60");
}

#[test]
fn one_whose_children_have_no_parent_anymore_is_killed_with_them() {
    times_out("(sleep 60 &); (setsid sh -c 'setsid sleep 60 & sleep 60' &); sleep 60");
}

#[test]
fn one_that_has_closed_its_stdout_is_waited_for_but_not_for_long() {
    times_out("echo said; exec >&- 2>&-; sleep 60");
}

#[test]
fn one_that_is_stopped_is_killed() {
    times_out("kill -STOP $$");
}

#[test]
fn a_storm_of_forks_is_killed() {
    times_out("n=0; while [ $n -lt 50 ]; do (trap '' TERM; sleep 60) & n=$((n + 1)); done; wait");
}

/// Whoever asks doesn't wait for how long it takes to get rid of it.
#[test]
fn the_client_is_told_at_the_timeout_and_not_at_the_end() {
    let options = "timeout_seconds = 0.3\nkill_after_seconds = 60\nconcurrency = 1";
    let server = Commands::start(&script("slow", "", STUBBORN, options));
    let began = Instant::now();
    assert_eq!(server.exchange("slow", b"\n"), "timed out\n");
    let took = began.elapsed();
    assert!(
        took >= Duration::from_millis(300) && took < LIVENESS / 2,
        "{took:?}"
    );
    server.wait_for_outcome("slow", "timed_out", 1);
    server.wait_for_lines("asked", 1);
    // It still has its place.
    server.wait_for_queue("slow", 1, 0);
    let waiting = server.ask("slow", b"\n");
    server.wait_for_queue("slow", 1, 1);
    assert_eq!(server.lines("begun"), 1);
    drop(waiting);
}

#[test]
fn a_child_that_holds_stdout_holds_up_nobody() {
    let text = "sleep 60 & setsid sleep 60 & echo answer";
    let options = "timeout_seconds = 8\nconcurrency = 1";
    let server = Commands::start(&script("daemon", "", text, options));
    for _ in 0..10 {
        assert_eq!(server.exchange("daemon", b"\n"), "answer\n");
    }
    server.wait_for_runs("daemon", "answered", 10);
    server.at_rest();
}

/// What was said before the end counts, whoever said it.
#[test]
fn what_its_children_have_said_by_then_is_in_the_reply() {
    let text = "(echo child; echo said >> said; sleep 60) & while [ ! -e said ]; do sleep 0.01; done; echo parent";
    let server = Commands::start(&script("family", "", text, ""));
    assert_eq!(server.exchange("family", b"\n"), "child\nparent\n");
    server.at_rest();
}

#[test]
fn a_client_that_is_gone_takes_its_run_with_it() {
    let server = Commands::start(&script("stay", PATIENCE, STAY, PATIENT));
    let client = server.ask("stay", b"\n");
    server.wait_for_lines("begun", 1);
    reset(client);
    server.wait_for_outcome("stay", "peer_closed", 1);
    server.wait_for_runs("stay", "cancelled", 1);
    server.wait_for_queue("stay", 0, 0);
    server.at_rest();
}

#[test]
fn one_that_does_not_go_when_its_client_is_gone_is_killed() {
    // Time enough to say that it was asked.
    let options = format!("{PATIENT}kill_after_seconds = 2");
    let server = Commands::start(&script("stay", PATIENCE, STUBBORN, &options));
    let client = server.ask("stay", b"\n");
    server.wait_for_lines("begun", 1);
    reset(client);
    server.wait_for_lines("asked", 1);
    server.wait_for_runs("stay", "cancelled", 1);
    server.at_rest();
}

#[test]
fn a_client_that_has_ended_its_side_still_gets_its_reply() {
    let mut server = Commands::start(&script("stay", "half_close = \"reply\"", STAY, ""));
    let mut client = server.ask("stay", b"\n");
    client.shutdown(Shutdown::Write).expect("half closed");
    server.wait_for_lines("begun", 1);
    let pause = Duration::from_millis(50);
    assert!(
        is_silent_for(&mut client, pause).expect("no reset"),
        "it is still asked"
    );
    server.let_through(1);
    assert_eq!(read_all(&mut client), b"done\n");
    drop(client);
    server.wait_for_runs("stay", "answered", 1);
    server.at_rest();
}

#[test]
fn where_the_end_of_its_side_means_that_it_has_left_its_run_ends() {
    let keys = format!("{PATIENCE}half_close = \"cancel\"");
    let server = Commands::start(&script("stay", &keys, STAY, PATIENT));
    let client = server.ask("stay", b"\n");
    server.wait_for_lines("begun", 1);
    client.shutdown(Shutdown::Write).expect("half closed");
    server.wait_for_runs("stay", "cancelled", 1);
    server.wait_for_outcome("stay", "peer_closed", 1);
    drop(client);
    server.at_rest();
}

#[test]
fn a_run_that_fills_a_cache_goes_on_without_clients() {
    let options = "cache_seconds = 60";
    let mut server = Commands::start(&script("stay", "", COUNTED_AT_THE_GATE, options));
    let clients = [(); 3].map(|()| server.ask("stay", b"\n"));
    server.wait_for_cache("stay", "coalesced", 2);
    server.wait_for_lines("runs", 1);
    clients.into_iter().for_each(reset);
    server.wait_for_outcome("stay", "peer_closed", 3);
    server.wait_for_queue("stay", 1, 0);
    server.let_through(1);
    server.wait_for_runs("stay", "answered", 1);
    assert_eq!(server.exchange("stay", b"\n"), "1\n");
    server.wait_for_cache("stay", "hit", 1);
    assert_eq!(server.lines("runs"), 1);
    server.at_rest();
}

#[test]
fn who_leaves_before_its_run_has_begun_costs_none() {
    let options = "concurrency = 1";
    let mut server = Commands::start(&script("stay", "", COUNTED_AT_THE_GATE, options));
    let mut first = server.ask("stay", b"\n");
    server.wait_for_lines("runs", 1);
    let waiting = [(); 3].map(|()| server.ask("stay", b"\n"));
    server.wait_for_queue("stay", 1, 3);
    waiting.into_iter().for_each(reset);
    server.wait_for_queue("stay", 1, 0);
    server.wait_for_outcome("stay", "peer_closed", 3);
    server.let_through(2);
    assert_eq!(read_all(&mut first), b"1\n");
    drop(first);
    assert_eq!(server.exchange("stay", b"\n"), "2\n");
    server.at_rest();
}

#[test]
fn many_that_are_gone_at_once_leave_nothing() {
    const CLIENTS: u32 = 50;
    let options = format!("{PATIENT}concurrency = 50");
    let server = Commands::start(&script("stay", PATIENCE, STAY, &options));
    let clients: Vec<_> = (0..CLIENTS).map(|_| server.ask("stay", b"\n")).collect();
    server.wait_for_lines("begun", 50);
    clients.into_iter().for_each(reset);
    server.wait_for_runs("stay", "cancelled", CLIENTS);
    server.wait_for_outcome("stay", "peer_closed", CLIENTS);
    server.at_rest();
}
