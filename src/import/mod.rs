//! `server.toml` from what other super-servers were told: xinetd, inetd, systemd's sockets.
//!
//! A source is read (`xinetd`, `inetd`, `systemd`) into drafts, one a service: what was carried
//! over and what was not. Drafts are written as TOML. What a source said is in the output, as a key
//! or in a comment: nothing is lost silently. What can't be carried over never lets more peers in.

/// One thing that a source said, and the list of those that nobody has dealt with yet.
mod attribute;
/// The form between a source and TOML: a service as far as it can be carried over.
mod draft;
/// Files and folders, within bounds.
mod files;

/// Which peers: `only_from`, `IPAddressAllow=`.
mod access;
/// How a service that runs a program reads, guessed by its name or port.
mod hint;
/// The services that inetd and xinetd answer themselves.
mod internal;
/// The port of a service that is only named.
mod ports;
/// A program and its arguments, without the wrapper before them.
mod program;

/// A line for each service: `/etc/inetd.conf`.
mod inetd;
/// `.socket` units, and the `.service` units that they start.
mod systemd;
/// `service NAME { … }`: `/etc/xinetd.conf`, `/etc/xinetd.d`.
mod xinetd;

/// Drafts as TOML, and as a summary.
mod write;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::config::load;
use crate::import::draft::Draft;
use crate::import::files::Reader;
use crate::import::ports::Ports;

pub use crate::import::files::ImportError;

/// The most characters of a service's name, as `server.toml` has it.
const NAME_MAX: usize = 63;

/// The most services at a time: what is made of them is one file, and a file has its bound.
const SERVICES_MAX: usize = 1000;

/// How often what is left is looked at again: what one fault hides comes out with the next.
const SETTLE_MAX: usize = 100;

/// What came out.
#[derive(Debug)]
pub struct Imported {
    /// A `server.toml` that is good, with comments for what is not carried over.
    pub toml: String,

    /// How many services came over whole, in part, and not at all; several lines.
    pub summary: String,
}

/// Turns files, and the files in folders, into one `server.toml`.
///
/// `services` is the text of an `/etc/services`, for ports that are only named; may be empty.
///
/// # Errors
/// * a path can't be read, is larger than 1 MiB, or is none of the three kinds
/// * there are more than 4096 files, or xinetd's includes are more than 8 deep
pub fn import(paths: &[PathBuf], services: &str) -> Result<Imported, ImportError> {
    let mut sources = Sources::default();
    for path in paths {
        sources.path(path)?;
        if sources.found.len() > SERVICES_MAX {
            let message = format!("more than {SERVICES_MAX} services: import fewer at a time");
            return Err(ImportError::new(path, message));
        }
    }
    let ports = Ports::new(services);
    let defaults = sources.defaults;
    let drafts = sources.found.into_iter().map(|found| match found {
        Found::Xinetd(block) => xinetd::draft(&block, &defaults, &ports),
        Found::Inetd(line) => inetd::draft(&line, &ports),
        Found::Systemd(draft) => *draft,
    });
    let mut drafts: Vec<Draft> = drafts.collect();
    name(&mut drafts);
    settle(&mut drafts);
    Ok(Imported {
        toml: write::toml(paths, &sources.notes, &drafts),
        summary: write::summary(&drafts),
    })
}

/// A service as its source has it.
enum Found {
    Xinetd(xinetd::syntax::Block),
    Inetd(inetd::Line),
    Systemd(Box<Draft>),
}

/// What has been read so far.
#[derive(Default)]
struct Sources {
    reader: Reader,
    found: Vec<Found>,

    /// xinetd's `defaults`, which are every service's, whatever file it is in.
    defaults: xinetd::Defaults,

    /// What is to be said of a file, and of no service.
    notes: Vec<String>,
}

impl Sources {
    fn path(&mut self, path: &Path) -> Result<(), ImportError> {
        if !path.is_dir() {
            return self.file(path, true, 0);
        }
        for file in self.reader.list(path)? {
            if is_left_over(&file) {
                let note = "not read: a name with a dot or a tilde is a left-over";
                self.notes.push(format!("{}: {note}", file.display()));
            } else if extension(&file) != "service" {
                self.file(&file, false, 0)?;
            }
        }
        Ok(())
    }

    /// Reads a file, which is `named` if it was asked for by its name.
    fn file(&mut self, path: &Path, named: bool, depth: usize) -> Result<(), ImportError> {
        if ["socket", "service"].contains(&extension(path)) {
            let draft = systemd::read(&mut self.reader, path)?;
            self.found
                .extend(draft.map(|draft| Found::Systemd(Box::new(draft))));
            return Ok(());
        }
        let Some(text) = self.reader.read(path)? else {
            return Ok(());
        };
        let origin = path.display().to_string();
        if xinetd::syntax::is_one(&text) {
            return self.xinetd(path, &text, depth);
        }
        if inetd::is_one(&text) {
            self.found
                .extend(inetd::parse(&text, &origin).into_iter().map(Found::Inetd));
        } else if text.lines().all(is_blank) {
            self.notes
                .push(format!("{origin}: nothing in it but comments"));
        } else if named {
            let why = "neither xinetd's nor inetd's; a systemd unit ends with .socket";
            return Err(ImportError::new(path, why));
        } else {
            self.notes
                .push(format!("{origin}: not read: neither xinetd's nor inetd's"));
        }
        Ok(())
    }

