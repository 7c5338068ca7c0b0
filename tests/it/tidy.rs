//! Style and layers, as tests.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use replyd::metrics::LogMetrics;

use crate::harness::{TestServer, service};

/// The layers, each importing only from itself and those before it.
const LAYERS: [&str; 16] = [
    "metrics",
    "peer",
    "complaint",
    "failpoint",
    "bell",
    "inbox",
    "config",
    "import",
    "request",
    "command",
    "reply",
    "exchange",
    "engine",
    "systemd",
    "admin",
    "server",
];

/// What is no layer: the map of the crate, and the program above it.
const PROGRAM: [&str; 3] = ["lib", "main", "cli"];

/// Who may know the configuration: stages get plain values.
const KNOW_CONFIG: [&str; 4] = ["config", "import", "server", "cli"];

/// Where the sources are.
const FOLDERS: [&str; 3] = ["src", "tests", "benches"];

/// What is generated below them: `cargo fuzz` builds there if it is not told where.
const GENERATED: &str = "tests/fuzz/target";

/// Words with the metrics' prefix that are none.
const NO_METRICS: [&str; 1] = ["replyd_loom"];

const LINES_MAX: usize = 400;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every file under a folder that ends with `.rs`, with its text.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut folders = vec![root().join(folder)];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.extend(Some(path).filter(|path| *path != root().join(GENERATED)));
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = read(&path);
                found.push((
                    path.strip_prefix(root()).expect("below it").to_owned(),
                    text,
                ));
            }
        }
    }
    assert!(found.len() > 5, "{folder} has {} files", found.len());
    found
}

/// Fails with all that is wrong at once.
#[track_caller]
fn none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// The module of `src` that a file is in: `engine` of `src/engine/room.rs`.
fn module(path: &Path) -> String {
    let below = path.strip_prefix("src").expect("below src");
    let first = below.iter().next().expect("a name").to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

/// Every `words` of `text` that comes after `before`, with its line number.
fn names_after<'a>(text: &'a str, before: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
    let is_code = |(_, line): &(usize, &str)| !line.trim_start().starts_with("//");
    let lines = text.lines().enumerate().filter(is_code);
    lines.flat_map(move |(number, line)| {
        line.split(before).skip(1).map(move |rest| {
            let end = rest
                .find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(rest.len());
            (number + 1, &rest[..end])
        })
    })
}

#[test]
fn every_file_says_what_it_is_for_and_is_no_book() {
    let mut wrong = Vec::new();
    for (path, text) in FOLDERS.into_iter().flat_map(sources) {
        let lines = text.lines().count();
        if !text.starts_with("//! ") {
            wrong.push(format!("{}: doesn't begin with `//! `", path.display()));
        }
        if lines > LINES_MAX {
            wrong.push(format!(
                "{}: {lines} lines, more than {LINES_MAX}",
                path.display()
            ));
        }
    }
    none(&wrong);
}

#[test]
fn nothing_is_left_for_later() {
    // In two parts, or this file would be the first to be found.
    let words = [
        concat!("FIX", "ME"),
        concat!("TO", "DO"),
        concat!("db", "g!"),
        concat!("XX", "X"),
    ];
    let mut wrong = Vec::new();
    for (path, text) in FOLDERS.into_iter().flat_map(sources) {
        for (number, line) in text.lines().enumerate() {
            if words.iter().any(|word| line.contains(word)) {
                wrong.push(format!(
                    "{}:{}: {}",
                    path.display(),
                    number + 1,
                    line.trim()
                ));
            }
        }
    }
    none(&wrong);
}

#[test]
fn imports_only_point_down() {
    let mut wrong = Vec::new();
    for (path, text) in sources("src") {
        let module = module(&path);
        if PROGRAM.contains(&module.as_str()) {
            continue;
        }
        let layer = |name: &str| LAYERS.iter().position(|layer| *layer == name);
        let Some(own) = layer(&module) else {
            wrong.push(format!(
                "{}: `{module}` is no layer that is known here",
                path.display()
            ));
            continue;
        };
        for (number, name) in names_after(&text, "crate::") {
            if layer(name).is_none_or(|used| used > own) {
                let place = format!("{}:{number}", path.display());
                wrong.push(format!("{place}: `{module}` must not know `{name}`"));
            }
        }
    }
    none(&wrong);
}

