//! Commands as replies: child processes under supervision, and a cache of what they said.
//!
//! ```text
//! worker                          supervisor (1 thread)
//! runner ── look into the cache ◀── cache ◀── flights ◀── children ── spawn, feed, read, stop, reap
//!    │ not there                                 ▲  └──── deliver ───▶ who waits
//!    └─ a request, on behalf of a waiting ───────┘
//!       connection: submit, leave
//! ```
//!
//! One thread, the supervisor, alone starts, watches and reaps; nobody else ever waits for a child. What it decides,
//! who runs, who waits and who shares, is in `flights.rs` and needs no process to be tested.

mod cache;
mod children;
mod flights;
mod launch;
pub mod options;
pub mod program;
pub mod report;
mod runner;
mod served;
mod supervisor;
mod variables;
mod watch;

pub use children::{Argument, End, Identity, Process};
pub use flights::Delivery;
pub use launch::Launch;
pub use runner::{Asking, Looked, Request, Runner};
pub use supervisor::Supervisor;

/// Whose reply a run makes: what a waiting connection is known by to whoever submits for it.
pub type Ticket = u64;
