//! What `replyd check` and `replyd show` print, and their exit codes.

use std::path::Path;
use std::process::Command;

use replyd::config::fault::Faults;
use replyd::config::load::load;
use replyd::server::machine::Machine;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::REPLYD;

/// What a run to its end came to.
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn run(folder: &Path, arguments: &[&str]) -> Ran {
    let mut command = Command::new(REPLYD);
    let output = command.current_dir(folder).args(arguments).output();
    let output = output.expect("started");
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

/// A folder with this `server.toml`.
fn folder(toml: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("server.toml"), toml).expect("written");
    folder
}

/// A service with nothing wrong but a path that is relative.
const WARNING: &str = "\
[[service]]
name = \"a\"
listen = \"127.0.0.1:0\"
reply.file = \"server.toml\"
";

#[test]
fn a_warning_is_told_and_forgiven_unless_strict() {
    let folder = folder(WARNING);
    for (arguments, code) in [(&["check"][..], 0), (&["check", "--strict"], 78)] {
        let ran = run(folder.path(), arguments);
        assert_eq!(ran.code, Some(code), "{}", ran.stderr);
        for text in [
            "warning: a relative path\n --> server.toml:4:14\n",
            "\nwarning: 1 warning in server.toml\n",
        ] {
            assert!(ran.stderr.contains(text), "no {text:?} in\n{}", ran.stderr);
        }
        assert_eq!(ran.stdout, "");
    }
}

#[test]
fn errors_and_warnings_are_counted_apart() {
    let folder = folder(&format!("{WARNING}busy.text = \"{{{{ request }}}}\"\n"));
    let ran = run(folder.path(), &["check"]);
    assert_eq!(ran.code, Some(78));
    let summary = "error: 1 fault and 1 warning in server.toml\n";
    assert!(ran.stderr.ends_with(summary), "{}", ran.stderr);
}

#[test]
fn offline_does_not_look_at_the_machine() {
    let toml = "[[service]]\nname = \"a\"\nlisten = \"127.0.0.1:0\"\nreply.file = \"/nowhere\"\n";
    let folder = folder(toml);
    let ran = run(folder.path(), &["check", "--strict"]);
    assert_eq!(ran.code, Some(78), "{}", ran.stderr);
    assert!(ran.stderr.contains("no such file"), "{}", ran.stderr);
    let ran = run(folder.path(), &["check", "--strict", "--offline"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
}

#[test]
fn programs_get_json() {
    let folder = folder(WARNING);
    let report = |arguments: &[&str]| -> (Option<i32>, Value) {
        let ran = run(
            folder.path(),
            &[&["check", "--format", "json"], arguments].concat(),
        );
        assert_eq!(ran.stderr, "");
        (ran.code, serde_json::from_str(&ran.stdout).expect("JSON"))
    };
    let (code, good) = report(&["--offline", "../nowhere.toml"]);
    assert_eq!(code, Some(78));
    let missing = json!({
        "file": "../nowhere.toml",
        "errors": 1,
        "warnings": 0,
        "faults": [{
            "severity": "error",
            "message": "there is no such file",
            "file": "../nowhere.toml",
            "line": null,
            "column": null,
            "end_column": null,
            "label": null,
            "help": null,
        }],
    });
    assert_eq!(good, missing);

    let (code, warned) = report(&[]);
    assert_eq!(code, Some(0));
    let expected = json!({
        "file": "server.toml",
        "errors": 0,
        "warnings": 1,
        "faults": [{
            "severity": "warning",
            "message": "a relative path",
            "file": "server.toml",
            "line": 4,
            "column": 14,
            "end_column": 27,
            "label": "relative to the folder that replyd is started in",
            "help": "write the whole path: under systemd that folder is `/`",
        }],
    });
    assert_eq!(warned, expected);
    assert_eq!(report(&["--strict"]).0, Some(78));
}

#[test]
fn what_is_shown_is_good_itself() {
    let folder = folder(WARNING);
    let ran = run(folder.path(), &["show"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.contains("# server.toml:4\n"), "{}", ran.stdout);
    std::fs::write(folder.path().join("shown.toml"), &ran.stdout).expect("written");
    let load = |name| replyd::config::load::load(&folder.path().join(name)).expect("good");
    assert_eq!(load("shown.toml").config, load("server.toml").config);
    let ran = run(folder.path(), &["show", "nowhere.toml"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(78), ""));
}

/// A machine on which little is allowed.
const MACHINE: Machine = Machine {
    first_port: 1024,
    backlog_max: Some(4096),
    descriptors: 1000,
    uid: 0,
    gid: 0,
};

/// Set, a file is written anew instead of compared.
const UPDATE: &str = "REPLYD_WRITE_SNAPSHOTS";

/// Asserts that a file, which is kept for people or other programs, is what is made now.
#[track_caller]
fn kept(file: &str, text: &str) {
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(file, text).expect("written");
    }
    let kept = std::fs::read_to_string(file).expect("read");
    let mut lines = text.lines().zip(kept.lines());
    let same = lines
        .by_ref()
        .take_while(|(made, kept)| made == kept)
        .count();
    let line = same + 1;
    assert!(
        text == kept,
        "{file}:{line} is another now: {UPDATE}=1 writes it anew"
    );
}

/// What is said of one of the files.
fn told(path: &Path) -> String {
    let faults = load(path).and_then(|loaded| {
        let errors = replyd::server::check(&loaded).err();
        let errors = errors.iter().flat_map(Faults::as_slice).cloned();
        let warnings = replyd::server::warnings_on(&loaded, Some(&MACHINE));
        Faults::none(errors.chain(warnings).collect())
    });
    let page = faults
        .expect_err("there is something to tell")
        .render(false);
    format!("════ {}\n\n{page}\n", path.display())
}

/// Every class of faults as it is shown: `check/expected.txt` is for people to read.
#[test]
fn every_fault_is_told_as_expected() {
    let folder = Path::new("tests/it/check");
    let entries = std::fs::read_dir(folder).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut paths: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .collect();
    paths.sort();
    paths.extend([folder.to_owned(), folder.join("none.toml")]);
    let page: String = paths.iter().map(|path| told(path)).collect();
    kept("tests/it/check/expected.txt", &page);
}

#[test]
fn the_schema_that_editors_take_is_the_one_that_is_printed() {
    let ran = run(Path::new("."), &["schema"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    kept("packaging/server.schema.json", &ran.stdout);
    let named = "#:schema packaging/server.schema.json\n";
    assert!(include_str!("../../server.toml").starts_with(named));
}

#[test]
fn a_template_is_looked_at_beside_other_faults() {
    let folder = folder(
        "server.grace_period_seconds = \"x\"\n[[service]]\nname = \"a\"\nlisten = \"127.0.0.1:0\"\nreply.text = \"{{ nobody }}\"\n",
    );
    let ran = run(folder.path(), &["check"]);
    for text in [
        "server.grace_period_seconds",
        "nobody",
        "error: 2 faults in server.toml\n",
    ] {
        assert!(ran.stderr.contains(text), "no {text:?} in\n{}", ran.stderr);
    }
}
