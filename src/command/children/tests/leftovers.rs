//! What runs leave behind: nothing.

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use super::*;
use crate::command::children::orphans::Orphans;

/// Leaves its session, says who it is, and stays; the run ends when it has heard that.
const ESCAPE: &str = "{ setsid sh -c 'echo $$; exec sleep 1000 >&- 2>&-' & } | head -n 1";

#[test]
fn who_has_left_the_session_is_killed() {
    let mut owner = Owner::new();
    let said = owner.said(script(ESCAPE), Input::default());
    owner.turn_until_gone(said.trim());
}

#[test]
fn one_looks_within_100_milliseconds_of_an_end_and_no_more_often() {
    let start = Instant::now();
    let after = |milliseconds| start + Duration::from_millis(milliseconds);
    let mut orphans = Orphans::new(start).expect("orphans");
    assert_eq!(orphans.due(), None, "nothing has run");
    orphans.expect(start);
    let due = orphans.due().expect("due");
    assert!(due > start && due <= after(100), "{due:?}");
    orphans.expect(after(10));
    assert_eq!(orphans.due(), Some(due), "one look for both");
    orphans.sweep(after(70), |_| true);
    assert_eq!(orphans.due(), None, "there was none");
    orphans.expect(after(80));
    assert_eq!(orphans.due(), Some(after(170)));
}

#[test]
fn a_group_of_those_who_have_left_is_killed() {
    let mut owner = Owner::new();
    let text = "{ setsid sh -c 'sleep 1000 >&- 2>&- & echo $! $$; exec sleep 1000 >&- 2>&-' & } | head -n 1";
    let said = owner.said(script(text), Input::default());
    for pid in said.split_whitespace() {
        owner.turn_until_gone(pid);
    }
}

#[test]
fn those_without_a_leader_are_killed() {
    let mut owner = Owner::new();
    let text = "{ setsid sh -c 'sleep 1000 >&- 2>&- & echo $!' & } | head -n 1";
    let said = owner.said(script(text), Input::default());
    owner.turn_until_gone(said.trim());
}

#[test]
fn with_its_owner_whoever_has_left_a_session_that_had_left_is_killed() {
    let mut owner = Owner::new();
    let folder = tempfile::tempdir().expect("a folder");
    let inner = "setsid sh -c 'echo \\$\\$ >x; mv x pid; sleep 1000'; sleep 1000";
    let mut process = script(&format!("setsid sh -c \"{inner}\" & sleep 1000"));
    process.working_directory = folder.path().to_owned();
    owner.start(process);
    let file = folder.path().join("pid");
    owner.turn_until(|_| file.exists());
    let pid = std::fs::read_to_string(file).expect("a number");
    drop(owner);
    assert!(!std::fs::exists(format!("/proc/{}", pid.trim())).expect("known"));
}

/// Two looks for orphans: who was killed in the first is not there in the second.
#[track_caller]
fn look_twice(owner: &mut Owner) {
    for _ in 0..2 {
        owner.said(script("exit 0"), Input::default());
        let end = Instant::now() + PATIENCE;
        while owner.children.orphans.due().is_some() {
            assert!(Instant::now() < end, "it looks, and looks");
            owner.turn_for(NEVER);
        }
    }
}

/// Whether a process runs, and is no zombie.
fn is_alive(pid: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"));
    status.is_ok_and(|status| status.contains("State:\tS"))
}

#[test]
fn an_orphan_in_the_group_of_a_run_that_goes_on_is_left_alone() {
    let mut owner = Owner::new();
    let folder = tempfile::tempdir().expect("a folder");
    let mut process = script("sh -c 'sleep 1000 >&- 2>&- & echo $! >x; mv x pid'; sleep 1000");
    process.working_directory = folder.path().to_owned();
    let id = owner.start(process);
    let file = folder.path().join("pid");
    owner.turn_until(|_| file.exists());
    let pid = std::fs::read_to_string(file).expect("readable");
    look_twice(&mut owner);
    assert!(is_alive(pid.trim()));
    owner.children.stop(id, Instant::now());
    owner.turn_until_gone(pid.trim());
}

