//! Every metric replyd has, in one place.
//!
//! A service's children are resolved once, when the service is made; an exchange only adds to
//! them. Labels are bounded by the configuration: services, pools, listeners, the closed sets of
//! outcomes and reasons, and the names of errnos. Nothing a peer sends ever becomes a label.
//!
//! Counters are relaxed atomics: a scrape may see one exchange's counters a moment apart.
//!
//! Knows nothing of connections or threads: the sets of labels are handed in.

mod command;
mod log;
mod maintenance;
mod pool;
mod process;
mod service;

use std::sync::Arc;

use prometheus::{
    Encoder, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

pub use command::{AnswerAge, CommandMetrics};
pub use log::LogMetrics;
pub use maintenance::IsActive;
pub use pool::PoolMetrics;
pub use service::ServiceMetrics;

use crate::metrics::command::CommandFamilies;
use crate::metrics::service::ServiceFamilies;

/// `Content-Type` of [`Metrics::render`]. Source: Prometheus text exposition format 0.0.4.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The values that the labels of closed sets can have, in the order of their indexes.
#[derive(Clone, Copy, Debug)]
pub struct Labels {
    /// Label `outcome`.
    pub outcomes: &'static [&'static str],

    /// Label `for`: what a waiting connection waits for.
    pub waits: &'static [&'static str],

    /// Label `reason`: why a connection was turned away.
    pub reasons: &'static [&'static str],

    /// Label `result` of a command's runs.
    pub runs: &'static [&'static str],

    /// Label `result` of a command's answers: where they came from.
    pub answers: &'static [&'static str],
}

/// All families, and the registry that a scrape reads.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    pools: pool::Pools,
    services: ServiceFamilies,
    maintenances: maintenance::Maintenances,
    commands: CommandFamilies,
    listener_queue_length: IntGaugeVec,
    listener_queue_limit: IntGaugeVec,
    reload_successful: IntGauge,
    reload_success_timestamp: IntGauge,
}

/// One TCP listener's children: what the kernel holds that was not accepted yet.
#[derive(Clone, Debug)]
pub struct ListenerMetrics {
    /// Connections in the kernel's queue.
    pub queue_length: IntGauge,

    /// The backlog that the kernel granted.
    pub queue_limit: IntGauge,
}

impl Metrics {
    /// Registers every family.
    ///
    /// # Panics
    /// If two families had one name, which the tests would show.
    #[must_use]
    pub fn new(labels: Labels) -> Self {
        let registry = Registry::new();
        let families = Families {
            registry: &registry,
        };
        let metrics = Self {
            pools: pool::Pools::default(),
            services: ServiceFamilies::new(&families, labels),
            maintenances: maintenance::Maintenances::default(),
            commands: CommandFamilies::new(&families, labels),
            listener_queue_length: families.gauges(
                "listener_queue_length",
                "Connections in the kernel's queue of a TCP listener, not accepted yet.",
                &["service", "listener"],
            ),
            listener_queue_limit: families.gauges(
                "listener_queue_limit",
                "Backlog of a TCP listener, as the kernel granted it.",
                &["service", "listener"],
            ),
            reload_successful: families.gauge(
                "config_last_reload_successful",
                "Whether the configuration last read was taken.",
            ),
            reload_success_timestamp: families.gauge(
                "config_last_reload_success_timestamp_seconds",
                "When a configuration was last taken, in Unix time.",
            ),
            registry: registry.clone(),
        };
        families.build_info();
        register(&registry, metrics.pools.clone());
        register(&registry, metrics.maintenances.clone());
        register(&registry, process::ProcessCollector::new());
        metrics
    }

    /// Resolves one service's children; closed sets start at 0.
    #[must_use]
    pub fn service(&self, name: &str) -> ServiceMetrics {
        self.services.resolve(name)
    }

    /// Resolves the children of a service that replies by a command; closed sets start at 0.
    #[must_use]
    pub fn command(&self, name: &str) -> CommandMetrics {
        self.commands.resolve(name)
    }

    /// Resolves the children of one TCP listener, known by its address.
    #[must_use]
    pub fn listener(&self, service: &str, addr: &str) -> ListenerMetrics {
        ListenerMetrics {
            queue_length: self
                .listener_queue_length
                .with_label_values(&[service, addr]),
            queue_limit: self
                .listener_queue_limit
                .with_label_values(&[service, addr]),
        }
    }

    /// Forgets the children of one TCP listener.
    pub fn forget_listener(&self, service: &str, addr: &str) {
        for family in [&self.listener_queue_length, &self.listener_queue_limit] {
            // It may have none: a unix listener.
            let _removed = family.remove_label_values(&[service, addr]);
        }
    }

    /// Forgets every child of services that are gone. Looks at every child there is, once.
    pub fn forget_services(&self, names: &[String]) {
        if !names.is_empty() {
            self.services.forget(names);
            self.commands.forget(names);
        }
    }

    /// Forgets a pool.
    pub fn forget_pool(&self, name: &str) {
        self.pools.forget(name);
    }

    /// Tells of the maintenance of these services, and of no others from now on.
    pub fn maintenance(&self, services: Vec<(String, IsActive)>) {
        self.maintenances.set(services);
    }

    /// Adds a pool: `queue_length` is asked at each scrape, `queue_capacity` is in connections.
    pub fn pool(
        &self,
        name: &str,
        workers: usize,
        queue_capacity: usize,
        queue_length: impl Fn() -> usize + Send + Sync + 'static,
    ) -> Arc<PoolMetrics> {
        self.pools
            .add(name, workers, queue_capacity, Box::new(queue_length))
    }

    /// Notes that a configuration was refused.
    pub fn config_refused(&self) {
        self.reload_successful.set(0);
    }

