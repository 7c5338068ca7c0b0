//! Which configuration: the one that was named, or the first that exists.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use replyd::config::fault::{Fault, Faults};
use replyd::config::load::{self, Loaded};
use replyd::server;

/// Where a configuration is looked for, in this order.
pub(super) const PATHS: [&str; 2] = ["server.toml", "/etc/replyd/server.toml"];

/// Reads the configuration that was named, or the first that exists, and checks all of it that can
/// be checked without starting.
pub(super) fn load(file: Option<&Path>) -> Result<Loaded, Faults> {
    load_and(file, server::check)
}

/// The same with another check.
pub(super) fn load_and(
    file: Option<&Path>,
    check: impl FnOnce(&Loaded) -> Result<(), Faults>,
) -> Result<Loaded, Faults> {
    let Some(path) = choose(file) else {
        let loaded = load::built_in();
        return check(&loaded).map(|()| loaded);
    };
    if file.is_none() {
        refuse_planted(path)?;
    }
    load::load_and(path, check)
}

/// Which file is taken; `None`: the built-in one.
fn choose(file: Option<&Path>) -> Option<&Path> {
    // Only a file that doesn't exist is passed over: one that can't be read is told.
    let is_there = |path: &&Path| {
        let metadata = path.symlink_metadata();
        !metadata.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    };
    file.or_else(|| PATHS.map(Path::new).into_iter().find(is_there))
}

/// Root doesn't take what someone else has put into the folder it happens to stand in.
fn refuse_planted(path: &Path) -> Result<(), Faults> {
    let is_root = rustix::process::geteuid().is_root();
    match path.metadata() {
        Ok(metadata) if is_root && path.is_relative() && metadata.uid() != 0 => {
            let name = path.display().to_string();
            let fault = Fault::of(name, "root takes no ./server.toml of another user");
            Err(fault
                .help("name it, if it is to be: `replyd --config ./server.toml`")
                .into())
        }
        _ => Ok(()),
    }
}

/// What the log calls it.
pub(super) fn name(loaded: &Loaded) -> String {
    called(loaded.path.as_deref())
}

/// What a configuration is called that may not even be readable.
pub(super) fn name_of(file: Option<&Path>) -> String {
    called(choose(file))
}

fn called(path: Option<&Path>) -> String {
    path.map_or_else(|| "built in".to_owned(), |path| path.display().to_string())
}
