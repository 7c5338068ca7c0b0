//! The table `[service.reply.command]`: its values, and its rules.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{check, one, valid};
use crate::config::command::{CacheKey, Command, Output, Stdin};
use crate::config::reply::Body;

/// A service with a command, `keys` being of the service and `command` of its table.
fn service(keys: &str, command: &str) -> String {
    format!(
        "[[service]]\nname = \"a\"\nlisten = \"127.0.0.1:7000\"\n{keys}\n[service.reply.command]\n{command}\n"
    )
}

/// Of a service whose command is right but for `line`.
fn with(line: &str) -> String {
    service("", &format!("run = [\"/bin/x\"]\n{line}"))
}

#[track_caller]
fn command(text: &str) -> Command {
    match valid(text).services.remove(0).reply.body {
        Body::Command(command) => *command,
        other => panic!("{other:?}"),
    }
}

/// Asserts that a right command with `line` added has one fault.
#[track_caller]
fn wrong(line: &str, phrases: &[&str]) {
    one(&with(line), phrases);
}

/// Asserts what is said about a `run`.
#[track_caller]
fn run(run: &str, phrases: &[&str]) {
    one(&service("", &format!("run = {run}")), phrases);
}

#[test]
fn every_key_but_run_has_a_default() {
    let defaults = r#"
stdin = "request"
timeout_seconds = 10
kill_after_seconds = 1
max_output_bytes = 65536
concurrency = 4
max_waiting = 1024
cache_seconds = 0
stale_seconds = 0
refresh_seconds = 0
failure_cache_seconds = 0
cache_key = []
output = "raw"
exit_status = { 0 = 200, 1 = 503 }
environment = { PATH = "/usr/local/bin:/usr/bin:/bin" }
working_directory = "/"
user = ""
group = ""
"#;
    assert_eq!(command(&with("")), command(&with(defaults)));
    one(
        &service("", ""),
        &[
            "missing key `run`",
            "write run = [\"/usr/bin/date\", \"-u\"]",
        ],
    );
}

#[test]
fn each_key_is_read() {
    let text = service(
        "read = \"http\"\nreply_timeout_seconds = 60",
        r#"run = ["/bin/x", "-a", "--", "{{request}}"]
stdin = "nothing"
timeout_seconds = 45.5
kill_after_seconds = 0
max_output_bytes = 1
concurrency = 1024
max_waiting = 0
cache_seconds = 1
stale_seconds = 2
failure_cache_seconds = 3
cache_key = ["peer", "request"]
output = "body"
exit_status = { 0 = 204, 2-4 = 404, 255 = 500 }
environment = { "a.b" = "c=d", EMPTY = "" }
working_directory = "/srv"
user = "nobody"
group = "adm""#,
    );
    let command = command(&text);
    assert_eq!(command.request_argument(), Some(3));
    let (seconds, text) = (Duration::from_secs, str::to_owned);
    let expected = Command {
        run: ["/bin/x", "-a", "--", "{{request}}"].map(text).into(),
        stdin: Stdin::Nothing,
        timeout: Duration::from_millis(45_500),
        kill_after: Duration::ZERO,
        max_output_bytes: 1,
        concurrency: 1024,
        max_waiting: 0,
        cache: seconds(1),
        stale: seconds(2),
        refresh: Duration::ZERO,
        failure_cache: seconds(3),
        cache_key: CacheKey {
            request: true,
            peer: true,
        },
        output: Output::Body,
        exit_status: BTreeMap::from([(0, 204), (2, 404), (3, 404), (4, 404), (255, 500)]),
        environment: [("a.b", "c=d"), ("EMPTY", "")]
            .map(|(name, value)| (text(name), text(value)))
            .into(),
        working_directory: "/srv".into(),
        user: Some(text("nobody")),
        group: Some(text("adm")),
    };
    assert_eq!(command, expected);
}

