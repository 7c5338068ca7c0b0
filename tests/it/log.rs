//! The real binary's log: its formats, and what becomes of lines that nobody takes.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::client::connect;
use crate::harness::{service, wait_until};
use crate::process::{Process, REPLYD, config, exchange, hello};

#[test]
fn as_json_a_line_is_an_object_with_a_key_for_each_field() {
    let folder = tempfile::tempdir().expect("a folder");
    let toml = format!("[log]\nformat = \"json\"\n{}", hello());
    let mut process = Process::with_config(folder.path(), &toml);
    process.line("\"message\":\"ready\"");
    process.signal(Signal::TERM);
    let (code, said) = process.end();
    assert_eq!(code, Some(0), "{said}");
    let lines = said.lines().map(serde_json::from_str::<serde_json::Value>);
    let lines: Vec<_> = lines.map(|line| line.expect("JSON")).collect();
    for line in &lines {
        for key in ["timestamp", "level", "message", "target"] {
            assert!(line[key].is_string(), "no {key} in {line}");
        }
    }
    let listening = lines.iter().find(|line| line["message"] == "listening");
    let listening = listening.expect("it says where");
    assert_eq!(listening["service"], "hello");
    assert_eq!(listening["level"], "INFO");
    let drained = lines.last().expect("lines");
    assert_eq!(drained["abandoned"], 0, "{drained}");
}

/// `GET /metrics` on a unix socket: the page, or nothing where nobody listens yet.
fn page(path: &Path) -> String {
    let mut page = String::new();
    if let Ok(mut client) = UnixStream::connect(path) {
        let asked = client.write_all(b"GET /metrics HTTP/1.0\r\n\r\n");
        asked.expect("it takes the request");
        client.read_to_string(&mut page).expect("it answers");
    }
    page
}

/// How many lines were dropped, once it serves.
fn dropped(admin: &Path) -> Option<u64> {
    let page = page(admin);
    let count = (page.lines()).find_map(|line| line.strip_prefix("replyd_log_dropped_total "));
    count.map(|count| count.parse().expect("a number"))
}

/// A configuration in `folder`, with the admin listener where it can be found without the log.
fn write_config(folder: &Path, log: &str) -> PathBuf {
    let admin = folder.join("admin");
    let hello = format!("listen = \"unix:{}\"", folder.join("hello").display());
    let services = service("hello", &format!("{hello}\nreply.text = \"hi\\n\""));
    let toml = format!(
        "{log}{services}[admin]\nlisten = \"unix:{}\"\n",
        admin.display()
    );
    std::fs::write(folder.join("test.toml"), toml).expect("written");
    admin
}

/// An exchange with the service of [`write_config`].
#[track_caller]
fn greet(folder: &Path) {
    let mut client = UnixStream::connect(folder.join("hello")).expect("it listens");
    client.write_all(b"you\n").expect("it takes the request");
    let mut reply = String::new();
    client.read_to_string(&mut reply).expect("it replies");
    assert_eq!(reply, "hi\n");
}

#[test]
fn a_level_leaves_out_what_is_less_important() {
    let folder = tempfile::tempdir().expect("a folder");
    let admin = write_config(folder.path(), "[log]\nlevel = \"error\"\n");
    let process = Process::start(
        Command::new(REPLYD)
            .current_dir(folder.path())
            .args(["--config", "test.toml"]),
    );
    wait_until("it serves", || {
        page(&admin).contains("replyd_log_dropped_total 0")
    });
    process.signal(Signal::TERM);
    assert_eq!(process.end(), (Some(0), String::new()));
}

#[test]
fn lines_that_cannot_be_written_are_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let admin = write_config(folder.path(), "");
    let full = File::options()
        .write(true)
        .open("/dev/full")
        .expect("Linux has it");
    let mut child = Command::new(REPLYD)
        .current_dir(folder.path())
        .args(["--config", "test.toml"])
        .stderr(Stdio::from(full))
        .spawn()
        .expect("started");
    wait_until("lines are counted", || {
        dropped(&admin).is_some_and(|count| count > 0)
    });
    kill_process(Pid::from_child(&child), Signal::TERM).expect("it runs");
    assert_eq!(child.wait().expect("waited").code(), Some(0));
}

