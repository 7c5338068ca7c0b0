//! What becomes of output, exit code and stderr.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use rustix::process::Signal;

use super::{COUNTED, Commands, program, script};
use crate::client::header;

const HTTP: &str = "read = \"http\"";

/// Exits with the code that is asked for.
const EXIT: &str = "read code; echo said $code; exit $code";

#[track_caller]
fn check_last_exit(server: &Commands, service: &str, expected: i32) {
    let found = server.metric("replyd_command_last_exit_status", &[("service", service)]);
    assert!(
        (found - f64::from(expected)).abs() < f64::EPSILON,
        "{found}, not {expected}"
    );
}

#[test]
fn what_is_on_stdout_is_the_reply() {
    let toml = [
        script("text", "", "echo hello", ""),
        script("none", "", "exit 0", ""),
        script("bytes", "read = \"eof\"", "cat all", ""),
        script("late", "", "printf one; printf two; exec >&-; exit 0", ""),
    ];
    let server = Commands::start(&toml.concat());
    let all: Vec<u8> = (0..=255).cycle().take(65536).collect();
    std::fs::write(server.path().join("all"), &all).expect("written");
    assert_eq!(server.exchange("text", b"\n"), "hello\n");
    assert_eq!(server.exchange("none", b"\n"), "");
    assert!(
        server.exchange_half_closed("bytes", b"") == super::shown(&all),
        "65536 of them"
    );
    assert_eq!(server.exchange("late", b"\n"), "onetwo");
    for service in ["text", "none", "bytes", "late"] {
        server.wait_for_outcome(service, "replied", 1);
        server.wait_for_runs(service, "answered", 1);
    }
    server.at_rest();
}

#[test]
fn exit_codes_that_are_named_are_answers_and_others_are_failures() {
    let other = "exit_status = { 0 = 200, 7 = 200, 255 = 200 }";
    let toml = [
        script("default", "", EXIT, ""),
        script("other", "", EXIT, other),
    ];
    let server = Commands::start(&toml.concat());
    check_last_exit(&server, "default", -1);
    for (service, code, is_answer) in [
        ("default", 0, true),
        ("default", 1, true),
        ("default", 2, false),
        ("default", 127, false),
        ("other", 0, true),
        ("other", 7, true),
        ("other", 255, true),
        ("other", 1, false),
    ] {
        let expected = if is_answer {
            format!("said {code}\n")
        } else {
            "failed\n".to_owned()
        };
        let said = server.exchange(service, format!("{code}\n").as_bytes());
        assert_eq!(said, expected, "{service} {code}");
        check_last_exit(&server, service, code);
    }
    server.wait_for_runs("default", "answered", 2);
    server.wait_for_runs("default", "failed", 2);
    server.wait_for_outcome("default", "replied", 2);
    server.wait_for_outcome("default", "failed", 2);
    server.wait_for_runs("other", "answered", 3);
    server.at_rest();
}

#[test]
fn one_that_is_killed_has_failed_whatever_it_said() {
    let options = "exit_status = { 0 = 200, 9 = 200, 137 = 200 }";
    let server = Commands::start(&script("killed", "", "echo said; kill -KILL $$", options));
    assert_eq!(server.exchange("killed", b"\n"), "failed\n");
    server.wait_for_runs("killed", "failed", 1);
    server.wait_for_outcome("killed", "failed", 1);
    check_last_exit(&server, "killed", 128 + 9);
    server.at_rest();
}

#[test]
fn raw_output_is_the_whole_http_reply() {
    let reply = "HTTP/1.1 418 I am one\\r\\nContent-Length: 2\\r\\n\\r\\nhi";
    let server = Commands::start(&script(
        "raw",
        HTTP,
        &format!("printf '{reply}'; exit 1"),
        "",
    ));
    for method in ["GET", "HEAD"] {
        let request = format!("{method} / HTTP/1.1\r\nHost: test\r\n\r\n");
        let said = server.exchange("raw", request.as_bytes());
        assert_eq!(said, "HTTP/1.1 418 I am one\r\nContent-Length: 2\r\n\r\nhi");
    }
    server.wait_for_outcome("raw", "replied", 2);
    server.at_rest();
}

