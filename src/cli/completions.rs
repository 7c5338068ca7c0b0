//! `replyd completions`: what a shell needs to complete the arguments.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::cli::arguments::Arguments;
use crate::cli::print;

/// Prints the completions for one shell.
pub(super) fn completions(shell: Shell) -> u8 {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "replyd", &mut script);
    let script = String::from_utf8(script).expect("invariant: the arguments are text");
    print(&script)
}