/// Starts with an access log as JSON of `mode`, and gives the lines of it that these exchanges
/// make: one that is replied, one that asks to be taken for a line of the log, one that says
/// nothing, and one that is turned away.
#[track_caller]
fn access(mode: &str) -> Vec<serde_json::Value> {
    let folder = tempfile::tempdir().expect("a folder");
    let web = service("web", "read = \"http\"\nreply.text = \"hi\\n\"");
    let denied = service("shut", "deny = [\"127.0.0.0/8\"]\nreply.text = \"hi\\n\"");
    let log = format!("[log]\nformat = \"json\"\naccess = \"{mode}\"\n");
    let toml = format!("{log}{}", config(&format!("{web}{denied}")));
    let mut process = Process::with_config(folder.path(), &toml);
    let mut addr = || {
        let line = process.line("\"listening\"");
        let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        let addr = line["addr"].as_str().expect("an address");
        addr.parse().expect("an address")
    };
    let (web, shut) = (addr(), addr());
    exchange(web, b"GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    exchange(
        web,
        b"GET /forged\x1b[2J HTTP/1.1\r\nforged: \"level\":\"ERROR\"\n\r\n",
    );
    drop(connect(web).expect("connected"));
    assert_eq!(exchange(shut, b"you\n"), b"denied\n");
    process.signal(Signal::TERM);
    let (code, said) = process.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("forged"), "{said}");
    let lines = said.lines().map(serde_json::from_str::<serde_json::Value>);
    let lines = lines.map(|line| line.expect("JSON"));
    lines.filter(|line| line["target"] == "access").collect()
}

/// The outcomes of these lines, in the order of the alphabet.
fn outcomes(lines: &[serde_json::Value]) -> Vec<&str> {
    let mut outcomes: Vec<_> = lines
        .iter()
        .filter_map(|line| line["outcome"].as_str())
        .collect();
    outcomes.sort_unstable();
    outcomes
}

#[test]
fn of_all_exchanges_each_has_its_line() {
    let lines = access("all");
    assert_eq!(
        outcomes(&lines),
        ["denied", "invalid", "no_request", "replied"]
    );
    let replied = lines.iter().find(|line| line["outcome"] == "replied");
    let replied = replied.expect("it is there");
    assert_eq!(replied["service"], "web");
    let peer = replied["peer"].as_str().expect("a text");
    assert!(peer.starts_with("127.0.0.1:"), "{peer}");
    assert_eq!(replied["received_bytes"], 30);
    let sent_bytes = replied["sent_bytes"].as_u64().expect("a number");
    assert!(sent_bytes > 100, "{replied}");
    let seconds = |key: &str| replied[key].as_f64().expect("a number");
    assert!(
        seconds("queue_wait_seconds") <= seconds("duration_seconds"),
        "{replied}"
    );
    let denied = lines.iter().find(|line| line["outcome"] == "denied");
    assert_eq!(denied.expect("it is there")["sent_bytes"], 7);
}

#[test]
fn failures_are_what_the_peer_waited_for_in_vain() {
    assert_eq!(outcomes(&access("failures")), ["denied", "invalid"]);
}

#[test]
fn a_sample_has_every_outcome() {
    let lines = access("sampled");
    assert_eq!(
        outcomes(&lines),
        ["denied", "invalid", "no_request", "replied"]
    );
}

#[test]
fn an_access_log_that_is_off_has_no_line() {
    assert!(access("off").is_empty());
}

#[test]
fn a_reload_changes_which_exchanges_are_told() {
    let folder = tempfile::tempdir().expect("a folder");
    write_config(folder.path(), "");
    let mut process = Process::start(
        Command::new(REPLYD)
            .current_dir(folder.path())
            .args(["--config", "test.toml"]),
    );
    process.line("ready");
    write_config(folder.path(), "[log]\naccess = \"all\"\n");
    process.signal(Signal::HUP);
    process.line("reloaded");
    greet(folder.path());
    process.line("outcome=replied");
    process.signal(Signal::TERM);
    assert_eq!(process.end().0, Some(0));
}

#[test]
fn a_log_that_nobody_reads_holds_nobody_up_and_counts_what_is_dropped() {
    let folder = tempfile::tempdir().expect("a folder");
    let admin = write_config(folder.path(), "[log]\naccess = \"all\"\n");
    let (unread, stderr) = std::io::pipe().expect("a pipe");
    let mut child = Command::new(REPLYD)
        .current_dir(folder.path())
        .args(["--config", "test.toml"])
        .stderr(stderr)
        .spawn()
        .expect("started");
    let hello = folder.path().join("hello");
    wait_until("it serves", || UnixStream::connect(&hello).is_ok());
    wait_until("lines are dropped", || {
        for _ in 0..500 {
            greet(folder.path());
        }
        dropped(&admin).is_some_and(|count| count > 0)
    });
    kill_process(Pid::from_child(&child), Signal::TERM).expect("it runs");
    assert_eq!(child.wait().expect("waited").code(), Some(0));
    drop(unread);
}
