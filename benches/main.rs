//! Compares replyd with others that serve the same, in one run: `benches/run`, see README.md in this folder.

#[expect(
    dead_code,
    unused_imports,
    reason = "cargo compiles a benchmark's tests along, but without the harness that calls them"
)]
mod compare;

use std::process::ExitCode;

fn main() -> ExitCode {
    compare::main()
}
