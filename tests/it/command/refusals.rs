//! Configurations that are refused.

use std::process::Command;

use rustix::process::{Signal, getuid};

use super::{Commands, script};
use crate::harness::service;
use crate::process::{Process, REPLYD, config};

/// Keys of the service, options of the command, and a word of what is said.
const REFUSED: &[(&str, &str, &str)] = &[
    ("", "run = [\"true\"]", "absolute"),
    ("", "run = []", "run"),
    ("", "timeout_seconds = 1", "run"),
    ("", "run = [\"/bin/true\", \"{{ request }}\"]", "--"),
    (
        "",
        "run = [\"/bin/true\", \"--\", \"x{{ request }}\"]",
        "{{",
    ),
    ("", "run = [\"/bin/true\", \"--\", \"{{ peer }}\"]", "{{"),
    (
        "",
        "run = [\"/bin/true\"]\nstale_seconds = 1",
        "cache_seconds",
    ),
    (
        "",
        "run = [\"/bin/true\"]\nfailure_cache_seconds = 1",
        "cache_seconds",
    ),
    (
        "",
        "run = [\"/bin/true\"]\ncache_key = [\"peer\"]",
        "cache_seconds",
    ),
    (
        "",
        "run = [\"/bin/true\"]\ncache_seconds = 1\ncache_key = [\"path\"]",
        "path",
    ),
    (
        "",
        "run = [\"/bin/true\"]\ncache_seconds = 1\nrefresh_seconds = 1",
        "refresh_seconds",
    ),
    (
        "",
        "run = [\"/bin/true\", \"--\", \"{{ request }}\"]\nrefresh_seconds = 1",
        "refresh_seconds",
    ),
    ("", "run = [\"/bin/true\"]\noutput = \"body\"", "http"),
    (
        "read = \"http\"",
        "run = [\"/bin/true\"]\noutput = \"html\"",
        "html",
    ),
    ("reply.status = 200", "run = [\"/bin/true\"]", "status"),
    (
        "",
        "run = [\"/bin/true\"]\nexit_status = { 256 = 200 }",
        "256",
    ),
    ("", "run = [\"/bin/true\"]\nexit_status = { 0 = 99 }", "99"),
    (
        "",
        "run = [\"/bin/true\"]\nenvironment = { REMOTE_ADDR = \"::1\" }",
        "REMOTE_ADDR",
    ),
    (
        "reply_timeout_seconds = 5",
        "run = [\"/bin/true\"]\ntimeout_seconds = 5",
        "timeout_seconds",
    ),
    (
        "",
        "run = [\"/bin/true\"]\ntimeout_seconds = 0",
        "timeout_seconds",
    ),
    ("", "run = [\"/bin/true\"]\nconcurrency = 0", "concurrency"),
    (
        "",
        "run = [\"/bin/true\"]\nworking_directory = \"x\"",
        "working_directory",
    ),
    ("reply.text = \"hi\"", "run = [\"/bin/true\"]", "reply"),
];

/// Starts with a command of these options, which has to be refused: what it says.
#[track_caller]
fn refused(keys: &str, options: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let toml = format!(
        "{}[service.reply.command]\n{options}\n",
        service("bad", keys)
    );
    let (code, said) = Process::with_config(folder.path(), &config(&toml)).end();
    assert_eq!(code, Some(78), "{options}\n{said}");
    assert!(!said.contains("unknown key"), "{options}\n{said}");
    said
}

#[test]
fn root_has_to_say_as_whom_a_command_runs() {
    if !getuid().is_root() {
        return;
    }
    let said = refused("", "run = [\"/bin/true\"]");
    for text in ["test.toml:", "user", "root"] {
        assert!(said.contains(text), "no {text:?} in\n{said}");
    }
}

#[test]
fn a_user_that_does_not_exist_is_said() {
    let said = refused("", "run = [\"/bin/true\"]\nuser = \"no-such-user\"");
    assert!(said.contains("no-such-user"), "{said}");
}

#[test]
fn a_running_replyd_refuses_what_it_would_not_start_with() {
    let mut server = Commands::start(&script("one", "", "echo one", ""));
    let stale = "stale_seconds = 5";
    server.configure(&script("one", "", "echo two", stale));
    server.signal(Signal::HUP);
    server.line("stale_seconds");
    server.line("reload refused");
    assert_eq!(server.exchange("one", b"\n"), "one\n");
    server.at_rest();
}

#[test]
fn what_cannot_be_meant_is_refused_at_the_start() {
    for (keys, options, text) in REFUSED {
        let said = refused(keys, &format!("{options}\nuser = \"root\""));
        assert!(said.contains(text), "{options}: no {text:?} in\n{said}");
        assert!(said.contains("test.toml:"), "with its place: {said}");
    }
}

/// Nobody may become somebody else.
#[test]
fn who_is_not_root_runs_it_as_nobody_else() {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::process::CommandExt as _;
    if !getuid().is_root() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("replyd");
    let toml = format!(
        "{}[service.reply.command]\nrun = [\"/bin/true\"]\nuser = \"root\"\n",
        service("bad", "")
    );
    // Not by this process: while one of its own has it open for writing, it can't be run.
    let copied = Command::new("cp")
        .args([REPLYD.as_ref(), program.as_os_str()])
        .status();
    assert!(copied.is_ok_and(|status| status.success()), "copied");
    std::fs::write(folder.path().join("test.toml"), config(&toml)).expect("written");
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).expect("changed");
    let mut command = Command::new(&program);
    command
        .current_dir(folder.path())
        .args(["--config", "test.toml"]);
    let (code, said) = Process::start(command.uid(65534).gid(65534)).end();
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("user") && said.contains("root"), "{said}");
}
