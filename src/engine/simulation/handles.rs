//! What the engine holds of the simulated world: a socket, a listener, a maker.

use rustix::event::PollFlags;
use rustix::io::Errno;

use crate::engine::simulation::world;
use crate::engine::sockopt::ListenQueue;
use crate::engine::token::Token;
use crate::peer::Peer;
use crate::reply::{Job, Made};

/// An accepted connection.
#[derive(Debug)]
pub(in crate::engine) struct SimulatedSocket(u32);

/// A listening socket.
#[derive(Debug)]
pub(in crate::engine) struct SimulatedListener(usize);

/// Makes replies of one service.
#[derive(Debug)]
pub(in crate::engine) struct SimulatedMaker(usize);

/// What the poller knows one of them by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::engine) enum SimulatedSource {
    /// A listener, by number.
    Listener(usize),
    /// An accepted connection, by number.
    Socket(usize),
}

impl SimulatedSocket {
    pub(super) fn new(connection: usize) -> Self {
        Self(u32::try_from(connection).expect("invariant: few"))
    }

    fn connection(&self) -> usize {
        self.0 as usize
    }

    pub(in crate::engine) fn receive(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        world::with(|world| world.receive(self.connection(), buffer)).unwrap_or(Err(Errno::BADF))
    }

    pub(in crate::engine) fn send(&self, left: [&[u8]; 2]) -> Result<usize, Errno> {
        world::with(|world| world.send(self.connection(), left)).unwrap_or(Err(Errno::BADF))
    }

    pub(in crate::engine) fn end(&self) -> Result<(), Errno> {
        world::with(|world| world.end(self.connection())).unwrap_or(Err(Errno::BADF))
    }

    /// Whether the peer has left, or has ended its side if that is asked.
    pub(in crate::engine) fn poll(&self, interest: PollFlags) -> bool {
        world::within(|world| {
            world.spend();
            let ours = &world.connections[self.connection()].ours;
            ours.is_broken || (interest.contains(PollFlags::RDHUP) && ours.peer_has_ended)
        })
    }

    pub(in crate::engine) fn reset_on_close(&self) {
        world::with(|world| world.connections[self.connection()].ours.resets_on_close = true);
    }

    pub(in crate::engine) fn source(&self) -> SimulatedSource {
        SimulatedSource::Socket(self.connection())
    }
}

impl Drop for SimulatedSocket {
    fn drop(&mut self) {
        world::with(|world| world.close(self.connection()));
    }
}

impl SimulatedListener {
    pub(super) fn new(listener: usize) -> Self {
        Self(listener)
    }

    pub(in crate::engine) fn accept(&self) -> Result<(SimulatedSocket, Peer), Errno> {
        world::within(|world| world.accept(self.0))
            .map(|(connection, addr)| (SimulatedSocket::new(connection), Peer::from(addr)))
    }

    pub(in crate::engine) fn queue(&self) -> ListenQueue {
        world::within(|world| world.queue(self.0))
    }

    /// It is deaf from now on.
    pub(in crate::engine) fn stop_newcomers(&self) {
        world::within(|world| world.deafen(self.0));
    }

    pub(in crate::engine) fn source(&self) -> SimulatedSource {
        SimulatedSource::Listener(self.0)
    }
}

impl Drop for SimulatedListener {
    fn drop(&mut self) {
        world::with(|world| world.shut(self.0));
    }
}

impl SimulatedMaker {
    pub(super) fn new(service: usize) -> Self {
        Self(service)
    }

    pub(in crate::engine) fn submit(&self, token: Token, job: Box<Job>) -> Result<(), Made> {
        world::within(|world| world.submit_job(self.0, token, job))
    }

    pub(in crate::engine) fn leave(&self, token: Token) {
        world::within(|world| world.leave_job(self.0, token));
    }
}
