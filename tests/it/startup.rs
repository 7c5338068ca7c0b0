//! The real binary's start: arguments, faults of the config, where it is looked for, limits.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;

use crate::harness::service;
use crate::process::{Process, REPLYD, config, exchange, hello};

/// Runs `replyd` with `arguments` in a folder to its end.
#[track_caller]
fn run(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    Process::start(Command::new(REPLYD).current_dir(folder).args(arguments)).end()
}

#[test]
fn wrong_arguments_are_exit_code_64() {
    let folder = tempfile::tempdir().expect("a folder");
    for arguments in [&["--nonsense"][..], &["nonsense"], &["check", "a", "b"]] {
        let (code, said) = run(folder.path(), arguments);
        assert_eq!(code, Some(64), "{arguments:?}: {said}");
        assert!(said.contains("Usage"), "{said}");
    }
    for arguments in [["--help"], ["--version"]] {
        assert_eq!(run(folder.path(), &arguments).0, Some(0), "{arguments:?}");
    }
}

#[test]
fn a_typo_is_shown_where_it_is_with_the_right_word() {
    let folder = tempfile::tempdir().expect("a folder");
    let toml = "[[service]]\nname = \"hello\"\nlisten = \"127.0.0.1:0\"\nbacklogg = 5\n\
                reply.text = \"hi\"\n[server]\ngrace_period_secondss = 1\n";
    std::fs::write(folder.path().join("test.toml"), toml).expect("written");
    for arguments in [&["--config", "test.toml"][..], &["check", "test.toml"]] {
        let (code, said) = run(folder.path(), arguments);
        assert_eq!(code, Some(78), "{said}");
        for text in [
            "test.toml:4:1",
            "`backlog`",
            "^",
            "test.toml:7:1",
            "`grace_period_seconds`",
        ] {
            assert!(said.contains(text), "no {text:?} in\n{said}");
        }
    }
    let (code, said) = run(folder.path(), &["--config", "missing.toml"]);
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("missing.toml"), "{said}");
}

#[test]
fn a_template_that_does_not_compile_is_a_fault_of_the_config() {
    let folder = tempfile::tempdir().expect("a folder");
    let toml = config(&service("hello", "reply.text = \"{{ requst }}\""));
    std::fs::write(folder.path().join("test.toml"), toml).expect("written");
    for arguments in [&["--config", "test.toml"][..], &["check", "test.toml"]] {
        let (code, said) = run(folder.path(), arguments);
        assert_eq!(code, Some(78), "{said}");
        assert!(
            said.contains("test.toml:5:") && said.contains("request"),
            "{said}"
        );
    }
}

#[test]
fn a_port_that_is_taken_is_exit_code_1() {
    let folder = tempfile::tempdir().expect("a folder");
    let taken = TcpListener::bind("127.0.0.1:0").expect("bound");
    let addr = taken.local_addr().expect("an address");
    let keys = format!("listen = \"{addr}\"\nreply.text = \"hi\"");
    let (code, said) = Process::with_config(folder.path(), &config(&service("hello", &keys))).end();
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains(&addr.to_string()) && said.contains("`hello`"),
        "{said}"
    );
    assert!(!said.contains("INFO ready"), "{said}");
}

#[test]
fn it_takes_the_file_in_its_folder_before_the_built_in_one() {
    let folder = tempfile::tempdir().expect("a folder");
    if !Path::new("/etc/replyd/server.toml").exists() {
        let (code, said) = run(folder.path(), &["check"]);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("built in"), "{said}");
    }
    std::fs::write(folder.path().join("server.toml"), hello()).expect("written");
    let (code, said) = run(folder.path(), &["check"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("server.toml: good"), "{said}");
    let mut process = Process::start(Command::new(REPLYD).current_dir(folder.path()));
    let addr = process.addr();
    assert_eq!(exchange(addr, b"you\n"), b"hello, you\n");
    process.signal(Signal::TERM);
    let (code, said) = process.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("config=server.toml"), "{said}");

    // One that is there but can't be taken is not passed over.
    std::fs::write(folder.path().join("server.toml"), "nonsense").expect("written");
    assert_eq!(run(folder.path(), &[]).0, Some(78));
    std::fs::remove_file(folder.path().join("server.toml")).expect("removed");
    std::os::unix::fs::symlink("nowhere", folder.path().join("server.toml")).expect("linked");
    assert_eq!(
        run(folder.path(), &["check"]).0,
        Some(78),
        "a dangling link is no missing file"
    );
}

#[test]
fn root_takes_no_file_that_another_user_has_put_there() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("server.toml");
    std::fs::write(&path, hello()).expect("written");
    std::os::unix::fs::chown(&path, Some(65_534), None).expect("given away");
    for arguments in [&[][..], &["check"]] {
        let (code, said) = run(folder.path(), arguments);
        assert_eq!(code, Some(78), "{said}");
        assert!(said.contains("another user"), "{said}");
    }
    let (code, said) = run(folder.path(), &["check", "./server.toml"]);
    assert_eq!(code, Some(0), "who names it takes it: {said}");
}

/// Runs with `toml` under limits of descriptors that `ulimit` sets.
fn limited(folder: &Path, ulimit: &str, toml: &str) -> Process {
    std::fs::write(folder.join("test.toml"), toml).expect("written");
    let script = format!("ulimit {ulimit} && exec \"$0\" --config test.toml");
    Process::start(
        Command::new("sh")
            .current_dir(folder)
            .args(["-c", &script, REPLYD]),
    )
}

#[test]
fn more_connections_than_descriptors_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let toml = format!("[server]\nmax_connections = 1000\n{}", hello());
    let (code, said) = limited(folder.path(), "-n 1000", &toml).end();
    assert_eq!(code, Some(78), "{said}");
    assert!(
        said.contains("test.toml:2:") && said.contains("RLIMIT_NOFILE"),
        "{said}"
    );
    assert!(!said.contains("INFO ready"), "{said}");
    let (code, said) = limited(folder.path(), "-n 50", &hello()).end();
    assert_eq!(code, Some(78), "next to nothing: {said}");
}

#[test]
fn the_soft_limit_of_descriptors_is_raised_and_the_hard_one_obeyed() {
    let folder = tempfile::tempdir().expect("a folder");
    let toml = format!("[server]\nmax_connections = 1000\n{}", hello());
    let limit = "-S -n 100 && ulimit -H -n 2000";
    let mut process = limited(folder.path(), limit, &toml);
    let addr = process.addr();
    assert_eq!(exchange(addr, b"you\n"), b"hello, you\n");
    process.signal(Signal::TERM);
    assert_eq!(process.end().0, Some(0));
    let mut process = limited(folder.path(), "-n 1000", &hello());
    process.addr();
    process.signal(Signal::TERM);
    let (code, said) = process.end();
    assert_eq!(code, Some(0), "0 takes what there is: {said}");
}

#[test]
fn it_starts_where_interrupts_are_ignored() {
    // As in the background of a script: `replyd &`.
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("test.toml"), hello()).expect("written");
    let script = "trap '' INT; exec \"$0\" --config test.toml";
    let mut command = Command::new("sh");
    let mut process = Process::start(
        command
            .current_dir(folder.path())
            .args(["-c", script, REPLYD]),
    );
    let addr = process.addr();
    assert_eq!(exchange(addr, b"you\n"), b"hello, you\n");
    process.signal(Signal::TERM);
    assert_eq!(process.end().0, Some(0));
}
