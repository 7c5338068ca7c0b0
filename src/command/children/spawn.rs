//! Starting a child: its pipes, its surroundings, and why it could not be started.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::{self, Pid, Resource};

use crate::command::children::{Argument, Identity, Input, Process};
use crate::command::program;

/// Our ends of the pipes of a run. Non-blocking.
#[derive(Debug)]
pub(super) struct Ours {
    /// `None` if there is nothing to write.
    pub(super) stdin: Option<OwnedFd>,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
}

/// The child's ends. Blocking, as programs expect theirs to be.
#[derive(Debug)]
pub(super) struct Theirs {
    stdin: OwnedFd,
    stdout: OwnedFd,
    stderr: OwnedFd,
}

/// The pipes of a run. `null`: `/dev/null`, which is its stdin if there is nothing to write.
pub(super) fn pipes(has_stdin: bool, null: &OwnedFd) -> io::Result<(Ours, Theirs)> {
    let (stdin, our_stdin) = if has_stdin {
        let (theirs, ours) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        rustix::fs::fcntl_setfl(&ours, OFlags::NONBLOCK)?;
        (theirs, Some(ours))
    } else {
        (null.try_clone()?, None)
    };
    let (our_stdout, stdout) = output()?;
    let (our_stderr, stderr) = output()?;
    let ours = Ours {
        stdin: our_stdin,
        stdout: our_stdout,
        stderr: our_stderr,
    };
    let theirs = Theirs {
        stdin,
        stdout,
        stderr,
    };
    Ok((ours, theirs))
}

/// A pipe from the child: our end, its end.
fn output() -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    rustix::fs::fcntl_setfl(&ours, OFlags::NONBLOCK)?;
    Ok((ours, theirs))
}

/// Starts a child. Its ends of the pipes are closed here: it alone has them.
pub(super) fn spawn(process: &Process, input: &Input, pipes: Theirs) -> io::Result<Pid> {
    let mut command = command(process, input);
    command.stdin(Stdio::from(pipes.stdin));
    command.stdout(Stdio::from(pipes.stdout));
    command.stderr(Stdio::from(pipes.stderr));
    if becomes(process).is_some() && is_plain_text(command.get_program().as_ref()) {
        return Err(Errno::NOEXEC.into());
    }
    // To drop std's idea of a child neither kills it nor waits for it.
    let pid = Pid::from_child(&command.spawn()?);
    if let Some(limit) = process.descriptors {
        // Nothing of ours can run between fork and exec, so for some microseconds the child may see
        // our own limit. It is no defence: it is for programs that close, or put into a select(2),
        // whatever descriptors there may be. It fails for a child that is gone or setuid.
        let _limited = process::prlimit(Some(pid), Resource::Nofile, limit);
    }
    Ok(pid)
}

/// Without another identity std takes posix_spawn(3), which does not copy our page tables. With one
/// it forks, and calls execvp(3), which has `/bin/sh` run a script that does not begin with `#!`: those
/// are refused before.
fn command(process: &Process, input: &Input) -> Command {
    let mut arguments = process.run.iter().map(|argument| match argument {
        Argument::Text(text) => OsStr::new(text),
        Argument::Request => OsStr::from_bytes(&input.argument),
    });
    let mut command = Command::new(arguments.next().unwrap_or_default());
    command
        .args(arguments)
        .env_clear()
        .envs(
            process
                .environment
                .iter()
                .map(|(name, value)| (name, value)),
        )
        .envs(input.variables.iter().map(|(name, value)| (name, value)))
        .current_dir(&process.working_directory)
        .process_group(0);
    if let Some(identity) = becomes(process) {
        // With a uid, std drops our supplementary groups too.
        command.gid(identity.gid).uid(identity.uid);
    }
    command
}

/// Whom a run has to become, if that is somebody else.
fn becomes(process: &Process) -> Option<Identity> {
    let is_ours = |identity: &Identity| {
        let (uid, gid) = (process::geteuid(), process::getegid());
        (uid.as_raw(), gid.as_raw()) == (identity.uid, identity.gid)
    };
    process.identity.filter(|identity| !is_ours(identity))
}

/// Whether execve(2) takes a file for no program. One that we can't read is for execve to judge.
fn is_plain_text(path: &Path) -> bool {
    let is_file = path.metadata().is_ok_and(|metadata| metadata.is_file());
    let beginning = is_file.then(|| program::beginning(path));
    matches!(beginning, Some(Ok(Some(beginning))) if program::is_plain_text(&beginning))
}

/// What pipe(2), posix_spawn(3) and exec(2) say, for people. They don't say what it is about, so we look.
pub(super) fn explained(process: &Process, error: &io::Error) -> io::Error {
    let program = match process.run.first() {
        Some(Argument::Text(program)) => program.as_str(),
        _ => "",
    };
    let folder = &process.working_directory;
    let text = match Errno::from_io_error(error) {
        Some(Errno::NOENT | Errno::NOTDIR) if !folder.is_dir() => {
            format!("there is no working directory {}", folder.display())
        }
        Some(Errno::NOENT) if Path::new(program).exists() => {
            format!("{program} asks for an interpreter that does not exist: see its first line")
        }
        Some(Errno::NOENT | Errno::NOTDIR) => format!("there is no {program}"),
        Some(Errno::ACCESS | Errno::PERM) => match process.identity {
            Some(identity) => format!(
                "uid {}, gid {} may not run {program} in {}: is it a file, is it executable?",
                identity.uid,
                identity.gid,
                folder.display()
            ),
            None => format!(
                "we may not run {program} in {}: is it a file, is it executable?",
                folder.display()
            ),
        },
        Some(Errno::NOEXEC) => {
            format!("{program} is no program: a script has to begin with a line like #!/bin/sh")
        }
        Some(Errno::TOOBIG) => "its arguments and variables are more than the kernel takes \
                                (128 KiB each; all of them a quarter of the stack's limit)"
            .to_owned(),
        Some(Errno::AGAIN) => {
            "no more processes: see RLIMIT_NPROC, TasksMax= of the unit, kernel.pid_max".to_owned()
        }
        Some(Errno::MFILE | Errno::NFILE) => "no more descriptors: see RLIMIT_NOFILE".to_owned(),
        Some(Errno::NOMEM) => "no memory for one more process".to_owned(),
        Some(Errno::TXTBSY) => format!("somebody is writing to {program}"),
        None if error.kind() == io::ErrorKind::InvalidInput => {
            "no argument and no variable may have a NUL byte in it".to_owned()
        }
        _ => format!("cannot start {program}"),
    };
    io::Error::new(error.kind(), format!("{text} ({error})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(beginning: &[u8], expected: bool) {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), beginning).expect("written");
        assert_eq!(is_plain_text(file.path()), expected, "{beginning:?}");
    }

    #[test]
    fn what_no_kernel_runs_is_no_shells_either() {
        check(b"echo hi\n", true);
        check(b"", true);
        check(b"#!/bin/sh\n", false);
        check(b"\x7fELF\0", false);
        assert!(!is_plain_text(Path::new("/no/such/file")));
        assert!(!is_plain_text(Path::new("/")));
    }
}
