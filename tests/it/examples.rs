//! The examples in `packaging/`, each served by the real binary: what its clients get.
//!
//! The files are as they are shipped, but for addresses, paths and the user.

use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::client::parse_http;
use crate::process::{Process, REPLYD, exchange};

const CHECK: &[u8] = b"OPTIONS / HTTP/1.0\r\n\r\n";

/// What the configuration of an example says, and this instead. It has to be there.
type Changes<'a> = &'a [(&'a str, &'a str)];

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/examples")
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("written");
}

/// A folder with what an example's script sees: `bin` comes first in its PATH, the rest is in place of `/etc/replyd`.
struct World {
    folder: TempDir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("bin")).expect("made");
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        write(&self.path(name), text);
    }

    /// A program in place of the real one.
    fn program(&self, name: &str, script: &str) {
        let path = self.path(&format!("bin/{name}"));
        write(&path, &format!("#!/bin/sh\n{script}\n"));
        std::fs::set_permissions(path, Permissions::from_mode(0o755)).expect("allowed");
    }

    /// The example's configuration, for this world and this user.
    #[track_caller]
    fn config(&self, example: &str, changes: Changes<'_>) -> String {
        let folder = examples().join(example);
        let toml = std::fs::read_to_string(folder.join(format!("{example}.toml")));
        let mut toml = toml.expect("it is there");
        let world = self.folder.path().display();
        let (path, scripts) = (
            format!("PATH = \"{world}/bin:"),
            format!("{}/", folder.display()),
        );
        for (old, new) in [("PATH = \"", path.as_str())].iter().chain(changes) {
            assert!(toml.contains(old), "no {old:?} in\n{toml}");
            toml = toml.replace(old, new);
        }
        toml = toml
            .replace("/usr/libexec/replyd/", &scripts)
            .replace("/etc/replyd/", &format!("{world}/"));
        if rustix::process::getuid().is_root() {
            toml = toml.replace("\n#user = \"nobody\"", "\nuser = \"root\"");
        } else {
            toml = toml.replace("\nuser = \"root\"", "\n");
        }
        if !toml.contains("[admin]") {
            toml.insert_str(0, "[admin]\nlisten = \"127.0.0.1:0\"\n");
        }
        let lines = toml.lines().map(|line| match line.split_once(" = ") {
            Some(("listen", _)) => "listen = \"127.0.0.1:0\"",
            _ => line,
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    #[track_caller]
    fn serve(&self, example: &str, changes: Changes<'_>) -> (Process, SocketAddr) {
        let toml = self.config(example, changes);
        let mut process = Process::with_config(self.folder.path(), &toml);
        let addr = process.addr();
        (process, addr)
    }
}

#[track_caller]
fn said(addr: SocketAddr, request: &[u8]) -> String {
    String::from_utf8(exchange(addr, request)).expect("UTF-8")
}

#[test]
fn every_example_is_a_good_configuration_with_nothing_to_warn_of() {
    let folders = std::fs::read_dir(examples()).expect("a folder");
    let names = folders.map(|entry| entry.expect("an entry").path());
    let names: Vec<PathBuf> = names.filter(|path| path.is_dir()).collect();
    assert_eq!(names.len(), 5, "each has a test below: {names:?}");
    for folder in names {
        let name = folder.file_name().expect("a name").display().to_string();
        let config = folder.join(format!("{name}.toml"));
        let check = ["check", "--offline", "--strict"];
        let output = Command::new(REPLYD).args(check).arg(&config).output();
        let output = output.expect("run");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

// ── clustercheck ──

/// The reply of percona-clustercheck: these are its bytes.
fn node(status: &str, length: usize, what: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n\
         Percona XtraDB Cluster Node is {what}.\r\n"
    )
}

fn synced() -> String {
    node("200 OK", 40, "synced")
}

fn not_synced() -> String {
    node("503 Service Unavailable", 44, "not synced")
}

/// A node whose mysql answers with what is in the file `galera`, and fails if that is empty.
fn galera() -> World {
    let world = World::new();
    let folder = world.folder.path().display().to_string();
    world.program(
        "mysql",
        &format!("printf '%s\\n' \"$@\" >{folder}/arguments\ncat {folder}/galera\ntest -s {folder}/galera"),
    );
    world.be_galera("Primary", 4, "OFF");
    world
}

impl World {
    fn be_galera(&self, component: &str, state: u8, read_only: &str) {
        let answer = format!(
            "wsrep_cluster_status\t{component}\nwsrep_local_state\t{state}\nread_only\t{read_only}\n"
        );
        self.write("galera", &answer);
    }
}

/// Each check has a run of its own.
const UNCACHED: (&str, &str) = ("cache_seconds = 1", "cache_seconds = 0");

#[test]
fn clustercheck_says_what_percona_s_says() {
    let world = galera();
    let (_replyd, addr) = world.serve("clustercheck", &[UNCACHED]);
    assert_eq!(said(addr, CHECK), synced());
    for (component, state) in [("Primary", 2), ("Primary", 3), ("non-Primary", 4)] {
        world.be_galera(component, state, "OFF");
        assert_eq!(said(addr, CHECK), not_synced(), "{component} {state}");
    }
    world.be_galera("Primary", 4, "ON");
    assert_eq!(said(addr, CHECK), synced(), "a replica may be asked");
    world.write("galera", "");
    assert_eq!(said(addr, CHECK), not_synced(), "mysql gives no answer");
    world.write("clustercheck.disabled", "");
    let disabled = node("503 Service Unavailable", 51, "manually disabled");
    assert_eq!(said(addr, CHECK), disabled);
}

#[test]
fn clustercheck_takes_a_donor_and_leaves_out_a_replica_if_told_to() {
    let world = galera();
    let changes = [
        UNCACHED,
        (
            "AVAILABLE_WHEN_DONOR = \"0\"",
            "AVAILABLE_WHEN_DONOR = \"1\"",
        ),
        (
            "AVAILABLE_WHEN_READONLY = \"1\"",
            "AVAILABLE_WHEN_READONLY = \"0\"",
        ),
    ];
    let (_replyd, addr) = world.serve("clustercheck", &changes);
    world.be_galera("Primary", 2, "OFF");
    assert_eq!(said(addr, CHECK), synced());
    world.be_galera("Primary", 4, "ON");
    assert_eq!(
        said(addr, CHECK),
        node("503 Service Unavailable", 43, "read-only")
    );
}

#[test]
fn clustercheck_has_its_password_in_a_file() {
    let world = galera();
    let (_replyd, addr) = world.serve("clustercheck", &[]);
    assert_eq!(said(addr, CHECK), synced());
    let arguments = std::fs::read_to_string(world.path("arguments")).expect("mysql was run");
    let file = world.path("clustercheck.cnf");
    let first = format!("--defaults-extra-file={}\n", file.display());
    // As mysql takes it only there.
    assert!(arguments.starts_with(&first), "{arguments}");
    assert!(!arguments.contains("password"), "{arguments}");
}

#[test]
fn clustercheck_is_run_once_for_all_who_ask_within_a_second() {
    let world = galera();
    let changes = [("cache_seconds = 1", "cache_seconds = 600")];
    let (_replyd, addr) = world.serve("clustercheck", &changes);
    assert_eq!(said(addr, CHECK), synced());
    world.be_galera("Primary", 3, "OFF");
    assert_eq!(said(addr, CHECK), synced());
}

// ── agent-check ──

#[test]
fn agent_check_says_weight_and_word() {
    let world = World::new();
    let load = format!(
        "AGENT_CHECK_LOAD_FILE = \"{}\"\nAGENT_CHECK_LOW",
        world.path("load").display()
    );
    let changes = [
        ("AGENT_CHECK_LOW", load.as_str()),
        ("cache_seconds = 0.5", "cache_seconds = 0"),
    ];
    world.program("getconf", "echo 4");
    world.write("load", "0.08 0.00 0.00 1/100 1\n");
    let (_replyd, addr) = world.serve("agent-check", &changes);
    assert_eq!(said(addr, b""), "up ready 100%\n", "no file is ready");
    // 1.35 a CPU: in the middle of 0.7 and 2.
    for (load, weight) in [("2.80", 100), ("5.40", 55), ("8.00", 10), ("123.45", 10)] {
        world.write("load", &format!("{load} 0.00 0.00 1/100 1\n"));
        assert_eq!(said(addr, b""), format!("up ready {weight}%\n"), "{load}");
    }
    for (word, reply) in [
        ("drain\n", "up drain 10%\n"),
        ("maint", "up maint 10%\n"),
        ("down\n", "down ready 10% #by hand\n"),
        ("ready\n", "up ready 10%\n"),
        // Neither is a word of HAProxy's: it keeps what it was told before.
        ("dwon\n", "failed\n"),
        ("", "failed\n"),
    ] {
        world.write("agent-check", word);
        assert_eq!(said(addr, b""), reply, "{word:?}");
    }
}

// ── checkmk ──

#[test]
fn checkmk_hands_on_what_the_agent_prints_and_nothing_else() {
    let world = World::new();
    world.program(
        "check_mk_agent",
        "cat\nprintf '<<<check_mk>>>\\nAgentOS: linux\\nasync: %s\\n' \"$MK_RUN_ASYNC_PARTS\"",
    );
    let agent = world.path("bin/check_mk_agent").display().to_string();
    let changes = [
        ("/usr/bin/check_mk_agent", agent.as_str()),
        ("cache_seconds = 30", "cache_seconds = 0"),
    ];
    let (_replyd, addr) = world.serve("checkmk", &changes);
    // Nothing may come before the first section, and an agent that reads must not wait.
    let sections = "<<<check_mk>>>\nAgentOS: linux\nasync: false\n";
    assert_eq!(said(addr, b""), sections);
    world.program("check_mk_agent", "echo '<<<check_mk>>>'; kill -9 $$");
    assert_eq!(said(addr, b""), "", "half of it is nothing");
}

// ── disk-space ──

/// A machine whose disk is this full, in bytes and inodes.
fn disk(bytes: &str, inodes: &str) -> World {
    let world = World::new();
    let script = format!(
        "case $2 in -k) used='{bytes}' ;; -i) used='{inodes}' ;; esac\n\
         [ \"$4\" != /gone ] || exit 1\n\
         printf 'Filesystem Blocks Used Available Capacity Mounted on\\n'\n\
         printf '//host/a share 100 50 50 %s /mnt/a share\\n' \"$used\""
    );
    world.program("df", &script);
    world
}

#[test]
fn disk_space_makes_a_status_of_an_exit_status() {
    let paths = "DISK_SPACE_PATHS = \"/ /var /srv\"";
    let (one, gone) = ("DISK_SPACE_PATHS = \"/\"", "DISK_SPACE_PATHS = \"/ /gone\"");
    for (bytes, inodes, paths_now, status, text) in [
        ("90%", "-", one, 200, "ok / bytes=90% inodes=- max=90%\n"),
        (
            "91%",
            "3%",
            one,
            503,
            "full / bytes=91% inodes=3% max=90%\n",
        ),
        (
            "5%",
            "100%",
            one,
            503,
            "full / bytes=5% inodes=100% max=90%\n",
        ),
        (
            "5%",
            "3%",
            gone,
            500,
            "ok / bytes=5% inodes=3% max=90%\nunknown /gone\n",
        ),
    ] {
        let world = disk(bytes, inodes);
        let (_replyd, addr) = world.serve("disk-space", &[(paths, paths_now)]);
        let (found, head, body) = parse_http(&exchange(addr, CHECK));
        assert_eq!((found, body.as_str()), (status, text), "{head}");
    }
}

// ── whois ──

/// The registry that is shipped.
fn registry() -> World {
    let world = World::new();
    let objects = std::fs::read_to_string(examples().join("whois/whois.objects"));
    world.write("whois.objects", &objects.expect("it is there"));
    world
}

#[test]
fn whois_shows_the_object_that_was_asked_for() {
    let world = registry();
    let (_replyd, addr) = world.serve("whois", &[]);
    let locked =
        "domain:   example.org\r\nholder:   Example Foundation\r\nstatus:   locked\r\n\r\n";
    assert_eq!(said(addr, b"example.org\r\n"), locked);
    assert_eq!(said(addr, b"EXAMPLE.org\n"), locked);
    assert_eq!(said(addr, b"example\r\n"), "% No object has this key.\r\n");
    assert_eq!(said(addr, b"\r\n"), "% Ask for a key.\r\n");
}

#[test]
fn whois_runs_nothing_of_what_it_is_asked() {
    let world = registry();
    let (_replyd, addr) = world.serve("whois", &[]);
    let file = world.path("made").display().to_string();
    for request in [
        format!("$(touch {file})"),
        format!("`touch {file}`"),
        format!("'; touch {file}; '"),
        format!("\"; system(\"touch {file}\"); \""),
        format!("x\" {file} \""),
        "example\\.org".to_owned(),
        "example\\056org".to_owned(),
        ".*".to_owned(),
        "*".to_owned(),
        "%s%n".to_owned(),
        "../whois.objects".to_owned(),
        "\u{1b}[31mexample.org".to_owned(),
    ] {
        let line = format!("{request}\r\n");
        let reply = said(addr, line.as_bytes());
        assert_eq!(reply, "% No object has this key.\r\n", "{request:?}");
    }
    for option in ["-f /etc/passwd", "--help", "--", "-"] {
        let reply = said(addr, format!("{option}\r\n").as_bytes());
        assert_eq!(reply, "% There are no options here.\r\n", "{option:?}");
    }
    // No argument can hold it.
    assert_eq!(
        said(addr, b"example.org\0x\r\n"),
        "% The lookup failed.\r\n"
    );
    assert!(!world.path("made").exists(), "something was run");
}
