//! One file, read with bounds.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use crate::config::fault::Fault;

/// The most bytes of one file.
pub(super) const BYTES_MAX: u64 = 1 << 20;

/// Reads a file as a whole; `name` is what errors call it.
pub(super) fn read(path: &Path, name: &str) -> Result<String, Box<Fault>> {
    let mut bytes = Vec::new();
    let read = open(path).and_then(|file| {
        let mut bounded = file.take(BYTES_MAX + 1);
        bounded.read_to_end(&mut bytes)
    });
    if let Err(error) = read {
        let message = match error.kind() {
            io::ErrorKind::IsADirectory => "this is a directory, not a file".to_owned(),
            io::ErrorKind::NotFound => "there is no such file".to_owned(),
            io::ErrorKind::PermissionDenied => "no permission to read this file".to_owned(),
            io::ErrorKind::InvalidInput => "this is no regular file".to_owned(),
            _ => format!("can't read this file: {error}"),
        };
        return Err(Box::new(Fault::of(name, message)));
    }
    if bytes.len() as u64 > BYTES_MAX {
        return Err(Box::new(too_long(name)));
    }
    if bytes.trim_ascii().is_empty() {
        // Without a service is a config too, but a disk that was full leaves this.
        let help = "one without services is a file with a comment in it, at the least";
        return Err(Box::new(Fault::of(name, "this file is empty").help(help)));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = valid.split(|b| *b == b'\n').count();
        let help = "a config file is UTF-8 text; was this one saved as Latin-1?";
        Box::new(Fault::of(name, format!("not UTF-8: a wrong byte in line {line}")).help(help))
    })
}

/// Opens a regular file. Whoever reads a FIFO waits for its writer, and a reload with it.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let kind = file.metadata()?.file_type();
    if kind.is_file() || kind.is_dir() {
        // Of a directory, reading tells what is wrong.
        Ok(file)
    } else {
        Err(io::ErrorKind::InvalidInput.into())
    }
}

pub(super) fn too_long(name: &str) -> Fault {
    let message = format!("more than {BYTES_MAX} bytes (1 MiB)");
    Fault::of(name, message).help("put services into files of their own, and `include` them")
}
