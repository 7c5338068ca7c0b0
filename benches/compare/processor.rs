//! Processor time, from /proc: of a tree of processes, and of the machine.

use procfs::{CurrentSI as _, KernelStats, ProcResult, ticks_per_second};

use super::processes::{self, Entry, tree};
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

impl Moment {
    /// Now. `server` is the process that all processes of the server descend from.
    ///
    /// A process that ends between two moments is not lost: what it spent has gone to who reaped it, and a zombie still
    /// has it. Of threads that live to the nanosecond, of reaped processes and of the machine in steps of 10 ms.
    pub(super) fn now(server: u32) -> ProcResult<Self> {
        let all = processes::all()?;
        let kernel = KernelStats::current()?.total;
        let others = [kernel.irq, kernel.softirq, kernel.steal];
        let others: u64 = others.into_iter().flatten().sum();
        let ticks = kernel.user + kernel.nice + kernel.system + others;
        let seconds = |root| tree(&all, root).iter().map(Entry::seconds).sum();
        Ok(Self {
            server: seconds(server),
            own: seconds(std::process::id()),
            machine: ratio(ticks, ratio(ticks_per_second(), 1.0)),
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

#[cfg(test)]
mod tests {
    use super::*;

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
