//! The other ends: good ones in every manner of theirs, and those that leave, stay or flood.

use std::net::SocketAddr;
use std::time::Duration;

use fastrand::Rng;
use ipnet::IpNet;

use crate::engine::simulation::services::{Ask, DENIED, Kind};
use crate::engine::simulation::world::{Event, World, up_to};

/// Somebody who connects once.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) plan: Plan,
    pub(super) addr: SocketAddr,
    pub(super) connection: Option<usize>,
    pub(super) tries: usize,
    is_due: bool,
    sent: usize,

    /// What it has read.
    pub(super) got: Vec<u8>,

    /// How the connection ended for it.
    pub(super) end: Option<End>,

    /// It has closed its socket.
    is_gone: bool,
}

/// How a connection ended for its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It has read the end.
    Whole,
    /// It was reset.
    Reset,
    /// There was no listener.
    Refused,
    /// No answer to its SYNs.
    Unheard,
    /// It waits in the queue of a listener that outlives us.
    Successor,
    /// It has left by itself.
    Left,
}

/// What a peer is going to do.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) listener: usize,
    pub(super) ask: Ask,

    /// The request, and whatever it sends beside that.
    bytes: String,
    piece_max: usize,
    pause_max: Duration,

    /// It ends its side when it has sent all.
    pub(super) ends: bool,

    /// It reads from then on after it has connected, so much at once.
    reads_after: Option<Duration>,
    reads_at_once: usize,
    leaves: Option<Leave>,

    /// What it still sends when it has read the end, one byte after the other.
    dribbles: usize,
}

/// Leaving in the middle.
#[derive(Clone, Copy, Debug)]
struct Leave {
    after_bytes: usize,
    how: How,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Close,
    Reset,
    /// The machine is gone.
    Vanish,
}

/// What a peer that is brisk waits from one thing to the next.
const BRISK_PAUSE_MAX: Duration = Duration::from_millis(20);

impl Plan {
    /// A plan for a listener of a service of this kind.
    pub(super) fn new(random: &mut Rng, listener: usize, kind: Kind) -> Self {
        let ask = Ask::new(random, kind);
        let mut bytes = ask.bytes();
        let ends = ask.needs_end() || random.u8(0..4) == 0;
        let is_good = random.u8(0..3) > 0;
        let extra = match random.u8(0..8) {
            0 => random.usize(1..40),
            1 if !is_good => random.usize(1000..40_000),
            _ => 0,
        };
        if !ask.needs_end() {
            bytes.push_str(&"x".repeat(extra));
        }
        let second = Duration::from_secs(1);
        let mut plan = Self {
            listener,
            piece_max: *random.choice(&[1, 7, usize::MAX]).expect("invariant: some"),
            pause_max: up_to(random, second / 5),
            ends,
            reads_after: Some(if random.bool() {
                Duration::ZERO
            } else {
                up_to(random, second)
            }),
            reads_at_once: *random
                .choice(&[100, 4096, usize::MAX])
                .expect("invariant: some"),
            leaves: None,
            dribbles: 0,
            ask,
            bytes,
        };
        if !is_good {
            plan.misbehave(random);
        }
        plan
    }

    fn misbehave(&mut self, random: &mut Rng) {
        let all = self.bytes.len();
        match random.u8(0..6) {
            // It says nothing, or half of it, and waits.
            0 => self.bytes.truncate(random.usize(0..=all / 2)),
            1 => self.reads_after = None,
            2 => self.dribbles = random.usize(1..60),
            3 => self.reads_after = Some(up_to(random, Duration::from_secs(20))),
            _ => {
                let how = [How::Close, How::Reset, How::Vanish];
                self.leaves = Some(Leave {
                    after_bytes: random.usize(0..=all),
                    how: *random.choice(&how).expect("invariant: some"),
                });
            }
        }
        if self.bytes.len() < self.ask.bytes().len() {
            self.ask = Ask::Half;
            self.ends = false;
        }
    }

    /// Whether it takes whatever comes, to the end.
    pub(super) fn is_faithful(&self) -> bool {
        let is_prompt = |after: Duration| after <= Duration::from_secs(1);
        self.leaves.is_none() && self.dribbles == 0 && self.reads_after.is_some_and(is_prompt)
    }

    /// Whether it also reads as fast as it can.
    pub(super) fn is_brisk(&self) -> bool {
        self.is_faithful() && self.reads_at_once >= 4096 && self.pause_max <= BRISK_PAUSE_MAX
    }

    /// Whether its first so many bytes are the whole request.
    pub(super) fn is_complete_with(&self, bytes: usize) -> bool {
        self.ask != Ask::Half && bytes >= self.ask.bytes().len()
    }
}

impl Peer {
    /// Whether services that are picky don't let it in.
    pub(super) fn is_denied(&self) -> bool {
        let denied: IpNet = DENIED.parse().expect("a network");
        denied.contains(&self.addr.ip())
    }
}

impl World {
    /// Somebody connects after so long.
    pub(super) fn add_peer(&mut self, plan: Plan, addr: SocketAddr, after: Duration) {
        let number = self.peers.len();
        self.note(|_| format!("peer {number} is going to connect: {plan:?}"));
        self.peers.push(Peer {
            plan,
            addr,
            connection: None,
            tries: 0,
            is_due: true,
            sent: 0,
            got: Vec::new(),
            end: None,
            is_gone: false,
        });
        self.schedule(after, Event::Peer(number));
    }