#[test]
fn a_command_is_no_shell_line() {
    run(
        "\"/bin/x -a\"",
        &["expected a list, of a program and its arguments"],
    );
    run("[]", &["the list is empty"]);
    run("[\"\"]", &["a program without its absolute path"]);
    run(
        "[\"date\"]",
        &["no PATH is searched", "`command -v` tells it"],
    );
    run(
        "[\"bin/x -a\"]",
        &["each argument as an element of its own"],
    );
    run(
        "[\"/bin/x\", \"a\\u0000b\"]",
        &["no argument can hold a NUL"],
    );
    let many = format!("[\"/bin/x\"{}]", ", \"a\"".repeat(256));
    run(&many, &["the list is too long: at most 256"]);
    let long = format!("[\"/bin/x\", \"{}\"]", "x".repeat(131_072));
    run(&long, &["at most 131071 bytes in an argument"]);
    one(
        &service("", "").replace("[service.reply.command]", "reply.command = \"/bin/x\""),
        &["expected a table, such as { run ="],
    );
}

#[test]
fn a_request_is_one_whole_argument_and_never_an_option() {
    for argument in [
        "a{{ request }}",
        "{{ request }} ",
        "{{ peer }}",
        "{{",
        "{{request",
    ] {
        let text = format!("[\"/bin/x\", \"--\", \"{argument}\"]");
        run(
            &text,
            &["the only placeholder here is \"{{ request }}\", as one whole argument"],
        );
    }
    run(
        "[\"/bin/x\", \"{{ request }}\", \"--\"]",
        &[
            "a request where an option could be",
            "write \"--\" before it",
        ],
    );
    run("[\"{{ request }}\"]", &["without its absolute path"]);
    run(
        "[\"/bin/x\", \"--\", \"{{request}}\", \"{{ request }}\"]",
        &["the request as two arguments", "the first one"],
    );
    let line = "run = [\"/bin/x\", \"--\", \"a\", \"{{\\t request}}\"]";
    assert_eq!(command(&service("", line)).request_argument(), Some(3));
    valid(&service("max_request_bytes = 131071", line));
    one(
        &service("max_request_bytes = 131072", line),
        &[
            "a request that fits into no argument",
            "at most 131071",
            "the argument",
        ],
    );
}

#[test]
fn numbers_have_bounds() {
    wrong("max_output_bytes = 0", &["from 1 to 16777216"]);
    wrong("max_output_bytes = 16777217", &["from 1 to 16777216"]);
    wrong("concurrency = 0", &["from 1 to 1024"]);
    wrong("concurrency = 1025", &["from 1 to 1024"]);
    wrong("max_waiting = 1000001", &["from 0 to 1000000"]);
    wrong("max_waiting = -1", &["from 0 to 1000000"]);
    for key in [
        "timeout",
        "kill_after",
        "cache",
        "stale",
        "refresh",
        "failure_cache",
    ] {
        for value in ["nan", "inf", "-1", "\"5s\"", "1e10"] {
            wrong(
                &format!("{key}_seconds = {value}"),
                &["a number of seconds"],
            );
        }
    }
    wrong("timeout_seconds = 0", &["a number of seconds above 0"]);
    wrong("refresh_seconds = 0.09", &["0 (off), or 0.1 and more"]);
    valid(&with("refresh_seconds = 0.1"));
}

#[test]
fn words_are_those_there_are() {
    wrong(
        "stdin = \"eof\"",
        &["expected \"request\" or \"nothing\", found \"eof\""],
    );
    wrong("output = \"html\"", &["expected \"raw\" or \"body\""]);
    wrong(
        "cache_seconds = 1\ncache_key = [\"request\", \"adress\"]",
        &["expected \"request\" or \"peer\", found \"adress\""],
    );
    wrong(
        "timeout = 5",
        &[
            "unknown key `reply.command.timeout`",
            "did you mean `timeout_seconds`?",
        ],
    );
    one(
        &with("").replace("run =", "rnu ="),
        &["unknown key `reply.command.rnu`", "did you mean `run`?"],
    );
}

#[test]
fn exit_codes_are_bytes_and_have_statuses() {
    for key in ["256", "-1", "ok", "3-2", "1-", "0-256"] {
        let line = format!("exit_status = {{ {key} = 200 }}");
        wrong(
            &line,
            &["an exit code is 0 to 255, and several of them are a range"],
        );
    }
    for status in ["199", "600", "\"ok\""] {
        wrong(
            &format!("exit_status = {{ 0 = {status} }}"),
            &["from 200 to 599"],
        );
    }
    wrong("exit_status = {}", &["no exit code would be an answer"]);
    wrong(
        "exit_status = { 0-2 = 200, 1 = 503 }",
        &["exit code 1 is there twice"],
    );
    let every = command(&with("exit_status = { 0-255 = 200 }")).exit_status;
    assert!(every.len() == 256 && every.values().all(|status| *status == 200));
}

