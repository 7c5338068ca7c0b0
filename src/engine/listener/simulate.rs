//! A listener of a simulated network.

use super::*;

impl Listener {
    /// What `simulated` stands in for. `fd` is one that nobody looks at.
    pub(in crate::engine) fn simulate(
        fd: OwnedFd,
        addr: SocketAddr,
        simulated: SimulatedListener,
    ) -> Self {
        Self {
            simulated: Some(simulated),
            ..Self::new(fd, ListenAddr::Tcp(addr), None)
        }
    }
}
