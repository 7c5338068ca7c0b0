//! What a command finds: environment, descriptors, signals, user.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::process::Command;

use nix::unistd::{Uid, User};
use rustix::process::getuid;

use super::{Commands, program, script, shown};
use crate::client::read_all;
use crate::harness::service;
use crate::process::REPLYD;

const ENVIRON: &str = "run = [\"/bin/cat\", \"/proc/self/environ\"]\n";
const STATUS: &str = "run = [\"/bin/cat\", \"/proc/self/status\"]\n";

/// Signals 32 and 33, which glibc keeps to itself: its posix_spawn(3) leaves them ignored.
const OF_THE_C_LIBRARY: u64 = 3 << 31;

const PATH: &str = "PATH=/usr/local/bin:/usr/bin:/bin";

/// The variables in what `environ` says.
fn variables(environ: &str) -> BTreeSet<&str> {
    environ.split_terminator('\0').collect()
}

/// The value of a field in what `status` says.
#[track_caller]
fn field<'a>(status: &'a str, name: &str) -> &'a str {
    let mut values = status.lines().filter_map(|line| line.strip_prefix(name));
    let value = values.find_map(|rest| rest.strip_prefix(':'));
    value
        .unwrap_or_else(|| panic!("no {name} in {status}"))
        .trim()
}

#[test]
fn the_environment_is_a_path_and_who_asks() {
    let server = Commands::start(&program("environ", "", ENVIRON));
    let mut client = server.ask("environ", b"\n");
    let port = client.local_addr().expect("connected").port();
    let expected = format!(
        "{PATH}\0PROTO=TCP\0REMOTE_ADDR=127.0.0.1\0REMOTE_HOST=127.0.0.1\0REMOTE_PORT={port}\0\
         TCPREMOTEIP=127.0.0.1\0TCPREMOTEPORT={port}"
    );
    let environ = shown(&read_all(&mut client));
    assert_eq!(variables(&environ), variables(&expected));
    assert_eq!(environ.split_terminator('\0').count(), 7, "{environ:?}");
}

#[test]
fn an_ipv6_address_is_said_without_brackets() {
    if TcpListener::bind("[::1]:0").is_err() {
        return;
    }
    let server = Commands::start(&program("environ", "listen = \"[::1]:0\"", ENVIRON));
    let environ = server.exchange("environ", b"\n");
    for variable in [
        "REMOTE_ADDR=::1",
        "REMOTE_HOST=::1",
        "TCPREMOTEIP=::1",
        "PROTO=TCP",
    ] {
        assert!(variables(&environ).contains(variable), "{environ:?}");
    }
}

#[test]
fn a_configured_environment_replaces_the_default_one() {
    let options = "environment = { GREETING = \"hi, there\", EMPTY = \"\" }\n";
    let server = Commands::start(&program("environ", "", &format!("{ENVIRON}{options}")));
    let environ = server.exchange("environ", b"\n");
    let configured = variables(&environ)
        .into_iter()
        .filter(|variable| !variable.contains("REMOTE") && !variable.starts_with("PROTO="));
    assert_eq!(
        configured.collect::<Vec<_>>(),
        ["EMPTY=", "GREETING=hi, there"]
    );
}

#[test]
fn an_answer_for_all_is_not_told_who_asks() {
    let toml = [
        program("cached", "", &format!("{ENVIRON}cache_seconds = 60")),
        program(
            "asked",
            "",
            &format!("{ENVIRON}cache_seconds = 60\ncache_key = [\"request\"]"),
        ),
        program("scheduled", "", &format!("{ENVIRON}refresh_seconds = 60")),
    ];
    let server = Commands::start(&toml.concat());
    for service in ["cached", "asked", "scheduled"] {
        let environ = server.exchange(service, b"\n");
        assert_eq!(
            variables(&environ),
            BTreeSet::from([PATH, "PROTO=TCP"]),
            "{service}"
        );
    }
}