#[test]
fn a_variable_is_what_a_process_can_have() {
    for name in ["", "A=B", "A\\u0000"] {
        wrong(
            &format!("environment.\"{name}\" = \"x\""),
            &["has no `=` and no NUL"],
        );
    }
    wrong(
        "environment.A = \"\\u0000\"",
        &["no variable can hold a NUL"],
    );
    wrong(
        "environment.A = 5",
        &["wrong value for `reply.command.environment.A`"],
    );
    for name in [
        "PROTO",
        "REMOTE_ADDR",
        "REMOTE_HOST",
        "REMOTE_PORT",
        "TCPREMOTEIP",
        "TCPREMOTEPORT",
    ] {
        wrong(
            &format!("environment.{name} = \"x\""),
            &["replyd sets this variable itself"],
        );
    }
    let long = format!("environment.A = \"{}\"", "x".repeat(131_070));
    wrong(&long, &["at most 131071 bytes in a variable"]);
    let many: Vec<String> = (0..257).map(|i| format!("A{i} = \"\"")).collect();
    let many = format!("environment = {{ {} }}", many.join(", "));
    wrong(&many, &["at most 256 variables"]);
    wrong("working_directory = \"srv\"", &["a relative path"]);
    wrong("user = \"a:b\"", &["has no `:`"]);
    wrong("group = \"adm\"", &["`group` without `user`"]);
}

#[test]
fn a_command_has_its_say_before_the_reply_times_out() {
    check(
        &service("reply_timeout_seconds = 10", "run = [\"/bin/x\"]"),
        "\
error: a command's timeout that is not below its reply's
 --> server.toml:4:25
  |
4 | reply_timeout_seconds = 10
  |                         ^^ the command's `timeout_seconds` is 10
  |
  = help: the reply's ends first, and the command's never would: lower `timeout_seconds`, or raise
          `reply_timeout_seconds`

error: 1 fault in server.toml
",
    );
    wrong(
        "timeout_seconds = 30",
        &["7 | timeout_seconds = 30", "`reply_timeout_seconds` is 30"],
    );
    valid(&with("timeout_seconds = 29.9"));
}

#[test]
fn keys_of_a_cache_need_one() {
    for line in [
        "stale_seconds = 1",
        "failure_cache_seconds = 1",
        "cache_key = [\"peer\"]",
    ] {
        wrong(line, &["without `cache_seconds`", "nothing is kept"]);
        valid(&with(&format!("cache_seconds = 1\n{line}")));
        let both = format!("refresh_seconds = 1\n{line}");
        wrong(&both, &["beside `refresh_seconds`", "the schedule"]);
    }
    wrong(
        "refresh_seconds = 1\ncache_seconds = 1",
        &["`cache_seconds` beside `refresh_seconds`"],
    );
    let asked =
        with("refresh_seconds = 1").replace("\"/bin/x\"", "\"/bin/x\", \"--\", \"{{ request }}\"");
    one(&asked, &["a request for runs that no request asks for"]);
    wrong(
        "cache_seconds = nan\nstale_seconds = 1",
        &["`reply.command.cache_seconds`"],
    );
}

#[test]
fn a_head_is_made_once() {
    let of = |output: &str, keys: &str| {
        service(
            &format!("read = \"http\"\n{keys}"),
            &format!("run = [\"/bin/x\"]\n{output}"),
        )
    };
    for line in [
        "reply.status = 200",
        "reply.headers = {}",
        "reply.content_type = \"text/html\"",
    ] {
        let phrases = [
            "of a reply that the command writes itself",
            "set output = \"body\"",
        ];
        one(&of("", line), &phrases);
        one(&of("output = \"raw\"", line), &phrases);
    }
    valid(&of(
        "output = \"body\"",
        "reply.headers.A = \"b\"\nreply.content_type = \"text/html\"",
    ));
    one(
        &of("output = \"body\"", "reply.status = 200"),
        &["`reply.status` of a command", "`exit_status`"],
    );
    wrong(
        "output = \"body\"",
        &["output = \"body\" without read = \"http\""],
    );
    one(
        &service("reply.text = \"x\"", "run = [\"/bin/x\"]"),
        &["a reply with two contents"],
    );
}
