//! What every test here asks: is a text right, or wrong in one way, or in which.

use crate::config::Config;
use crate::config::fault::Faults;
use crate::config::load::parse;

/// Any config that a file can say.
mod any;
/// The table of a command.
mod command;
/// What differs is told.
mod diff;
/// Files, includes, defaults.
mod files;
/// What a page of errors looks like, and what is on it.
mod pages;
/// The range of each value, and the rules that take more than one.
mod values;
/// What is written can be read again.
mod written;

/// A service that is right, for tests to add a wrong key to.
pub(super) const SERVICE: &str =
    "[[service]]\nname = \"a\"\nlisten = \"127.0.0.1:7000\"\nreply.text = \"x\"\n";

#[track_caller]
pub(super) fn valid(text: &str) -> Config {
    match parse(text, "server.toml") {
        Ok(loaded) => loaded.config,
        Err(faults) => panic!("{}", faults.render(false)),
    }
}

#[track_caller]
pub(super) fn faults(text: &str) -> Faults {
    parse(text, "server.toml").expect_err("this config is wrong")
}

/// Asserts the whole page of errors.
#[track_caller]
pub(super) fn check(text: &str, expected: &str) {
    let page = faults(text).render(false);
    assert_eq!(page, expected, "\n{page}");
}

/// Asserts that there is one fault, whose page has each of `phrases`.
#[track_caller]
pub(super) fn one(text: &str, phrases: &[&str]) {
    let faults = faults(text);
    let page = faults.render(false);
    assert_eq!(faults.as_slice().len(), 1, "\n{page}");
    for phrase in phrases {
        assert!(page.contains(phrase), "no {phrase:?} in\n{page}");
    }
}

/// Asserts that a right service with `line` added has one fault.
#[track_caller]
pub(super) fn in_service(line: &str, phrases: &[&str]) {
    one(&format!("{SERVICE}{line}\n"), phrases);
}

/// Asserts what is said about one address.
#[track_caller]
pub(super) fn address(text: &str, phrases: &[&str]) {
    let service = format!("[[service]]\nname = \"a\"\nlisten = \"{text}\"\nreply.text = \"x\"\n");
    one(&service, phrases);
}
