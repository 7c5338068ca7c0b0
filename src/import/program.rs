//! A program and its arguments, without the wrapper before them.

use std::collections::BTreeMap;

use crate::import::draft::Draft;
use crate::import::hint::{self, Hint};

/// Where tcpd looks for a program without a path (Debian's REAL_DAEMON_DIR).
const TCPD_FOLDER: &str = "/usr/sbin";

/// What a command has if its `environment` is not set: one that is set replaces it.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

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

/// Sets `environment`, with the `PATH` that a command has without it.
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
