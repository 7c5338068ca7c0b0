//! `replyd try` of commands: what was run, how it ended, and what that means.

use std::fs::{self, File};
use std::path::Path;

use rustix::process::{Pid, Signal, getegid, geteuid, kill_process};

use crate::client::{header, parse_http};
use crate::harness::wait_until;
use crate::trial::{GET, Tryout, command, ended, script};

#[test]
fn a_command_is_told_with_all_that_it_was_run_with() {
    let text = "cat; echo \"<$2>\"; env | sort; pwd; echo told >&2";
    let keys = "environment = { A = \"b c\" }\nworking_directory = \"/usr\"";
    let tryout = Tryout::new(&script("all", "", text, keys));
    let tried = tryout.run(
        &["all", "--request", "-", "--peer", "192.0.2.7:99"],
        b"-x; $(id)\r\n",
    );
    let reply = String::from_utf8(tried.stdout.clone()).expect("UTF-8");
    assert!(
        reply.starts_with("-x; $(id)\r\n<-x; $(id)>\nA=b c\nPROTO=TCP\n"),
        "{reply}"
    );
    assert!(
        reply.ends_with("/usr\n") && !reply.contains("SECRET"),
        "{reply}"
    );
    tried.is("replied", &reply);
    tried.says("ran", " sh -- \"-x; $(id)\"");
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    let whom = tried.line("as ");
    assert!(whom.ends_with(&format!("(uid {uid}, gid {gid})")), "{whom}");
    assert_eq!(tried.line("in "), "/usr");
    let environment = tried.line("environment");
    assert!(environment.contains("A=\"b c\"\n"), "{environment}");
    assert!(
        environment.contains("\nREMOTE_ADDR=192.0.2.7\n"),
        "{environment}"
    );
    assert!(
        environment.ends_with("\nREMOTE_PORT=99\nTCPREMOTEPORT=99"),
        "{environment}"
    );
    assert_eq!(tried.line("stdin"), "11 bytes");
    let line = tried.line("ended");
    assert!(
        line.starts_with("exit status 0 after ") && line.ends_with(" s of 10 s"),
        "{line}"
    );
    assert_eq!(tried.line("stdout"), format!("{} bytes", reply.len()));
    assert_eq!(tried.line("stderr"), "told");
}

#[test]
fn works_in_my_shell_and_fails_in_the_server() {
    let text = "printf 'on it\\n\\033[2J\\n' >&2; echo half; my-own-tool";
    let tryout = Tryout::new(&script(
        "check",
        "",
        text,
        "environment = { PATH = \"/nowhere:/bin\" }",
    ));
    let tried = tryout.ask("check", b"\n");
    tried.is("failed", "failed\n");
    tried.says("ended", "exit status 127 after 0.");
    assert_eq!(tried.line("stdout"), "5 bytes");
    let stderr = tried.line("stderr");
    assert!(
        stderr.starts_with("on it\n\\u{1b}[2J\n"),
        "nothing reaches the terminal: {stderr}"
    );
    assert!(
        stderr.contains("my-own-tool") && stderr.ends_with("not found"),
        "{stderr}"
    );
    let means = tried.line("that means");
    let (first, second) = means.split_once('\n').expect("two lines");
    assert_eq!(first, "exit status 127 is no answer: exit_status has 0, 1");
    assert!(
        second.ends_with("in its PATH: here it is /nowhere:/bin"),
        "{second}"
    );
}

#[test]
fn every_other_end_of_a_command_is_told() {
    let toml = [
        script("mapped", "", "echo down; exit 1", ""),
        script("other", "", "exit 2", ""),
        script("killed", "", "kill -9 $$", ""),
        script("talks", "", "echo 123456789", "max_output_bytes = 9"),
        command("none", "", "[\"/no/such/program\"]", ""),
    ];
    let tryout = Tryout::new(&toml.concat());
    tryout.ask("mapped", b"\n").is("replied", "down\n");
    let tried = tryout.ask("other", b"\n");
    tried.is("failed", "failed\n");
    assert_eq!(
        tried.line("that means"),
        "exit status 2 is no answer: exit_status has 0, 1"
    );
    let tried = tryout.ask("killed", b"\n");
    tried.is("failed", "failed\n");
    tried.says("ended", "killed by signal 9 (SIGKILL) after ");
    let tried = tryout.ask("talks", b"\n");
    tried.is("failed", "failed\n");
    tried.says("that means", "max_output_bytes = 9");
    let tried = tryout.ask("none", b"\n");
    tried.is("failed", "failed\n");
    assert_eq!(tried.line("ended"), "could not be started");
    tried.says("reason", "there is no /no/such/program");
}

