//! The log's metrics. They are there before the server is, which is given them.

use prometheus::IntCounter;

use super::options;

/// What the log counts.
#[derive(Clone, Debug)]
pub struct LogMetrics {
    /// Lines that found no room or could not be written.
    pub dropped: IntCounter,
}

impl LogMetrics {
    /// Counters at 0, on no page yet.
    ///
    /// # Panics
    /// Never: the names are valid.
    #[must_use]
    pub fn new() -> Self {
        let dropped = options(
            "log_dropped_total",
            "Lines of the log that were dropped: nobody took them in time.",
        );
        Self {
            dropped: IntCounter::with_opts(dropped).expect("invariant: the name is valid"),
        }
    }
}

impl Default for LogMetrics {
    fn default() -> Self {
        Self::new()
    }
}
