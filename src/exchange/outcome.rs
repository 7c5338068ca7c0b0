//! How a connection ended: the one list behind code, metric labels and dashboards.

/// Exactly one for each accepted connection.
///
/// Fixed when the kernel has taken the last byte of the reply, or at the first failure: what
/// happens while lingering doesn't change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Outcome {
    /// The whole reply was sent.
    Replied,
    /// There was no room: the busy reply.
    Busy,
    /// The peer is not allowed.
    Denied,
    /// Closed to make room for others.
    Evicted,
    /// The request was not complete, or the reply not taken, in time.
    TimedOut,
    /// The request was over its limit.
    TooLarge,
    /// The request was not what the framing asks for.
    Invalid,
    /// The peer left without having sent a byte.
    NoRequest,
    /// The peer left in the middle.
    PeerClosed,
    /// The reply could not be made.
    Failed,
    /// Unfinished when the grace period was over.
    Abandoned,
    /// A bug: the exchange panicked.
    Panicked,
}

impl Outcome {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 12] = [
        Self::Replied,
        Self::Busy,
        Self::Denied,
        Self::Evicted,
        Self::TimedOut,
        Self::TooLarge,
        Self::Invalid,
        Self::NoRequest,
        Self::PeerClosed,
        Self::Failed,
        Self::Abandoned,
        Self::Panicked,
    ];

    /// The values of the label `outcome`, in the order of [`Self::ALL`].
    pub const LABELS: [&'static str; 12] = {
        let mut labels = [""; 12];
        let mut index = 0;
        while index < labels.len() {
            labels[index] = Self::ALL[index].label();
            index += 1;
        }
        labels
    };

    /// The value of the label `outcome`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Replied => "replied",
            Self::Busy => "busy",
            Self::Denied => "denied",
            Self::Evicted => "evicted",
            Self::TimedOut => "timed_out",
            Self::TooLarge => "too_large",
            Self::Invalid => "invalid",
            Self::NoRequest => "no_request",
            Self::PeerClosed => "peer_closed",
            Self::Failed => "failed",
            Self::Abandoned => "abandoned",
            Self::Panicked => "panicked",
        }
    }

    /// Whether the peer didn't get its reply and had not left by itself: what the one who runs the
    /// service wants to see. Port scans and TCP health checks are none of it.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        !matches!(self, Self::Replied | Self::NoRequest | Self::PeerClosed)
    }

    /// Its place in [`Self::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_at_its_index() {
        for (index, outcome) in Outcome::ALL.iter().enumerate() {
            assert_eq!(outcome.index(), index);
            assert_eq!(Outcome::LABELS[index], outcome.label());
        }
    }
}
