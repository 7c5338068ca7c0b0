//! What the kernel takes for a program, by its beginning.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// What the kernel reads of a program to see what it is, `BINPRM_BUF_SIZE`.
const BEGINNING_BYTES: u64 = 256;

/// The beginning of a regular file; `None` if we can't open it. One that may be run and not be read is
/// no script.
///
/// # Errors
/// * it can't be read all the same
pub fn beginning(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let Ok(file) = File::open(path) else {
        return Ok(None);
    };
    let mut beginning = Vec::new();
    file.take(BEGINNING_BYTES).read_to_end(&mut beginning)?;
    Ok(Some(beginning))
}

/// Whether execve(2) takes it for no program: neither a script, whose first line begins with `#!`, nor
/// binary, which holds a NUL.
#[must_use]
pub fn is_plain_text(beginning: &[u8]) -> bool {
    !beginning.starts_with(b"#!") && !beginning.contains(&0)
}
