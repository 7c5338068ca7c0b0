//! Reloads and stops while commands run.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{COUNTED, Commands, script};
use crate::client::read_all;
use crate::harness::{service, wait_until};

/// Waits at the gate, then answers.
const OLD: &str = "echo begun >> begun; read _ < gate; echo old";

/// What a stop has to get rid of: neither it nor its child go when they are asked to.
const STUBBORN: &str = "trap '' TERM; sleep 60 & echo begun >> begun; while :; do sleep 1; done";

/// How a replyd with a running command ends, and that nothing of it is left.
#[track_caller]
fn check_end(mut server: Commands, expected: i32, within: Duration) {
    let began = Instant::now();
    let (code, said) = server.end();
    assert_eq!(code, Some(expected), "{said}");
    assert!(began.elapsed() < within, "{:?}: {said}", began.elapsed());
    server_is_gone(&server);
}

#[track_caller]
fn server_is_gone(server: &Commands) {
    let began = Instant::now();
    wait_until("nothing is left", || {
        super::left(&server.path(), None).is_empty()
    });
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn a_reload_lets_a_run_finish_and_the_new_command_answers() {
    let mut server = Commands::start(&script("one", "", OLD, ""));
    let mut waiting = server.ask("one", b"\n");
    server.wait_for_lines("begun", 1);
    server.reload(&script("one", "", "echo new", ""));
    assert_eq!(server.exchange("one", b"\n"), "new\n");
    server.let_through(1);
    assert_eq!(read_all(&mut waiting), b"old\n");
    drop(waiting);
    server.wait_for_outcome("one", "replied", 2);
    server.wait_for_runs("one", "answered", 2);
    server.at_rest();
}

#[test]
fn who_waits_for_a_place_at_a_reload_gets_it() {
    let mut server = Commands::start(&script("one", "", OLD, "concurrency = 1"));
    let mut clients = [(); 3].map(|()| server.ask("one", b"\n"));
    server.wait_for_queue("one", 1, 2);
    server.reload(&script("one", "", "echo new", "concurrency = 1"));
    server.let_through(3);
    for client in &mut clients {
        assert_eq!(read_all(client), b"old\n");
    }
    drop(clients);
    assert_eq!(server.exchange("one", b"\n"), "new\n");
    server.at_rest();
}

#[test]
fn a_service_that_is_removed_while_its_command_runs_still_answers() {
    let hello = service("hello", "reply.text = \"hi\\n\"");
    let mut server = Commands::start(&(hello.clone() + &script("one", "", OLD, "")));
    let mut waiting = server.ask("one", b"\n");
    server.wait_for_lines("begun", 1);
    server.reload(&hello);
    assert_eq!(server.exchange("hello", b"\n"), "hi\n");
    server.let_through(1);
    assert_eq!(read_all(&mut waiting), b"old\n");
    drop(waiting);
    server.wait_until_gone();
}

#[test]
fn an_answer_of_the_command_before_is_not_the_new_one_s() {
    let old = script(
        "one",
        "",
        "echo old",
        "cache_seconds = 3600\nstale_seconds = 3600",
    );
    let mut server = Commands::start(&old);
    assert_eq!(server.exchange("one", b"\n"), "old\n");
    server.reload(&old.replace("echo old", "echo new"));
    assert_eq!(server.exchange("one", b"\n"), "new\n");
    server.at_rest();
}

/// Neither is run again because something else is reloaded.
#[test]
fn answers_of_a_service_that_has_not_changed_stay() {
    let cached = script("cached", "", COUNTED, "cache_seconds = 3600");
    let scheduled = script(
        "scheduled",
        "",
        "echo run >> once; wc -l < once",
        "refresh_seconds = 3600",
    );
    let text = service("text", "reply.text = \"one\\n\"");
    let mut server = Commands::start(&[cached.clone(), scheduled.clone(), text.clone()].concat());
    for toml in [text.clone(), text.replace("one", "two")] {
        for service in ["cached", "scheduled"] {
            assert_eq!(server.exchange(service, b"\n"), "1\n");
        }
        server.reload(&[cached.clone(), scheduled.clone(), toml].concat());
    }
    for service in ["cached", "scheduled"] {
        assert_eq!(server.exchange(service, b"\n"), "1\n");
    }
    server.at_rest();
}

#[test]
fn a_command_replaces_a_text_and_a_text_a_command() {
    let text = service("one", "reply.text = \"text\\n\"");
    let command = script("one", "", COUNTED, "");
    let mut server = Commands::start(&text);
    for number in 1..=3 {
        server.reload(&command);
        assert_eq!(server.exchange("one", b"\n"), format!("{number}\n"));
        server.reload(&text);
        assert_eq!(server.exchange("one", b"\n"), "text\n");
    }
    server.at_rest();
}

#[test]
fn reloads_leave_nothing_behind() {
    let one = script("one", "", "echo one", "refresh_seconds = 0.1");
    let two = script(
        "one",
        "",
        "echo two",
        "cache_seconds = 0.01\nstale_seconds = 60",
    );
    let mut server = Commands::start(&one);
    let both = |server: &mut Commands| {
        for (toml, expected) in [(&two, "two\n"), (&one, "one\n")] {
            server.reload(toml);
            assert_eq!(server.exchange("one", b"\n"), expected);
        }
    };
    both(&mut server);
    let (threads, fds) = server.process().resources();
    for _ in 0..20 {
        both(&mut server);
    }
    wait_until("as many threads and descriptors as before", || {
        let now = server.process().resources();
        now.0 <= threads && now.1 <= fds
    });
}

#[test]
fn a_stop_waits_for_a_run_and_its_client() {
    let mut server = Commands::start(&script("one", "", OLD, ""));
    let mut waiting = server.ask("one", b"\n");
    server.wait_for_lines("begun", 1);
    server.signal(Signal::TERM);
    server.line("draining");
    server.let_through(1);
    assert_eq!(read_all(&mut waiting), b"old\n");
    drop(waiting);
    check_end(server, 0, Duration::from_secs(8));
}

#[test]
fn who_waits_for_a_place_is_answered_before_a_stop_too() {
    let mut server = Commands::start(&script("one", "", OLD, "concurrency = 1"));
    let mut clients = [(); 3].map(|()| server.ask("one", b"\n"));
    server.wait_for_queue("one", 1, 2);
    server.signal(Signal::TERM);
    server.line("draining");
    server.let_through(3);
    for client in &mut clients {
        assert_eq!(read_all(client), b"old\n");
    }
    drop(clients);
    check_end(server, 0, Duration::from_secs(8));
}

#[test]
fn a_stop_does_not_wait_for_what_no_client_waits_for() {
    let toml = [
        "[server]\ngrace_period_seconds = 3600\n".to_owned(),
        script("scheduled", "", OLD, "refresh_seconds = 60"),
        script("daemon", "", "setsid sleep 60 & echo answer", ""),
    ];
    let server = Commands::start(&toml.concat());
    server.wait_for_lines("begun", 1);
    assert_eq!(server.exchange("daemon", b"\n"), "answer\n");
    server.signal(Signal::TERM);
    check_end(server, 0, Duration::from_secs(8));
}

#[test]
fn what_still_runs_when_the_grace_period_is_over_is_killed() {
    let toml = script("one", "", STUBBORN, "kill_after_seconds = 0.5");
    let server = Commands::start(&format!("[server]\ngrace_period_seconds = 0.3\n{toml}"));
    let waiting = server.ask("one", b"\n");
    server.wait_for_lines("begun", 1);
    server.signal(Signal::TERM);
    check_end(server, 3, Duration::from_secs(8));
    drop(waiting);
}

/// Nor by what is in another session.
#[test]
fn a_stop_is_not_survived_by_what_has_left_its_command() {
    let text = format!("setsid sleep 60 & (setsid sleep 60 &); {STUBBORN}");
    let toml = script("one", "", &text, "kill_after_seconds = 0.5");
    let server = Commands::start(&format!("[server]\ngrace_period_seconds = 0.3\n{toml}"));
    let waiting = server.ask("one", b"\n");
    server.wait_for_lines("begun", 1);
    server.signal(Signal::TERM);
    check_end(server, 3, Duration::from_secs(8));
    drop(waiting);
}

#[test]
fn a_second_signal_leaves_no_process() {
    let toml = script(
        "one",
        "",
        STUBBORN,
        "kill_after_seconds = 30\nconcurrency = 20",
    );
    let mut server = Commands::start(&format!("[server]\ngrace_period_seconds = 3600\n{toml}"));
    let waiting = [(); 10].map(|()| server.ask("one", b"\n"));
    server.wait_for_lines("begun", 10);
    server.signal(Signal::TERM);
    server.line("draining");
    let mut process = server.process.take().expect("it runs");
    wait_until("the process has ended", || {
        process.signal_unless_ended(Signal::TERM)
    });
    assert_eq!(process.end().0, Some(143));
    server_is_gone(&server);
    drop(waiting);
}
