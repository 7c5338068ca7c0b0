//! What is counted or weighed, and not timed: system calls for an exchange, memory for a connection.

/// A quantity of one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quantity {
    /// For each exchange, with 64 clients.
    SystemCalls,

    /// Of these, `epoll_ctl`.
    EpollControls,

    /// Bytes of user memory for a connection that says nothing,
    SilentBytes,

    /// and for one that has sent half a request.
    HalfBytes,
}

impl Quantity {
    pub(super) const ALL: [Self; 4] = [
        Self::SystemCalls,
        Self::EpollControls,
        Self::SilentBytes,
        Self::HalfBytes,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::SystemCalls => "system calls an exchange",
            Self::EpollControls => "epoll_ctl an exchange",
            Self::SilentBytes => "bytes a silent connection",
            Self::HalfBytes => "bytes half a request",
        }
    }

    /// With as many digits as matter.
    pub(super) fn text(self, value: f64) -> String {
        match self {
            Self::SystemCalls | Self::EpollControls => format!("{value:.2}"),
            Self::SilentBytes | Self::HalfBytes => format!("{value:.0}"),
        }
    }
}

/// One quantity in one round.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    pub(super) round: u32,
    pub(super) contender: &'static str,
    pub(super) quantity: Quantity,
    pub(super) value: f64,
}
