//! Processor time, from /proc: of a tree of processes, and of the machine.

use std::collections::HashMap;

use procfs::process::{Process, Stat, all_processes};
use procfs::{CurrentSI as _, KernelStats, ProcResult, ticks_per_second};

use super::statistics::ratio;

/// Processor seconds, user and system, at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// Of the server: its processes, their descendants, and all that these have reaped.
    server: f64,

    /// Of this process and its descendants: the load generator and every server.
    own: f64,

    /// Of whoever runs on this machine, interrupts included, and what the hypervisor took.
    machine: f64,
}

/// What was spent between two moments, in seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spent {
    pub(super) server: f64,
    pub(super) machine: f64,

    /// By neither the load generator nor a server: by others on this machine.
    pub(super) others: f64,
}

/// A process, as far as it matters here.
#[derive(Debug, Clone, Copy)]
struct Entry {
    pid: i32,
    parent: i32,

    /// Its own and those of the children that it has reaped.
    ticks: u64,
}

impl From<Stat> for Entry {
    fn from(stat: Stat) -> Self {
        let reaped = u64::try_from(stat.cutime.saturating_add(stat.cstime));
        Self {
            pid: stat.pid,
            parent: stat.ppid,
            ticks: stat.utime + stat.stime + reaped.unwrap_or(0),
        }
    }
}

impl Moment {
    /// Now. `server` is the process that all processes of the server descend from.
    ///
    /// A process that ends between two moments is not lost: what it spent has gone to who reaped it, and a zombie still
    /// has it. In steps of 10 ms for each process.
    pub(super) fn now(server: u32) -> ProcResult<Self> {
        let processes: Vec<Entry> = all_processes()?
            .flatten()
            // One that has ended meanwhile is in what its parent says, read later or next time.
            .filter_map(|process| process.stat().ok())
            .map(Entry::from)
            .collect();
        let kernel = KernelStats::current()?.total;
        let others = [kernel.irq, kernel.softirq, kernel.steal];
        let others: u64 = others.into_iter().flatten().sum();
        Ok(Self {
            server: seconds(tree(&processes, i32::try_from(server).unwrap_or(0))),
            own: seconds(tree(&processes, Process::myself()?.pid())),
            machine: seconds(kernel.user + kernel.nice + kernel.system + others),
        })
    }

    pub(super) fn since(&self, before: &Self) -> Spent {
        let machine = self.machine - before.machine;
        Spent {
            server: self.server - before.server,
            machine,
            // The two clocks differ by some ticks.
            others: (machine - (self.own - before.own)).max(0.0),
        }
    }
}

/// The ticks of a process and its descendants.
fn tree(processes: &[Entry], root: i32) -> u64 {
    let parents: HashMap<i32, i32> = processes
        .iter()
        .map(|process| (process.pid, process.parent))
        .collect();
    let is_in_tree = |process: &&Entry| {
        let ancestors = std::iter::successors(Some(process.pid), |pid| parents.get(pid).copied());
        // The list was not read in one instant: it could hold a circle.
        ancestors.take(processes.len() + 1).any(|pid| pid == root)
    };
    let in_tree = processes.iter().filter(is_in_tree);
    in_tree.map(|process| process.ticks).sum()
}

fn seconds(ticks: u64) -> f64 {
    ratio(ticks, ratio(ticks_per_second(), 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(pid: i32, parent: i32, ticks: u64) -> Entry {
        Entry { pid, parent, ticks }
    }

    #[test]
    fn a_tree_is_a_process_with_all_that_descends_from_it() {
        let child_of_a_child = entry(20, 12, 5);
        let processes = [
            child_of_a_child,
            entry(1, 0, 1000),
            entry(10, 1, 100),
            entry(11, 10, 20),
            entry(12, 10, 30),
            entry(13, 1, 2000),
        ];
        assert_eq!(tree(&processes, 10), 155);
        assert_eq!(tree(&processes, 20), 5);
        assert_eq!(tree(&processes, 14), 0, "it has gone");
    }

    #[test]
    fn a_circle_of_parents_ends() {
        assert_eq!(tree(&[entry(2, 3, 1), entry(3, 2, 1)], 4), 0);
    }

    #[test]
    fn looking_costs_time_that_is_seen() {
        let before = Moment::now(std::process::id()).expect("/proc");
        let spent = (0..10_000).find_map(|_| {
            let spent = Moment::now(std::process::id())
                .expect("/proc")
                .since(&before);
            (spent.server > 0.0 && spent.machine > 0.0).then_some(spent)
        });
        assert!(
            spent.is_some(),
            "10,000 looks at every process take more than a tick"
        );
    }
}
