//! What happened in a trial, for people: what was run, how it ended, and what that means.

use std::fmt::Write as _;
use std::time::Duration;

use nix::sys::signal::Signal;
use replyd::command::report::{Report, RunResult};
use replyd::command::{End, Launch};
use replyd::config::command::exit_status::ExitStatus;
use replyd::config::command::{Command, Output};
use replyd::config::framing::Read;
use replyd::config::reply::Body;
use replyd::config::types::Service;
use replyd::engine::solo::{Run, Solo};
use replyd::exchange::outcome::Outcome;
use replyd::peer::Peer;
use replyd::server::trial::Tried;

use crate::cli::log::{escape, is_word};

/// Columns that the names of lines take.
const NAME_WIDTH: usize = 13;

/// What a shell says of a program that it can't run, and of one that it can't find. Source: POSIX, sh,
/// "Exit Status for Commands".
const NOT_RUN: i32 = 126;
const NOT_FOUND: i32 = 127;

/// All that there is to tell.
pub(super) fn of(tried: &Tried, table: &Service, peer: Peer, request_bytes: usize) -> String {
    let mut lines = Lines::default();
    let Solo {
        outcome,
        sent_bytes,
        duration,
        ..
    } = &tried.exchange;
    let cut = if tried.exchange.is_cut { ", cut" } else { "" };
    lines.add(
        "outcome",
        &format!(
            "{}: {sent_bytes} bytes sent{cut} in {}",
            outcome.label(),
            seconds(*duration)
        ),
    );
    lines.add("request", &format!("{request_bytes} bytes from {peer}"));
    if let Some(run) = &tried.exchange.run {
        ran(run, &tried.made_as, &mut lines);
    } else {
        lines.add("made as", &tried.made_as);
    }
    for line in meaning(tried, table, peer) {
        lines.add("that means", &line);
    }
    for difference in &tried.differences {
        lines.add("but", difference);
    }
    lines.text
}

/// Lines, each with a name, the later ones of a name below its first.
#[derive(Default)]
struct Lines {
    text: String,
    last: &'static str,
}

impl Lines {
    fn add(&mut self, name: &'static str, what: &str) {
        let shown = if self.last == name { "" } else { name };
        self.last = name;
        let _infallible = write!(self.text, "{shown:NAME_WIDTH$}");
        escape(what, &[], &mut self.text);
        self.text.push('\n');
    }
}

/// What was run, and how it ended.
fn ran(run: &Run, made_as: &str, lines: &mut Lines) {
    let Launch {
        process,
        arguments,
        environment,
        stdin_bytes,
    } = &run.launch;
    let arguments: Vec<String> = arguments.iter().map(|argument| quoted(argument)).collect();
    lines.add("ran", &arguments.join(" "));
    lines.add("as", made_as);
    lines.add("in", &process.working_directory.display().to_string());
    for (name, value) in environment {
        lines.add(
            "environment",
            &format!("{name}={}", quoted(value.as_bytes())),
        );
    }
    lines.add("stdin", &format!("{stdin_bytes} bytes"));
    let Some(report) = &run.report else {
        lines.add("ended", "nobody waited for that");
        return;
    };
    let ended = end(report);
    if report.result == RunResult::NotStarted {
        lines.add("ended", &ended);
    } else {
        let timeout = process.timeout.as_secs_f64();
        let took = seconds(report.duration);
        lines.add("ended", &format!("{ended} after {took} of {timeout} s"));
    }
    let at_least = if report.result == RunResult::TooLarge {
        "more than "
    } else {
        ""
    };
    lines.add(
        "stdout",
        &format!("{at_least}{} bytes", report.stdout_bytes),
    );
    // Of what could not be started, it is our own word.
    let name = if report.result == RunResult::NotStarted {
        "reason"
    } else {
        "stderr"
    };
    let stderr = String::from_utf8_lossy(&report.stderr);
    if stderr.trim_end().is_empty() {
        lines.add(name, "nothing");
    }
    for line in stderr.trim_end().lines() {
        lines.add(name, line);
    }
}

/// How its first process ended, or why nobody waited for that.
fn end(report: &Report) -> String {
    match report.end {
        Some(End::Signaled(signal)) => match Signal::try_from(signal) {
            Ok(name) => format!("{report} ({name})"),
            Err(_) => report.to_string(),
        },
        _ => report.to_string(),
    }
}

