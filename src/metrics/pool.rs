//! The metrics of worker pools, computed when a scrape asks.
//!
//! A worker has two words of its own that nobody else writes, so telling that it is busy costs it
//! a plain store.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

/// One pool's workers and its queue.
pub struct PoolMetrics {
    name: String,
    queue_capacity: usize,
    queue_length: Box<dyn Fn() -> usize + Send + Sync>,
    workers: Box<[WorkerMetrics]>,
}

/// What one worker tells. Written by that worker alone.
#[derive(Debug, Default)]
pub struct WorkerMetrics {
    busy: AtomicBool,
    busy_nanoseconds: AtomicU64,
}

impl WorkerMetrics {
    /// The worker has taken a connection.
    pub fn busy(&self) {
        self.busy.store(true, Relaxed);
    }

    /// The worker is done with it, after `spent`.
    pub fn idle_after(&self, spent: Duration) {
        let spent = u64::try_from(spent.as_nanos()).unwrap_or(u64::MAX);
        // Not fetch_add: there is one writer, and a plain store needs no locked instruction.
        let total = self.busy_nanoseconds.load(Relaxed).wrapping_add(spent);
        self.busy_nanoseconds.store(total, Relaxed);
        self.busy.store(false, Relaxed);
    }
}

impl PoolMetrics {
    /// What worker number `index`, from 0, writes to.
    ///
    /// # Panics
    /// If the pool has no such worker.
    #[must_use]
    pub fn worker(&self, index: usize) -> &WorkerMetrics {
        &self.workers[index]
    }

    fn busy_workers(&self) -> usize {
        self.workers
            .iter()
            .filter(|worker| worker.busy.load(Relaxed))
            .count()
    }

    fn busy_seconds(&self) -> f64 {
        let nanoseconds = |worker: &WorkerMetrics| worker.busy_nanoseconds.load(Relaxed);
        self.workers
            .iter()
            .map(|worker| Duration::from_nanos(nanoseconds(worker)).as_secs_f64())
            .sum()
    }
}

impl fmt::Debug for PoolMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolMetrics")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Collects what every pool tells.
#[derive(Clone, Debug)]
pub(super) struct Pools {
    descriptions: Arc<[Desc]>,
    pools: Arc<Mutex<Vec<Arc<PoolMetrics>>>>,
}

/// One family, and how a pool is read for it.
struct Family {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    read: fn(&PoolMetrics) -> f64,
}

/// In the order of [`Pools::descriptions`].
const FAMILIES: [Family; 5] = [
    Family {
        name: "replyd_queue_length",
        help: "Connections in the queue to the workers.",
        kind: MetricType::GAUGE,
        read: |pool| number((pool.queue_length)()),
    },
    Family {
        name: "replyd_queue_capacity",
        help: "Connections in the queue from which on new ones are answered busy.",
        kind: MetricType::GAUGE,
        read: |pool| number(pool.queue_capacity),
    },
    Family {
        name: "replyd_workers",
        help: "Workers of the pool.",
        kind: MetricType::GAUGE,
        read: |pool| number(pool.workers.len()),
    },
    Family {
        name: "replyd_workers_busy",
        help: "Workers that have a connection in hand.",
        kind: MetricType::GAUGE,
        read: |pool| number(pool.busy_workers()),
    },
    Family {
        name: "replyd_worker_busy_seconds_total",
        help: "Time that the workers had a connection in hand, summed over the pool.",
        kind: MetricType::COUNTER,
        read: PoolMetrics::busy_seconds,
    },
];

impl Default for Pools {
    fn default() -> Self {
        let describe = |family: &Family| {
            let labels = vec!["pool".to_owned()];
            Desc::new(
                family.name.to_owned(),
                family.help.to_owned(),
                labels,
                HashMap::new(),
            )
            .expect("invariant: names and labels are valid")
        };
        Self {
            descriptions: FAMILIES.iter().map(describe).collect(),
            pools: Arc::default(),
        }
    }
}

impl Pools {
    pub(super) fn add(
        &self,
        name: &str,
        workers: usize,
        queue_capacity: usize,
        queue_length: Box<dyn Fn() -> usize + Send + Sync>,
    ) -> Arc<PoolMetrics> {
        let workers = (0..workers).map(|_| WorkerMetrics::default()).collect();
        let pool = Arc::new(PoolMetrics {
            name: name.to_owned(),
            queue_capacity,
            queue_length,
            workers,
        });
        self.pools
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Arc::clone(&pool));
        pool
    }

    pub(super) fn forget(&self, name: &str) {
        self.pools
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|pool| pool.name != name);
    }
}

impl Collector for Pools {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        FAMILIES
            .iter()
            .map(
                |Family {
                     name,
                     help,
                     kind,
                     read,
                 }| {
                    let metrics = pools.iter().map(|pool| {
                        let mut label = LabelPair::default();
                        label.set_name("pool".to_owned());
                        label.set_value(pool.name.clone());
                        sample(*kind, read(pool), vec![label])
                    });
                    family(name, help, *kind, metrics.collect())
                },
            )
            .filter(|family| !family.get_metric().is_empty())
            .collect()
    }
}

/// One family of samples.
pub(super) fn family(
    name: &str,
    help: &str,
    kind: MetricType,
    metrics: Vec<Metric>,
) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

/// One sample; `kind` is a counter or a gauge.
pub(super) fn sample(kind: MetricType, value: f64, labels: Vec<LabelPair>) -> Metric {
    let mut metric = Metric::from_label(labels);
    if kind == MetricType::COUNTER {
        let mut counter = Counter::default();
        counter.set_value(value);
        metric.set_counter(counter);
    } else {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        metric.set_gauge(gauge);
    }
    metric
}

#[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn number(count: usize) -> f64 {
    count as f64
}
