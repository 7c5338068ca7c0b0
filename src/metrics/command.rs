//! The metrics of services that reply by a command.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{LabelPair, MetricFamily, MetricType};
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use crate::metrics::pool::{family, sample};
use crate::metrics::service::forget;
use crate::metrics::{Families, Labels};

/// From a script's start to the longest that one is waited for, in seconds.
const BUCKETS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// One service's children.
#[derive(Clone, Debug)]
pub struct CommandMetrics {
    /// Runs that are over, by what they came to.
    pub runs: Box<[IntCounter]>,

    /// From a run's start until its reply was there, or not to be had.
    pub duration: Histogram,

    /// Runs whose process is still there.
    pub running: IntGauge,

    /// Requests that wait for a run to begin.
    pub waiting: IntGauge,

    /// Answers that could be shared, by where they came from.
    pub cache: Box<[IntCounter]>,

    /// When the last answer was made.
    pub age: Arc<AnswerAge>,

    /// Of the last run that has ended by itself; of a signal, 128 and its number; at first -1.
    pub last_exit_status: IntGauge,
}

/// How old the last answer is, as told at a scrape.
#[derive(Debug)]
pub struct AnswerAge {
    begun: Instant,

    /// Milliseconds from `begun`, and one; 0: there was none yet.
    answered: AtomicU64,
}

impl AnswerAge {
    fn new(now: Instant) -> Self {
        Self {
            begun: now,
            answered: AtomicU64::new(0),
        }
    }

    /// There is an answer.
    pub fn answered(&self, now: Instant) {
        let since = now.saturating_duration_since(self.begun).as_millis();
        let since = u64::try_from(since).unwrap_or(u64::MAX - 1);
        self.answered.store(since + 1, Relaxed);
    }

    fn seconds(&self, now: Instant) -> Option<f64> {
        let answered = self.answered.load(Relaxed).checked_sub(1)?;
        let since = now.saturating_duration_since(self.begun);
        let answered = std::time::Duration::from_millis(answered);
        Some(since.saturating_sub(answered).as_secs_f64())
    }
}

/// The families, without children.
#[derive(Debug)]
pub(super) struct CommandFamilies {
    labels: Labels,
    runs: IntCounterVec,
    duration: HistogramVec,
    running: IntGaugeVec,
    waiting: IntGaugeVec,
    cache: IntCounterVec,
    ages: Ages,
    last_exit_status: IntGaugeVec,
}

impl CommandFamilies {
    pub(super) fn new(families: &Families<'_>, labels: Labels) -> Self {
        let ages = Ages::default();
        super::register(families.registry, ages.clone());
        Self {
            labels,
            runs: families.counters(
                "command_runs_total",
                "Runs of a command that are over, by what they came to.",
                &["service", "result"],
            ),
            duration: families.histograms(
                "command_duration_seconds",
                "Time from a run's start until its reply was there, or not to be had.",
                &BUCKETS,
            ),
            running: families.gauges(
                "command_running",
                "Runs of a command whose process is still there.",
                &["service"],
            ),
            waiting: families.gauges(
                "command_waiting",
                "Requests that wait for a run of the command to begin.",
                &["service"],
            ),
            cache: families.counters(
                "command_cache_total",
                "Answers of a command that may be shared, by where they came from.",
                &["service", "result"],
            ),
            ages,
            last_exit_status: families.gauges(
                "command_last_exit_status",
                "Exit status of the last run that has ended by itself; 128 and the signal; -1: none yet.",
                &["service"],
            ),
        }
    }

    pub(super) fn resolve(&self, name: &str) -> CommandMetrics {
        let by = |family: &IntCounterVec, values: &[&str]| -> Box<[IntCounter]> {
            let child = |value: &&str| family.with_label_values(&[name, value]);
            values.iter().map(child).collect()
        };
        let last_exit_status = self.last_exit_status.with_label_values(&[name]);
        let (age, is_new) = self.ages.of(name);
        if is_new {
            last_exit_status.set(-1);
        }
        CommandMetrics {
            runs: by(&self.runs, self.labels.runs),
            duration: self.duration.with_label_values(&[name]),
            running: self.running.with_label_values(&[name]),
            waiting: self.waiting.with_label_values(&[name]),
            cache: by(&self.cache, self.labels.answers),
            age,
            last_exit_status,
        }
    }

    /// Forgets every child of these services.
    pub(super) fn forget(&self, names: &[String]) {
        for family in [&self.runs, &self.cache] {
            forget(family, names);
        }
        for family in [&self.running, &self.waiting, &self.last_exit_status] {
            forget(family, names);
        }
        forget(&self.duration, names);
        self.ages.forget(names);
    }
}

/// The ages of all services' answers.
#[derive(Clone, Debug)]
struct Ages {
    description: Desc,
    ages: Arc<Mutex<BTreeMap<String, Arc<AnswerAge>>>>,
}

const AGE_NAME: &str = "replyd_command_cache_age_seconds";
const AGE_HELP: &str = "Time since the last answer of a command that may be shared.";

impl Default for Ages {
    fn default() -> Self {
        let labels = vec!["service".to_owned()];
        let description = Desc::new(
            AGE_NAME.to_owned(),
            AGE_HELP.to_owned(),
            labels,
            HashMap::new(),
        );
        Self {
            description: description.expect("invariant: names and labels are valid"),
            ages: Arc::default(),
        }
    }
}

impl Ages {
    /// That of one service, and whether it is new.
    fn of(&self, name: &str) -> (Arc<AnswerAge>, bool) {
        let mut ages = self.ages.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = !ages.contains_key(name);
        let age = ages.entry(name.to_owned());
        let age = age.or_insert_with(|| Arc::new(AnswerAge::new(Instant::now())));
        (Arc::clone(age), is_new)
    }

    fn forget(&self, names: &[String]) {
        let mut ages = self.ages.lock().unwrap_or_else(PoisonError::into_inner);
        for name in names {
            ages.remove(name);
        }
    }
}

impl Collector for Ages {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.description]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let now = Instant::now();
        let ages = self.ages.lock().unwrap_or_else(PoisonError::into_inner);
        let known = ages
            .iter()
            .filter_map(|(name, age)| Some((name, age.seconds(now)?)));
        let samples = known.map(|(name, seconds)| {
            let mut label = LabelPair::default();
            label.set_name("service".to_owned());
            label.set_value(name.clone());
            sample(MetricType::GAUGE, seconds, vec![label])
        });
        let family = family(AGE_NAME, AGE_HELP, MetricType::GAUGE, samples.collect());
        let has_any = !family.get_metric().is_empty();
        has_any.then_some(family).into_iter().collect()
    }
}
