//! `replyd import`: what xinetd, inetd and systemd's sockets were told, as server.toml.
//!
//! The sources are in `tests/it/import/`, each with what is made of it beside it. With
//! `REPLYD_WRITE_SNAPSHOTS=1` the tests write that anew instead of comparing: look at the diff.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use replyd::config::load;

use crate::process::REPLYD;

/// Folders of sources, and the paths in them that are imported.
const CASES: [(&str, &[&str]); 8] = [
    ("debian-xinetd", &["debian-xinetd/xinetd.conf"]),
    ("debian-packages", &["debian-packages"]),
    ("debian-units", &["debian-units"]),
    ("debian-inetd", &["debian-inetd/inetd.conf"]),
    ("users", &["users/xinetd.conf", "users-units"]),
    ("every-xinetd", &["every-xinetd/xinetd.conf"]),
    ("every-inetd", &["every-inetd/inetd.conf"]),
    ("every-units", &["every-units"]),
];

/// An `/etc/services` of the tests' own: the machine's is another on each.
const SERVICES: &str = "daytime 13/tcp\nfinger 79/tcp # a comment\n43/tcp\nwhois 43/tcp nicname\n";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/import")
}

fn import(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(REPLYD);
    command.current_dir(folder).arg("import").args(arguments);
    command.output().expect("it ran")
}

/// Imports the paths of a case by the library.
fn of_case(paths: &[&str]) -> (String, String) {
    // Tests run in the package's folder. An absolute path would be another one on each machine, and
    // break the lines of the output elsewhere.
    let folder = Path::new("tests/it/import");
    let paths: Vec<PathBuf> = paths.iter().map(|path| folder.join(path)).collect();
    let imported = replyd::import::import(&paths, SERVICES).expect("imported");
    (imported.toml, imported.summary)
}

/// Fails unless `file` has this text; or writes it.
#[track_caller]
fn snapshot(file: &str, text: &str) {
    let path = folder().join(file);
    if std::env::var_os("REPLYD_WRITE_SNAPSHOTS").is_some() {
        std::fs::write(&path, text).expect("written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == text,
        "{file} is another; REPLYD_WRITE_SNAPSHOTS=1 writes it:\n{text}"
    );
}

#[track_caller]
fn is_good(toml: &str) {
    let checked = load::parse(toml, "the import").and_then(|loaded| replyd::server::check(&loaded));
    checked.unwrap_or_else(|faults| panic!("{}\n{toml}", faults.render(false)));
}

#[test]
fn each_source_becomes_what_is_beside_it() {
    for (case, paths) in CASES {
        let (toml, summary) = of_case(paths);
        snapshot(&format!("{case}.toml"), &toml);
        snapshot(&format!("{case}.summary"), &summary);
    }
}

#[test]
fn what_comes_out_is_a_good_config() {
    for (_, paths) in CASES {
        is_good(&of_case(paths).0);
    }
}

/// Each service alone: two that are commented out may want the same port.
#[test]
fn what_is_commented_out_is_good_without_its_hash() {
    let mut services = 0;
    for (_, paths) in CASES {
        let mut toml = String::new();
        for line in of_case(paths).0.lines() {
            let setting = line.strip_prefix('#');
            let setting =
                setting.filter(|setting| !setting.is_empty() && !setting.starts_with(' '));
            toml.push_str(setting.unwrap_or(line));
            toml.push('\n');
        }
        for service in toml.split("[[service]]").skip(1) {
            is_good(&format!("[[service]]{service}"));
            services += 1;
        }
    }
    assert!(services > 20, "{services} services");
}

/// A text with neither comment signs nor line breaks, for what is in it.
fn flat(text: &str) -> String {
    let lines = text.lines().map(|line| line.trim_start_matches('#'));
    let words = lines.flat_map(str::split_whitespace);
    words.collect::<Vec<_>>().join(" ")
}

/// Every file under a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

#[test]
fn nothing_that_a_source_says_is_lost() {
    let mut lost = Vec::new();
    let mut said = 0;
    for (case, paths) in CASES {
        let out = flat(&of_case(paths).0);
        let mut sources = files(&folder().join(case));
        if case == "users" {
            sources.extend(files(&folder().join("users-units")));
        }
        for source in sources {
            let text = std::fs::read_to_string(&source).expect("read");
            // What goes on in the next line, and the comment between.
            let text = text.replace("\\\n\t; a comment between\n", " ");
            let is_inetd = source.ends_with("inetd.conf");
            for line in text.lines().map(str::trim) {
                let line = line.strip_prefix("#<off># ").unwrap_or(line);
                if line.is_empty() || line.starts_with(['#', '{', '}', '[', ';']) && !is_inetd {
                    continue;
                }
                if line.starts_with('#') || source.extension().is_some_and(|end| end == "dpkg-old")
                {
                    continue;
                }
                // A line of inetd's is in several places, word for word.
                let parts: Vec<String> = if is_inetd {
                    line.split_whitespace()
                        .map(|word| word.trim_end_matches(':').to_owned())
                        .collect()
                } else {
                    vec![flat(line)]
                };
                for part in parts {
                    said += 1;
                    if !out.contains(&part) {
                        lost.push(format!("{}: {part}", source.display()));
                    }
                }
            }
        }
    }
    assert!(lost.is_empty(), "\n{}", lost.join("\n"));
    assert!(said > 300, "{said} attributes");
}

#[test]
fn the_command_line_writes_the_config_to_stdout_and_the_rest_to_stderr() {
    let output = import(&folder(), &["users-units"]);
    assert_eq!(output.status.code(), Some(0));
    let toml = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(
        toml.starts_with("# Made by `replyd import` of users-units.\n"),
        "{toml}"
    );
    let summary = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(summary.starts_with("2 services\n"), "{summary}");
}

#[test]
fn a_path_that_cannot_be_read_is_named() {
    let empty = tempfile::tempdir().expect("a folder");
    std::fs::write(empty.path().join("other"), "neither\n").expect("written");
    std::fs::write(empty.path().join("lone@.service"), "[Service]\n").expect("written");
    for (path, why) in [
        ("missing", "there is no such file"),
        ("other", "neither xinetd's nor inetd's"),
        ("lone@.service", "there is no lone.socket beside this"),
        ("/dev/null", "this is no file"),
    ] {
        let output = import(empty.path(), &[path]);
        let said = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(path) && said.contains(why), "{said}");
        assert!(output.stdout.is_empty());
    }
    assert_eq!(
        import(empty.path(), &["--nonsense"]).status.code(),
        Some(64)
    );
}
