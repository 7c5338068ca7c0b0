//! What a run is started with, in full: for people who want to know why it ends as it does.

use std::sync::Arc;

use crate::command::children::{Argument, Process};
use crate::command::options::Options;
use crate::command::runner::Request;
use crate::command::variables::variables;

/// What a run is started with.
#[derive(Clone, Debug)]
pub struct Launch {
    /// What it has in common with other runs of the service.
    pub process: Arc<Process>,

    /// The program, by its absolute path, and its arguments.
    pub arguments: Vec<Vec<u8>>,

    /// All variables, with those that tell of the peer.
    pub environment: Vec<(String, String)>,

    /// What it can read from stdin.
    pub stdin_bytes: usize,
}

impl Launch {
    pub(super) fn of(options: &Options, request: &Request) -> Self {
        let argument = |argument: &Argument| match argument {
            Argument::Text(text) => text.clone().into_bytes(),
            Argument::Request => request.argument.clone(),
        };
        let of_peer = variables(request.peer, options.sharing).into_iter();
        let of_peer = of_peer.map(|(name, value)| (name.to_owned(), value));
        let process = &options.process;
        Self {
            arguments: process.run.iter().map(argument).collect(),
            environment: process.environment.iter().cloned().chain(of_peer).collect(),
            stdin_bytes: request.stdin.len(),
            process: Arc::clone(process),
        }
    }
}