#[test]
fn few_know_the_configuration() {
    let mut wrong = Vec::new();
    for (path, text) in sources("src") {
        let module = module(&path);
        let imports = names_after(&text, "crate::").chain(names_after(&text, "replyd::"));
        for (number, name) in imports {
            if name == "config" && !KNOW_CONFIG.contains(&module.as_str()) {
                wrong.push(format!("{}:{number}: `{module}` knows it", path.display()));
            }
        }
    }
    none(&wrong);
}

#[test]
fn the_map_of_the_crate_is_in_the_order_of_the_layers() {
    let text = read(&root().join("src/lib.rs"));
    let modules: Vec<&str> = names_after(&text, "mod ").map(|(_, name)| name).collect();
    assert_eq!(modules, LAYERS);
    let code = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//") && !line.is_empty());
    let other: Vec<&str> = code
        .filter(|line| !line.starts_with("pub mod ") && !line.starts_with("mod "))
        .collect();
    assert!(
        other.is_empty(),
        "the map declares and defines nothing: {other:?}"
    );
}

#[test]
fn every_test_file_is_in_the_map() {
    // A file in a folder is in the map of the file that is named like the folder.
    let sources = sources("tests");
    let files = || {
        let all = sources.iter();
        all.filter(|(path, _)| path.starts_with("tests/it"))
    };
    let declared = files().flat_map(|(_, text)| names_after(text, "mod "));
    let modules: BTreeSet<&str> = declared.map(|(_, name)| name).collect();
    let files: Vec<String> = files()
        .map(|(path, _)| {
            path.file_stem()
                .expect("a name")
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    let files: BTreeSet<&str> = files
        .iter()
        .map(String::as_str)
        .filter(|name| *name != "main")
        .collect();
    let missing: Vec<_> = files.difference(&modules).collect();
    assert!(missing.is_empty(), "no `mod` for {missing:?}");
}

/// The families of replyd's own on the metrics page.
fn families() -> BTreeSet<String> {
    let keys = "reply.text = \"hi\\n\"\nmaintenance.file = \"/nowhere/hello.down\"";
    let server = TestServer::start(&service("hello", keys));
    // A family without a child isn't on the page, and errors have none at the start.
    server.metrics().service("hello").accept_error("EMFILE");
    // One that says nothing has none of a command, nor an answer with an age.
    let command = server.metrics().command("hello");
    command.age.answered(Instant::now());
    // The log is the program's, not the server's.
    server.metrics().log(&LogMetrics::new());
    let page = server.page();
    let names = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE replyd_"));
    names
        .map(|rest| format!("replyd_{}", rest.split(' ').next().expect("a name")))
        .collect()
}

/// The families that a text names.
fn named(text: &str, families: &BTreeSet<String>) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let words = words.filter(|word| word.starts_with("replyd_") && !word.ends_with('_'));
    let family = |word: &str| {
        let parts = ["_bucket", "_sum", "_count"].iter();
        let mut stems = parts.filter_map(|part| word.strip_suffix(part));
        stems
            .find(|stem| families.contains(*stem))
            .unwrap_or(word)
            .to_owned()
    };
    words
        .filter(|word| !NO_METRICS.contains(word))
        .map(family)
        .collect()
}

#[track_caller]
fn check_named(file: &str, must_name_all: bool) {
    let families = families();
    let named = named(&read(&root().join(file)), &families);
    let unknown: Vec<_> = named.difference(&families).collect();
    assert!(
        unknown.is_empty(),
        "{file} names metrics that don't exist: {unknown:?}"
    );
    let missing: Vec<_> = families.difference(&named).collect();
    assert!(
        !must_name_all || missing.is_empty(),
        "{file} doesn't name {missing:?}"
    );
}

#[test]
fn the_readme_names_every_metric_and_no_other() {
    check_named("README.md", true);
}

#[test]
fn the_dashboard_shows_every_metric_and_no_other() {
    check_named("dashboards/replyd.json", true);
}

#[test]
fn the_alerts_name_no_metric_that_does_not_exist() {
    check_named("dashboards/alerts.yml", false);
}

#[test]
fn the_shipped_config_is_good() {
    let loaded = replyd::config::load::load(&root().join("server.toml"));
    let loaded = loaded.unwrap_or_else(|faults| panic!("{}", faults.render(false)));
    assert!(
        loaded.config.services.len() > 3,
        "it shows several services"
    );
    let checked = replyd::server::check(&loaded);
    checked.unwrap_or_else(|faults| panic!("{}", faults.render(false)));
    let warnings = replyd::server::warnings(&loaded, true);
    assert!(warnings.is_empty(), "{warnings:?}");
    let built_in = replyd::config::load::built_in();
    assert!(
        built_in.config == loaded.config,
        "the built-in one is another"
    );
}
