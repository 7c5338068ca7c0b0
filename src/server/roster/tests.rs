//! The roster, without a socket.