#[test]
fn the_children_of_other_threads_are_left_to_them() {
    let (id_tx, id_rx) = std::sync::mpsc::channel();
    let (go_tx, go_rx) = std::sync::mpsc::channel();
    let foreign = std::thread::spawn(move || {
        let mut child = Command::new("sh")
            .args(["-c", "exit 5"])
            .spawn()
            .expect("started");
        id_tx.send(Pid::from_child(&child)).expect("sent");
        go_rx.recv().expect("may go");
        child.wait()
    });
    let mut owner = Owner::new();
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    let ended = waitid(WaitId::Pid(id_rx.recv().expect("started")), options);
    ended.expect("our child").expect("its end");
    look_twice(&mut owner);
    go_tx.send(()).expect("sent");
    let status = foreign.join().expect("no panic").expect("its child");
    assert_eq!(status.code(), Some(5));
}

fn main_threads_children() -> String {
    let list = format!("/proc/self/task/{}/children", std::process::id());
    std::fs::read_to_string(list).expect("a list")
}

#[test]
#[ignore = "a child of the next test"]
fn knows_who_was_there_before() {
    let pid = main_threads_children();
    let mut owner = Owner::new();
    look_twice(&mut owner);
    assert!(is_alive(pid.trim()), "{pid}");
    let pid = pid.trim().parse().ok().and_then(Pid::from_raw);
    kill_process(pid.expect("one process"), Signal::KILL).expect("killed");
    owner.turn_until(|_| main_threads_children().is_empty());
}

#[test]
fn who_was_there_before_is_left_alone_and_reaped() {
    alone(
        "leftovers::knows_who_was_there_before",
        "setsid sleep 1000 >&- 2>&- & :",
    );
}

#[test]
#[ignore = "a child of the next test"]
fn is_blind() {
    let mut owner = Owner::new();
    owner.children.orphans.is_blind = true;
    // They are killed with the group, and come here.
    let ids: Vec<RunId> = (0..10)
        .map(|_| owner.start(script("sleep 1000 & sleep 1000 & :")))
        .collect();
    for id in ids {
        owner.ended(id);
    }
    owner.turn_until(|_| main_threads_children().is_empty());
    assert_eq!(owner.children.next_deadline(), None);
}

#[test]
fn without_a_list_of_them_orphans_are_reaped_all_the_same() {
    alone("leftovers::is_blind", ":");
}

/// Every kind of run, at once.
fn all_kinds(owner: &mut Owner) {
    let mut processes = vec![
        script("echo hi"),
        script("cat >&2; kill -9 $$"),
        script("yes"),
        script("sleep 1000 & exec >&-; exit 3"),
        script(ESCAPE),
        script("trap '' TERM; sleep 1000"),
        program(&["/nowhere/x"]),
    ];
    for process in &mut processes {
        process.kill_after = Duration::from_millis(1);
    }
    processes[5].timeout = Duration::from_millis(1);
    let bytes = vec![b'x'; 100_000];
    let start = |process| owner.try_start(process, request(&bytes));
    let started: Vec<io::Result<RunId>> = processes.into_iter().map(start).collect();
    let unwanted = owner.start(script("sleep 1000"));
    owner.children.stop(unwanted, Instant::now());
    for id in started.into_iter().flatten().chain([unwanted]) {
        owner.take(id);
    }
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd")
        .expect("a folder")
        .count()
}

#[test]
#[ignore = "a child of the next test"]
fn runs_all_kinds() {
    let mut owner = Owner::new();
    let before = open_descriptors();
    for _ in 0..20 {
        all_kinds(&mut owner);
    }
    look_twice(&mut owner);
    assert_eq!(open_descriptors(), before);
    let anyone = waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    assert_eq!(
        anyone.err(),
        Some(Errno::CHILD),
        "neither alive nor a zombie"
    );
    assert_eq!(owner.children.next_deadline(), None);
}

#[test]
fn no_kind_of_run_leaves_a_process_a_zombie_or_a_descriptor() {
    alone("leftovers::runs_all_kinds", ":");
}
