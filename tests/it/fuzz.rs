//! The corpus of every fuzz target, run through it. `tests/fuzz/run` is what makes more of it.

use std::collections::BTreeSet;

/// The targets.
#[path = "../fuzz/targets/mod.rs"]
mod targets;

/// Inputs in folders.
#[path = "../fuzz/corpus.rs"]
mod corpus;

use self::targets::TARGETS;

/// The target whose inputs are run by the program's own tests.
const LOG: &str = "log";

#[track_caller]
fn check(name: &str) {
    let (_, target) = TARGETS
        .iter()
        .find(|target| target.0 == name)
        .expect("a target");
    corpus::replay(name, *target);
}

#[test]
fn fuzz_command() {
    check("command");
}

#[test]
fn fuzz_config() {
    check("config");
}

#[test]
fn fuzz_exchange() {
    check("exchange");
}

#[test]
fn fuzz_framing() {
    check("framing");
}

#[test]
fn fuzz_head() {
    check("head");
}

#[test]
fn fuzz_import() {
    check("import");
}

#[test]
fn fuzz_metrics() {
    check("metrics");
}

#[test]
fn fuzz_reply() {
    check("reply");
}

#[test]
fn fuzz_template() {
    check("template");
}

#[test]
fn fuzz_targets_are_all_there_for_libfuzzer_too() {
    let targets: BTreeSet<&str> = TARGETS.iter().map(|target| target.0).chain([LOG]).collect();
    let manifest = include_str!("../fuzz/Cargo.toml");
    let entries = manifest.split("[[bin]]").skip(1);
    let entries = entries.map(|entry| entry.split('"').nth(1).expect("a name"));
    assert_eq!(entries.collect::<BTreeSet<_>>(), targets);
    assert_eq!(
        corpus::names(),
        targets.into_iter().map(str::to_owned).collect()
    );
}

#[test]
fn fuzz_takes_what_replyd_is_built_of() {
    let own = versions(include_str!("../../Cargo.lock"));
    let fuzzed = versions(include_str!("../fuzz/Cargo.lock"));
    let is_known = |name: &str| own.iter().any(|(known, _)| *known == name);
    let others: Vec<_> = (fuzzed.difference(&own))
        .filter(|(name, _)| is_known(name))
        .collect();
    let remedy =
        "cp Cargo.lock tests/fuzz/ && cargo metadata --manifest-path tests/fuzz/Cargo.toml";
    assert!(others.is_empty(), "{others:?}: {remedy}");
}

/// Names and versions in a lock file.
fn versions(lock: &str) -> BTreeSet<(&str, &str)> {
    let packages = lock.split("[[package]]").skip(1);
    let packages = packages.map(|package| {
        let mut quoted = package.split('"').skip(1).step_by(2);
        (
            quoted.next().expect("a name"),
            quoted.next().expect("a version"),
        )
    });
    packages.collect()
}
