//! One connection, one exchange: accept, read a request, reply, close.
//!
//! ```text
//!              acceptor (1 thread)                    queue              worker-N (rayon pool)
//!  kernel ──▶ listener ──▶ admission ──▶ ready? ──▶ bounded ──▶ exchange: read → reply → write ──▶ close ──▶ outcome
//!  backlog                      ▲  │ not yet       crossbeam       │ not finished                             │
//!                               │  ▼               channel         ▼                                          ▼
//!                               waiting room ◀──── inbox ◀──── (socket not ready / reply not there yet)    metrics
//!                               (epoll + deadlines)                                                           ▲
//!                                                                     admin listener: /metrics /-/healthy … ──┘
//! ```
//!
//! The modules below are in reading order, each importing only from those above it.

// Every metric, in one place.
pub mod metrics;

// The other end's address.
pub mod peer;

// What goes wrong again and again is said now and then.
mod complaint;

// Where a test can have the program panic.
pub mod failpoint;

// Who wakes a thread that sleeps.
mod bell;

// A thread's inbox.
mod inbox;

// `server.toml` as types; every error with its place.
pub mod config;

// `server.toml` from what xinetd, inetd and systemd's sockets were told.
pub mod import;

// Bytes in: when a request is complete, whatever its framing.
pub mod request;

// Child processes: one supervisor that starts, watches and reaps them, and a cache of what they said.
pub mod command;

// A request in, bytes to send or a job out.
pub mod reply;

// One request and its reply, as a state machine without a socket.
pub mod exchange;

// Sockets, threads and time around it: listener, acceptor, queue, worker, linger.
pub mod engine;

// The service manager: told what we are at, keeps our listeners, hands us its own.
pub mod systemd;

// What the admin listener answers.
pub mod admin;

// Wires it all: start, run, drain.
pub mod server;
