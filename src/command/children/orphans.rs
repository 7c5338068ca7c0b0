//! Orphans: descendants that have left their run, and come to us when their own parents end.
//!
//! We are a child subreaper, so whatever a run leaves behind becomes a child of our main thread,
//! whose list is in `/proc`; the first processes of runs are children of the thread that started
//! them. One that is dead is reaped. One that is alive is killed, unless its group is that of a run
//! which goes on.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::{self, Pid, Signal, WaitId, WaitIdOptions};
use tracing::warn;

/// How long after the end of a run one looks: so long that those who were killed with it have come.
const DELAY: Duration = Duration::from_millis(50);

/// Between two looks, at least.
const INTERVAL: Duration = Duration::from_millis(100);

/// How many bytes of the list are read: a thousand processes, and as many the next time.
const LIST_BYTES_MAX: u64 = 8 * 1024;

/// Looks for orphans when there is reason to.
#[derive(Debug)]
pub(super) struct Orphans {
    /// The list of our main thread's children.
    list: PathBuf,

    /// Whether that can't be read.
    pub(super) is_blind: bool,

    /// Those that were there before us: whoever became us by exec had started them.
    inherited: Vec<Pid>,

    /// When to look next, if there is reason to.
    due: Option<Instant>,

    /// Not to look before.
    earliest: Instant,
}

impl Orphans {
    pub(super) fn new(now: Instant) -> io::Result<Self> {
        let main_thread = process::getpid();
        process::set_child_subreaper(Some(main_thread))?;
        let list = format!("/proc/self/task/{main_thread}/children");
        let mut orphans = Self {
            list: PathBuf::from(list),
            is_blind: false,
            inherited: Vec::new(),
            due: None,
            earliest: now,
        };
        match orphans.read() {
            Ok(inherited) => orphans.inherited = inherited,
            Err(error) => {
                let list = orphans.list.display();
                warn!(%list, %error, "what leaves the process group of its command will outlive it: cannot find it");
                orphans.is_blind = true;
            }
        }
        Ok(orphans)
    }

    /// There may be some.
    pub(super) fn expect(&mut self, now: Instant) {
        if !self.is_blind {
            self.due = self.due.or(Some(self.earliest.max(now + DELAY)));
        }
    }

    /// A child that is no run has ended: this one, if that is known. Whether it is reaped; if not, it
    /// will be if it is in the list. In tests it may belong to another thread, which waits for it.
    pub(super) fn ended(&mut self, pid: Option<Pid>, now: Instant) -> bool {
        self.expect(now);
        self.is_blind && pid.is_some_and(reap)
    }

    /// When to look.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Looks for orphans. `is_run`: whether it is the first process of a run.
    pub(super) fn sweep(&mut self, now: Instant, is_run: impl Fn(Pid) -> bool) {
        self.due = None;
        self.earliest = now + INTERVAL;
        let mut orphans = self.read().unwrap_or_default();
        orphans.retain(|orphan| !is_run(*orphan));
        let mut found = false;
        for orphan in &orphans {
            if reap(*orphan) {
                self.inherited.retain(|inherited| inherited != orphan);
                found = true;
            } else if self.has_lost_its_run(*orphan, &orphans) {
                kill(*orphan);
                found = true;
            }
        }
        if found {
            // Whatever they have started comes to us now.
            self.expect(now);
        }
    }

    fn has_lost_its_run(&self, orphan: Pid, orphans: &[Pid]) -> bool {
        if self.inherited.contains(&orphan) {
            return false;
        }
        let Ok(group) = process::getpgid(Some(orphan)) else {
            return false;
        };
        let is_led_by_a_run = !orphans.contains(&group) && is_living_child(group);
        !is_led_by_a_run
    }

    /// As many of our main thread's children as are looked at in one go.
    fn read(&self) -> io::Result<Vec<Pid>> {
        let mut text = String::new();
        let list = File::open(&self.list)?;
        list.take(LIST_BYTES_MAX).read_to_string(&mut text)?;
        // Each number has a space behind it; one that is cut has none.
        let whole = text.rfind(' ').map_or("", |end| &text[..end]);
        let numbers = whole.split(' ').filter_map(|number| number.parse().ok());
        Ok(numbers.filter_map(Pid::from_raw).collect())
    }
}

/// Whether it was dead.
fn reap(pid: Pid) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    process::waitid(WaitId::Pid(pid), options).is_ok_and(|status| status.is_some())
}

fn is_living_child(pid: Pid) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    process::waitid(WaitId::Pid(pid), options).is_ok_and(|status| status.is_none())
}

/// With its group, if it leads one. It is ours to reap, so its number is nobody else's.
fn kill(pid: Pid) {
    // They can only fail for who is dead, or has become somebody else.
    let _killed = process::kill_process(pid, Signal::KILL);
    let _killed = process::kill_process_group(pid, Signal::KILL);
}
