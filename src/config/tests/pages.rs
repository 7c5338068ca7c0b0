//! What a page of errors looks like, and what is on it.

use super::{SERVICE, address, check, faults, in_service, one};
use crate::config::document::{Place, Position};
use crate::config::fault::Faults;
use crate::config::load::parse;
use crate::config::types::Service;

#[test]
fn an_unknown_key_is_shown_with_the_nearest_one() {
    check(
        "[workers]\nthreds = 4\n",
        "\
error: unknown key `workers.threds`
 --> server.toml:2:1
  |
2 | threds = 4
  | ^^^^^^
  |
  = help: did you mean `threads`?

error: 1 fault in server.toml
",
    );
}

#[test]
fn an_unknown_key_without_a_near_one_lists_all() {
    let text = format!("{SERVICE}zzz = 1\n");
    let help = "\
  = help: allowed here: name, listen, backlog, read, max_request_bytes, max_head_bytes,
          request_timeout_seconds, reply_timeout_seconds, min_bytes_per_second, half_close,";
    one(&text, &["unknown key `zzz`", help]);
    one(
        "a = 1",
        &[
            "unknown key `a`",
            "allowed here: include, server, workers, queue, admin",
        ],
    );
}

#[test]
fn a_missing_unit_is_told() {
    one(
        "[server]\ngrace_period = 1",
        &["did you mean `grace_period_seconds`?"],
    );
}

#[test]
fn a_wrong_value_is_shown_with_what_is_right() {
    check(
        "[queue]\nmax_wait_seconds = \"5s\"\n",
        "\
error: wrong value for `queue.max_wait_seconds`
 --> server.toml:2:20
  |
2 | max_wait_seconds = \"5s\"
  |                    ^^^^ expected a number of seconds above 0, such as 5 or 0.5, at most 1e9, found \"5s\"

error: 1 fault in server.toml
",
    );
}

#[test]
fn two_services_of_one_name_are_both_shown() {
    let second = SERVICE.replace("7000", "7001");
    check(
        &format!("{SERVICE}{second}"),
        "\
error: two services named `a`
 --> server.toml:6:8
  |
2 | name = \"a\"
  |        --- the first one
...
6 | name = \"a\"
  |        ^^^ the second one
  |
  = help: a name stands for one service in every metric and log line

error: 1 fault in server.toml
",
    );
}