    fn xinetd(&mut self, path: &Path, text: &str, depth: usize) -> Result<(), ImportError> {
        use xinetd::syntax::Entry;
        let origin = path.display().to_string();
        for entry in xinetd::syntax::parse(text, &origin) {
            match entry {
                Entry::Service(block) => self.found.push(Found::Xinetd(block)),
                Entry::Defaults(block) => {
                    let note = self.defaults.insert(block);
                    self.notes.push(note);
                }
                Entry::Stray(said) => {
                    let note = format!("{origin}: `{said}` is nothing that xinetd knows");
                    self.notes.push(note);
                }
                Entry::Include(said, target) => {
                    if depth >= files::INCLUDE_DEPTH_MAX {
                        return Err(ImportError::new(path, "includes that are too deep"));
                    }
                    self.include(path, &said, &target, depth)?;
                }
            }
        }
        Ok(())
    }

    /// A target that isn't there is said, and ends nothing: xinetd runs without it, too.
    fn include(
        &mut self,
        path: &Path,
        said: &str,
        target: &str,
        depth: usize,
    ) -> Result<(), ImportError> {
        let target = path.parent().unwrap_or(Path::new("")).join(target);
        let origin = path.display();
        if said.starts_with("includedir") {
            match self.reader.list(&target) {
                Ok(files) => {
                    self.notes.push(format!("{origin}: {said}: read"));
                    for file in files {
                        if is_left_over(&file) || !extension(&file).is_empty() {
                            let note = "not read: xinetd reads no name with a dot or a tilde";
                            self.notes.push(format!("{}: {note}", file.display()));
                        } else {
                            self.file(&file, false, depth + 1)?;
                        }
                    }
                }
                Err(error) => self.notes.push(format!("{origin}: {said}: {error}")),
            }
            return Ok(());
        }
        if target.is_file() {
            self.notes.push(format!("{origin}: {said}: read"));
            return self.file(&target, false, depth + 1);
        }
        self.notes
            .push(format!("{origin}: {said}: there is no such file"));
        Ok(())
    }
}

fn is_blank(line: &str) -> bool {
    let line = line.trim_start();
    line.is_empty() || line.starts_with('#')
}

fn extension(path: &Path) -> &str {
    path.extension().and_then(OsStr::to_str).unwrap_or_default()
}

/// What editors and packagers leave in folders.
fn is_left_over(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let known = ["", "socket", "service", "conf", "xinetd"];
    name.ends_with('~') || name.starts_with('.') || !known.contains(&extension(path))
}

/// Gives each draft a name that `server.toml` takes, and no other draft has.
fn name(drafts: &mut [Draft]) {
    // The admin listener's.
    let mut taken = BTreeSet::from(["admin".to_owned()]);
    for draft in drafts {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c);
        let name = draft.name.to_lowercase();
        let name: String = name
            .chars()
            .map(|c| if fits(c) { c } else { '-' })
            .take(NAME_MAX)
            .collect();
        let name = if name.is_empty() {
            "service".to_owned()
        } else {
            name
        };
        let numbered = (2..).map(|number| {
            let number = format!("-{number}");
            let stem = &name[..name.len().min(NAME_MAX - number.len())];
            format!("{stem}{number}")
        });
        let mut names = std::iter::once(name.clone()).chain(numbered);
        // One more name than there are drafts, so one is free.
        if let Some(free) = names.find(|name| taken.insert(name.clone())) {
            draft.name = free;
        }
    }
}

/// Holds back what `server.toml` would refuse: two listeners on one port, a value out of its range.
fn settle(drafts: &mut [Draft]) {
    for _ in 0..SETTLE_MAX {
        let mut whole = String::new();
        // Where each service begins.
        let mut begins = Vec::new();
        let live = drafts
            .iter()
            .enumerate()
            .filter(|(_, draft)| draft.is_live());
        for (number, draft) in live {
            begins.push((whole.len(), number));
            whole.push_str(&write::table(draft));
        }
        let Err(faults) = load::parse(&whole, "the import") else {
            return;
        };
        for fault in faults.as_slice() {
            let why = [fault.message.as_str(), fault.label.as_str()];
            let why: Vec<&str> = why.into_iter().filter(|why| !why.is_empty()).collect();
            // One without a place is of the file as a whole: it is too long, and `check` says so.
            let Some(spot) = &fault.spot else { return };
            let of = begins.partition_point(|(begin, _)| *begin <= spot.span.start);
            if let Some((_, number)) = of.checked_sub(1).map(|of| begins[of]) {
                drafts[number].hold("the keys below", &why.join(": "));
            }
        }
    }
}
