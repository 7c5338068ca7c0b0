//! What the service of a socket is carried over as: `NAME@.service`, whose stdin is the connection.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::import::attribute::{Attribute, Attributes};
use crate::import::draft::{self, Draft};
use crate::import::program;
use crate::import::systemd::words;

/// A reply's default `reply_timeout_seconds`, which a command's has to be below.
const REPLY_TIMEOUT: Duration = Duration::from_secs(30);

/// How much longer a reply then may take than its command: for sending it.
const REPLY_MARGIN: Duration = Duration::from_secs(5);

/// Why a key of `[Service]` is not carried over.
const REASONS: [(&str, &str); 7] = [
    ("EnvironmentFile", "write its lines into `environment`"),
    (
        "DynamicUser",
        "a command runs as `user`; systemd gives replyd itself a dynamic one",
    ),
    ("TimeoutStartSec", "a command has `timeout_seconds`"),
    ("TimeoutSec", "a command has `timeout_seconds`"),
    ("ExecStartPre", "a command is one program"),
    ("ExecStartPost", "a command is one program"),
    ("ExecStopPost", "a command is one program"),
];

/// What is said of all others: mostly the sandbox.
const OTHERS: &str = "it is replyd's own unit that sets it, for replyd and all its commands";

/// Carries over which program runs, as whom, and with what around it.
pub(super) fn carry(draft: &mut Draft, attributes: &mut Attributes, port: Option<u16>) {
    let starts = attributes.take_list("ExecStart", draft);
    match starts.as_slice() {
        [start] => run(draft, start, port),
        [] => draft.refuse("no ExecStart=", "there is nothing to run"),
        [first, ..] => draft.refuse(&first.said, "more than one ExecStart=: a command is one"),
    }
    streams(draft, attributes);
    account(draft, attributes);
    timeouts(draft, attributes);
    environment(draft, attributes);
    if let Some(folder) = attributes.take_last("WorkingDirectory", draft) {
        let path = folder.value.trim_start_matches('-');
        if path.starts_with('/') && !words::is_expanded(path) {
            draft.set_command(
                "working_directory",
                words::literal(path).as_str(),
                &folder.said,
            );
        } else {
            draft.remark(&folder.said, "write the path into `working_directory`");
        }
    }
    program::complete(draft);
    // Every exit code is an answer, so that `-` before a program needs no key, either.
    attributes.moot(&["Type", "CollectMode", "SuccessExitStatus"], draft);
    attributes.tell(&REASONS, OTHERS, draft);
}

/// The program and its arguments, without the marks before them.
fn run(draft: &mut Draft, start: &Attribute, port: Option<u16>) {
    let line = start
        .value
        .trim_start_matches(['-', '@', ':', '+', '!', '|']);
    let marks = &start.value[..start.value.len() - line.len()];
    let Some(mut run) = words::split(line) else {
        return draft.refuse(&start.said, "a quote that isn't closed, or no escape");
    };
    if run.is_empty() {
        return draft.refuse(&start.said, "there is nothing to run");
    }
    if marks.contains(['+', '!']) {
        let why = "a command runs as `user`, with nothing on top";
        draft.remark(&format!("{marks} in {}", start.said), why);
    }
    if marks.contains('@') && run.len() > 1 {
        let name = run.remove(1);
        draft.remark(
            &format!("argv[0] is {name}"),
            "a command is called by its own name",
        );
    }
    if marks.contains('|') {
        draft.hold(&start.said, "a command runs without a shell");
    }
    for word in run.iter().filter(|word| words::is_expanded(word)) {
        let why = "replyd expands nothing: write what it stands for";
        draft.hold(&format!("{word} in {}", start.said), why);
    }
    let run: Vec<String> = run.iter().map(|word| words::literal(word)).collect();
    program::carry_run(draft, &run, port, &start.said);
}

