//! Any name on the metrics page, however services, listeners and pools come and go: the page can be
//! read, says every name as it is and none that is gone, and nothing twice.
//!
//! Source: Prometheus text exposition format 0.0.4.

use std::collections::{BTreeMap, BTreeSet};

use replyd::command::report::{RunResult, Source};
use replyd::exchange::outcome::Outcome;
use replyd::metrics::{Labels, Metrics};

use super::texts;

const LABELS: Labels = Labels {
    outcomes: &Outcome::LABELS,
    waits: &["request"],
    reasons: &["queue_full"],
    runs: &RunResult::LABELS,
    answers: &Source::LABELS,
};

/// Two services, one of which goes; a listener's address, an errno's name, a pool's name.
pub(super) fn check(bytes: &[u8]) {
    let [stays, goes, addr, error, pool] = texts(bytes);
    let metrics = Metrics::new(LABELS);
    let counted = metrics.service(&stays);
    counted.accepted.inc_by(7);
    counted.accept_error(&error);
    metrics.listener(&stays, &addr).queue_length.set(3);
    metrics.maintenance(vec![(stays.clone(), Box::new(|| true))]);
    metrics.pool(&pool, 1, 9, || 5);
    if goes != stays {
        metrics.service(&goes).accept_error(&error);
        metrics.command(&goes).runs[0].inc();
        metrics.listener(&goes, &addr).queue_limit.set(4);
        metrics.forget_listener(&goes, &addr);
        metrics.forget_services(&[goes]);
    }
    let page = String::from_utf8(metrics.render()).expect("UTF-8");
    let samples = samples(&page);
    let value = |name: &str, labels: &[(&str, &str)]| {
        let labels = labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        samples
            .get(&(name.to_owned(), labels.collect()))
            .map(String::as_str)
    };
    let service = ("service", stays.as_str());
    for (name, labels, expected) in [
        ("replyd_connections_accepted_total", &[service][..], "7"),
        (
            "replyd_accept_errors_total",
            &[("error", &error), service],
            "1",
        ),
        (
            "replyd_listener_queue_length",
            &[("listener", &addr), service],
            "3",
        ),
        ("replyd_maintenance_active", &[service], "1"),
        ("replyd_queue_length", &[("pool", &pool)], "5"),
        ("replyd_queue_capacity", &[("pool", &pool)], "9"),
    ] {
        assert_eq!(
            value(name, labels),
            Some(expected),
            "{name} {labels:?}: {page}"
        );
    }
    let services = samples
        .keys()
        .flat_map(|(_, labels)| labels)
        .filter(|label| label.0 == "service");
    let services: BTreeSet<&str> = services.map(|label| label.1.as_str()).collect();
    assert_eq!(services, BTreeSet::from([stays.as_str()]), "who is told of");
}

/// A sample's name and labels.
type Series = (String, BTreeMap<String, String>);

/// Every sample of a page with its value.
fn samples(page: &str) -> BTreeMap<Series, String> {
    let mut samples = BTreeMap::new();
    let mut families = BTreeSet::new();
    let mut family = "";
    let lines = page.strip_suffix('\n').expect("the last line has an end");
    for line in lines.split('\n') {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            family = rest.split(' ').next().expect("a name");
            assert!(families.insert(family), "{family} begins twice");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert!(rest.starts_with(family), "{rest} after {family}");
        } else {
            let (series, value) = sample(line);
            assert!(series.0.starts_with(family), "{line:?} after {family}");
            let _number: f64 = value.parse().expect("a number");
            assert!(
                samples.insert(series, value.to_owned()).is_none(),
                "{line:?} twice"
            );
        }
    }
    samples
}

fn sample(line: &str) -> (Series, &str) {
    let end = line
        .find(['{', ' '])
        .unwrap_or_else(|| panic!("no sample: {line:?}"));
    let (name, mut rest) = line.split_at(end);
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    assert!(!name.is_empty() && name.chars().all(is_name), "{line:?}");
    let mut labels = BTreeMap::new();
    if let Some(within) = rest.strip_prefix('{') {
        rest = within;
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once("=\"").expect("a label");
            let (value, after) = label_value(after);
            let known = labels.insert(label.to_owned(), value);
            assert_eq!(known, None, "{label} twice: {line:?}");
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        rest = &rest[1..];
    }
    let value = rest.strip_prefix(' ').expect("a space before the value");
    ((name.to_owned(), labels), value)
}

/// A value without its escapes, and what follows its closing quote.
fn label_value(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.push(match characters.next() {
                Some((_, 'n')) => '\n',
                Some((_, escaped @ ('\\' | '"'))) => escaped,
                other => panic!("no escape: {other:?}"),
            }),
            _ => value.push(character),
        }
    }
    panic!("a label without an end: {text:?}");
}
