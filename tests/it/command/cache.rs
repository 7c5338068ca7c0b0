//! One run for many clients, and for how long.

use super::{COUNTED, COUNTED_AT_THE_GATE, Commands, script};
use crate::client::read_all;
use crate::harness::wait_until;

const LONG: &str = "cache_seconds = 60\n";

/// Fresh for no time that matters, then stale for as long as a test may take.
const STALE: &str = "cache_seconds = 0.05\nstale_seconds = 60\n";

/// The first says its number at once, the second waits at the gate and then does `second`.
fn second_at_the_gate(second: &str) -> String {
    format!(
        "echo run >> runs; n=$(wc -l < runs)\nif [ $n = 2 ]; then read _ < gate; {second}; fi; echo $n"
    )
}

/// Asks until the answer is stale and a second run is under way behind it.
#[track_caller]
fn begin_second_run(server: &Commands) {
    assert_eq!(server.exchange("cached", b"\n"), "1\n");
    wait_until("a second run", || {
        assert_eq!(
            server.exchange("cached", b"\n"),
            "1\n",
            "the old one until there is a new one"
        );
        server.lines("runs") == 2
    });
}

#[test]
fn one_run_answers_all_who_ask_meanwhile() {
    const CLIENTS: u32 = 50;
    let mut server = Commands::start(&script("cached", "", COUNTED_AT_THE_GATE, LONG));
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| server.ask("cached", b"\n")).collect();
    server.wait_for_cache("cached", "miss", 1);
    server.wait_for_cache("cached", "coalesced", CLIENTS - 1);
    server.let_through(1);
    for client in &mut clients {
        assert_eq!(read_all(client), b"1\n");
    }
    drop(clients);
    server.wait_for_runs("cached", "answered", 1);
    server.wait_for_outcome("cached", "replied", CLIENTS);
    assert_eq!(server.lines("runs"), 1);
    server.at_rest();
}

#[test]
fn it_answers_those_who_come_later_too() {
    let server = Commands::start(&script("cached", "", COUNTED, LONG));
    for _ in 0..20 {
        assert_eq!(server.exchange("cached", b"\n"), "1\n");
    }
    server.wait_for_cache("cached", "hit", 19);
    server.wait_for_cache("cached", "miss", 1);
    let age = server.metric("replyd_command_cache_age_seconds", &[("service", "cached")]);
    assert!((0.0..60.0).contains(&age), "{age}");
    server.at_rest();
}

#[test]
fn without_a_cache_every_request_has_a_run_of_its_own() {
    const CLIENTS: usize = 4;
    let mut server = Commands::start(&script("each", "", COUNTED_AT_THE_GATE, ""));
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| server.ask("each", b"\n")).collect();
    server.wait_for_lines("runs", CLIENTS);
    server.let_through(CLIENTS);
    for client in &mut clients {
        read_all(client);
    }
    drop(clients);
    server.wait_for_runs("each", "answered", 4);
    server.at_rest();
}

/// From the end of a run: one that takes longer than its answer is good for still answers.
#[test]
fn an_answer_is_gone_when_its_time_is_over() {
    let server = Commands::start(&script("cached", "", COUNTED, "cache_seconds = 0.2"));
    assert_eq!(server.exchange("cached", b"\n"), "1\n");
    for number in 2..=3 {
        let expected = format!("{number}\n");
        let before = format!("{}\n", number - 1);
        wait_until("a new run", || {
            let said = server.exchange("cached", b"\n");
            assert!(said == expected || said == before, "{said}");
            said == expected
        });
    }
    server.at_rest();
}

#[test]
fn a_stale_answer_is_given_while_one_run_is_under_way_behind_it() {
    let mut server = Commands::start(&script("cached", "", &second_at_the_gate(":"), STALE));
    begin_second_run(&server);
    for _ in 0..50 {
        assert_eq!(server.exchange("cached", b"\n"), "1\n");
    }
    assert_eq!(server.lines("runs"), 2, "one at a time");
    let labels = [("service", "cached"), ("result", "stale")];
    assert!(server.metric("replyd_command_cache_total", &labels) >= 51.0);
    server.let_through(1);
    wait_until("the new answer", || {
        server.exchange("cached", b"\n") != "1\n"
    });
    server.wait_until_gone();
}

