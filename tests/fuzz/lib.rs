//! The targets of `targets/`, and the log's, for libFuzzer.
//!
//! The log's forms are modules of the program and not of the library, so they are compiled here once
//! more, in the place that they have there.

#![forbid(unsafe_code)]

mod targets;

#[path = "../../src/cli"]
mod cli {
    pub(crate) mod log {
        pub(crate) mod human;
        #[expect(dead_code, reason = "nothing is sent")]
        mod journald;
        mod json;
        mod record;

        #[path = "../../../tests/fuzz/log.rs"]
        pub(crate) mod fuzz;
    }
}

/// Runs the target `name`, which panics if something doesn't hold of `input`.
///
/// # Panics
/// If there is no such target, and if something doesn't hold.
pub fn check(name: &str, input: &[u8]) {
    if name == "log" {
        return cli::log::fuzz::check(input);
    }
    let target = targets::TARGETS.iter().find(|target| target.0 == name);
    let (_, check) = target.expect("a target of this name");
    check(input);
}
