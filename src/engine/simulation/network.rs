//! The simulated network: both ends of each connection, and what the kernels do by themselves.
//!
//! KERNEL K1 to K8 of the design's notes: closing with unread input, or getting bytes after the
//! close, is a reset; a reset destroys what the peer has not read.

use std::time::Duration;

use rustix::io::Errno;

use crate::engine::simulation::pipe::Pipe;
use crate::engine::simulation::world::{Event, World};

/// One connection, as long as the run goes on.
#[derive(Debug)]
pub(super) struct TcpConnection {
    /// Who has the other end.
    pub(super) peer: usize,
    pub(super) listener: usize,
    pub(super) stage: Stage,
    pub(super) ours: Ours,
    pub(super) theirs: Theirs,

    /// No packet gets through anymore.
    pub(super) is_cut: bool,
    pub(super) is_due_to_us: bool,
    pub(super) is_due_to_them: bool,
    pub(super) history: History,
}

/// Where the server's end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The handshake goes on.
    HalfOpen,
    /// The kernel keeps it to itself until it speaks.
    Deferred,
    /// In the listener's queue.
    Queued,
    /// Accepted.
    Open,
    /// Closed, or reset before it was accepted.
    Closed,
}

/// The server's end.
#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each comes on its own")]
pub(super) struct Ours {
    pub(super) received: Pipe,
    pub(super) receives_max: usize,
    pub(super) peer_has_ended: bool,
    pub(super) is_broken: bool,
    pub(super) error: Option<Errno>,
    pub(super) to_send: Pipe,
    pub(super) sends_max: usize,
    pub(super) has_ended: bool,
    pub(super) resets_on_close: bool,

    /// A reset is on its way.
    pub(super) resets: bool,
}

/// The peer's end.
#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each comes on its own")]
pub(super) struct Theirs {
    pub(super) to_send: Pipe,
    pub(super) has_ended: bool,

    /// A reset is on its way.
    pub(super) resets: bool,
    pub(super) is_closed: bool,
    pub(super) received: Pipe,
    pub(super) receives_max: usize,
    pub(super) has_heard_end: bool,
    pub(super) has_heard_reset: bool,
}

/// What promises are judged by.
#[derive(Debug, Default)]
pub(super) struct History {
    pub(super) connected_at: Duration,

    /// `None`: it never was.
    pub(super) accepted_at: Option<Duration>,

    /// Bytes that the server's kernel took.
    pub(super) sent_bytes: usize,

    /// Bytes that the server's kernel had for the server, in all.
    pub(super) arrived_bytes: usize,

    /// When the whole request was there.
    pub(super) arrived_at: Option<Duration>,
    pub(super) received_bytes: usize,

    /// When the server ended its side.
    pub(super) ended_at: Option<Duration>,

    /// It was the acceptor who did: the connection was turned away.
    pub(super) is_turned_away: bool,

    /// When the server got bytes for the last time.
    pub(super) heard_at: Duration,

    /// Bytes that it threw away since it has ended its side.
    pub(super) lingered_bytes: usize,

    /// The server was told that the peer has ended, or of an error.
    pub(super) has_seen_end: bool,

    /// An error that no peer is to blame for.
    pub(super) has_failed: bool,

    /// The bound that allowed the server to close before the peer had ended.
    pub(super) bound: Option<&'static str>,
}

impl World {
    /// Packets to the server: bytes, the peer's end, a reset.
    pub(super) fn deliver_to_us(&mut self, id: usize) {
        let piece = self.piece();
        let connection = &mut self.connections[id];
        connection.is_due_to_us = false;
        if connection.is_cut {
            return;
        }
        let (ours, theirs) = (&mut connection.ours, &mut connection.theirs);
        if theirs.resets {
            theirs.to_send.clear();
            return self.break_off(id, Errno::CONNRESET);
        }
        if connection.stage == Stage::Closed {
            if !theirs.to_send.is_empty() && !ours.resets && !ours.is_broken {
                // Nobody reads them anymore.
                theirs.to_send.clear();
                self.reset(id);
            }
            return;
        }
        let room = ours.receives_max.saturating_sub(ours.received.len());
        let count = piece.min(room).min(theirs.to_send.len());
        ours.received.put(theirs.to_send.take(count));
        connection.history.arrived_bytes += count;
        if self.peers[connection.peer]
            .plan
            .is_complete_with(connection.history.arrived_bytes)
        {
            connection.history.arrived_at.get_or_insert(self.now);
        }
        if theirs.to_send.is_empty() {
            ours.peer_has_ended |= theirs.has_ended;
        } else if room > count {
            self.send_to_us(id);
        }
        self.note(|world| {
            let ours = &world.connections[id].ours;
            format!(
                "connection {id}: {count} bytes to us, end {}",
                ours.peer_has_ended
            )
        });
        self.note_readiness();
        self.spoke(id);
    }

