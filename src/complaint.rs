//! What goes wrong with a reply is said in the log, but no peer can fill the log with it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Between two lines about one reply.
const PAUSE: Duration = Duration::from_secs(60);

/// Says what goes wrong with one reply: at once, then at most once a minute.
#[derive(Debug)]
pub(crate) struct Complaint {
    begun: Instant,

    /// Milliseconds since `begun`, from which on it may be said again.
    next: AtomicU64,
    unsaid: AtomicU64,
}

impl Complaint {
    /// Nothing went wrong yet.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            begun: now,
            next: AtomicU64::new(0),
            unsaid: AtomicU64::new(0),
        }
    }

    /// Something went wrong at `now`. `say` is called if it may be said, with how often it went
    /// wrong unsaid since the last time.
    pub(crate) fn raise(&self, now: Instant, say: impl FnOnce(u64)) {
        let milliseconds =
            |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let since = milliseconds(now.saturating_duration_since(self.begun));
        let next = self.next.load(Relaxed);
        let later = since.saturating_add(milliseconds(PAUSE));
        // One of those who fail at the same moment says it.
        if since >= next
            && self
                .next
                .compare_exchange(next, later, Relaxed, Relaxed)
                .is_ok()
        {
            say(self.unsaid.swap(0, Relaxed));
        } else {
            self.unsaid.fetch_add(1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_at_once_and_then_once_a_minute_with_the_number() {
        let now = Instant::now();
        let complaint = Complaint::new(now);
        let mut said = Vec::new();
        for second in 0..121 {
            complaint.raise(now + Duration::from_secs(second), |unsaid| {
                said.push((second, unsaid));
            });
        }
        assert_eq!(said, [(0, 0), (60, 59), (120, 59)]);
    }
}
