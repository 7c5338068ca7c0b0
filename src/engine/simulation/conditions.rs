//! What the machine and the network are like in one run.

use std::time::Duration;

use fastrand::Rng;

/// How often things go wrong, and how long they take. Rates are times in a million.
#[derive(Debug)]
pub(super) struct Conditions {
    /// All rates are zero.
    is_calm: bool,

    /// A packet is under way for at most so long. Short enough for a handshake to be over when a
    /// stop closes the listeners.
    pub(super) latency_max: Duration,

    /// How often only a few bytes go at once.
    pub(super) small_pieces: u32,

    /// recv(2) and send(2) are interrupted.
    pub(super) interrupts: u32,

    /// They fail, and no peer is to blame.
    pub(super) socket_failures: u32,

    /// accept(2) fails.
    pub(super) accept_failures: u32,

    /// The poller can watch no more.
    pub(super) watch_failures: u32,

    /// The poller tells of what isn't so, or of nothing.
    pub(super) false_alarms: u32,

    /// A thread has to wait for its processor in the middle of something.
    pub(super) preemptions: u32,

    /// The acceptor wakes up late.
    pub(super) oversleeps: u32,
    pub(super) oversleeps_max: Duration,

    /// How long a worker takes to come to a task, and how often much longer.
    pub(super) worker_max: Duration,
    pub(super) worker_stalls: u32,

    /// How long a reply takes that comes later.
    pub(super) making_max: Duration,

    pub(super) user_timeout: Duration,

    /// Descriptors there may be.
    pub(super) descriptors_max: usize,
}

impl Conditions {
    /// Whether accept(2) never fails.
    pub(super) fn accepts_always(&self) -> bool {
        self.accept_failures == 0 && self.descriptors_max == usize::MAX
    }

    /// Whether nothing fails and nobody has to wait for the processor for long.
    pub(super) fn are_calm(&self) -> bool {
        self.is_calm && self.accepts_always()
    }

    /// Calm half of the time.
    pub(super) fn new(random: &mut Rng) -> Self {
        let is_calm = random.bool();
        let mut rate = |max: u32| {
            if is_calm || random.bool() {
                0
            } else {
                random.u32(0..=max)
            }
        };
        Self {
            is_calm,
            // Nearly always, or a turn would never come to the end of its quantum.
            small_pieces: if rate(1) > 0 { 990_000 } else { rate(600_000) },
            interrupts: rate(100_000),
            socket_failures: rate(3_000),
            accept_failures: rate(200_000),
            watch_failures: rate(100_000),
            false_alarms: rate(100_000),
            preemptions: rate(20_000),
            oversleeps: rate(50_000),
            worker_stalls: rate(30_000),
            latency_max: Duration::from_micros(random.u64(50..20_000)),
            oversleeps_max: Duration::from_millis(random.u64(1..15_000)),
            worker_max: Duration::from_micros(random.u64(20..5_000)),
            making_max: Duration::from_millis(random.u64(1..4_000)),
            user_timeout: Duration::from_secs(10),
            descriptors_max: if random.u8(0..4) == 0 {
                random.usize(8..24)
            } else {
                usize::MAX
            },
        }
    }
}
