//! What differs is told, in one line each.

use proptest::prelude::*;

use super::any::any_config;
use super::{SERVICE, valid};
use crate::config::diff::{Change, diff};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn nothing_differs_only_where_nothing_does(one in any_config(), other in any_config()) {
        prop_assert_eq!(diff(&one, &one), []);
        prop_assert_eq!(diff(&one, &other).is_empty(), one == other);
        for change in diff(&one, &other) {
            let line = change.to_string();
            prop_assert!(line.chars().count() < 300, "{line}");
            prop_assert!(!line.contains(char::is_control), "{line:?}");
        }
    }
}

/// Asserts what is told of two files.
#[track_caller]
fn check(old: &str, new: &str, expected: &[&str]) {
    let changes = diff(&valid(old), &valid(new));
    let lines: Vec<String> = changes.iter().map(Change::to_string).collect();
    assert_eq!(lines, expected);
}

fn named(name: &str, port: u16, rest: &str) -> String {
    let service = SERVICE.replace("\"a\"", &format!("\"{name}\""));
    format!("{}{rest}\n", service.replace("7000", &port.to_string()))
}

#[test]
fn a_change_is_one_line() {
    check(
        "[server]\ngrace_period_seconds = 10",
        "[server]\ngrace_period_seconds = 5\nuser = \"nobody\"",
        &[
            "server.grace_period_seconds = 10 -> 5",
            "server.user = \"\" -> \"nobody\"",
        ],
    );
    check(
        SERVICE,
        &SERVICE.replace(
            "reply.text = \"x\"",
            "reply.file = \"/x\\n\"\nallow = [\"10.0.0.0/8\", \"::1\"]",
        ),
        &[
            "a: allow = [] -> [\"10.0.0.0/8\", \"::1\"]",
            "a: reply.text = \"x\" -> unset",
            "a: reply.file = unset -> \"/x\\n\"",
        ],
    );
    check(
        &named(
            "a",
            1,
            "read = \"http\"\nreply.headers = { A = \"1\", B = \"2\" }",
        ),
        &named(
            "a",
            1,
            "read = \"http\"\nreply.headers = { B = \"2\", A = \"1\" }\nbusy.headers.\"a.b\" = \"1\"",
        ),
        &[
            "a: reply.headers = { A = \"1\", B = \"2\" } -> { B = \"2\", A = \"1\" }",
            "a: busy.headers.\"a.b\" = unset -> \"1\"",
        ],
    );
    check(
        SERVICE,
        &format!("{SERVICE}maintenance.file = \"/x\"\n"),
        &["a: maintenance = unset -> { file = \"/x\", text = \"maint\\n\" }"],
    );
    check(
        &named("a", 1, "read = \"line\""),
        &named("a", 1, "read = { bytes = 4 }"),
        &["a: read = \"line\" -> { bytes = 4 }"],
    );
}

#[test]
fn a_long_value_is_clipped() {
    let long = SERVICE.replace("\"x\"", &format!("\"{}\"", "y".repeat(10_000)));
    let changes = diff(&valid(SERVICE), &valid(&long));
    let expected = format!("a: reply.text = \"x\" -> \"{}…", "y".repeat(59));
    assert_eq!(changes[0].to_string(), expected);
}

#[test]
fn services_come_and_go_and_their_order_means_nothing() {
    let (one, two, three) = (
        named("one", 1, ""),
        named("two", 2, ""),
        named("three", 3, ""),
    );
    check(
        &format!("{one}{two}"),
        &format!("{three}{one}"),
        &["service `three` added", "service `two` removed"],
    );
    check(&format!("{one}{two}"), &format!("{two}{one}"), &[]);
}

#[test]
fn a_service_is_renamed_if_it_keeps_its_addresses() {
    check(
        &named("old", 1, ""),
        &named("new", 1, "backlog = 9"),
        &["service `old` renamed to `new`", "new: backlog = 4096 -> 9"],
    );
    check(
        &named("old", 1, ""),
        &named("new", 2, ""),
        &["service `new` added", "service `old` removed"],
    );
    // A name that stays is the same service, wherever it listens.
    check(
        &format!("{}{}", named("one", 1, ""), named("two", 2, "")),
        &format!("{}{}", named("one", 2, ""), named("two", 1, "")),
        &[
            "one: listen = \"127.0.0.1:1\" -> \"127.0.0.1:2\"",
            "two: listen = \"127.0.0.1:2\" -> \"127.0.0.1:1\"",
        ],
    );
    // Port 0 is no address that one could keep twice.
    check(
        &named("old", 0, ""),
        &format!("{}{}", named("new", 0, ""), named("other", 0, "")),
        &["service `old` renamed to `new`", "service `other` added"],
    );
}

#[test]
fn a_commands_tables_change_as_a_whole() {
    let command = |keys: &str| {
        let service = SERVICE.replace("reply.text = \"x\"\n", "");
        format!("{service}[service.reply.command]\nrun = [\"/bin/x\"]\n{keys}")
    };
    let old = "exit_status = { 0 = 200 }\nenvironment = { A = \"1\", B = \"2\" }\n";
    let new = "environment = { B = \"2\" }\nexit_status = { 0-255 = 200 }\nstdin = \"nothing\"\n";
    check(
        &command(old),
        &command(new),
        &[
            "a: reply.command.stdin = \"request\" -> \"nothing\"",
            "a: reply.command.exit_status = { 0 = 200 } -> { 0-255 = 200 }",
            "a: reply.command.environment = { A = \"1\", B = \"2\" } -> { B = \"2\" }",
        ],
    );
}