/// Where its standard streams go: stdout is to be the connection.
fn streams(draft: &mut Draft, attributes: &mut Attributes) {
    let input = attributes.take_last("StandardInput", draft);
    let output = attributes.take_last("StandardOutput", draft);
    let reads = input.as_ref().is_some_and(|input| input.value == "socket");
    let replies = match &output {
        Some(output) => output.value == "socket" || (output.value == "inherit" && reads),
        // systemd.exec(5): it inherits a socket.
        None => reads,
    };
    if !replies {
        let said = [&input, &output].into_iter().flatten();
        let said: Vec<&str> = said.map(|stream| &*stream.said).collect();
        let said = if said.is_empty() {
            "no StandardInput=socket".to_owned()
        } else {
            said.join(", ")
        };
        return draft.refuse(&said, "its stdout is not the connection");
    }
    match input {
        Some(input) if reads => draft.moot(&input.said),
        Some(input) => draft.set_command("stdin", "nothing", &input.said),
        None => draft.set_command("stdin", "nothing", "no StandardInput="),
    }
    if let Some(output) = output {
        draft.moot(&output.said);
    }
    if let Some(error) = attributes.take_last("StandardError", draft) {
        if error.value == "journal" {
            draft.moot(&error.said);
        } else {
            draft.remark(
                &error.said,
                "the end of what a command writes to stderr is in replyd's log",
            );
        }
    }
}

fn account(draft: &mut Draft, attributes: &mut Attributes) {
    let is_dynamic = attributes.take_last("DynamicUser", draft);
    let is_dynamic = is_dynamic.filter(|is_dynamic| {
        if !is_dynamic.is_yes() {
            draft.moot(&is_dynamic.said);
        }
        is_dynamic.is_yes()
    });
    match attributes.take_last("User", draft) {
        Some(user) => {
            draft.set_command("user", user.value.as_str(), &user.said);
            let why = "write those that the program needs into `environment`";
            draft.remark(
                "HOME, USER, LOGNAME and SHELL, which systemd sets for it",
                why,
            );
        }
        None if is_dynamic.is_none() => draft.set_command("user", "root", "no User="),
        None => {}
    }
    if let Some(is_dynamic) = is_dynamic {
        let why = "systemd has no such user for a command alone: write another into `user`";
        draft.hold(&is_dynamic.said, why);
    }
    if let Some(group) = attributes.take_last("Group", draft) {
        draft.set_command("group", group.value.as_str(), &group.said);
    }
}

fn timeouts(draft: &mut Draft, attributes: &mut Attributes) {
    for (name, key) in [
        ("RuntimeMaxSec", "timeout_seconds"),
        ("TimeoutStopSec", "kill_after_seconds"),
    ] {
        let Some(attribute) = attributes.take_last(name, draft) else {
            continue;
        };
        let Some(seconds) = words::span(&attribute.value) else {
            draft.remark(&attribute.said, "endless, or no span of time");
            continue;
        };
        draft.set_command(key, draft::seconds(seconds), &attribute.said);
        if key == "timeout_seconds" && seconds >= REPLY_TIMEOUT {
            let total = draft::seconds(seconds.saturating_add(REPLY_MARGIN));
            draft.set("reply_timeout_seconds", total, "above the command's own");
        }
    }
}

fn environment(draft: &mut Draft, attributes: &mut Attributes) {
    let list = attributes.take_list("Environment", draft);
    let mut table = BTreeMap::new();
    for attribute in &list {
        for word in words::split(&attribute.value).unwrap_or_default() {
            match word.split_once('=') {
                Some((name, value)) if !words::is_expanded(value) => {
                    table.insert(name.to_owned(), words::literal(value));
                }
                _ => draft.hold(&format!("{word} in {}", attribute.said), "write it out"),
            }
        }
    }
    if list.is_empty() {
        return;
    }
    let said: Vec<&str> = list.iter().map(|attribute| &*attribute.said).collect();
    program::set_environment(draft, table, &said.join(", "));
}