#[test]
fn an_answer_for_one_peer_is_told_its_address_but_no_port() {
    let options = format!("{ENVIRON}cache_seconds = 60\ncache_key = [\"peer\"]");
    let server = Commands::start(&program("environ", "", &options));
    let expected = format!(
        "{PATH}\0PROTO=TCP\0REMOTE_ADDR=127.0.0.1\0REMOTE_HOST=127.0.0.1\0TCPREMOTEIP=127.0.0.1"
    );
    assert_eq!(
        variables(&server.exchange("environ", b"\n")),
        variables(&expected)
    );
}

#[test]
fn a_unix_socket_has_no_address() {
    let keys = "listen = \"unix:@folder@/socket\"";
    let server = Commands::start(&program("environ", keys, ENVIRON));
    let environ = shown(&read_all(&mut server.ask_socket(b"\n")));
    assert_eq!(variables(&environ), BTreeSet::from([PATH, "PROTO=UNIX"]));
}

#[test]
fn nothing_of_replyd_s_own_environment_reaches_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let manager = folder.path().join("notify");
    let _manager = UnixDatagram::bind(&manager).expect("bound");
    let mut command = Command::new(REPLYD);
    command.env("NOTIFY_SOCKET", &manager);
    for name in [
        "LISTEN_PID",
        "LISTEN_FDS",
        "LISTEN_FDNAMES",
        "WATCHDOG_PID",
        "FDSTORE",
        "SECRET",
    ] {
        command.env(name, "1");
    }
    command
        .env("WATCHDOG_USEC", "60000000")
        .env("JOURNAL_STREAM", "1:1");
    let options = format!("{ENVIRON}cache_seconds = 60");
    let server = Commands::start_by(&mut command, &program("environ", "", &options));
    let environ = server.exchange("environ", b"\n");
    assert_eq!(variables(&environ), BTreeSet::from([PATH, "PROTO=TCP"]));
}

#[test]
fn it_has_three_descriptors_and_none_of_them_is_replyd_s() {
    let own = "ls /proc/$$/fd; readlink /proc/$$/fd/0 /proc/$$/fd/1 /proc/$$/fd/2";
    // Nor are those that replyd was started with.
    let mut command = Command::new("/bin/sh");
    let inheriting = "exec 7</dev/zero 9>&2; exec \"$0\" \"$@\"";
    command.args(["-c", inheriting, REPLYD]);
    let server = Commands::start_by(&mut command, &script("fds", "", own, ""));
    // Others are connected while it starts.
    let others: Vec<_> = (0..20).map(|_| server.connect("fds")).collect();
    let said = server.exchange("fds", b"\n");
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[..3], ["0", "1", "2"], "{said}");
    assert_eq!(lines.len(), 6, "{said}");
    assert!(
        lines[3..]
            .iter()
            .all(|target| !target.starts_with("socket:")),
        "{said}"
    );
    let stderr = std::fs::read_link(format!("/proc/{}/fd/2", server.process().id()));
    assert!(
        lines[5] != stderr.expect("a link").to_string_lossy(),
        "its stderr is replyd's"
    );
    drop(others);
}

#[test]
fn no_signal_is_blocked_or_ignored() {
    // As under nohup and its like: what a program ignores its children ignore.
    let ignoring = "trap '' HUP INT QUIT USR1 USR2 ALRM CHLD; exec \"$0\" \"$@\"";
    for script in ["exec \"$0\" \"$@\"", ignoring] {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script, REPLYD]);
        let server = Commands::start_by(&mut command, &program("status", "", STATUS));
        let status = server.exchange("status", b"\n");
        for name in ["SigBlk", "SigIgn"] {
            let mask = u64::from_str_radix(field(&status, name), 16).expect("a mask");
            assert_eq!(mask & !OF_THE_C_LIBRARY, 0, "{name} by {script}: {mask:x}");
        }
    }
}

#[test]
fn it_leads_a_process_group_of_its_own() {
    let group = "run = [\"/bin/cat\", \"/proc/self/stat\"]";
    let server = Commands::start(&program("group", "", group));
    let said = server.exchange("group", b"\n");
    let fields: Vec<&str> = said.split(' ').collect();
    assert_eq!(fields[4], fields[0], "process group and process of {said}");
    let replyd = server.process().id().to_string();
    assert_eq!(fields[3], replyd, "its parent is replyd: {said}");
}

