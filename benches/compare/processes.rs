//! A server's processes, from /proc: who they are, what they spent, what they hold.

use std::collections::HashMap;
use std::fs;

use procfs::process::{Process, Stat, all_processes};
use procfs::{ProcResult, ticks_per_second};

use super::statistics::ratio;

/// A process, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) pid: i32,
    parent: i32,

    /// User and system, in clock ticks.
    own: u64,

    /// Of the children that it has reaped.
    reaped: u64,
}

impl From<Stat> for Entry {
    fn from(stat: Stat) -> Self {
        let reaped = u64::try_from(stat.cutime.saturating_add(stat.cstime));
        Self {
            pid: stat.pid,
            parent: stat.ppid,
            own: stat.utime + stat.stime,
            reaped: reaped.unwrap_or(0),
        }
    }
}

impl Entry {
    /// Processor seconds of its own and of whom it has reaped.
    pub(super) fn seconds(&self) -> f64 {
        // Ticks know threads that have ended, the nanoseconds of the living are exact: neither is ever too high.
        let own = seconds(self.own).max(self.nanoseconds() / 1e9);
        own + seconds(self.reaped)
    }

    /// On a processor, by all threads that live.
    fn nanoseconds(&self) -> f64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid));
        let tasks = tasks.into_iter().flatten().flatten();
        let of_task = |task: fs::DirEntry| {
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            on_processor(&text)
        };
        ratio(tasks.filter_map(of_task).sum(), 1.0)
    }
}

/// The first figure of `schedstat`, in nanoseconds.
fn on_processor(schedstat: &str) -> Option<u64> {
    schedstat.split(' ').next()?.parse().ok()
}

fn seconds(ticks: u64) -> f64 {
    ratio(ticks, ratio(ticks_per_second(), 1.0))
}

/// All there are.
pub(super) fn all() -> ProcResult<Vec<Entry>> {
    Ok(all_processes()?
        .flatten()
        // One that has ended meanwhile is in what its parent says, read later or next time.
        .filter_map(|process| process.stat().ok())
        .map(Entry::from)
        .collect())
}

/// A process and all that descend from it.
pub(super) fn tree(processes: &[Entry], root: u32) -> Vec<Entry> {
    let root = i32::try_from(root).unwrap_or(0);
    let parents: HashMap<i32, i32> = processes
        .iter()
        .map(|process| (process.pid, process.parent))
        .collect();
    let is_in_tree = |process: &&Entry| {
        let ancestors = std::iter::successors(Some(process.pid), |pid| parents.get(pid).copied());
        // The list was not read in one instant: it could hold a circle.
        ancestors.take(processes.len() + 1).any(|pid| pid == root)
    };
    processes.iter().filter(is_in_tree).copied().collect()
}

/// Those of the tree that are alive now.
pub(super) fn pids(root: u32) -> Result<Vec<i32>, String> {
    let all = all().map_err(|error| format!("processes: {error}"))?;
    Ok(tree(&all, root).iter().map(|entry| entry.pid).collect())
}

/// Open descriptors of a tree.
pub(super) fn descriptors(root: u32) -> Result<usize, String> {
    let of_process = |pid: i32| Process::new(pid).and_then(|process| process.fd_count());
    let counts = pids(root)?.into_iter().map(of_process);
    let sum: ProcResult<usize> = counts.sum();
    sum.map_err(|error| format!("descriptors: {error}"))
}

/// Memory of a tree in bytes: what it has for itself, and its share of what others have, too.
pub(super) fn memory(root: u32) -> Result<u64, String> {
    let of_process = |pid: i32| {
        let path = format!("/proc/{pid}/smaps_rollup");
        let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
        proportional(&text).ok_or_else(|| format!("{path} has no Pss"))
    };
    pids(root)?.into_iter().map(of_process).sum()
}

/// `Pss` of a `smaps_rollup`, in bytes.
fn proportional(text: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kilobytes: u64 = rest.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(pid: i32, parent: i32) -> Entry {
        let (own, reaped) = (0, 0);
        Entry {
            pid,
            parent,
            own,
            reaped,
        }
    }

    fn tree_of(processes: &[Entry], root: u32) -> Vec<i32> {
        let tree = tree(processes, root);
        tree.iter().map(|entry| entry.pid).collect()
    }

    #[test]
    fn a_tree_is_a_process_with_all_that_descends_from_it() {
        let child_of_a_child = entry(20, 12);
        let processes = [
            child_of_a_child,
            entry(1, 0),
            entry(10, 1),
            entry(11, 10),
            entry(12, 10),
            entry(13, 1),
        ];
        assert_eq!(tree_of(&processes, 10), [20, 10, 11, 12]);
        assert_eq!(tree_of(&processes, 20), [20]);
        assert_eq!(tree_of(&processes, 14), [], "it has gone");
    }

    #[test]
    fn a_circle_of_parents_ends() {
        assert_eq!(tree_of(&[entry(2, 3), entry(3, 2)], 4), []);
    }

    #[test]
    fn one_that_has_gone_has_what_its_ticks_say() {
        let gone = Entry {
            own: 2 * ticks_per_second(),
            reaped: ticks_per_second(),
            ..entry(i32::MAX, 1)
        };
        assert!((gone.seconds() - 3.0).abs() < 1e-9);
    }

    #[test]
    fn the_kernels_texts_are_understood() {
        assert_eq!(on_processor("51305 7 1\n"), Some(51305));
        assert_eq!(on_processor(""), None);
        let text = "55d0-7ffe ---p 00000000 00:00 0 [rollup]\nRss:  2000 kB\nPss:     1234 kB\n";
        assert_eq!(proportional(text), Some(1234 * 1024));
        assert_eq!(proportional("Rss: 1 kB"), None);
    }

    #[test]
    fn this_process_has_descriptors_and_memory() {
        let own = std::process::id();
        assert!(descriptors(own).expect("/proc") >= 3);
        assert!(memory(own).expect("/proc") > 100_000);
    }
}
