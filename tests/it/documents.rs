//! What the program prints about itself: manual pages and completions.

use std::fs::File;
use std::process::{Command, Stdio};

use crate::process::REPLYD;

/// What it prints, told to.
#[track_caller]
fn printed(arguments: &[&str]) -> String {
    let output = Command::new(REPLYD).args(arguments).output().expect("run");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// Every subcommand, as `--help` lists them.
fn subcommands() -> Vec<String> {
    let help = printed(&["--help"]);
    let commands = help.split("Commands:\n").nth(1).expect("a list");
    let lines = commands.lines().take_while(|line| !line.is_empty());
    // What is indented further goes on with a description.
    let lines = lines.filter(|line| !line.starts_with("   "));
    let names = lines.filter_map(|line| line.split_whitespace().next());
    let names: Vec<_> = names
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect();
    assert!(names.contains(&"check".to_owned()), "{names:?}");
    names
}

/// A page as one reads it, without the escapes of roff.
fn page(arguments: &[&str]) -> String {
    printed(arguments)
        .replace("\\-", "-")
        .replace("\\*(Aq", "'")
        .replace("\\(dq", "\"")
        .replace("\\\\", "\\")
}

#[test]
fn the_manual_has_every_subcommand() {
    let manual = page(&["manual"]);
    for name in subcommands() {
        let heading = format!(".SS \"replyd {name}");
        assert!(manual.contains(&heading), "{name} in:\n{manual}");
    }
    for heading in ["SYNOPSIS", "OPTIONS", "SIGNALS", "\"EXIT STATUS\"", "FILES"] {
        assert!(manual.contains(&format!(".SH {heading}\n")), "{heading}");
    }
}

#[test]
fn the_manual_of_the_configuration_is_the_shipped_file() {
    let manual = page(&["manual", "server.toml"]);
    for line in include_str!("../../server.toml").lines() {
        assert!(manual.contains(line), "{line:?} in:\n{manual}");
    }
}

#[test]
fn every_shell_completes_every_subcommand() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = printed(&["completions", shell]);
        for name in subcommands() {
            assert!(script.contains(&name), "{name} in {shell}'s:\n{script}");
        }
    }
}

#[test]
fn what_cannot_be_printed_is_said() {
    for arguments in [&["manual"][..], &["completions", "bash"]] {
        let full = File::create("/dev/full").expect("opened");
        let mut command = Command::new(REPLYD);
        command.args(arguments).stdout(Stdio::from(full));
        let output = command.output().expect("run");
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("No space left"), "{said}");
    }
}
