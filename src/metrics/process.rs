//! The standard `process_*` metrics, read from /proc when a scrape asks.
//!
//! Our own because the collector in the `prometheus` crate counts processor time in whole
//! seconds, which turns every `rate()` into a staircase (tikv/rust-prometheus #451, #560).

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use procfs::process::{LimitValue, Process};
use prometheus::core::{Collector, Desc};
use prometheus::proto::{MetricFamily, MetricType};
use rustix::time::ClockId;

use super::pool::{family, sample};

/// Name, help and kind of each family, in the order of [`read`].
const FAMILIES: [(&str, &str, MetricType); 7] = [
    (
        "process_cpu_seconds_total",
        "Processor time spent, user and system, in seconds.",
        MetricType::COUNTER,
    ),
    (
        "process_open_fds",
        "Open file descriptors.",
        MetricType::GAUGE,
    ),
    (
        "process_max_fds",
        "Open file descriptors allowed (RLIMIT_NOFILE).",
        MetricType::GAUGE,
    ),
    (
        "process_resident_memory_bytes",
        "Resident memory.",
        MetricType::GAUGE,
    ),
    (
        "process_virtual_memory_bytes",
        "Virtual memory.",
        MetricType::GAUGE,
    ),
    (
        "process_start_time_seconds",
        "When the process started, in Unix time.",
        MetricType::GAUGE,
    ),
    (
        "process_threads",
        "Threads of the process.",
        MetricType::GAUGE,
    ),
];

#[derive(Debug)]
pub(super) struct ProcessCollector {
    descriptions: Vec<Desc>,

    /// Seconds of Unix time.
    boot_time: f64,
}

impl ProcessCollector {
    pub(super) fn new() -> Self {
        let describe = |(name, help, _): &(&str, &str, MetricType)| {
            Desc::new(
                (*name).to_owned(),
                (*help).to_owned(),
                Vec::new(),
                HashMap::new(),
            )
            .expect("invariant: names are valid")
        };
        Self {
            descriptions: FAMILIES.iter().map(describe).collect(),
            boot_time: boot_time(),
        }
    }
}

/// When the machine started, by its clocks: a sandbox may hide /proc/stat (`ProcSubset=pid`).
fn boot_time() -> f64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let up = rustix::time::clock_gettime(ClockId::Boottime);
    let up = Duration::try_from(up).unwrap_or_default();
    now.saturating_sub(up).as_secs_f64()
}

impl Collector for ProcessCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    /// Leaves the families out that can't be read (no /proc, or out of descriptors): a page
    /// without them beats no page.
    fn collect(&self) -> Vec<MetricFamily> {
        let values = self.read().unwrap_or_default();
        FAMILIES
            .iter()
            .zip(values)
            .map(|((name, help, kind), value)| {
                family(name, help, *kind, vec![sample(*kind, value, Vec::new())])
            })
            .collect()
    }
}

impl ProcessCollector {
    #[allow(
        clippy::cast_precision_loss,
        reason = "below 2^52 on any machine there is"
    )]
    fn read(&self) -> procfs::ProcResult<Vec<f64>> {
        let process = Process::myself()?;
        let stat = process.stat()?;
        let ticks_per_second = procfs::ticks_per_second() as f64;
        let max_fds = match process.limits()?.max_open_files.soft_limit {
            LimitValue::Unlimited => f64::INFINITY,
            LimitValue::Value(limit) => limit as f64,
        };
        Ok(vec![
            (stat.utime + stat.stime) as f64 / ticks_per_second,
            process.fd_count()? as f64,
            max_fds,
            (stat.rss * procfs::page_size()) as f64,
            stat.vsize as f64,
            self.boot_time + stat.starttime as f64 / ticks_per_second,
            stat.num_threads as f64,
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(
        clippy::cast_precision_loss,
        reason = "below 2^52 on any machine there is"
    )]
    fn the_clocks_know_when_the_machine_started() {
        let told = procfs::boot_time_secs().expect("/proc/stat") as f64;
        let clocks = boot_time();
        assert!((clocks - told).abs() <= 1.0, "{clocks}, not {told}");
    }
}
