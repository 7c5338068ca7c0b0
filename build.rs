//! Tells the binary which commit it is, for `replyd_build_info`. A package's build says it in
//! `REPLYD_REVISION`; a checkout asks git; else it is "unknown".

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=REPLYD_REVISION");
    // In a worktree it is elsewhere than in .git; and cargo takes what is not there for changed.
    if let Some(log) = git(&["--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={log}");
    }
    let given = std::env::var("REPLYD_REVISION").ok();
    let revision = given
        .or_else(|| git(&["--short=12", "HEAD"]))
        .unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=REPLYD_REVISION={revision}");
}

fn git(asked: &[&str]) -> Option<String> {
    let output = Command::new("git")
        .arg("rev-parse")
        .args(asked)
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
