//! What is looked at on disks: files to be read, programs to be run, folders to be worked in.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Access, AtFlags, CWD, accessat};

use crate::command::program;
use crate::config::address::Address;
use crate::config::document::Place;
use crate::config::fault::Fault;
use crate::config::load::Loaded;
use crate::config::reply::Body;
use crate::reply::file;
use crate::server::machine::listen;

/// How long all looks at disks together may take: a network mount may hang for good.
const LOOKS_MAX: Duration = Duration::from_secs(1);

/// What is looked at on a disk.
#[derive(Clone)]
enum Look {
    /// The file of a reply, which is to be read.
    File(PathBuf),
    /// The folder of a unix socket, which is to be made there.
    Folder(PathBuf),
    /// The folder of a maintenance file, which is to be looked for there.
    Maintenance(PathBuf),
    /// The program of a command, which is to be run.
    Program(PathBuf),
    /// The folder that a command is started in.
    WorkingDirectory(PathBuf),
}

impl Look {
    fn look(&self) -> io::Result<()> {
        match self {
            Self::File(path) => file::try_out(path),
            Self::Folder(path) => may(path, Access::WRITE_OK | Access::EXEC_OK),
            Self::Maintenance(path) => may(path, Access::EXEC_OK),
            Self::Program(path) => is_runnable(path),
            Self::WorkingDirectory(path) => {
                if fs::metadata(path)?.is_dir() {
                    may(path, Access::EXEC_OK)
                } else {
                    Err(ErrorKind::NotADirectory.into())
                }
            }
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::File(_) | Self::Program(_) => "file",
            Self::Folder(_) | Self::Maintenance(_) | Self::WorkingDirectory(_) => "folder",
        }
    }

    fn fault(&self, loaded: &Loaded, place: &Place, error: &io::Error) -> Fault {
        let why = match error.kind() {
            ErrorKind::NotFound => format!("there is no such {}", self.kind()),
            ErrorKind::PermissionDenied => match self {
                Self::Program(_) => "this user may not execute it".to_owned(),
                _ => "this user has no permission".to_owned(),
            },
            ErrorKind::TimedOut => "no answer within a second: does the disk hang?".to_owned(),
            _ => error.to_string(),
        };
        match self {
            Self::File(_) => {
                let message = "the file of this reply can't be read";
                let fault = loaded.fault(place, message, why, None);
                fault.help("until it can, the reply is `failed`")
            }
            Self::Folder(folder) => {
                let message = format!("no socket can be made in {}", folder.display());
                let fault = loaded.fault(place, message, why, None);
                fault.help("make the folder; under systemd RuntimeDirectory= does")
            }
            Self::Maintenance(folder) => {
                let message = format!("no maintenance can begin in {}", folder.display());
                let fault = loaded.fault(place, message, why, None);
                fault.help("make the folder, and let replyd's user enter it")
            }
            Self::Program(_) => {
                let fault = loaded.fault(place, "this command can't be run", why, None);
                fault.help("until it can, the reply is `failed`")
            }
            Self::WorkingDirectory(_) => {
                let message = "this command can't be started in that folder";
                let fault = loaded.fault(place, message, why, None);
                fault.help("until it can, the reply is `failed`")
            }
        }
    }
}

fn may(path: &Path, modes: Access) -> io::Result<()> {
    Ok(accessat(CWD, path, modes, AtFlags::EACCESS)?)
}

/// Whether execve(2) takes this file for a program.
fn is_runnable(path: &Path) -> io::Result<()> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("this is no file"));
    }
    may(path, Access::EXEC_OK)?;
    let Some(beginning) = program::beginning(path)? else {
        return Ok(());
    };
    if program::is_plain_text(&beginning) {
        let why = "neither a program nor a script: its first line does not begin with #!";
        return Err(io::Error::other(why));
    }
    // Else it is a program, or one of binfmt_misc's.
    let Some(line) = beginning.strip_prefix(b"#!") else {
        return Ok(());
    };
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let interpreter = line.trim_start_matches([' ', '\t']);
    let interpreter = interpreter.split([' ', '\t']).next().unwrap_or_default();
    if interpreter.ends_with('\r') {
        let why = "its lines end with CR LF, and the CR is part of its interpreter's name";
        return Err(io::Error::other(why));
    }
    may(Path::new(interpreter), Access::EXEC_OK).map_err(|error| {
        io::Error::other(match error.kind() {
            ErrorKind::NotFound => format!("there is no interpreter `{interpreter}`"),
            kind => format!("its interpreter `{interpreter}` can't be run: {kind}"),
        })
    })
}