#[test]
fn output_as_a_body_gets_its_head_from_the_exit_code() {
    let code = "cat > asked; echo out; exit $(cat code)";
    let keys =
        "read = \"http\"\nreply.headers = { X-Check = \"1\" }\nreply.content_type = \"text/html\"";
    let options = "output = \"body\"\nexit_status = { 0 = 200, 1 = 503, 3 = 404 }";
    let server = Commands::start(&script("check", keys, code, options));
    for (code, status, body) in [
        ("0", 200, "out\n"),
        ("1", 503, "out\n"),
        ("3", 404, "out\n"),
        ("2", 500, "failed\n"),
    ] {
        std::fs::write(server.path().join("code"), code).expect("written");
        let (found, head, said) = server.http("check", "GET");
        assert_eq!((found, said.as_str()), (status, body), "exit code {code}");
        assert_eq!(header(&head, "Connection"), Some("close"));
        assert!(header(&head, "Date").is_some() && header(&head, "Content-Length").is_some());
        if code != "2" {
            assert_eq!(header(&head, "X-Check"), Some("1"));
            assert_eq!(header(&head, "Content-Type"), Some("text/html"));
        }
    }
    std::fs::write(server.path().join("code"), "1").expect("written");
    let (status, head, body) = server.http("check", "HEAD");
    assert_eq!((status, body.as_str()), (503, ""));
    assert_eq!(header(&head, "Content-Length"), Some("4"));
    server.wait_for_outcome("check", "replied", 4);
    server.wait_for_outcome("check", "failed", 1);
    server.at_rest();
}

#[test]
fn a_body_may_be_empty() {
    let server = Commands::start(&script("check", HTTP, "exit 1", "output = \"body\""));
    let (status, head, body) = server.http("check", "GET");
    assert_eq!((status, body.as_str()), (503, ""));
    assert_eq!(header(&head, "Content-Length"), Some("0"));
    assert_eq!(
        header(&head, "Content-Type"),
        Some("text/plain; charset=utf-8")
    );
    server.at_rest();
}

#[test]
fn output_over_its_bound_ends_the_run_and_is_no_answer() {
    let cap = "max_output_bytes = 1000\ntimeout_seconds = 60\n";
    let keys = "reply_timeout_seconds = 90";
    let toml = [
        script("fits", keys, "head -c 1000 /dev/zero", cap),
        script("over", keys, "head -c 1001 /dev/zero; exec sleep 60", cap),
        script("flood", keys, "trap '' PIPE; yes", cap),
    ];
    let server = Commands::start(&toml.concat());
    assert_eq!(server.exchange("fits", b"\n"), "\0".repeat(1000));
    for service in ["over", "flood"] {
        // Long before its timeout, or this client would have given up.
        assert_eq!(server.exchange(service, b"\n"), "failed\n");
        server.wait_for_runs(service, "too_large", 1);
        server.wait_for_outcome(service, "failed", 1);
    }
    server.wait_for_runs("fits", "answered", 1);
    server.at_rest();
}

#[test]
fn one_that_cannot_be_started_has_failed_and_may_be_mended() {
    let server = Commands::start(&program("check", "", "run = [\"@folder@/check\"]"));
    let path = server.path().join("check");
    let write = |text: &str, mode| {
        std::fs::write(&path, text).expect("written");
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).expect("changed");
    };
    assert_eq!(
        server.exchange("check", b"\n"),
        "failed\n",
        "it isn't there"
    );
    write("#!/bin/sh\necho up\n", 0o600);
    assert_eq!(
        server.exchange("check", b"\n"),
        "failed\n",
        "it isn't executable"
    );
    write("#!/nowhere/sh\necho up\n", 0o700);
    assert_eq!(
        server.exchange("check", b"\n"),
        "failed\n",
        "its interpreter isn't there"
    );
    write("echo up\n", 0o700);
    assert_eq!(
        server.exchange("check", b"\n"),
        "failed\n",
        "no shell guesses what it is"
    );
    server.wait_for_runs("check", "not_started", 4);
    server.wait_for_outcome("check", "failed", 4);
    write("#!/bin/sh\necho up\n", 0o700);
    assert_eq!(server.exchange("check", b"\n"), "up\n");
    server.wait_for_runs("check", "answered", 1);
    server.at_rest();
}

