//! A program and its arguments, without the wrapper before them.

use std::collections::BTreeMap;

use toml::{Table, Value};

use crate::import::draft::Draft;
use crate::import::hint::{self, Hint};

/// Where tcpd looks for a program without a path (Debian's REAL_DAEMON_DIR).
const TCPD_FOLDER: &str = "/usr/sbin";

/// The `PATH` that systemd and init scripts give: replyd's own default has no `sbin`.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A command's `timeout_seconds`, where there was none: its default.
const TIMEOUT_SECONDS: i64 = 10;

/// A command's `max_output_bytes`, where there was none: agents write more than its default.
const OUTPUT_BYTES: i64 = 1 << 20;

/// The most that `concurrency` takes.
const CONCURRENCY_MAX: i64 = 1024;

/// Sets `run` and `read`. `arguments` begin with `argv[0]`, as inetd has it.
pub(super) fn carry(
    draft: &mut Draft,
    program: &str,
    arguments: &[&str],
    port: Option<u16>,
    from: &str,
) {
    let (mut program, name) = (program.to_owned(), arguments.first().copied());
    if basename(&program) == "tcpd" {
        let Some(wrapped) = name else {
            return draft.refuse(from, "tcpd, and no program after it");
        };
        let why = "replyd reads neither /etc/hosts.allow nor hosts.deny: what they keep out goes \
                   into `allow` and `deny`";
        draft.hold(&program, why);
        program = if wrapped.starts_with('/') {
            wrapped.to_owned()
        } else {
            format!("{TCPD_FOLDER}/{wrapped}")
        };
    } else if let Some(name) = name
        && basename(name) != basename(&program)
    {
        draft.remark(
            &format!("argv[0] is {name}"),
            "a command is called by its own name",
        );
    }
    let rest = arguments
        .iter()
        .skip(1)
        .map(|argument| (*argument).to_owned());
    let run: Vec<String> = std::iter::once(program).chain(rest).collect();
    carry_run(draft, &run, port, from);
}

/// Sets `run` and `read` for arguments that begin with the program's path.
pub(super) fn carry_run(draft: &mut Draft, run: &[String], port: Option<u16>, from: &str) {
    let program = run.first().map_or("", |program| basename(program));
    match hint::find(&[&draft.name, program], port) {
        Hint::Read(read, why) => draft.set("read", read, why),
        Hint::Dialogue => {
            let why = "a dialogue, by its name or port: replyd reads one request and sends one reply, \
                       and this program goes on from there";
            return draft.refuse(from, why);
        }
    }
    draft.set_command("run", run.to_vec(), from);
}

/// Sets what every such server does without being told, once everything else is set.
pub(super) fn complete(draft: &mut Draft) {
    if !draft.has_command("environment") {
        set_environment(draft, BTreeMap::new(), "PATH as systemd gives it");
    }
    let every_code = Table::from_iter([("0-255".to_owned(), Value::from(200))]);
    let why = "what it wrote was sent, whatever its exit code";
    draft.set_command("exit_status", every_code, why);
    if !draft.has_command("timeout_seconds") {
        let why = "there was no bound: raise it, and `reply_timeout_seconds` above it, if it takes longer";
        draft.set_command("timeout_seconds", TIMEOUT_SECONDS, why);
    }
    let why = "there was no bound: more is a failure";
    draft.set_command("max_output_bytes", OUTPUT_BYTES, why);
    // As many as there may be connections: none of them waited for another.
    let most = draft
        .settings
        .iter()
        .find(|setting| setting.key == "max_connections");
    let most = most.and_then(|most| Some((most.value.as_integer()?, most.from.clone())));
    if let Some((most, from)) = most {
        draft.set_command("concurrency", most.min(CONCURRENCY_MAX), &from);
    }
}

/// Sets `environment`, with a `PATH` unless there is one.
pub(super) fn set_environment(
    draft: &mut Draft,
    mut environment: BTreeMap<String, String>,
    from: &str,
) {
    environment
        .entry("PATH".to_owned())
        .or_insert_with(|| PATH.to_owned());
    draft.set_command("environment", environment, from);
}

fn basename(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