/// Whether the process whose number is in the file is there.
fn is_alive(file: &Path) -> bool {
    let pid = fs::read_to_string(file).expect("written");
    Path::new("/proc").join(pid.trim()).exists()
}

#[test]
fn at_its_timeout_nothing_of_a_command_is_left() {
    let folder = tempfile::tempdir().expect("a folder");
    let pid = folder.path().join("pid");
    let text = format!(
        "trap '' TERM; echo $$ > {}; echo x; exec sleep 1000",
        pid.display()
    );
    let keys = "timeout_seconds = 0.2\nkill_after_seconds = 0.1";
    let tryout = Tryout::new(&script("slow", "", &text, keys));
    let tried = tryout.ask("slow", b"\n");
    tried.is("timed_out", "timed out\n");
    tried.says("ended", " s of 0.2 s");
    assert_eq!(tried.line("stdout"), "2 bytes");
    tried.says("that means", "timeout_seconds = 0.2");
    assert!(!is_alive(&pid), "{}", tried.stderr);
}

#[test]
fn an_interrupt_ends_the_command_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let pid = folder.path().join("pid");
    let run = format!(
        r#"["/bin/sh", "-c", "echo $$ > {0}.new; mv {0}.new {0}; exec sleep 1000"]"#,
        pid.display()
    );
    let tryout = Tryout::new(&command("slow", "read = \"nothing\"", &run, ""));
    let child = tryout.start(&["slow"]);
    wait_until("the command runs", || pid.exists());
    kill_process(Pid::from_child(&child), Signal::INT).expect("it runs");
    let tried = ended(child);
    tried.is("peer_closed", "");
    assert_eq!(tried.line("ended"), "nobody waited for that");
    assert!(!is_alive(&pid), "{}", tried.stderr);
}

#[test]
fn caches_and_schedules_run_once() {
    let toml = [
        script(
            "cached",
            "",
            "echo $2 $REMOTE_PORT",
            "cache_seconds = 9\ncache_key = [\"request\"]",
        ),
        command(
            "scheduled",
            "read = \"http\"",
            "[\"/bin/echo\", \"up\"]",
            "refresh_seconds = 9\noutput = \"body\"",
        ),
    ];
    let tryout = Tryout::new(&toml.concat());
    let tried = tryout.ask("cached", b"you\n");
    tried.is("replied", "you\n");
    assert!(
        !tried.line("environment").contains("REMOTE"),
        "{}",
        tried.stderr
    );
    let tried = tryout.ask("scheduled", GET);
    let (status, _, body) = parse_http(&tried.stdout);
    assert_eq!((status, body.as_str(), tried.code), (200, "up\n", Some(0)));
    assert_eq!(tried.line("stdin"), "0 bytes");
}

#[test]
fn the_exit_status_is_the_status_of_http() {
    let raw = script("raw", "read = \"http\"", "echo ok", "");
    let body = script(
        "body",
        "read = \"http\"",
        "echo down; exit 1",
        "output = \"body\"",
    );
    let tryout = Tryout::new(&(raw + &body));
    let tried = tryout.ask("body", GET);
    let (status, _, body) = parse_http(&tried.stdout);
    assert_eq!(
        (status, body.as_str(), tried.code),
        (503, "down\n", Some(0))
    );
    assert_eq!(
        tried.line("that means"),
        "exit status 1 is an answer: HTTP status 503"
    );
    let tried = tryout.ask("body", b"HEAD / HTTP/1.0\r\n\r\n");
    let (status, head, body) = parse_http(&tried.stdout);
    assert_eq!((status, body.as_str()), (503, ""));
    assert_eq!(header(&head, "Content-Length"), Some("5"));
    let tried = tryout.ask("raw", GET);
    tried.is("replied", "ok\n");
    tried.says("that means", "output = \"body\"");
}

#[test]
fn under_maintenance_nothing_is_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let down = folder.path().join("down");
    let keys = format!("maintenance.file = \"{}\"", down.display());
    let tryout = Tryout::new(&script("hello", &keys, "echo up", ""));
    tryout.ask("hello", b"\n").is("replied", "up\n");
    File::create(&down).expect("created");
    let tried = tryout.ask("hello", b"\n");
    tried.is("replied", "maint\n");
    assert!(!tried.stderr.contains("\nran "), "{}", tried.stderr);
    tried.says("that means", &down.display().to_string());
}
