//! One exchange with a service, as the server would have it, without the server: `replyd try`.
//!
//! The service is built as for the server, by whom the server would be, and nothing is bound. Where
//! that can't be, for want of root, it is said what differs.

use std::fmt;
use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Receiver;
use nix::unistd::{Gid, Uid};

use crate::command::Supervisor;
use crate::config;
use crate::config::address::Address;
use crate::config::fault::Faults;
use crate::config::load::Loaded;
use crate::config::reply::Body;
use crate::config::types;
use crate::engine::solo::{self, Client, Solo};
use crate::metrics::Metrics;
use crate::peer::Peer;
use crate::server::build::{self, Draft};
use crate::server::commands::Commands;
use crate::server::maintenance::Lookout;
use crate::server::user::{self, Identity};
use crate::server::{LABELS, StartError, threads};

/// How long a command that was killed may take to be gone.
const AFTER_KILL: Duration = Duration::from_secs(1);

/// A service that is about to be tried.
pub struct Trial {
    draft: Draft,
    commands: Commands,

    /// Whom to become.
    identity: Option<Identity>,
    differences: Vec<String>,
}

/// What came of a trial.
#[derive(Debug)]
pub struct Tried {
    /// What came of the exchange.
    pub exchange: Solo,

    /// Whether the service is under maintenance.
    pub is_maintained: bool,

    /// As whom the reply was made: the command, if there is one.
    pub made_as: String,

    /// What is not as the server would have it, in whole sentences.
    pub differences: Vec<String>,
}

/// Why a service can't be tried.
#[derive(Debug)]
pub enum TrialError {
    /// There is no such service; what there is.
    Unknown(String),

    /// The server would not start either.
    Start(StartError),
}

impl Trial {
    /// Builds one of the services, as whom the server would be.
    ///
    /// # Errors
    /// * there is no service of this name
    /// * it can't be built: a template, a user that there is not
    pub fn new(mut loaded: Loaded, name: &str) -> Result<Self, TrialError> {
        let services = &loaded.config.services;
        let index = services.iter().position(|service| service.name == name);
        let index = index.ok_or_else(|| TrialError::Unknown(unknown(&loaded, name)))?;
        let start = |faults| TrialError::Start(StartError::Config(faults));
        let identity = user::find(&loaded).map_err(start)?;
        let mut differences = Vec::new();
        let commands = Commands::new(Arc::default(), identity.as_ref());
        if !Uid::effective().is_root() {
            differences.extend(server_differs(&loaded));
            differences.extend(stand_in(&mut loaded, index));
        }
        let draft = build::draft(&loaded, index, Some(&commands));
        let draft = draft.map_err(|faults| start(Faults::some(faults)))?;
        Ok(Self {
            draft,
            commands,
            identity,
            differences,
        })
    }

    /// What the configuration says of the service.
    #[must_use]
    pub fn table(&self) -> &types::Service {
        &self.draft.table
    }

    /// Who runs the command, and can end it.
    #[must_use]
    pub fn supervisor(&self) -> &Arc<Supervisor> {
        &self.commands.supervisor
    }

    /// A peer such as would come to the service's first address, from this machine.
    #[must_use]
    pub fn usual_peer(&self) -> Peer {
        match self.draft.table.listen.first() {
            Some(Address::Unix(_)) => Peer::Unix,
            Some(Address::Tcp(addr)) if addr.is_ipv6() => {
                Peer::from(SocketAddr::from((Ipv6Addr::LOCALHOST, 0)))
            }
            _ => Peer::from(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
        }
    }

    /// Becomes who the server would be, for good, and has the exchange. `reply` takes its bytes; who
    /// asks leaves when `leaves` says so. Nothing is left of a command when this is back.
    ///
    /// # Errors
    /// * the system refuses: the user, descriptors, threads
    pub fn run(
        self,
        peer: Peer,
        request: Vec<u8>,
        reply: &mut dyn Write,
        leaves: &Receiver<()>,
    ) -> Result<Tried, StartError> {
        if let Some(identity) = &self.identity {
            user::switch(identity)?;
        }
        let mut drafts = [self.draft];
        Lookout::default().prepare(&mut drafts).map_err(threads)?;
        let [Draft { table, replies, .. }] = drafts;
        let is_maintained =
            (replies.maintenance.as_ref()).is_some_and(|maintenance| maintenance.flag.is_active());
        let service = build::service(&table, replies, 0, &Metrics::new(LABELS));
        let client = Client {
            peer,
            request,
            reply,
            leaves,
        };
        let exchange = solo::exchange(&service, client).map_err(threads)?;
        if let Body::Command(command) = &table.reply.body {
            let supervisor = &self.commands.supervisor;
            supervisor.stop(command.kill_after + AFTER_KILL);
        }
        let run_as = exchange.run.as_ref();
        let run_as = run_as.and_then(|run| run.launch.process.identity);
        let made_as = run_as.map_or((Uid::effective(), Gid::effective()), |identity| {
            (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid))
        });
        Ok(Tried {
            exchange,
            is_maintained,
            made_as: user::called(made_as.0, made_as.1),
            differences: self.differences,
        })
    }
}

/// The server would become somebody else, and we can't.
fn server_differs(loaded: &Loaded) -> Option<String> {
    let name = loaded.config.server.user.as_ref()?;
    (!user::is_ours(name)).then(|| {
        format!(
            "a server that root starts is `{name}` by `[server] user`; this is {}: try it as root",
            us()
        )
    })
}

/// Has a command that is to be run as somebody else run as who we are. What differs, if we had to.
fn stand_in(loaded: &mut Loaded, index: usize) -> Option<String> {
    let Body::Command(command) = &loaded.config.services[index].reply.body else {
        return None;
    };
    command.user.as_ref()?;
    let root = (Uid::from_raw(0), Gid::from_raw(0));
    // What is wrong with the user is told when the service is built.
    let wanted = user::of_command(loaded, index, command, root).ok()?;
    let (uid, gid) = wanted.unwrap_or(root);
    if (uid, gid) == (Uid::effective(), Gid::effective()) {
        return None;
    }
    let Body::Command(command) = &mut loaded.config.services[index].reply.body else {
        return None;
    };
    (command.user, command.group) = (None, None);
    Some(format!(
        "the server runs it as {}, which only root can become; this is {}: try it as root",
        user::called(uid, gid),
        us()
    ))
}

fn us() -> String {
    user::called(Uid::effective(), Gid::effective())
}

fn unknown(loaded: &Loaded, name: &str) -> String {
    let services = &loaded.config.services;
    let names: Vec<&str> = services.iter().map(|it| it.name.as_str()).collect();
    let path = loaded.path.as_ref().map(|path| path.display().to_string());
    let path = path.unwrap_or_else(|| "the built-in server.toml".to_owned());
    let help = match config::nearest(name, &names) {
        _ if names.is_empty() => "it has none".to_owned(),
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("it has: {}", names.join(", ")),
    };
    format!("there is no service `{name}` in {path}: {help}")
}

impl fmt::Debug for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trial")
            .field("service", &self.draft.table.name)
            .finish_non_exhaustive()
    }
}