    /// Packets to the peer.
    pub(super) fn deliver_to_them(&mut self, id: usize) {
        let piece = self.piece();
        let connection = &mut self.connections[id];
        connection.is_due_to_them = false;
        if connection.is_cut {
            return;
        }
        let (ours, theirs) = (&mut connection.ours, &mut connection.theirs);
        if ours.resets {
            theirs.received.clear();
            theirs.has_heard_reset = true;
            self.note(|_| format!("connection {id}: the peer hears a reset"));
            let peer = self.connections[id].peer;
            return self.wake_peer(peer);
        }
        if theirs.is_closed {
            if !ours.to_send.is_empty() {
                theirs.resets = true;
                self.send_to_us(id);
            }
            return;
        }
        let room = theirs.receives_max.saturating_sub(theirs.received.len());
        let count = piece.min(room).min(ours.to_send.len());
        theirs.received.put(ours.to_send.take(count));
        if ours.to_send.is_empty() {
            theirs.has_heard_end |= ours.has_ended;
        } else if room > count {
            self.send_to_them(id);
        }
        self.note(|world| {
            let theirs = &world.connections[id].theirs;
            format!(
                "connection {id}: {count} bytes to the peer, end {}",
                theirs.has_heard_end
            )
        });
        self.note_readiness();
        let peer = self.connections[id].peer;
        self.wake_peer(peer);
    }

    /// Something is on its way to the server.
    pub(super) fn send_to_us(&mut self, id: usize) {
        if !std::mem::replace(&mut self.connections[id].is_due_to_us, true) {
            let after = self.latency();
            self.schedule(after, Event::ToUs(id));
        }
    }

    /// Something is on its way to the peer.
    pub(super) fn send_to_them(&mut self, id: usize) {
        if self.connections[id].is_cut {
            // Unacknowledged for too long: TCP_USER_TIMEOUT.
            let after = self.conditions.user_timeout;
            return self.schedule(after, Event::GivenUp(id));
        }
        if !std::mem::replace(&mut self.connections[id].is_due_to_them, true) {
            let after = self.latency();
            self.schedule(after, Event::ToThem(id));
        }
    }

    /// The server's kernel has had no acknowledgement for too long.
    pub(super) fn give_up(&mut self, id: usize) {
        if !self.connections[id].ours.to_send.is_empty() {
            self.break_off(id, Errno::TIMEDOUT);
        }
    }

    /// The server's end is no connection anymore.
    fn break_off(&mut self, id: usize, error: Errno) {
        let connection = &mut self.connections[id];
        if connection.ours.is_broken {
            return;
        }
        connection.ours.is_broken = true;
        connection.ours.error = Some(error);
        connection.ours.to_send.clear();
        self.note(|_| format!("connection {id}: {error} for us"));
        self.note_readiness();
        self.spoke(id);
    }

    /// The server's end resets the connection.
    pub(super) fn reset(&mut self, id: usize) {
        let connection = &mut self.connections[id];
        connection.ours.to_send.clear();
        if !connection.ours.is_broken {
            connection.ours.resets = true;
            self.note(|_| format!("connection {id}: we reset"));
            self.send_to_them(id);
        }
    }

