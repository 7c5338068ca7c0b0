//! The programs of our own that take part: compiled before anything is measured.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::say;
use super::kind::Kind;

const FLOOR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/floors/floor.c");
const ASYNCHRONOUS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/benches/asynchronous/Cargo.toml"
);

/// Where they are.
#[derive(Debug)]
pub(super) struct Programs {
    pub(super) floor: PathBuf,
    pub(super) asynchronous: PathBuf,
    pub(super) replyd: PathBuf,
}

impl Programs {
    /// Builds what these need, in the folder or, what takes long, beside what cargo has built.
    pub(super) fn build(kinds: &[Kind], folder: &Path, replyd: &Path) -> Result<Self, String> {
        let floor = folder.join("floor");
        let mut cc = Command::new("cc");
        cc.args(["-O2", "-Wall", "-Wextra", "-o"]);
        build(cc.arg(&floor).arg(FLOOR))?;
        let target = asynchronous_target();
        if kinds.iter().any(|kind| kind.is_asynchronous()) {
            say("building the tokio and the hyper server");
            let mut cargo = Command::new(env!("CARGO"));
            cargo.args(["build", "--quiet", "--release", "--locked"]);
            cargo.args(["--manifest-path", ASYNCHRONOUS, "--target-dir"]);
            build(cargo.arg(&target))?;
        }
        Ok(Self {
            floor,
            asynchronous: target.join("release/asynchronous"),
            replyd: replyd.to_owned(),
        })
    }
}

/// A folder in that of this build: `target/asynchronous`.
fn asynchronous_target() -> PathBuf {
    let own = Path::new(env!("CARGO_BIN_EXE_replyd")).ancestors().nth(2);
    own.expect("it is in target/PROFILE").join("asynchronous")
}

fn build(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status();
    let status = status.map_err(|error| format!("cannot start {program}: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{program}: {status}"))
    }
}
