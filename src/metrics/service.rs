//! The metrics of services: what an exchange adds to.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use prometheus::core::{Collector as _, MetricVec, MetricVecBuilder};
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use crate::metrics::{Families, Labels};

/// Seconds: 50 µs, a plain exchange on loopback, to 10 s, the longest reply worth telling apart.
const DURATION_BUCKETS: [f64; 17] = [
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0,
    2.5, 5.0, 10.0,
];

/// One service's children. A slice is indexed like its set in [`Labels`].
#[derive(Clone, Debug)]
pub struct ServiceMetrics {
    /// Connections accepted.
    pub accepted: IntCounter,

    /// Connections closed, by outcome.
    pub closed: Box<[IntCounter]>,

    /// Connections accepted and not yet closed.
    pub open: IntGauge,

    /// Connections waiting, by what for.
    pub waiting: Box<[IntGauge]>,

    /// Connections turned away, by reason.
    pub rejected: Box<[IntCounter]>,

    /// Seconds from the queue's tail to a worker.
    pub queue_wait: Histogram,

    /// Seconds from accept to the last byte of the reply, of replied exchanges.
    pub exchange_duration: Histogram,

    /// Bytes received, requests and what lingering threw away.
    pub received_bytes: IntCounter,

    /// Bytes that the kernel took for sending.
    pub sent_bytes: IntCounter,

    accept_errors: IntCounterVec,
    name: Arc<str>,
}

impl ServiceMetrics {
    /// Counts one error of accept(2). Resolves its label each time: errors are rare.
    pub fn accept_error(&self, error: &str) {
        self.accept_errors
            .with_label_values(&[&self.name, error])
            .inc();
    }
}

/// The families that have a child for each service.
#[derive(Debug)]
pub(super) struct ServiceFamilies {
    labels: Labels,
    accepted: IntCounterVec,
    closed: IntCounterVec,
    open: IntGaugeVec,
    waiting: IntGaugeVec,
    rejected: IntCounterVec,
    queue_wait: HistogramVec,
    exchange_duration: HistogramVec,
    received_bytes: IntCounterVec,
    sent_bytes: IntCounterVec,
    accept_errors: IntCounterVec,
}

impl ServiceFamilies {
    pub(super) fn new(families: &Families<'_>, labels: Labels) -> Self {
        Self {
            labels,
            accepted: families.counters(
                "connections_accepted_total",
                "Connections accepted.",
                &["service"],
            ),
            closed: families.counters(
                "connections_closed_total",
                "Connections closed, by how their exchange ended.",
                &["service", "outcome"],
            ),
            open: families.gauges(
                "connections_open",
                "Connections accepted and not yet closed, lingering ones included.",
                &["service"],
            ),
            waiting: families.gauges(
                "connections_waiting",
                "Open connections that wait, by what for.",
                &["service", "for"],
            ),
            rejected: families.counters(
                "rejected_total",
                "Connections turned away, by the limit that did it.",
                &["service", "reason"],
            ),
            queue_wait: families.histograms(
                "queue_wait_seconds",
                "Time of new connections in the queue before a worker took them.",
                &DURATION_BUCKETS,
            ),
            exchange_duration: families.histograms(
                "exchange_duration_seconds",
                "Time from accept to the last byte of the reply, of replied exchanges.",
                &DURATION_BUCKETS,
            ),
            received_bytes: families.counters(
                "received_bytes_total",
                "Bytes received from peers.",
                &["service"],
            ),
            sent_bytes: families.counters(
                "sent_bytes_total",
                "Bytes of replies that the kernel took.",
                &["service"],
            ),
            accept_errors: families.counters(
                "accept_errors_total",
                "Errors of accept(2), by errno.",
                &["service", "error"],
            ),
        }
    }

    /// Closed sets start at 0.
    pub(super) fn resolve(&self, name: &str) -> ServiceMetrics {
        let by = |family: &IntCounterVec, values: &[&str]| -> Box<[IntCounter]> {
            values
                .iter()
                .map(|value| family.with_label_values(&[name, value]))
                .collect()
        };
        ServiceMetrics {
            accepted: self.accepted.with_label_values(&[name]),
            closed: by(&self.closed, self.labels.outcomes),
            open: self.open.with_label_values(&[name]),
            waiting: (self.labels.waits.iter())
                .map(|wait| self.waiting.with_label_values(&[name, wait]))
                .collect(),
            rejected: by(&self.rejected, self.labels.reasons),
            queue_wait: self.queue_wait.with_label_values(&[name]),
            exchange_duration: self.exchange_duration.with_label_values(&[name]),
            received_bytes: self.received_bytes.with_label_values(&[name]),
            sent_bytes: self.sent_bytes.with_label_values(&[name]),
            accept_errors: self.accept_errors.clone(),
            name: name.into(),
        }
    }

    pub(super) fn forget(&self, names: &[String]) {
        let counters = [
            &self.accepted,
            &self.closed,
            &self.rejected,
            &self.received_bytes,
            &self.sent_bytes,
            &self.accept_errors,
        ];
        for family in counters {
            forget(family, names);
        }
        for family in [&self.open, &self.waiting] {
            forget(family, names);
        }
        for family in [&self.queue_wait, &self.exchange_duration] {
            forget(family, names);
        }
    }
}

/// Removes every child of a family that these services have, whatever its other labels.
pub(super) fn forget<T: MetricVecBuilder>(family: &MetricVec<T>, names: &[String]) {
    let names: HashSet<&str> = names.iter().map(String::as_str).collect();
    for collected in family.collect() {
        for child in collected.get_metric() {
            let labels = child.get_label().iter();
            let labels: HashMap<&str, &str> =
                labels.map(|label| (label.name(), label.value())).collect();
            if labels
                .get("service")
                .is_some_and(|name| names.contains(name))
            {
                // It was there a moment ago, and nobody else removes it.
                let _removed = family.remove(&labels);
            }
        }
    }
}
