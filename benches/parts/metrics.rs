//! What is counted: what one exchange adds, and a scrape.

use criterion::Criterion;
use replyd::command::report::{RunResult, Source};
use replyd::engine::room::{Reason, Wait};
use replyd::exchange::outcome::Outcome;
use replyd::metrics::{Labels, Metrics};

/// Of the server that is scraped.
const SERVICES: usize = 20;

pub(crate) fn bench(criterion: &mut Criterion) {
    let metrics = Metrics::new(Labels {
        outcomes: &Outcome::LABELS,
        waits: &Wait::LABELS,
        reasons: &Reason::LABELS,
        runs: &RunResult::LABELS,
        answers: &Source::LABELS,
    });
    let services: Vec<_> = (0..SERVICES)
        .map(|number| metrics.service(&format!("service-{number}")))
        .collect();
    let service = &services[0];
    let pool = metrics.pool("main", 2, 1024, || 0);
    let worker = pool.worker(0);
    let mut group = criterion.benchmark_group("metrics");
    group.bench_function("an exchange", |bencher| {
        bencher.iter(|| {
            service.accepted.inc();
            service.open.set(1);
            worker.busy();
            service.queue_wait.observe(0.000_05);
            service.received_bytes.inc_by(4);
            service.sent_bytes.inc_by(11);
            service.exchange_duration.observe(0.000_1);
            worker.idle_after(std::time::Duration::from_micros(30));
            service.closed[Outcome::Replied.index()].inc();
            service.open.set(0);
        });
    });
    group.bench_function(format!("a scrape of {SERVICES} services"), |bencher| {
        bencher.iter(|| metrics.render());
    });
    group.finish();
}
