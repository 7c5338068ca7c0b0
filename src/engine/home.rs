//! What comes home to the acceptor, through its one inbox.

use std::convert::Infallible;
use std::io;
use std::time::Instant;

use crossbeam_channel::Sender;

use crate::engine::Prepared;
use crate::engine::connection::Connection;
use crate::engine::room::Wait;
use crate::engine::token::Token;
use crate::reply::Made;

/// A message to the acceptor. Whatever happens to a connection happens in their order.
#[derive(Debug)]
pub(super) enum Home {
    /// It has to wait for this.
    Waits(Box<Connection>, Wait),
    /// It could go on at once.
    Again(Box<Connection>),
    /// The reply is out; whether the peer has ended its side is to be looked at.
    Lingers(Box<Connection>),
    /// The socket is closed.
    Closed(Box<Connection>),
    /// It has waited too long in the queue.
    Shed(Box<Connection>),
    /// A reply that came later, made for the service of this number.
    Answer(usize, Token, Box<Made>),
    /// From whoever runs the server.
    Order(Order),
}

/// What the acceptor is told from outside.
#[derive(Debug)]
pub(super) enum Order {
    /// Serve something else from now on, and say how that went.
    Change(Box<Prepared>, Sender<io::Result<()>>),
    /// Close the listeners that a change has retired; drop this when they are.
    CloseRetired(Sender<Infallible>),
    /// Send a probe through the queue of every pool.
    Probe(Sender<()>),
    /// Let nobody new in; accept who was on the way.
    StopNewcomers,
    /// Close the listeners; end when nothing is open, or at this time.
    Drain {
        /// The end of the grace period.
        until: Instant,
    },
}
