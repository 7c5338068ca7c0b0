//! Another configuration, read against the one that is served.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::thread;

use crossbeam_channel::Receiver;

use crate::config::Config;
use crate::config::diff::{self, Change};
use crate::config::document::Place;
use crate::config::fault::{Fault, Faults};
use crate::config::load::Loaded;
use crate::server;
use crate::server::build::{self, Draft};
use crate::server::commands::Commands;
use crate::server::limits;
use crate::server::maintenance::Lookout;

/// Lines of a difference that are told one by one.
const LINES_MAX: usize = 100;

/// A configuration that was read, as far as it can be taken.
pub(super) struct Read {
    /// With the old value of whatever takes a restart.
    pub(super) loaded: Loaded,
    pub(super) drafts: Vec<Draft>,
    pub(super) difference: Difference,
}

/// What is different.
#[derive(Debug, Default)]
pub(super) struct Difference {
    pub(super) taken: Vec<Change>,
    pub(super) needs_restart: Vec<Change>,

    /// What is surely not what was meant.
    pub(super) warnings: Vec<Fault>,
}

/// What a configuration is read against.
pub(super) struct Running {
    pub(super) config: Config,

    /// The workers of each service's own that are there.
    pub(super) threads: HashMap<String, usize>,

    /// Looks for what means maintenance.
    pub(super) lookout: Lookout,

    /// Who would run commands.
    pub(super) commands: Commands,
}

/// Reads a configuration on a thread of its own.
pub(super) fn read(
    source: &Source,
    running: Running,
) -> io::Result<Receiver<Result<Read, Faults>>> {
    let (read_tx, read_rx) = crossbeam_channel::bounded(1);
    let source = Arc::clone(source);
    thread::Builder::new()
        .name("reload".to_owned())
        .spawn(move || {
            let read = source().and_then(|loaded| against(loaded, &running));
            // Nobody waits for it where the server ends.
            let _told = read_tx.send(read);
        })?;
    Ok(read_rx)
}

/// Where a configuration comes from.
pub type Source = Arc<dyn Fn() -> Result<Loaded, Faults> + Send + Sync>;

fn against(mut loaded: Loaded, running: &Running) -> Result<Read, Faults> {
    let taken = as_far_as_possible(running, &loaded.config);
    let difference = Difference {
        taken: diff::diff(&running.config, &taken),
        needs_restart: diff::diff(&taken, &loaded.config),
        warnings: server::warnings(&loaded, true),
    };
    loaded.config = taken;
    // What a start would refuse must not wait for one.
    limits::fitting(&loaded, limits::descriptors()).map_err(|fault| Faults::from(*fault))?;
    let mut drafts = build::services(&loaded, Some(&running.commands))?;
    let looked = running.lookout.prepare(&mut drafts);
    looked.map_err(|error| {
        let message = format!("can't look for maintenance files: {error}");
        loaded.fault(&Place::top(""), message, "", None)
    })?;
    Ok(Read {
        loaded,
        drafts,
        difference,
    })
}

/// The wanted configuration, with the old value of whatever takes a restart.
fn as_far_as_possible(running: &Running, wanted: &Config) -> Config {
    let mut config = wanted.clone();
    let old = &running.config;
    config.workers = old.workers.clone();
    config.queue = old.queue.clone();
    config.admin.listen.clone_from(&old.admin.listen);
    config.server.max_connections = old.server.max_connections;
    config.server.user.clone_from(&old.server.user);
    config.server.group.clone_from(&old.server.group);
    config.log.format = old.log.format;
    for service in &mut config.services {
        if let Some(threads) = running.threads.get(&service.name) {
            service.threads = *threads;
        }
    }
    config
}

impl Difference {
    /// In lines, for people.
    pub(super) fn lines(&self) -> Vec<String> {
        let taken = self.taken.iter().map(Change::to_string);
        let restart = |change: &Change| format!("needs a restart: {change}");
        let needs_restart = self.needs_restart.iter().map(restart);
        let mut lines: Vec<String> = taken.chain(needs_restart).collect();
        if lines.is_empty() {
            lines.push("nothing has changed".to_owned());
        }
        let left = lines.len().saturating_sub(LINES_MAX);
        if left > 0 {
            lines.truncate(LINES_MAX);
            lines.push(format!("and {left} more"));
        }
        lines
    }
}