#[test]
fn its_limit_of_open_files_is_the_one_replyd_was_started_with() {
    let mut command = Command::new("/bin/sh");
    command.args([
        "-c",
        "ulimit -Sn 700; ulimit -Hn 1000; exec \"$0\" \"$@\"",
        REPLYD,
    ]);
    let limits = script("limit", "", "read _ < gate; ulimit -Sn; ulimit -Hn", "");
    let mut server = Commands::start_by(&mut command, &limits);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.process().id()));
    let limits = limits.expect("it runs");
    let own = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    assert!(
        own.is_some_and(|own| own.contains("1000  ")),
        "replyd takes all: {own:?}"
    );
    let mut client = server.ask("limit", b"\n");
    // It is set at the start, but from outside.
    server.wait_for_queue("limit", 1, 0);
    server.let_through(1);
    assert_eq!(shown(&read_all(&mut client)), "700\n1000\n");
}

#[test]
fn it_runs_in_its_working_directory_which_is_the_root_at_first() {
    // Not `program`, which names one.
    let at_root = format!(
        "{}[service.reply.command]\nrun = [\"/bin/pwd\"]\n{}",
        service("root", ""),
        super::user()
    );
    let toml = [program("folder", "", "run = [\"/bin/pwd\"]"), at_root];
    let server = Commands::start(&toml.concat());
    assert_eq!(server.exchange("root", b"\n"), "/\n");
    let expected = format!("{}\n", server.path().display());
    assert_eq!(server.exchange("folder", b"\n"), expected);
}

/// That a process is nobody, and in no group but nobody's.
#[track_caller]
fn check_nobody(status: &str) {
    let nobody = User::from_name("nobody")
        .expect("looked up")
        .expect("there");
    for (name, expected) in [("Uid", nobody.uid.as_raw()), ("Gid", nobody.gid.as_raw())] {
        let all = vec![expected.to_string(); 4].join("\t");
        assert_eq!(
            field(status, name),
            all,
            "{name}: real, effective, saved, of files"
        );
    }
    let groups = field(status, "Groups");
    assert!(
        groups.is_empty() || groups == nobody.gid.to_string(),
        "{groups}"
    );
}

#[test]
fn root_runs_it_as_the_user_that_is_named() {
    if !getuid().is_root() {
        return;
    }
    let options = format!("{STATUS}user = \"nobody\"\nworking_directory = \"/\"");
    let server = Commands::start(&program("status", "", &options));
    let status = server.exchange("status", b"\n");
    check_nobody(&status);
    assert_eq!(field(&status, "Groups"), "");
    assert_eq!(field(&status, "CapEff"), "0000000000000000");
    assert!(Uid::effective().is_root(), "replyd's own user stays");
}

#[test]
fn root_runs_it_in_the_group_that_is_named() {
    if !getuid().is_root() {
        return;
    }
    let options =
        format!("{STATUS}user = \"nobody\"\ngroup = \"daemon\"\nworking_directory = \"/\"");
    let server = Commands::start(&program("status", "", &options));
    let status = server.exchange("status", b"\n");
    let daemon = nix::unistd::Group::from_name("daemon")
        .expect("looked up")
        .expect("there");
    assert_eq!(
        field(&status, "Gid"),
        vec![daemon.gid.to_string(); 4].join("\t")
    );
    assert_eq!(field(&status, "Groups"), "");
}

#[test]
fn with_a_user_of_the_server_it_is_that_user() {
    if !getuid().is_root() {
        return;
    }
    let named = program(
        "named",
        "",
        &format!("{STATUS}user = \"nobody\"\nworking_directory = \"/\""),
    );
    let unnamed = named
        .replace("\"named\"", "\"unnamed\"")
        .replace("user = \"nobody\"\n", "");
    let server = Commands::start(&format!("[server]\nuser = \"nobody\"\n{named}{unnamed}"));
    for service in ["named", "unnamed"] {
        check_nobody(&server.exchange(service, b"\n"));
    }
}
