//! Files and folders, within bounds.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::config::written::escape;

/// The most bytes of one file: configurations are kilobytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The most files of one import, folders' entries included.
const FILES_MAX: usize = 4096;

/// The most files that include one another.
pub(super) const INCLUDE_DEPTH_MAX: usize = 8;

/// A path that can't be read, and why.
#[derive(Debug)]
pub struct ImportError {
    path: PathBuf,
    why: String,
}

impl ImportError {
    pub(super) fn new(path: &Path, why: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            why: why.into(),
        }
    }

    fn io(path: &Path, error: &io::Error) -> Self {
        let why = match error.kind() {
            io::ErrorKind::NotFound => "there is no such file".to_owned(),
            io::ErrorKind::PermissionDenied => "no permission to read this".to_owned(),
            _ => format!("can't read this: {error}"),
        };
        Self::new(path, why)
    }
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = escape(&self.path.display().to_string());
        write!(f, "{path}: {}", self.why)
    }
}

impl Error for ImportError {}

/// Reads each file once, and not too many.
#[derive(Debug, Default)]
pub(super) struct Reader {
    read: BTreeSet<PathBuf>,
    entries: usize,
}

impl Reader {
    /// The text of a file; `None` if it has been read already. Old files aren't always UTF-8: other
    /// bytes become U+FFFD.
    pub(super) fn read(&mut self, path: &Path) -> Result<Option<String>, ImportError> {
        let real = path.canonicalize();
        let real = real.map_err(|error| ImportError::io(path, &error))?;
        if !self.read.insert(real) {
            return Ok(None);
        }
        self.count(path)?;
        // Before it is opened: that of a FIFO waits for a writer.
        if !path.is_file() {
            return Err(ImportError::new(path, "this is no file"));
        }
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
            .map_err(|error| ImportError::io(path, &error))?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(ImportError::new(path, "more than 1 MiB"));
        }
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// What is in a folder and no folder itself, in the order of the C locale.
    pub(super) fn list(&mut self, folder: &Path) -> Result<Vec<PathBuf>, ImportError> {
        let entries = fs::read_dir(folder).map_err(|error| ImportError::io(folder, &error))?;
        let mut files = Vec::new();
        for entry in entries {
            let path = entry
                .map_err(|error| ImportError::io(folder, &error))?
                .path();
            self.count(folder)?;
            if !path.is_dir() {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    }

    fn count(&mut self, path: &Path) -> Result<(), ImportError> {
        self.entries += 1;
        if self.entries > FILES_MAX {
            return Err(ImportError::new(
                path,
                format!("more than {FILES_MAX} files"),
            ));
        }
        Ok(())
    }
}