pub(super) fn all(loaded: &Loaded) -> Vec<Fault> {
    let folders = listen(loaded).filter_map(|(place, address)| match address {
        Address::Unix(path) => Some((place, Look::Folder(path.parent()?.to_owned()))),
        Address::Tcp(_) => None,
    });
    let services = loaded.config.services.iter().enumerate();
    let replies = services.flat_map(|(index, service)| {
        let looks = match &service.reply.body {
            Body::Text(_) | Body::Echo => Vec::new(),
            Body::File(path) => vec![("reply.file", Look::File(path.clone()))],
            Body::Command(command) => {
                let folder = Look::WorkingDirectory(command.working_directory.clone());
                let folder = ("reply.command.working_directory", folder);
                // One that has no absolute path is an error already.
                let program = command.run.first().filter(|path| path.starts_with('/'));
                let program = program.map(|path| Look::Program(path.into()));
                let program = program.map(|look| ("reply.command.run.0", look));
                program.into_iter().chain([folder]).collect()
            }
        };
        let maintenance = service.maintenance.as_ref().and_then(|it| it.file.parent());
        // A name alone is in the folder that replyd is started in.
        let folder = maintenance.map(|folder| Look::Maintenance(Path::new(".").join(folder)));
        let folder = folder.map(|look| ("maintenance.file", look));
        let looks = looks.into_iter().chain(folder);
        looks.map(move |(key, look)| (Place::service(index, key), look))
    });
    let (places, looks): (Vec<Place>, Vec<Look>) = folders.chain(replies).unzip();
    let answers = within(LOOKS_MAX, looks.clone(), Look::look);
    let asked = places.iter().zip(&looks).zip(answers);
    let wrong = asked.filter_map(|((place, look), answer)| Some((place, look, answer.err()?)));
    wrong
        .map(|(place, look, error)| look.fault(loaded, place, &error))
        .collect()
}

/// Asks all of `looks` on a thread of its own, and returns the answers in their order. The first one
/// that has not come when the time is over is an error, and the last.
fn within<L: Send + 'static>(
    time: Duration,
    looks: Vec<L>,
    look: fn(&L) -> io::Result<()>,
) -> Vec<io::Result<()>> {
    let count = looks.len();
    if count == 0 {
        return Vec::new();
    }
    let (answers_tx, answers_rx) = crossbeam_channel::bounded(count);
    let asking = std::thread::Builder::new().name("looks".to_owned());
    let asking = asking.spawn(move || {
        // There is room for all of them. Who asks may have gone.
        let is_heard = |one: &L| answers_tx.send(look(one)).is_ok();
        looks.iter().all(is_heard)
    });
    if let Err(error) = asking {
        return vec![Err(error)];
    }
    let until = Instant::now() + time;
    let mut answers = Vec::new();
    while answers.len() < count {
        let Ok(answer) = answers_rx.recv_deadline(until) else {
            answers.push(Err(ErrorKind::TimedOut.into()));
            break;
        };
        answers.push(answer);
    }
    answers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::Receiver;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_disk_that_hangs_holds_nobody_up() {
        // Hangs until the other end of the channel is dropped.
        let (hanging_tx, hanging) = crossbeam_channel::bounded::<()>(0);
        let (_, free) = crossbeam_channel::bounded(0);
        let wait = |one: &Receiver<()>| {
            let _disconnected = one.recv();
            Ok(())
        };
        let kinds = |looks, time| -> Vec<_> {
            let answers = within(time, looks, wait).into_iter();
            answers
                .map(|answer| answer.map_err(|error| error.kind()))
                .collect()
        };
        let looks = vec![hanging, free.clone()];
        assert_eq!(
            kinds(looks, Duration::from_millis(1)),
            [Err(ErrorKind::TimedOut)]
        );
        let looks = vec![free.clone(), free];
        assert_eq!(kinds(looks, Duration::from_secs(60)), [Ok(()), Ok(())]);
        drop(hanging_tx);
    }

    /// What is said of a program that holds `bytes`; `None`: nothing.
    fn said(bytes: &[u8], mode: u32) -> Option<String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("program");
        fs::write(&path, bytes).expect("written");
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("set");
        is_runnable(&path).err().map(|error| error.to_string())
    }

    #[test]
    fn a_program_is_what_the_kernel_takes_for_one() {
        for good in [
            &b"#!/bin/sh\necho\n"[..],
            b"#! /bin/sh -e\n",
            b"#!/bin/sh",
            b"\x7fELF\0\0",
        ] {
            assert_eq!(said(good, 0o755), None);
        }
        let told = |bytes: &[u8]| said(bytes, 0o755).unwrap_or_default();
        assert!(told(b"echo\n").contains("does not begin with #!"));
        assert!(told(b"").contains("does not begin with #!"));
        let missing = told(b"#!/no/such/shell -e\n");
        assert_eq!(missing, "there is no interpreter `/no/such/shell`");
        assert!(told(b"#!/bin/sh\r\necho\r\n").contains("CR LF"));
        assert!(told(b"#!/etc/passwd\n").contains("permission denied"));
        assert!(told(b"#!\n").contains("there is no interpreter ``"));
        let refused = said(b"#!/bin/sh\n", 0o644).unwrap_or_default();
        assert!(refused.starts_with("Permission denied"), "{refused}");
    }
}
