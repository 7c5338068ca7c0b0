//! The acceptor, its workers and thousands of exchanges in a simulated world, all out of one seed.
//!
//! What runs is the real thing: acceptor, room, queue, inbox, the worker's turn, exchanges. What is
//! simulated is what they stand on: sockets, listeners, the poller, the clock, whoever makes replies.
//! Peers of every kind come and go, packets are late, calls fail, workers stall, whoever runs the
//! server changes and stops it; after every turn the promises are looked at.
//!
//! ```text
//! cargo test simulation                                       2,000 seeds
//! REPLYD_SEEDS=1000000 cargo test --release simulation        a night
//! REPLYD_SEED=123 cargo test simulation -- --nocapture        one again, with all that happens
//! ```

mod conditions;
pub(in crate::engine) mod handles;
mod listeners;
mod network;
mod orders;
mod peers;
mod pipe;
pub(in crate::engine) mod poller;
mod promises;
mod run;
mod services;
mod told;
mod trace;
mod verdict;
mod workers;
pub(in crate::engine) mod world;

mod tests;
