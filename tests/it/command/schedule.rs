//! Answers by the clock.

use super::{COUNTED, COUNTED_AT_THE_GATE, Commands, script};
use crate::client::read_all;
use crate::harness::wait_until;

/// One run, at the start.
const ONCE: &str = "refresh_seconds = 3600\n";

/// A service that counts the time in runs: many of them are a while.
fn clock() -> String {
    script("clock", "", "echo tick >> ticks", "refresh_seconds = 0.1")
}

#[track_caller]
fn wait_for_ticks(server: &Commands, count: usize) {
    let until = server.lines("ticks") + count;
    wait_until("some time has passed", || server.lines("ticks") >= until);
}

#[test]
fn it_runs_at_the_start_and_on_schedule_without_clients() {
    let server = Commands::start(&script("scheduled", "", COUNTED, "refresh_seconds = 0.1"));
    wait_until("three runs", || server.lines("runs") >= 3);
    server.wait_for_outcome("scheduled", "replied", 0);
    wait_until("the answer of a later run", || {
        let said = server.exchange("scheduled", b"\n");
        said.trim().parse::<u32>().expect("a number") >= 4
    });
}

#[test]
fn clients_only_ever_read_the_last_answer() {
    let server = Commands::start(&script("scheduled", "", COUNTED, ONCE));
    for _ in 0..30 {
        assert_eq!(server.exchange("scheduled", b"\n"), "1\n");
    }
    assert_eq!(server.lines("runs"), 1);
    server.wait_for_runs("scheduled", "answered", 1);
    server.at_rest();
}

#[test]
fn only_before_the_first_answer_they_wait_for_it() {
    let mut server = Commands::start(&script("scheduled", "", COUNTED_AT_THE_GATE, ONCE));
    let mut clients = [(); 5].map(|()| server.ask("scheduled", b"\n"));
    let labels = [("service", "scheduled"), ("for", "reply")];
    server.wait_for("replyd_connections_waiting", &labels, 5);
    server.let_through(1);
    for client in &mut clients {
        assert_eq!(read_all(client), b"1\n");
    }
    drop(clients);
    assert_eq!(server.lines("runs"), 1);
    server.at_rest();
}

#[test]
fn it_is_asked_nothing() {
    let text = "cat > asked; echo run >> asked; cat asked";
    let server = Commands::start(&script("scheduled", "read = \"line\"", text, ONCE));
    assert_eq!(server.exchange("scheduled", b"you\n"), "run\n");
    server.at_rest();
}

#[test]
fn two_runs_are_never_at_once() {
    let options = "refresh_seconds = 0.1";
    let slow = script("slow", "", COUNTED_AT_THE_GATE, options);
    let mut server = Commands::start(&(slow + &clock()));
    server.wait_for_lines("runs", 1);
    wait_for_ticks(&server, 5);
    assert_eq!(server.lines("runs"), 1);
    server.let_through(1);
    // What was missed is not made up for.
    server.wait_for_lines("runs", 2);
    wait_for_ticks(&server, 5);
    assert_eq!(server.lines("runs"), 2);
    assert_eq!(
        server.exchange("slow", b"\n"),
        "1\n",
        "the last one that has ended"
    );
}

#[test]
fn a_failure_is_what_they_get_until_the_next_answer() {
    let text = "echo run >> runs; [ -e up ] || exit 2; echo up";
    let server = Commands::start(&script("scheduled", "", text, "refresh_seconds = 0.1"));
    let up = server.path().join("up");
    for _ in 0..2 {
        wait_until("it fails", || {
            server.exchange("scheduled", b"\n") == "failed\n"
        });
        std::fs::write(&up, "").expect("written");
        wait_until("it is up", || server.exchange("scheduled", b"\n") == "up\n");
        std::fs::remove_file(&up).expect("removed");
    }
    wait_until("the last answer does not outlive it", || {
        server.exchange("scheduled", b"\n") == "failed\n"
    });
}

#[test]
fn one_that_hangs_is_killed_and_tried_again() {
    let text = "echo run >> runs; trap '' TERM; while :; do sleep 1; done";
    let options = "refresh_seconds = 0.2\ntimeout_seconds = 0.1\nkill_after_seconds = 0.05";
    let server = Commands::start(&script("scheduled", "", text, options));
    wait_until("three runs", || server.lines("runs") >= 3);
    assert_eq!(server.exchange("scheduled", b"\n"), "timed out\n");
}

#[test]
fn a_reload_that_changes_nothing_goes_on_and_one_that_removes_it_ends_it() {
    let scheduled = script("scheduled", "", COUNTED, "refresh_seconds = 0.1");
    let mut server = Commands::start(&(scheduled.clone() + &clock()));
    wait_until("it runs", || server.lines("runs") >= 2);
    server.reload(&(scheduled + &clock()));
    let before = server.lines("runs");
    wait_until("it goes on", || server.lines("runs") >= before + 3);
    server.reload(&clock());
    // One may have been under way.
    wait_for_ticks(&server, 3);
    let before = server.lines("runs");
    wait_for_ticks(&server, 5);
    assert_eq!(server.lines("runs"), before);
}
