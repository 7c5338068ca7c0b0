//! What the parts of an exchange take, each by itself: `cargo bench --bench parts`.

/// How many inputs are made ahead for a part that changes its input.
const INPUTS: BatchSize = BatchSize::SmallInput;

/// Where a request ends.
mod framing;

/// HTTP requests.
mod http;

/// A whole exchange, without a socket.
mod exchange;

/// Text with placeholders.
mod template;

/// What is counted.
mod metrics;

use criterion::{BatchSize, Criterion};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    framing::bench(&mut criterion);
    http::bench(&mut criterion);
    exchange::bench(&mut criterion);
    template::bench(&mut criterion);
    metrics::bench(&mut criterion);
    criterion.final_summary();
}
