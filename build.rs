//! Tells the binary which commit it is, for `replyd_build_info`. A package's build says it in
//! `REPLYD_REVISION`; a checkout asks git; else it is "unknown".

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=REPLYD_REVISION");
    println!("cargo::rerun-if-changed=.git/logs/HEAD");
    let given = std::env::var("REPLYD_REVISION").ok();
    let revision = given
        .or_else(from_git)
        .unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=REPLYD_REVISION={revision}");
}

fn from_git() -> Option<String> {
    let output = Command::new("git")
        .args(["rev-parse", "--short=12", "HEAD"])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
