//! The service manager's protocols: systemd 252 and newer, and whatever else speaks them.
//!
//! A library for the server, which decides when; without a service manager it does nothing.

pub mod inherit;
pub mod matching;
pub mod notify;
pub mod store;
