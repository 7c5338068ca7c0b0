//! Listening sockets: handshakes, deferral, the queue, and every way that accept(2) can fail.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::io::Errno;

use crate::engine::simulation::handles::{SimulatedListener, SimulatedSource};
use crate::engine::simulation::network::{History, Ours, Stage, TcpConnection, Theirs};
use crate::engine::simulation::peers::End;
use crate::engine::simulation::services::Service;
use crate::engine::simulation::world::{Event, World};
use crate::engine::sockopt::ListenQueue;

/// A listening socket, as the kernel has it.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each comes on its own")]
pub(super) struct ListeningSocket {
    pub(super) addr: SocketAddr,

    /// The services that it was of; the last one is that of now.
    pub(super) services: Vec<usize>,
    pub(super) queue: VecDeque<usize>,
    pub(super) backlog: usize,

    /// How long silent connections are kept back.
    pub(super) defers: Option<Duration>,

    /// Somebody keeps it for a successor.
    pub(super) outlives_us: bool,
    pub(super) is_deaf: bool,
    pub(super) is_shut: bool,

    /// The server has said that it serves it.
    pub(super) is_served: bool,

    /// The server was told to serve it no more.
    pub(super) is_retired: bool,
}

/// What accept(2) says when it fails and nobody knows why: each class of KERNEL K24.
const FAILURES: [Errno; 10] = [
    Errno::INTR,
    Errno::CONNABORTED,
    Errno::PROTO,
    Errno::NETDOWN,
    Errno::HOSTUNREACH,
    Errno::NFILE,
    Errno::NOBUFS,
    Errno::NOMEM,
    Errno::PERM,
    // Nobody has heard of it in this place.
    Errno::XDEV,
];

/// How long a peer waits before it tries a SYN again that was not heard, and how often.
const RETRY: Duration = Duration::from_secs(1);
const TRIES_MAX: usize = 4;

/// How long there are fewer connections after descriptors have run out, as `room` has it.
const SHORTAGE: Duration = Duration::from_secs(10);

impl World {
    /// Opens a listening socket for a service.
    pub(super) fn open_listener(
        &mut self,
        service: usize,
        defers: bool,
        outlives_us: bool,
    ) -> (usize, SimulatedListener) {
        let number = self.listeners.len();
        let port = u16::try_from(7000 + number).expect("invariant: few");
        self.listeners.push(ListeningSocket {
            addr: SocketAddr::from(([192, 0, 2, 1], port)),
            services: vec![service],
            queue: VecDeque::new(),
            backlog: self.random.usize(1..64),
            defers: defers.then_some(Duration::from_secs(1)),
            outlives_us,
            is_deaf: false,
            is_shut: false,
            is_served: false,
            is_retired: false,
        });
        self.descriptors += 1;
        (number, SimulatedListener::new(number))
    }

    /// A SYN of a peer.
    pub(super) fn connect(&mut self, peer: usize) {
        let number = self.peers[peer].plan.listener;
        let listener = &self.listeners[number];
        let is_heard = !listener.is_deaf && listener.queue.len() <= listener.backlog;
        if listener.is_shut {
            let end = if listener.outlives_us {
                End::Successor
            } else {
                End::Refused
            };
            return self.finish_peer(peer, end);
        }
        if !is_heard {
            self.peers[peer].tries += 1;
            if self.peers[peer].tries == TRIES_MAX {
                return self.finish_peer(peer, End::Unheard);
            }
            return self.schedule(RETRY, Event::Peer(peer));
        }
        let id = self.connections.len();
        let mut size = |max: usize| self.random.usize(512..max);
        let (receives_max, sends_max) = (size(4096), size(16384));
        let their_max = size(16384);
        self.connections.push(TcpConnection {
            peer,
            listener: number,
            stage: Stage::HalfOpen,
            ours: Ours {
                receives_max,
                sends_max,
                ..Ours::default()
            },
            theirs: Theirs {
                receives_max: their_max,
                ..Theirs::default()
            },
            is_cut: false,
            is_due_to_us: false,
            is_due_to_them: false,
            history: History {
                connected_at: self.now,
                ..History::default()
            },
        });
        self.peers[peer].connection = Some(id);
        self.note(|_| format!("peer {peer} connects to listener {number}: connection {id}"));
        let after = self.latency();
        self.schedule(after, Event::Established(id));
    }

    /// A handshake is through, if the queue has room.
    pub(super) fn establish(&mut self, id: usize) {
        if self.connections[id].stage != Stage::HalfOpen {
            return;
        }
        let listener = &self.listeners[self.connections[id].listener];
        if listener.queue.len() > listener.backlog {
            return self.schedule(RETRY / 5, Event::Established(id));
        }
        let (peer, defers) = (self.connections[id].peer, listener.defers);
        self.wake_peer(peer);
        if let Some(defers) = defers {
            self.connections[id].stage = Stage::Deferred;
            return self.schedule(defers, Event::Deferred(id));
        }
        self.queue_up(id);
    }