    /// recv(2) of the server.
    pub(super) fn receive(&mut self, id: usize, buffer: &mut [u8]) -> Result<usize, Errno> {
        self.spend();
        if self.chance(self.conditions.interrupts) {
            return Err(Errno::INTR);
        }
        let is_failing = self.chance(self.conditions.socket_failures);
        let piece = self.piece();
        let now = self.now;
        let connection = &mut self.connections[id];
        let ours = &mut connection.ours;
        let history = &mut connection.history;
        if is_failing {
            history.has_failed = true;
            history.has_seen_end = true;
            return Err(Errno::NOMEM);
        }
        if !ours.received.is_empty() {
            let count = piece.min(buffer.len()).min(ours.received.len());
            buffer[..count].copy_from_slice(ours.received.take(count));
            history.heard_at = now;
            history.received_bytes += count;
            if history.ended_at.is_some() {
                history.lingered_bytes += count;
            }
            if !connection.theirs.to_send.is_empty() {
                self.send_to_us(id);
            }
            self.note(|_| format!("connection {id}: we receive {count} bytes"));
            return Ok(count);
        }
        if let Some(error) = ours.error.take() {
            history.has_seen_end = true;
            self.note(|_| format!("connection {id}: we receive {error}"));
            return Err(error);
        }
        if ours.is_broken || ours.peer_has_ended {
            history.has_seen_end = true;
            self.note(|_| format!("connection {id}: we receive the end"));
            return Ok(0);
        }
        Err(Errno::AGAIN)
    }

    /// send(2) of the server.
    pub(super) fn send(&mut self, id: usize, left: [&[u8]; 2]) -> Result<usize, Errno> {
        self.spend();
        if self.chance(self.conditions.interrupts) {
            return Err(Errno::INTR);
        }
        let is_failing = self.chance(self.conditions.socket_failures);
        let piece = self.piece();
        let connection = &mut self.connections[id];
        let ours = &mut connection.ours;
        if is_failing {
            connection.history.has_failed = true;
            return Err(Errno::NOBUFS);
        }
        if let Some(error) = ours.error.take() {
            connection.history.has_seen_end = true;
            return Err(error);
        }
        if ours.is_broken || ours.has_ended {
            connection.history.has_seen_end |= ours.is_broken;
            return Err(Errno::PIPE);
        }
        let count = left[0].len() + left[1].len();
        if count == 0 {
            self.break_promise(&format!("connection {id}: nothing is sent"));
            return Ok(0);
        }
        let room = ours.sends_max.saturating_sub(ours.to_send.len());
        if room == 0 {
            return Err(Errno::AGAIN);
        }
        let count = count.min(room).min(piece);
        let of_first = count.min(left[0].len());
        ours.to_send.put(&left[0][..of_first]);
        ours.to_send.put(&left[1][..count - of_first]);
        connection.history.sent_bytes += count;
        self.note(|_| format!("connection {id}: we send {count} bytes"));
        self.send_to_them(id);
        Ok(count)
    }

    /// shutdown(2) of the server, of the side that it sends by.
    pub(super) fn end(&mut self, id: usize) -> Result<(), Errno> {
        self.spend();
        let (now, is_acceptor) = (self.now, self.is_acceptor);
        let connection = &mut self.connections[id];
        if connection.ours.is_broken {
            connection.history.has_seen_end = true;
            return Err(Errno::NOTCONN);
        }
        connection.ours.has_ended = true;
        connection.history.ended_at = Some(now);
        connection.history.is_turned_away = is_acceptor;
        self.turned_away += usize::from(is_acceptor);
        self.note(|_| format!("connection {id}: we end our side"));
        self.send_to_them(id);
        Ok(())
    }

    /// close(2) of the server.
    pub(super) fn close(&mut self, id: usize) {
        self.spend();
        self.judge_close(id);
        self.forget_socket(id);
        let connection = &mut self.connections[id];
        connection.stage = Stage::Closed;
        self.turned_away -= usize::from(connection.history.is_turned_away);
        if connection.ours.resets_on_close || !connection.ours.received.is_empty() {
            return self.reset(id);
        }
        if !connection.ours.is_broken {
            connection.ours.has_ended = true;
            self.note(|_| format!("connection {id}: we close"));
            self.send_to_them(id);
        }
    }
}
