//! Stdin, stdout, stderr: what goes through them, how much, and who closes them when.

use super::*;
use crate::command::children::Failure;
use crate::command::children::run::STDERR_TAIL_BYTES_MAX;

/// More than any pipe holds.
const LARGE: usize = 1 << 20;

#[test]
fn the_request_is_what_can_be_read() {
    let mut owner = Owner::new();
    let bytes = b"; $(touch x) \0 -rf\r\n\xff";
    let id = owner.try_start(program(&["/bin/cat"]), request(bytes));
    assert_eq!(owner.ended(id.expect("started")).stdout, bytes);
}

#[test]
fn no_request_is_an_end_at_once() {
    let mut owner = Owner::new();
    let said = owner.said(script("cat; readlink /proc/self/fd/0"), request(b""));
    assert_eq!(said, "/dev/null\n");
}

#[test]
fn a_request_larger_than_a_pipe_is_written_as_it_is_read() {
    let mut owner = Owner::new();
    let bytes: Vec<u8> = (0..=250).cycle().take(LARGE).collect();
    let mut process = program(&["/bin/cat"]);
    process.max_output_bytes = LARGE;
    let id = owner.try_start(process, request(&bytes)).expect("started");
    assert!(owner.ended(id).stdout == bytes, "it is the same");
}

#[test]
fn a_request_need_not_be_read() {
    let mut owner = Owner::new();
    for text in [
        "echo hi",
        "exec <&-; echo hi",
        "head -c 100000 >/dev/null; echo hi",
    ] {
        let said = owner.said(script(text), request(&vec![b'x'; LARGE]));
        assert_eq!(said, "hi\n", "{text}");
    }
}

#[test]
fn all_output_that_is_allowed_is_taken_and_not_a_byte_more() {
    let mut owner = Owner::new();
    for bytes in [0, 10, 100_000] {
        let writing = |count: usize| {
            let mut process = script(&format!("head -c {count} /dev/zero"));
            process.max_output_bytes = bytes;
            process
        };
        let id = owner.start(writing(bytes));
        assert_eq!(owner.ended(id).stdout.len(), bytes);
        let id = owner.start(writing(bytes + 1));
        assert_eq!(owner.failed(id).failure, Failure::TooLarge);
    }
}

#[test]
fn a_flood_of_output_ends_the_run_at_once() {
    let mut owner = Owner::new();
    let id = owner.start(script("echo err >&2; yes"));
    let failed = owner.failed(id);
    assert_eq!(failed.failure, Failure::TooLarge);
    assert_eq!(failed.stderr, b"err\n");
}

#[test]
fn what_is_written_after_the_end_is_not_output() {
    let mut owner = Owner::new();
    // It goes on to fill the pipe for as long as it lives.
    let mut process = script("yes & head -c 1 /dev/zero; exit 3");
    process.max_output_bytes = usize::MAX;
    let id = owner.start(process);
    assert_eq!(owner.ended(id).end, End::Exited(3));
}

#[test]
fn of_errors_the_last_are_kept() {
    let mut owner = Owner::new();
    let id = owner.start(script("seq 100000 >&2; printf '%s' end >&2"));
    let stderr = owner.ended(id).stderr;
    assert_eq!(stderr.len(), STDERR_TAIL_BYTES_MAX);
    assert!(stderr.ends_with(b"99999\n100000\nend"), "in their order");
}

#[test]
fn a_closed_output_does_not_end_a_run_and_wakes_nobody() {
    let mut owner = Owner::new();
    let id = owner.start(script("exec >&- 2>&-; sleep 1000"));
    owner.turn_until_asleep();
    assert!(owner.events.is_empty(), "{:?}", owner.events);
    owner.children.stop(id, Instant::now());
    owner.take(id);
}

#[test]
fn a_pipe_that_somebody_else_holds_keeps_nobody_waiting() {
    let mut owner = Owner::new();
    let said = owner.said(script("setsid sleep 1000 & echo hi"), Input::default());
    assert_eq!(said, "hi\n");
}

#[test]
fn output_that_nobody_wants_is_not_read() {
    let mut owner = Owner::new();
    let mut process = script("trap '' TERM; echo out; yes");
    (process.max_output_bytes, process.kill_after) = (0, NEVER);
    let id = owner.start(process);
    owner.turn_until(|events| matches!(events, [Event::Failed(..)]));
    owner.turn_until_asleep();
    owner.children.runs.get_mut(&id).expect("it runs").kill();
    assert_eq!(owner.failed(id).failure, Failure::TooLarge);
}
