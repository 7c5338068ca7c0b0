//! Commands as their supervisor has them, made of what the configuration says.

use std::sync::Arc;
use std::time::Duration;

use nix::unistd::{Gid, Uid};
use rustix::process::{Resource, Rlimit, getrlimit};

use crate::command::options::{Caching, Options, Sharing};
use crate::command::{Argument, Identity, Process, Runner, Supervisor};
use crate::config::command::{Command, Output, Stdin};
use crate::config::fault::Fault;
use crate::config::load::Loaded;
use crate::server::{StartError, threads, user};

/// How late a run by schedule may begin, on a machine that has too much to do.
const LATE: Duration = Duration::from_secs(5);

/// What commands have to do with this process.
#[derive(Clone, Debug)]
pub(super) struct Commands {
    /// Who runs them.
    pub(super) supervisor: Arc<Supervisor>,

    /// The limits of descriptors that the process was started with.
    pub(super) descriptors: Rlimit,

    /// Who the process is by the time they run.
    pub(super) user: Uid,

    /// And its group.
    pub(super) group: Gid,
}

/// The runner of one service's command. `commands`: `None` if it is not to be run.
///
/// # Errors
/// * it can't be run as whom the configuration says, or it doesn't say
pub(super) fn runner(
    loaded: &Loaded,
    index: usize,
    command: &Command,
    commands: Option<&Commands>,
) -> Result<Runner, Box<Fault>> {
    let identity = commands.map(|commands| commands.identity(loaded, index, command));
    let descriptors = commands.map(|commands| commands.descriptors);
    let argument = |(place, text): (usize, &String)| {
        if command.request_argument() == Some(place) {
            Argument::Request
        } else {
            Argument::Text(text.clone())
        }
    };
    let process = Process {
        run: command.run.iter().enumerate().map(argument).collect(),
        environment: command.environment.clone().into_iter().collect(),
        working_directory: command.working_directory.clone(),
        identity: identity.transpose()?.flatten(),
        timeout: command.timeout,
        kill_after: command.kill_after,
        max_output_bytes: command.max_output_bytes,
        descriptors,
    };
    // A run by schedule is nobody's.
    let reads_request = command.stdin == Stdin::Request && command.refresh.is_zero();
    let options = Options {
        service: loaded.config.services[index].name.as_str().into(),
        process: Arc::new(process),
        reads_request,
        has_head: reads_request && command.output == Output::Raw,
        answers: command.exit_status.keys().copied().collect(),
        concurrency: command.concurrency,
        max_waiting: command.max_waiting,
        sharing: sharing(command),
    };
    let supervisor = commands.map(|commands| Arc::clone(&commands.supervisor));
    Ok(Runner::new(options, supervisor.unwrap_or_default()))
}

fn sharing(command: &Command) -> Sharing {
    if !command.refresh.is_zero() {
        return Sharing::Scheduled {
            every: command.refresh,
            good_for: command.refresh + command.timeout + command.kill_after + LATE,
        };
    }
    if command.cache.is_zero() {
        return Sharing::Nobody;
    }
    Sharing::Cached(Caching {
        fresh: command.cache,
        stale: command.stale,
        failure: command.failure_cache,
        by_request: command.cache_key.request,
        by_peer: command.cache_key.peer,
    })
}

impl Commands {
    /// Asks who we are, or are to become, and which limits we have.
    pub(super) fn new(supervisor: Arc<Supervisor>, becomes: Option<&user::Identity>) -> Self {
        Self {
            supervisor,
            descriptors: getrlimit(Resource::Nofile),
            user: becomes.map_or_else(Uid::effective, user::Identity::uid),
            group: becomes.map_or_else(Gid::effective, user::Identity::gid),
        }
    }

    /// Starts the supervisor if this is the first process of a container: orphans come to it.
    ///
    /// # Errors
    /// * out of descriptors or threads
    pub(super) fn reap_orphans(&self) -> Result<(), StartError> {
        if std::process::id() != 1 {
            return Ok(());
        }
        self.supervisor.start().map_err(threads)
    }

    /// Whom to become for a command; `None`: nobody, we are that.
    fn identity(
        &self,
        loaded: &Loaded,
        index: usize,
        command: &Command,
    ) -> Result<Option<Identity>, Box<Fault>> {
        let replyd = (self.user, self.group);
        let wanted = user::of_command(loaded, index, command, replyd)?;
        Ok(wanted.map(|(uid, gid)| Identity {
            uid: uid.as_raw(),
            gid: gid.as_raw(),
        }))
    }
}