#[test]
fn a_run_that_fails_takes_the_stale_answer_away() {
    let options = format!("{STALE}failure_cache_seconds = 60");
    let mut server = Commands::start(&script(
        "cached",
        "",
        &second_at_the_gate("exit 2"),
        &options,
    ));
    begin_second_run(&server);
    server.let_through(1);
    server.wait_for_runs("cached", "failed", 1);
    for _ in 0..10 {
        assert_eq!(server.exchange("cached", b"\n"), "failed\n");
    }
    assert_eq!(server.lines("runs"), 2);
    server.at_rest();
}

#[test]
fn without_a_failure_cache_the_next_one_who_asks_has_it_run_again() {
    let mut server = Commands::start(&script("cached", "", &second_at_the_gate("exit 2"), STALE));
    begin_second_run(&server);
    server.let_through(1);
    server.wait_for_runs("cached", "failed", 1);
    assert_eq!(server.exchange("cached", b"\n"), "3\n", "not the stale one");
    server.at_rest();
}

#[test]
fn a_run_that_takes_too_long_takes_the_stale_answer_away() {
    let options = format!("{STALE}timeout_seconds = 2\nfailure_cache_seconds = 60");
    let server = Commands::start(&script("cached", "", &second_at_the_gate(":"), &options));
    begin_second_run(&server);
    server.wait_for_runs("cached", "timed_out", 1);
    assert_eq!(server.exchange("cached", b"\n"), "timed out\n");
    server.at_rest();
}

#[test]
fn an_answer_that_says_no_replaces_the_one_before_it_at_once() {
    let second = second_at_the_gate("echo down; exit 1");
    let mut server = Commands::start(&script("cached", "", &second, STALE));
    begin_second_run(&server);
    server.let_through(1);
    server.wait_for_runs("cached", "answered", 2);
    assert_eq!(server.exchange("cached", b"\n"), "down\n");
    server.wait_until_gone();
}

#[test]
fn the_exit_code_is_cached_with_the_output() {
    let options = format!("{LONG}output = \"body\"");
    let text = "echo run >> runs; echo down; exit 1";
    let server = Commands::start(&script("cached", "read = \"http\"", text, &options));
    for method in ["GET", "GET", "HEAD", "GET"] {
        let (status, _, body) = server.http("cached", method);
        let expected = if method == "HEAD" { "" } else { "down\n" };
        assert_eq!((status, body.as_str()), (503, expected));
    }
    assert_eq!(server.lines("runs"), 1);
    server.at_rest();
}

#[test]
fn a_failure_is_not_kept_unless_it_is_asked_for() {
    let text = "echo run >> runs; exit 2";
    let toml = [
        script(
            "kept",
            "",
            "echo run >> kept; exit 2",
            &format!("{LONG}failure_cache_seconds = 60"),
        ),
        script("cached", "", text, LONG),
    ];
    let server = Commands::start(&toml.concat());
    for _ in 0..5 {
        assert_eq!(server.exchange("cached", b"\n"), "failed\n");
        assert_eq!(server.exchange("kept", b"\n"), "failed\n");
    }
    assert_eq!((server.lines("runs"), server.lines("kept")), (5, 1));
    server.wait_for_outcome("cached", "failed", 5);
    server.wait_for_outcome("kept", "failed", 5);
    server.at_rest();
}

#[test]
fn a_failure_that_is_kept_is_gone_when_its_time_is_over() {
    let options = format!("{LONG}failure_cache_seconds = 0.1");
    let text = "echo run >> runs; [ $(wc -l < runs) = 2 ] || exit 2; echo up";
    let server = Commands::start(&script("cached", "", text, &options));
    assert_eq!(server.exchange("cached", b"\n"), "failed\n");
    wait_until("it is up", || server.exchange("cached", b"\n") == "up\n");
    assert_eq!(server.lines("runs"), 2);
    server.at_rest();
}

#[test]
fn all_who_wait_for_a_run_that_fails_have_their_answer() {
    let text = "read _ < gate; exit 2";
    let mut server = Commands::start(&script("cached", "", text, LONG));
    let mut clients = [(); 10].map(|()| server.ask("cached", b"\n"));
    server.wait_for_cache("cached", "coalesced", 9);
    server.let_through(1);
    for client in &mut clients {
        assert_eq!(read_all(client), b"failed\n");
    }
    drop(clients);
    server.wait_for_runs("cached", "failed", 1);
    server.wait_for_outcome("cached", "failed", 10);
    server.at_rest();
}
