//! What a child finds: arguments, variables, identity, signals, descriptors. And why none is started.

use std::os::unix::fs::PermissionsExt as _;

use nix::sys::signal::SigSet;
use rustix::process::{Resource, Rlimit, getrlimit};

use super::*;
use crate::command::children::Identity;

/// Nobody, on every Linux.
const NOBODY: Identity = Identity {
    uid: 65534,
    gid: 65534,
};

#[test]
fn arguments_come_as_they_are() {
    let mut owner = Owner::new();
    let mut process = program(&["/usr/bin/printf", "%s|", "a b", "$(id)"]);
    process.run.push(Argument::Request);
    let input = Input {
        argument: b"; rm -rf ~ \n\xff".to_vec(),
        ..Input::default()
    };
    let id = owner.try_start(process, input).expect("started");
    assert_eq!(owner.ended(id).stdout, b"a b|$(id)|; rm -rf ~ \n\xff|");
}

#[test]
fn variables_are_those_that_were_given_and_no_others() {
    let mut owner = Owner::new();
    let mut process = program(&["/usr/bin/env"]);
    process.environment = vec![
        ("A".to_owned(), "1".to_owned()),
        ("B".to_owned(), "2".to_owned()),
    ];
    let input = Input {
        variables: vec![("B", "3".to_owned()), ("C", "4".to_owned())],
        ..Input::default()
    };
    let said = owner.said(process, input);
    let mut variables: Vec<&str> = said.lines().collect();
    variables.sort_unstable();
    assert_eq!(variables, ["A=1", "B=3", "C=4"]);
}

#[test]
fn it_leads_a_group_of_its_own_in_the_folder_that_was_given() {
    let mut owner = Owner::new();
    let folder = tempfile::tempdir().expect("a folder");
    let mut process = script("pwd; echo $$; cut -d ' ' -f 5 /proc/$$/stat");
    process.working_directory = folder.path().canonicalize().expect("a path");
    let said = owner.said(process.clone(), Input::default());
    let said: Vec<&str> = said.lines().collect();
    assert_eq!(said[0], process.working_directory.to_str().expect("UTF-8"));
    assert_eq!(said[1], said[2]);
}

#[test]
fn it_is_who_it_is_meant_to_be_without_any_other_group() {
    let mut owner = Owner::new();
    let who = |identity| {
        let mut process = script("id -u; id -g; id -G");
        process.identity = identity;
        process
    };
    let ours = owner.said(who(None), Input::default());
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    assert!(ours.starts_with(&format!("{uid}\n{gid}\n")), "{ours}");
    let identity = Identity {
        uid: uid.as_raw(),
        gid: gid.as_raw(),
    };
    let same = owner.said(who(Some(identity)), Input::default());
    assert_eq!(same, ours, "nothing to be done");
    if uid.is_root() {
        let nobody = owner.said(who(Some(NOBODY)), Input::default());
        assert_eq!(nobody, "65534\n65534\n65534\n");
    } else {
        let refused = owner.try_start(who(Some(NOBODY)), Input::default());
        let refused = refused.expect_err("only root may").to_string();
        assert!(
            refused.contains("uid 65534, gid 65534 may not"),
            "{refused}"
        );
    }
}

#[test]
fn it_may_have_as_many_descriptors_as_was_said() {
    let mut owner = Owner::new();
    // Since the limit comes after the start, it has to be waited for.
    let text =
        "until [ \"$(ulimit -S -n) $(ulimit -H -n)\" = '100 200' ]; do :; done; echo limited";
    let mut process = script(text);
    assert_ne!(getrlimit(Resource::Nofile).current, Some(100));
    process.descriptors = Some(Rlimit {
        current: Some(100),
        maximum: Some(200),
    });
    assert_eq!(owner.said(process, Input::default()), "limited\n");
}

#[test]
fn no_signal_is_blocked() {
    SigSet::all().thread_block().expect("blocked");
    let mut owner = Owner::new();
    // No shell: some unblock them themselves.
    let grep = program(&["/bin/grep", "SigBlk", "/proc/self/status"]);
    let said = owner.said(grep, Input::default());
    assert_eq!(said, "SigBlk:\t0000000000000000\n");
}

/// The reasons for which a program is not started.
#[track_caller]
fn refused(process: Process, input: Input) -> String {
    let mut owner = Owner::new();
    let error = owner.try_start(process, input).expect_err("refused");
    let next = owner.start(script("exit 0"));
    assert_eq!(owner.ended(next).end, End::Exited(0), "the next one runs");
    error.to_string()
}

#[test]
fn why_a_program_is_not_started_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str, mode| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(&path, mode).expect("set");
        path.to_str().expect("UTF-8").to_owned()
    };
    let said = |path: &str| refused(program(&[path]), Input::default());
    let check = |said: String, expected: &str| assert!(said.contains(expected), "{said}");
    check(said("/nowhere/x"), "there is no /nowhere/x (");
    check(said(&file("plain", "#!/bin/sh\n", 0o644)), "may not run");
    check(said(folder.path().to_str().expect("UTF-8")), "may not run");
    check(
        said(&file("text", "echo hi\n", 0o755)),
        "begin with a line like #!/bin/sh",
    );
    check(
        said(&file("lost", "#!/nowhere/sh\n", 0o755)),
        "an interpreter that does not exist",
    );
    let mut process = script("exit 0");
    process.working_directory = PathBuf::from("/nowhere");
    check(
        refused(process, Input::default()),
        "no working directory /nowhere",
    );
    let mut process = script("exit 0");
    process.run.push(Argument::Request);
    let with = |argument: Vec<u8>| Input {
        argument,
        ..Input::default()
    };
    check(refused(process.clone(), with(b"a\0b".to_vec())), "NUL byte");
    check(refused(process, with(vec![b'x'; 1 << 20])), "128 KiB");
}

#[test]
#[ignore = "a child of the next test"]
fn said_by_a_child() {
    let mut owner = Owner::new();
    let text = "grep -e SigIgn -e SigBlk /proc/self/status; echo /proc/self/fd/*";
    let said = owner.said(script(text), Input::default());
    std::fs::write("/proc/self/fd/2", said).expect("said");
}

#[test]
fn no_ignored_signal_and_no_stray_descriptor_is_handed_on() {
    let before = "trap '' HUP INT QUIT TERM PIPE USR1 ALRM WINCH; exec 5</dev/null 9</dev/null";
    let said = alone("surroundings::said_by_a_child", before);
    // The two of the C library's own; see `signals.rs`.
    let said = said.replace("SigIgn:\t0000000180000000", "SigIgn:\t0000000000000000");
    let signals = "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n";
    // The last is the folder that is listed.
    let descriptors = "/proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 /proc/self/fd/3\n";
    assert_eq!(said, format!("{signals}{descriptors}"));
}
