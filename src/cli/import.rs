//! `replyd import`: `server.toml` from what xinetd, inetd and systemd's sockets were told.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::cli::{FAILED, USAGE, print, say};

/// What is read if nothing is named, of which there may be any. systemd's units are read when they
/// are named: there are many, and few are for replyd.
const PATHS: [&str; 3] = ["/etc/xinetd.conf", "/etc/xinetd.d", "/etc/inetd.conf"];

/// Where the ports of named services are.
const SERVICES: &str = "/etc/services";

/// The most bytes of it that are read: Debian's has 13 KiB, the longest some 700.
const SERVICES_BYTES_MAX: u64 = 4 << 20;

/// Writes `server.toml` to stdout, and to stderr how much was carried over.
pub(super) fn import(paths: Vec<PathBuf>) -> u8 {
    let paths = if paths.is_empty() {
        let exists = |path: &PathBuf| path.exists();
        PATHS
            .map(PathBuf::from)
            .into_iter()
            .filter(exists)
            .collect()
    } else {
        paths
    };
    if paths.is_empty() {
        say(&format!(
            "error: nothing to import: there is none of {}\n",
            PATHS.join(", ")
        ));
        return USAGE;
    }
    let imported = match replyd::import::import(&paths, &services(Path::new(SERVICES))) {
        Ok(imported) => imported,
        Err(error) => {
            say(&format!("error: {error}\n"));
            return FAILED;
        }
    };
    let code = print(&imported.toml);
    say(&imported.summary);
    code
}

/// The text of `/etc/services`; a machine may well be without.
fn services(path: &Path) -> String {
    let mut bytes = Vec::new();
    let read =
        File::open(path).and_then(|file| file.take(SERVICES_BYTES_MAX).read_to_end(&mut bytes));
    match read {
        Ok(_) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => String::new(),
    }
}
