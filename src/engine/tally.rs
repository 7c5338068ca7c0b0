//! What is noted of each connection for the log, in few bytes: every open one has it.

use std::time::Duration;

/// Nanoseconds since a connection was accepted: half as long as an `Instant`, which is 16 bytes.
/// Stops at the end of its range, after 584 years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Age(u64);

impl From<Duration> for Age {
    fn from(age: Duration) -> Self {
        Self(u64::try_from(age.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl From<Age> for Duration {
    fn from(age: Age) -> Self {
        Self::from_nanos(age.0)
    }
}

/// Bytes and the wait of one connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    sent_bytes: u64,

    /// Stops at the end of its range, above any bound of a request and its linger.
    received_bytes: u32,

    /// Stops at the end of its range, above an hour.
    queue_wait_micros: u32,
}

impl Tally {
    pub(super) fn received(&mut self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.received_bytes = self.received_bytes.saturating_add(bytes);
    }

    pub(super) fn sent(&mut self, bytes: usize) {
        self.sent_bytes += bytes as u64;
    }

    /// It was in the queue for the first time.
    pub(super) fn waited(&mut self, time: Duration) {
        self.queue_wait_micros = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
    }

    pub(super) fn received_bytes(&self) -> u64 {
        self.received_bytes.into()
    }

    pub(super) fn sent_bytes(&self) -> u64 {
        self.sent_bytes
    }

    pub(super) fn queue_wait(&self) -> Duration {
        Duration::from_micros(self.queue_wait_micros.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stops_at_the_end_of_its_range() {
        let mut tally = Tally::default();
        tally.received(u32::MAX as usize);
        tally.received(1);
        tally.waited(Duration::from_secs(2 * 3600));
        assert_eq!(tally.received_bytes(), u64::from(u32::MAX));
        assert_eq!(tally.queue_wait(), Duration::from_micros(u32::MAX.into()));
        let long = Duration::from_secs(u64::MAX);
        assert_eq!(
            Duration::from(Age::from(long)),
            Duration::from_nanos(u64::MAX)
        );
    }
}