/// What it means, as far as there is more to it than the outcome's own word.
fn meaning(tried: &Tried, table: &Service, peer: Peer) -> Vec<String> {
    let Tried {
        exchange,
        is_maintained,
        ..
    } = tried;
    let mut lines = Vec::new();
    if let Some(error) = &exchange.unsent {
        lines.push(format!("the reply could not be written to stdout: {error}"));
    }
    match (&exchange.run, &table.reply.body) {
        (
            Some(Run {
                report: Some(report),
                ..
            }),
            Body::Command(command),
        ) => {
            lines.extend(of_run(report, command, table));
        }
        _ if exchange.outcome == Outcome::Replied && *is_maintained => {
            let file = table
                .maintenance
                .as_ref()
                .map(|it| it.file.display().to_string());
            let file = file.unwrap_or_default();
            lines.push(format!(
                "under maintenance, as {file} exists: nothing else was done"
            ));
        }
        _ if exchange.unsent.is_some() => {}
        _ => lines.extend(of_outcome(exchange.outcome, table, peer)),
    }
    lines
}

fn of_outcome(outcome: Outcome, table: &Service, peer: Peer) -> Option<String> {
    Some(match outcome {
        Outcome::NoRequest => {
            "nothing was sent, so nothing was said: --request FILE has it, and `-` is stdin"
                .to_owned()
        }
        Outcome::Invalid => format!("the request is not what read = {} takes", read(&table.read)),
        Outcome::TooLarge if table.read == Read::Http => format!(
            "the request has more than max_head_bytes = {} or max_request_bytes = {}",
            table.max_head_bytes, table.max_request_bytes
        ),
        Outcome::TooLarge => {
            format!(
                "the request has more than max_request_bytes = {}",
                table.max_request_bytes
            )
        }
        Outcome::Denied => {
            format!("`allow` or `deny` keeps {peer} out; --peer ADDRESS is somebody else")
        }
        Outcome::TimedOut => format!(
            "the reply was not there within reply_timeout_seconds = {}",
            table.reply_timeout.as_secs_f64()
        ),
        Outcome::PeerClosed => "who asked had left before the reply was there".to_owned(),
        _ => return None,
    })
}

fn of_run(report: &Report, command: &Command, table: &Service) -> Vec<String> {
    match (report.result, report.end) {
        (RunResult::Answered, Some(End::Exited(code))) => answered(code, report, command, table),
        (RunResult::Failed, Some(End::Exited(code))) => {
            let codes: Vec<String> = ExitStatus::written(&command.exit_status)
                .map(|(codes, _)| codes)
                .collect();
            let codes = codes.join(", ");
            let mut lines = vec![format!(
                "exit status {code} is no answer: exit_status has {codes}"
            )];
            lines.extend(of_shell(code, command));
            lines
        }
        (RunResult::Failed, _) => vec!["a command that a signal has ended is no answer".to_owned()],
        (RunResult::TimedOut, _) => vec![format!(
            "it was still running after timeout_seconds = {}: its group got SIGTERM, and SIGKILL if it was \
             there kill_after_seconds = {} later",
            command.timeout.as_secs_f64(),
            command.kill_after.as_secs_f64()
        )],
        (RunResult::TooLarge, _) => vec![format!(
            "it said more than max_output_bytes = {}, and a part is no answer",
            command.max_output_bytes
        )],
        _ => Vec::new(),
    }
}

/// What a shell means by an exit status of its own.
fn of_shell(code: i32, command: &Command) -> Option<String> {
    let path = command.environment.get("PATH");
    let path = path.map_or_else(
        || "there is none here".to_owned(),
        |path| format!("here it is {path}"),
    );
    Some(match code {
        NOT_FOUND => {
            format!("a script ends with {code} if it can't find a program in its PATH: {path}")
        }
        NOT_RUN => format!("a script ends with {code} if it may not run a program"),
        _ => return None,
    })
}

fn answered(code: i32, report: &Report, command: &Command, table: &Service) -> Vec<String> {
    let status = u8::try_from(code).ok();
    let status = status.and_then(|code| command.exit_status.get(&code));
    match (status, command.output) {
        (Some(status), Output::Body) => {
            vec![format!("exit status {code} is an answer: HTTP status {status}")]
        }
        _ if table.read == Read::Http && !report.stdout.starts_with(b"HTTP/") => vec![
            "what it said is not HTTP: with output = \"raw\" it has to say the head too, beginning with \
             \"HTTP/1.1 200 OK\"; output = \"body\" has that done"
                .to_owned(),
        ],
        _ => Vec::new(),
    }
}

/// As `server.toml` says it.
fn read(read: &Read) -> String {
    match read {
        Read::Nothing => "\"nothing\"".to_owned(),
        Read::Line => "\"line\"".to_owned(),
        Read::Eof => "\"eof\"".to_owned(),
        Read::Http => "\"http\"".to_owned(),
        Read::Delimiter(delimiter) => format!("{{ delimiter = {} }}", quoted(delimiter.as_bytes())),
        Read::Bytes(count) => format!("{{ bytes = {count} }}"),
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.3} s", duration.as_secs_f64())
}

/// A value that can be taken for nothing but itself.
fn quoted(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value);
    if is_word(&text) {
        return text.into_owned();
    }
    let mut out = "\"".to_owned();
    escape(&text, &['\\', '"'], &mut out);
    out.push('"');
    out
}
