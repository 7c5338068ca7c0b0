//! The real binary's log: its formats, and what becomes of lines that nobody takes.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{service, wait_until};
use crate::process::{Process, REPLYD, hello};

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

/// A configuration in `folder`, with the admin listener where it can be found without the log.
fn write_config(folder: &Path, log: &str) -> PathBuf {
    let admin = folder.join("admin");
    let services = service("hello", "reply.text = \"hi\\n\"");
    let toml = format!(
        "{log}{services}[admin]\nlisten = \"unix:{}\"\n",
        admin.display()
    );
    std::fs::write(folder.join("test.toml"), toml).expect("written");
    admin
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
        let page = page(&admin);
        let count = page
            .lines()
            .find_map(|line| line.strip_prefix("replyd_log_dropped_total "));
        count.is_some_and(|count| count != "0")
    });
    kill_process(Pid::from_child(&child), Signal::TERM).expect("it runs");
    assert_eq!(child.wait().expect("waited").code(), Some(0));
}
