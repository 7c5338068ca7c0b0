//! System calls, counted by perf's tracepoints: it stops nobody, as ptrace does.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::processes::pids;

const ALL: &str = "raw_syscalls:sys_enter";
const EPOLL_CONTROL: &str = "syscalls:sys_enter_epoll_ctl";

/// For perf to be attached: it doesn't say when it is.
const ATTACH: Duration = Duration::from_millis(400);

/// How many there were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Calls {
    pub(super) all: u64,
    pub(super) epoll_control: u64,
}

/// Counts those of a server's processes while `during` runs. None of them if perf can't.
pub(super) fn count<T>(
    server: u32,
    folder: &Path,
    during: impl FnOnce() -> Result<T, String>,
) -> Result<(Option<Calls>, T), String> {
    let file = folder.join("perf.csv");
    let _gone = fs::remove_file(&file);
    let pids: Vec<String> = pids(server)?.iter().map(ToString::to_string).collect();
    let mut command = Command::new("perf");
    command.args(["stat", "-x,", "-e", &format!("{ALL},{EPOLL_CONTROL}")]);
    command.args(["-p", &pids.join(","), "-o"]).arg(&file);
    command.stdin(Stdio::null());
    let perf = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut perf = perf.ok();
    if perf.is_some() {
        thread::sleep(ATTACH);
    }
    let done = during();
    let has_counted = perf.as_mut().is_some_and(end);
    let text = fs::read_to_string(&file).unwrap_or_default();
    let calls = has_counted.then(|| parse(&text)).flatten();
    Ok((calls, done?))
}

/// Has perf write what it has counted. Whether it was still counting.
fn end(perf: &mut Child) -> bool {
    let is_alive = matches!(perf.try_wait(), Ok(None));
    let _signalled = kill_process(Pid::from_child(perf), Signal::INT);
    perf.wait().is_ok() && is_alive
}

/// Lines of `value,unit,event,…`; a value that can't be had is in words.
fn parse(text: &str) -> Option<Calls> {
    let value = |event: &str| {
        let mut lines = text.lines().map(|line| line.split(','));
        lines.find_map(|mut fields| {
            let value = fields.next()?;
            (fields.nth(1)? == event).then_some(value)?.parse().ok()
        })
    };
    Some(Calls {
        all: value(ALL)?,
        epoll_control: value(EPOLL_CONTROL)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn perfs_counts_are_understood() {
        let text = "# started on Sat Nov 28 22:00:00 2026\n\n\
                    151000,,raw_syscalls:sys_enter,2000000,100.00,,\n\
                    12,,syscalls:sys_enter_epoll_ctl,2000000,100.00,,\n";
        let calls = Calls {
            all: 151_000,
            epoll_control: 12,
        };
        assert_eq!(parse(text), Some(calls));
    }

    #[test]
    fn what_perf_may_not_count_is_not_known() {
        let text = "<not supported>,,raw_syscalls:sys_enter,0,100.00,,\n";
        assert_eq!(parse(text), None);
        assert_eq!(parse(""), None);
    }
}