    /// It was kept back for long enough.
    pub(super) fn end_deferral(&mut self, id: usize) {
        if self.connections[id].stage == Stage::Deferred {
            self.queue_up(id);
        }
    }

    /// Something came from a peer: if the kernel has waited for that, it is to be accepted now.
    pub(super) fn spoke(&mut self, id: usize) {
        match self.connections[id].stage {
            // A reset.
            Stage::Deferred if self.connections[id].ours.is_broken => {
                self.connections[id].stage = Stage::Closed;
            }
            Stage::Deferred => self.queue_up(id),
            _ => {}
        }
    }

    fn queue_up(&mut self, id: usize) {
        let connection = &mut self.connections[id];
        connection.stage = Stage::Queued;
        let number = connection.listener;
        self.listeners[number].queue.push_back(id);
        self.note(|_| format!("connection {id} is in the queue of listener {number}"));
        self.note_readiness();
    }

    /// accept(2).
    pub(super) fn accept(&mut self, number: usize) -> Result<(usize, SocketAddr), Errno> {
        self.spend();
        if self.chance(self.conditions.accept_failures) {
            let failure = self.random.choice(FAILURES).expect("invariant: some");
            self.note(|_| format!("listener {number}: {failure}"));
            if matches!(failure, Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) {
                self.note_pressure();
            }
            return Err(failure);
        }
        // Before it looks into the queue: KERNEL K22.
        if self.descriptors >= self.conditions.descriptors_max {
            self.note(|_| format!("listener {number}: no descriptor"));
            self.note_pressure();
            return Err(Errno::MFILE);
        }
        let now = self.now;
        let listener = &mut self.listeners[number];
        let id = listener.queue.pop_front().ok_or(Errno::AGAIN)?;
        self.descriptors += 1;
        if self.open() >= self.limits.max_connections || self.is_short() {
            self.note_pressure();
        }
        let connection = &mut self.connections[id];
        connection.stage = Stage::Open;
        self.accepted += 1;
        connection.history.accepted_at = Some(now);
        connection.history.heard_at = now;
        let peer = connection.peer;
        self.note(|_| format!("connection {id} is accepted"));
        Ok((id, self.peers[peer].addr))
    }

    /// Somebody has to go so that somebody else can come.
    fn note_pressure(&mut self) {
        self.is_pressed = true;
        self.pressed_at = Some(self.now);
    }

    /// Whether descriptors have run out lately.
    pub(super) fn is_short(&self) -> bool {
        let lately = self.now.saturating_sub(SHORTAGE);
        self.pressed_at.is_some_and(|at| at >= lately)
    }

    /// Connections that are accepted and have no outcome yet.
    fn open(&self) -> usize {
        let open = |service: &Service| service.accepted() - service.closed();
        let open: u64 = self.services.iter().map(open).sum();
        usize::try_from(open).unwrap_or(usize::MAX)
    }

    /// The queue, as a listener's TCP_INFO tells it.
    pub(super) fn queue(&mut self, number: usize) -> ListenQueue {
        self.spend();
        let listener = &self.listeners[number];
        let length = |count: usize| u32::try_from(count).expect("invariant: few");
        ListenQueue {
            length: length(listener.queue.len()),
            limit: length(listener.backlog),
        }
    }

    /// SYNs are not heard anymore.
    pub(super) fn deafen(&mut self, number: usize) {
        self.spend();
        self.listeners[number].is_deaf = true;
        if self.listeners[number].outlives_us {
            self.break_promise("a listener that outlives us was made deaf");
        }
    }

    /// close(2) of a listener: whoever is in its queue is reset, if nobody else holds it.
    pub(super) fn shut(&mut self, number: usize) {
        self.spend();
        self.note(|_| format!("listener {number} is closed"));
        self.watches.remove(&SimulatedSource::Listener(number));
        self.descriptors -= 1;
        let may_lose = self.may_cut();
        let listener = &mut self.listeners[number];
        listener.is_shut = true;
        let outlives_us = listener.outlives_us;
        let must_lose_nobody = !outlives_us && listener.is_served && !may_lose;
        if must_lose_nobody && !(listener.queue.is_empty() && listener.is_deaf) {
            self.break_promise("a listener was closed with somebody in its queue, or coming");
        }
        for id in 0..self.connections.len() {
            let connection = &mut self.connections[id];
            let is_in_it = !matches!(connection.stage, Stage::Open | Stage::Closed);
            if connection.listener != number || !is_in_it {
                continue;
            }
            connection.stage = Stage::Closed;
            let peer = connection.peer;
            if outlives_us {
                self.finish_peer(peer, End::Successor);
            } else {
                self.reset(id);
            }
        }
    }

    /// Whether a handshake with one of the listeners that are ours alone goes on.
    pub(super) fn is_anyone_half_open(&self) -> bool {
        self.connections.iter().any(|connection| {
            let listener = &self.listeners[connection.listener];
            let is_half_open = matches!(connection.stage, Stage::HalfOpen | Stage::Deferred);
            is_half_open && !listener.outlives_us && !listener.is_shut
        })
    }
}