    /// There is something for a peer.
    pub(super) fn wake_peer(&mut self, number: usize) {
        let pause_max = self.peers[number].plan.pause_max;
        let peer = &mut self.peers[number];
        if !peer.is_gone && !std::mem::replace(&mut peer.is_due, true) {
            let after = self.up_to(pause_max);
            self.schedule(after, Event::Peer(number));
        }
    }

    /// It is over for a peer.
    pub(super) fn finish_peer(&mut self, number: usize, end: End) {
        let peer = &mut self.peers[number];
        peer.end.get_or_insert(end);
        peer.is_gone = true;
        self.note(|_| format!("peer {number}: {end:?}"));
    }

    /// A peer does what it is about to do.
    pub(super) fn peer_acts(&mut self, number: usize) {
        let peer = &mut self.peers[number];
        peer.is_due = false;
        if peer.is_gone {
            return;
        }
        let Some(id) = peer.connection else {
            return self.connect(number);
        };
        if self.connections[id].theirs.has_heard_reset {
            self.connections[id].theirs.is_closed = true;
            return self.finish_peer(number, End::Reset);
        }
        let has_sent = self.send_piece(number, id);
        if self.leave(number, id) {
            return;
        }
        let has_read = self.read_piece(number, id);
        let has_dribbled = self.peers[number].end.is_some() && self.dribble(number, id);
        if has_sent || has_read || has_dribbled {
            self.wake_peer(number);
        }
    }

    /// Sends a piece of what is left, or ends the side. Whether there was any.
    fn send_piece(&mut self, number: usize, id: usize) -> bool {
        let peer = &mut self.peers[number];
        let connection = &mut self.connections[id];
        let left = &peer.plan.bytes.as_bytes()[peer.sent..];
        if connection.theirs.has_ended || (left.is_empty() && !peer.plan.ends) {
            return false;
        }
        let count = left.len().min(peer.plan.piece_max);
        connection.theirs.to_send.put(&left[..count]);
        peer.sent += count;
        connection.theirs.has_ended = peer.sent == peer.plan.bytes.len() && peer.plan.ends;
        self.send_to_us(id);
        true
    }

    /// Leaves, if it is time for that.
    fn leave(&mut self, number: usize, id: usize) -> bool {
        let peer = &self.peers[number];
        let Some(leave) = peer
            .plan
            .leaves
            .filter(|leave| leave.after_bytes <= peer.sent)
        else {
            return false;
        };
        self.note(|_| format!("peer {number} leaves: {:?}", leave.how));
        match leave.how {
            How::Close => self.close_peer(id),
            How::Reset => {
                self.connections[id].theirs.resets = true;
                self.connections[id].theirs.is_closed = true;
                self.send_to_us(id);
            }
            How::Vanish => {
                self.connections[id].is_cut = true;
                let after = self.conditions.user_timeout;
                self.schedule(after, Event::GivenUp(id));
            }
        }
        self.finish_peer(number, End::Left);
        true
    }

    /// Reads what is there. Whether there was any.
    fn read_piece(&mut self, number: usize, id: usize) -> bool {
        let now = self.now;
        let peer = &mut self.peers[number];
        let connection = &mut self.connections[id];
        let Some(after) = peer.plan.reads_after else {
            return false;
        };
        let from = connection.history.connected_at + after;
        if now < from {
            let has_more_to_say = peer.sent < peer.plan.bytes.len();
            if !has_more_to_say && !std::mem::replace(&mut peer.is_due, true) {
                self.schedule(from.saturating_sub(now), Event::Peer(number));
            }
            return false;
        }
        let theirs = &mut connection.theirs;
        let count = theirs.received.len().min(peer.plan.reads_at_once);
        peer.got.extend_from_slice(theirs.received.take(count));
        let has_ended = theirs.received.is_empty() && theirs.has_heard_end;
        let has_more_to_come = !connection.ours.to_send.is_empty() || connection.ours.has_ended;
        if count > 0 && has_more_to_come && !connection.theirs.has_heard_end {
            self.send_to_them(id);
        }
        let peer = &mut self.peers[number];
        if has_ended && peer.end.is_none() {
            peer.end = Some(End::Whole);
            self.note(|_| format!("peer {number} has read the end"));
        }
        count > 0
    }

    /// It has read the end: sends what it still wants to, and closes. Whether it is still there.
    fn dribble(&mut self, number: usize, id: usize) -> bool {
        let is_silent = self.connections[id].theirs.has_ended;
        let peer = &mut self.peers[number];
        if peer.plan.dribbles > 0 && !is_silent {
            peer.plan.dribbles -= 1;
            peer.is_due = true;
            self.connections[id].theirs.to_send.put(b".");
            self.send_to_us(id);
            self.schedule(Duration::from_millis(300), Event::Peer(number));
            return false;
        }
        self.close_peer(id);
        self.finish_peer(number, End::Whole);
        false
    }

    fn close_peer(&mut self, id: usize) {
        let theirs = &mut self.connections[id].theirs;
        theirs.is_closed = true;
        theirs.has_ended = true;
        theirs.resets = !theirs.received.is_empty();
        self.send_to_us(id);
    }
}