/// Both in the reply and in the log, nobody is shown what isn't meant for them.
#[test]
fn stderr_is_for_the_log_and_only_if_it_fails() {
    let toml = [
        script("good", "", "echo secret-of-good >&2; echo fine", ""),
        script(
            "bad",
            "",
            "echo half an answer; echo secret-of-bad >&2; exit 2",
            "",
        ),
    ];
    let mut server = Commands::start(&toml.concat());
    assert_eq!(server.exchange("good", b"\n"), "fine\n");
    assert_eq!(server.exchange("bad", b"\n"), "failed\n");
    let line = server.line("secret-of-bad");
    assert!(
        line.contains("bad") && line.contains("exit"),
        "which, and how it ended: {line}"
    );
    server.at_rest();
    server.signal(Signal::TERM);
    let (code, said) = server.end();
    assert_eq!(code, Some(0));
    assert!(!said.contains("secret-of-good"), "{said}");
}

#[test]
fn the_log_has_the_end_of_stderr_as_one_line() {
    let forging =
        "printf 'BEGIN%020000dEND\\n2026-11-22T00:00:00Z ERROR forged\\n\\033[1m' 0 >&2; exit 2";
    let mut server = Commands::start(&script("bad", "", forging, ""));
    server.exchange("bad", b"\n");
    let line = server.line("END");
    assert!(!line.contains("BEGIN"), "its last 4 KiB: {line}");
    assert!(
        line.len() > 4000 && line.len() < 6000,
        "{} bytes",
        line.len()
    );
    assert!(line.contains("ERROR forged"), "on the same line: {line}");
    assert!(!line.contains('\u{1b}'), "{line:?}");
}

#[test]
fn a_command_that_fails_all_the_time_is_one_line_a_minute() {
    let bad = script("bad", "", "echo why-it-failed >&2; exit 2", "");
    let other = script("other", "", "echo another-reason >&2; exit 2", "");
    let mut server = Commands::start(&(bad + &other));
    for _ in 0..10 {
        assert_eq!(server.exchange("bad", b"\n"), "failed\n");
    }
    assert_eq!(server.exchange("other", b"\n"), "failed\n");
    server.wait_for_runs("bad", "failed", 10);
    server.wait_for_runs("other", "failed", 1);
    server.signal(Signal::TERM);
    let (_, said) = server.end();
    let count = |text: &str| said.lines().filter(|line| line.contains(text)).count();
    assert_eq!(count("why-it-failed"), 1, "{said}");
    assert_eq!(count("another-reason"), 1, "a service of its own: {said}");
}

#[test]
fn much_on_stderr_holds_up_nothing() {
    let loud = "head -c 3000000 /dev/zero >&2; echo done";
    let server = Commands::start(&script("loud", "", loud, ""));
    assert_eq!(server.exchange("loud", b"\n"), "done\n");
    server.at_rest();
}

#[test]
fn every_run_is_timed() {
    let server = Commands::start(&script("counted", "", COUNTED, ""));
    for number in 1..=3 {
        assert_eq!(server.exchange("counted", b"\n"), format!("{number}\n"));
    }
    server.wait_for(
        "replyd_command_duration_seconds_count",
        &[("service", "counted")],
        3,
    );
    server.wait_for_queue("counted", 0, 0);
    server.at_rest();
}