    /// Adds what the log counts, where there is one. Once.
    ///
    /// # Panics
    /// The second time.
    pub fn log(&self, log: &LogMetrics) {
        register(&self.registry, log.dropped.clone());
    }

    /// Notes that a configuration was taken at `unix_seconds`.
    pub fn config_taken(&self, unix_seconds: i64) {
        self.reload_successful.set(1);
        self.reload_success_timestamp.set(unix_seconds);
    }

    /// The page that Prometheus scrapes; see [`CONTENT_TYPE`].
    ///
    /// # Panics
    /// Never: writing to memory does not fail, and every family has a name.
    #[must_use]
    pub fn render(&self) -> Vec<u8> {
        let mut page = Vec::with_capacity(64 * 1024);
        TextEncoder::new()
            .encode(&self.registry.gather(), &mut page)
            .expect("invariant: writing to memory does not fail and every family has a name");
        page
    }
}

/// Makes families of one registry, all with the prefix `replyd_`.
struct Families<'a> {
    registry: &'a Registry,
}

impl Families<'_> {
    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.register(IntCounterVec::new(options(name, help), labels))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.register(IntGaugeVec::new(options(name, help), labels))
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.register(IntGauge::with_opts(options(name, help)))
    }

    fn histograms(&self, name: &str, help: &str, buckets: &[f64]) -> HistogramVec {
        let options = HistogramOpts::from(options(name, help)).buckets(buckets.to_vec());
        self.register(HistogramVec::new(options, &["service"]))
    }

    fn build_info(&self) {
        let info = self.gauges(
            "build_info",
            "Always 1; the labels say which replyd this is.",
            &["version", "revision"],
        );
        let revision = env!("REPLYD_REVISION");
        info.with_label_values(&[env!("CARGO_PKG_VERSION"), revision])
            .set(1);
    }

    fn register<C: prometheus::core::Collector + Clone + 'static>(
        &self,
        family: prometheus::Result<C>,
    ) -> C {
        let family = family.expect("invariant: names and labels are valid");
        register(self.registry, family.clone());
        family
    }
}

fn options(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("replyd")
}

fn register(registry: &Registry, collector: impl prometheus::core::Collector + 'static) {
    registry
        .register(Box::new(collector))
        .expect("invariant: names are unique");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    fn metrics() -> Metrics {
        Metrics::new(Labels {
            outcomes: &["replied", "failed"],
            waits: &["request"],
            reasons: &["queue_full"],
            runs: &["answered"],
            answers: &["hit"],
        })
    }

    #[track_caller]
    fn check(page: &str, line: &str) {
        assert!(
            page.lines().any(|found| found == line),
            "no line {line:?} in\n{page}"
        );
    }

    #[test]
    fn every_child_of_a_closed_set_is_there_from_the_start() {
        let metrics = metrics();
        let _service = metrics.service("hello");
        let page = String::from_utf8(metrics.render()).expect("UTF-8");
        for line in [
            "replyd_connections_accepted_total{service=\"hello\"} 0",
            "replyd_connections_closed_total{outcome=\"failed\",service=\"hello\"} 0",
            "replyd_connections_closed_total{outcome=\"replied\",service=\"hello\"} 0",
            "replyd_rejected_total{reason=\"queue_full\",service=\"hello\"} 0",
            "replyd_connections_waiting{for=\"request\",service=\"hello\"} 0",
            "replyd_exchange_duration_seconds_count{service=\"hello\"} 0",
        ] {
            check(&page, line);
        }
    }

    #[test]
    fn the_log_tells_what_it_has_dropped() {
        let (metrics, log) = (metrics(), LogMetrics::new());
        log.dropped.inc_by(7);
        metrics.log(&log);
        let page = String::from_utf8(metrics.render()).expect("UTF-8");
        check(&page, "replyd_log_dropped_total 7");
    }

    #[test]
    fn a_pool_tells_its_queue_and_the_time_of_its_workers() {
        let metrics = metrics();
        let pool = metrics.pool("main", 2, 7, || 3);
        pool.worker(1)
            .idle_after(std::time::Duration::from_millis(1500));
        pool.worker(0).busy();
        let page = String::from_utf8(metrics.render()).expect("UTF-8");
        for line in [
            "replyd_queue_length{pool=\"main\"} 3",
            "replyd_queue_capacity{pool=\"main\"} 7",
            "replyd_workers{pool=\"main\"} 2",
            "replyd_workers_busy{pool=\"main\"} 1",
            "replyd_worker_busy_seconds_total{pool=\"main\"} 1.5",
        ] {
            check(&page, line);
        }
    }

    #[test]
    fn maintenance_is_told_as_it_is_and_only_of_services_that_may_have_it() {
        let metrics = metrics();
        let render = || String::from_utf8(metrics.render()).expect("UTF-8");
        assert!(!render().contains("maintenance"));
        let active = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&active);
        let is_active: IsActive = Box::new(move || told.load(Relaxed));
        metrics.maintenance(vec![("hello".to_owned(), is_active)]);
        check(&render(), "replyd_maintenance_active{service=\"hello\"} 0");
        active.store(true, Relaxed);
        check(&render(), "replyd_maintenance_active{service=\"hello\"} 1");
        metrics.maintenance(Vec::new());
        assert!(!render().contains("maintenance"));
    }

    #[test]
    fn processor_time_is_told_in_fractions_of_a_second() {
        let page = String::from_utf8(metrics().render()).expect("UTF-8");
        for name in [
            "process_cpu_seconds_total",
            "process_open_fds",
            "process_threads",
        ] {
            assert!(
                page.contains(&format!("\n{name} ")),
                "{name} is not in\n{page}"
            );
        }
    }
}