#[test]
fn every_fault_is_told_in_one_go() {
    let text = "\
queue = 5
[workers]
threads = -1
[log]
level = \"loud\"
[admin]
allow = [\"10.1.2.3/8\", 7, \"host\"]
[[service]]
nmae = \"a\"
name = \"A\"
listen = [\"127.0.0.1:7000\", \":7001\", \"localhost:5\"]
backlog = 0
reply.text = \"x\"
reply.file = \"y\"
reply.txet = \"z\"
[[service]]
read = { delimiter = \"\" }
";
    let faults = faults(text);
    let lines: Vec<usize> = faults
        .as_slice()
        .iter()
        .map(|fault| fault.spot.as_ref().unwrap().span.start)
        .map(|start| text[..start].lines().count().max(1))
        .collect();
    let page = faults.render(false);
    assert_eq!(faults.as_slice().len(), 17, "\n{page}");
    assert!(lines.is_sorted(), "in the order of reading: {lines:?}");
    assert!(page.ends_with("error: 17 faults in server.toml\n"));
}

#[test]
fn a_fault_does_not_bring_others_along() {
    // An emptied list, table or choice is not told of, nor a rule about a key that can't be read.
    in_service(
        "reply.headers = { Date = \"x\" }\nread = \"http\"",
        &["computes"],
    );
    in_service("read = \"htp\"\nreply.status = 200", &["no such way"]);
    in_service("read = { bytes = 0 }", &["wrong value for `read.bytes`"]);
    in_service("busy = 5", &["expected a table, such as { text"]);
    address("nowhere", &["wrong value for `listen`"]);
    one(
        "[admin]\nlisten = 5\n[[service]]\nname = \"a\"\nlisten = \"127.0.0.1:7150\"\nreply.text = \"x\"",
        &["`admin.listen`"],
    );
    one("service = [5]", &["expected a table, found a plain value"]);
}

#[test]
fn tables_must_be_tables() {
    one(
        "queue = 5",
        &[
            "wrong value for `queue`",
            "expected a table, found a plain value",
        ],
    );
    one("[[log]]", &["wrong value for `log`", "found a list"]);
    one("[service]", &["write [[service]]"]);
}

#[test]
fn what_has_no_default_is_required() {
    let text = "[[service]]\n";
    let page = faults(text).render(false);
    for key in Service::REQUIRED {
        assert!(page.contains(&format!("missing key `{key}`")), "\n{page}");
    }
    assert!(page.contains(" --> server.toml:1:1"), "\n{page}");
}

#[test]
fn a_mistyped_key_is_not_missed_as_well() {
    let text = "[[service]]\nname = \"a\"\nlistn = \"127.0.0.1:7000\"\nreply.text = \"b\"\n";
    one(
        text,
        &["unknown key `listn`", "did you mean `listen`?", "1 fault"],
    );
}

#[test]
fn keys_of_later_versions_are_unknown() {
    one("[tls]\nkey = 1", &["unknown key `tls`"]);
    in_service("proxy = true", &["unknown key `proxy`"]);
}

#[test]
fn syntax() {
    one(
        "[server]\nuser = nobody",
        &["a text without quotes", "write \"nobody\""],
    );
    one("include =", &["no value after `=`"]);
    one(
        "include = []\ninclude = []",
        &["this key is there twice", "server.toml:2:1"],
    );
    one(
        "[queue]\nmax_wait_seconds = 5s",
        &["neither a number nor a text in quotes"],
    );
    one("[server", &["unclosed table", "expected `]`"]);
    let many = faults("a b\n".repeat(9).as_str());
    assert_eq!(many.as_slice().len(), 3, "a recovering parser stumbles on");
}

#[test]
fn a_terminal_is_safe_from_what_a_file_says() {
    let page = faults("\"a\\u001b[31m\\u202e\\u200b\" = 1\n").render(false);
    assert!(
        !page.contains(['\u{1b}', '\u{202e}', '\u{200b}']),
        "{page:?}"
    );
    assert!(faults("a = 1").render(true).contains("\u{1b}["));
}

/// Found by fuzzing: TOML takes these as they are, in strings and comments.
#[test]
fn a_terminal_is_safe_from_what_a_line_of_a_file_has_beside_the_fault() {
    check(
        "[workers] # \u{9b}2J\u{feff}\nthreds = 4 # \u{9b}2J\u{ad}\u{202e}\n",
        "\
error: unknown key `workers.threds`
 --> server.toml:2:1
  |
2 | threds = 4 # \u{fffd}2J\u{fffd}\u{fffd}
  | ^^^^^^
  |
  = help: did you mean `threads`?

error: 1 fault in server.toml
",
    );
    let page = faults("\u{9b} = 1\n").render(false);
    assert!(!page.contains('\u{9b}'), "{page:?}");
    let text = "queue = { a\u{301} = \"\u{feff}\u{9b}\", capacity = \"\u{ad}\" }";
    let page = faults(text).render(false);
    assert!(!page.contains(['\u{9b}', '\u{feff}', '\u{ad}']), "{page:?}");
}

#[test]
fn what_a_place_in_a_file_is_called_is_up_to_who_asks() {
    let text = format!("[admin]\n{SERVICE}listen_ = 1").replace("listen_ = 1", "backlog = 9");
    let loaded = parse(&text, "server.toml").unwrap();
    let line = |place: Place| {
        let fault = loaded.fault(&place, "m", "l", Some("h".to_owned()));
        let page = Faults::from(fault).render(false);
        page.lines().nth(1).unwrap().trim().to_owned()
    };
    assert_eq!(
        line(Place::service(0, "reply.text")),
        "--> server.toml:5:14"
    );
    assert_eq!(
        line(Place::service(0, "reply.status")),
        "--> server.toml:5:1"
    );
    assert_eq!(line(Place::service(0, "busy.text")), "--> server.toml:2:1");
    assert_eq!(line(Place::service(0, "")), "--> server.toml:2:1");
    assert_eq!(line(Place::top("admin.listen")), "--> server.toml:1:1");
    assert_eq!(line(Place::top("queue.capacity")), "--> server.toml");
}

#[test]
fn a_position_counts_characters_and_ends_with_the_line() {
    let text = format!("# \u{e4}\n{SERVICE}\"\u{e4}\u{e4}\" = 1\n");
    let faults = faults(&text);
    let spot = faults.as_slice()[0].spot.as_ref().unwrap();
    let expected = Position {
        line: 6,
        column: 1,
        end_column: 5,
    };
    assert_eq!(spot.position(), expected);
    let text = SERVICE.replace("\"x\"", "\"\"\"{{\nx\"\"\"");
    let loaded = parse(&text, "server.toml").unwrap();
    let spot = loaded
        .sources
        .find(&Place::service(0, "reply.text"))
        .unwrap();
    let Position {
        line,
        column,
        end_column,
    } = spot.position();
    assert_eq!((line, column, end_column), (4, 14, 19));
}

#[test]
fn a_fault_is_one_line_of_a_log_too() {
    let faults = faults("\"a\\nb\" = 1\n");
    let line = faults.as_slice()[0].to_string();
    assert!(
        line.starts_with("server.toml:1: unknown key `a\u{fffd}b`; allowed here: include,"),
        "{line}"
    );
}

/// Goal: no text makes the module panic. Method: the shipped file, cut at many places, and with
/// many characters in turn replaced by one that means something to TOML or to nobody.
#[test]
fn no_text_is_too_strange() {
    let text = include_str!("../../../server.toml");
    for (at, c) in text.char_indices().skip(700).step_by(41) {
        let (before, after) = (&text[..at], &text[at + c.len_utf8()..]);
        for middle in ["", "\"", "[", "=", "\n", "ä", "\u{1b}", "\"\"\""] {
            if let Err(faults) = parse(&format!("{before}{middle}{after}"), "x") {
                assert!(faults.render(true).contains("fault"));
            }
        }
        if let Err(faults) = parse(before, "x") {
            assert!(faults.render(false).contains("fault"));
        }
    }
}
