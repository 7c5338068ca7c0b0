//! `server.toml` as types; every error with its file, line, caret and what would be right.
//!
//! What is in a `Config` has been checked: downstream asks nothing again, and sees no TOML.
//! What this module does not know: whether an address can be bound, a file exists, or a template
//! renders. A higher layer that finds such a fault reports it through
//! `load::Loaded::fault`, so that it points at the same line in the same way.

/// Where a service listens: `127.0.0.1:7000`, `[::1]:7000`, `unix:/run/x.sock`.
pub mod address;
/// A program whose output is the reply: the table `reply.command`.
pub mod command;
/// A number of seconds: its range, and how it is written.
pub mod duration;
/// How a request ends: the key `read`.
pub mod framing;
/// What only an HTTP reply has: `status`, `headers`, `content_type`.
pub mod header;
/// What is told, how, and where: the table `[log]`.
pub mod log;
/// What is said instead of the reply while a file exists: the key `maintenance`.
pub mod maintenance;
/// Which peers: `10.0.0.0/8`, `::1`.
pub mod network;
/// A number a second.
pub mod rate;
/// What is answered: the keys `reply`, `busy`, `denied`, `failed`, `timed_out`.
pub mod reply;
/// The tables, one struct each, with their defaults.
pub mod types;
/// One word or number of a table: its type, its range, and how a wrong one is explained.
pub mod value;

/// What is different between two configs.
pub mod diff;
/// What a config may say, for editors.
pub mod schema;
/// A config as the file that says all of it, and where each key is from.
pub mod show;
/// A config as tables, with every key written out.
pub mod written;

/// A file's text and the place of every key in it.
pub mod document;
/// A fault, and all of them the way rustc shows its own.
pub mod fault;

/// The rules that take more than one key.
mod check;
/// One file, read with bounds.
mod file;
/// Files, includes, and the order of it all.
pub mod load;
/// What the parser says, in the words of who operates the server.
mod syntax;
/// One table by serde, going on after each fault.
mod table;

#[cfg(test)]
mod tests;

use schemars::JsonSchema;
use serde::Serialize;

use crate::config::log::Log;
pub(crate) use crate::config::table::nearest;
use crate::config::types::{Admin, Queue, Server, Service, Workers};

/// Everything `server.toml` says, checked.
#[derive(Clone, Debug, Default, JsonSchema, PartialEq, Serialize)]
#[schemars(default, deny_unknown_fields, transform = schema::include)]
pub struct Config {
    /// The process as a whole.
    pub server: Server,

    /// The common pool.
    pub workers: Workers,

    /// What waits for a worker.
    pub queue: Queue,

    /// `/metrics` and its kin.
    pub admin: Admin,

    /// What goes to stderr.
    pub log: Log,

    /// In the order of the files; none is a valid number.
    #[serde(rename = "service")]
    pub services: Vec<Service>,
}
