//! The server from outside: bytes in, bytes out, metrics beside it. One binary.
//!
//! Nothing here sleeps to wait for something: tests wait for metrics, log lines and bytes, with
//! bounds that only a hang reaches. Everything is on loopback, and no port is fixed.

/// A server in this process, its clients, and its metrics.
mod harness;

/// What clients do.
mod client;

/// An engine started by hand, whose replies are code.
mod by_hand;

/// Framings and replies, end to end.
mod serve;

/// What becomes of a reply at the close: linger, half close, reset, unread input.
mod closing;

/// Silent, trickling and slow peers, and the deadlines that end them.
mod waiting;

/// Who is turned away, and what it is told.
mod limits;

/// Stopping without losing anyone.
mod drain;

/// Reloading: another configuration while connections come and go.
mod reload;

/// HTTP as clients see it.
mod http;

/// Files as replies, and disks that hang.
mod files;

/// While a file exists, another reply is given.
mod maintenance;

/// An exchange that panics is one outcome.
mod panic;

/// `/metrics` and the rest of the admin listener.
mod metrics;

/// The real binary: signals and exit codes, from start to end.
mod process;

/// The real binary's start: arguments, faults of the config, where it is looked for, limits.
mod startup;

/// What `replyd check` and `replyd show` print, and their exit codes.
mod check;

/// `replyd try`: one exchange, and what happened.
mod trial;

/// The same of commands.
mod trial_command;

/// What the program prints about itself: manual pages and completions.
mod documents;

/// The real binary under a service manager: notified, activated, watched, restarted.
mod systemd;

/// Commands as replies: the real binary and real scripts.
mod command;

/// `replyd import`: sources, and what is made of them.
mod import;

/// The examples in `packaging/`: what their clients get.
mod examples;

/// The real binary's log.
mod log;

/// What fuzzing has found, and what must hold of it.
mod fuzz;

/// Style and layers, as tests.
mod tidy;
