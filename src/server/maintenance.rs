//! Looking for the files that mean maintenance, where a disk that hangs holds up nobody else.
//!
//! One thread a folder: files beside each other hang together. A thread ends when nothing is left to
//! look for in its folder, and all do when the last [`Lookout`] is dropped; one that hangs, as soon
//! as it can.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::convert::Infallible;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use crate::config::types;
use crate::metrics::{IsActive, Metrics};
use crate::reply::maintenance::Flag;
use crate::server::build::Draft;
use crate::server::roster::Roster;

/// How often to look: maintenance begins and ends within this time.
const INTERVAL: Duration = Duration::from_millis(250);

/// How long all first looks together may take. What a disk that hangs has not told by then counts as
/// no maintenance, until it tells.
const FIRST_LOOK_MAX: Duration = Duration::from_secs(1);

/// Says whether there is anything at a path. May block for as long as a disk hangs.
type Look = fn(&Path) -> io::Result<bool>;

/// A file that means maintenance of one service while it is there.
#[derive(Debug)]
struct Watched {
    service: String,
    path: PathBuf,
    flag: Arc<Flag>,

    /// It could not be told the last time, and that was said.
    is_said: AtomicBool,
}

/// Looks at files, from time to time, and raises their flags.
#[derive(Clone, Debug)]
pub(super) struct Lookout {
    look: Look,

    /// How long all first looks together may take.
    patience: Duration,

    /// By folder.
    lookers: Arc<Mutex<BTreeMap<PathBuf, Looker>>>,
}

/// Looks at the files of one folder.
#[derive(Debug)]
struct Looker {
    task: Arc<Mutex<Task>>,

    /// Looks at once when something comes, and ends when this does.
    wake: Sender<()>,
}

/// What a looker has to do. Never locked while it looks.
#[derive(Debug, Default)]
struct Task {
    files: Vec<Arc<Watched>>,

    /// Dropped when each of them has been looked at.
    first_look: Option<Sender<Infallible>>,
}

impl Watched {
    /// The file of a service, if it has one.
    fn of((table, flag): (&types::Service, &Arc<Flag>)) -> Option<Self> {
        Some(Self {
            service: table.name.clone(),
            path: table.maintenance.as_ref()?.file.clone(),
            flag: Arc::clone(flag),
            is_said: AtomicBool::new(false),
        })
    }

    /// Which flag it is, whatever it says.
    fn flag(&self) -> *const Flag {
        Arc::as_ptr(&self.flag)
    }

    /// The folder that the file is in.
    fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// Looks once. What can't be told leaves things as they are.
    fn look(&self, look: Look) {
        let file = self.path.display();
        let service = &self.service;
        match look(&self.path) {
            Ok(is_there) => {
                self.is_said.store(false, Relaxed);
                let was_there = self.flag.set(is_there);
                match (was_there, is_there) {
                    (false, true) => tracing::info!(service, %file, "maintenance begins"),
                    (true, false) => tracing::info!(service, %file, "maintenance ends"),
                    _ => {}
                }
            }
            Err(error) if !self.is_said.swap(true, Relaxed) => {
                let is_active = self.flag.is_active();
                tracing::warn!(
                    service, %file, %error, is_active,
                    "cannot tell whether there is maintenance, which stays as it is"
                );
            }
            Err(_) => {}
        }
    }
}

impl Default for Lookout {
    fn default() -> Self {
        Self {
            look: is_there,
            patience: FIRST_LOOK_MAX,
            lookers: Arc::default(),
        }
    }
}

impl Lookout {
    /// Looks for the files of what is served. Returns when it is known of each whether it is there,
    /// or when that takes too long.
    ///
    /// # Errors
    /// * a thread can't be started
    pub(super) fn start(roster: &Roster) -> io::Result<Self> {
        let lookout = Self::default();
        lookout.add(roster.maintenance().filter_map(Watched::of))?;
        Ok(lookout)
    }

    /// Looks for the files of what may be served soon too, and returns as [`Self::start`] does.
    ///
    /// # Errors
    /// * a thread can't be started
    pub(super) fn prepare(&self, drafts: &mut [Draft]) -> io::Result<()> {
        self.recognise(drafts);
        let flags = drafts.iter().filter_map(|draft| {
            let maintenance = draft.replies.maintenance.as_ref()?;
            Some((&draft.table, &maintenance.flag))
        });
        self.add(flags.filter_map(Watched::of))
    }

    /// Looks for the files of what is served and for no others from now on, and has it told.
    pub(super) fn keep(&self, roster: &Roster, metrics: &Metrics) {
        let kept: HashSet<_> = roster
            .maintenance()
            .map(|(_, flag)| Arc::as_ptr(flag))
            .collect();
        self.lookers().retain(|_, looker| {
            let mut task = looker.task();
            task.files.retain(|file| kept.contains(&file.flag()));
            !task.files.is_empty()
        });
        let told = roster.maintenance().map(|(table, flag)| {
            let flag = Arc::clone(flag);
            let is_active: IsActive = Box::new(move || flag.is_active());
            (table.name.clone(), is_active)
        });
        metrics.maintenance(told.collect());
    }

    /// Gives services that are served already, with the same file, the flags that they have: so
    /// nothing begins or ends by a reload alone.
    fn recognise(&self, drafts: &mut [Draft]) {
        let lookers = self.lookers();
        let tasks: Vec<_> = lookers.values().map(Looker::task).collect();
        let files = tasks.iter().flat_map(|task| &task.files);
        let known: HashMap<_, _> = files
            .map(|file| ((file.service.as_str(), file.path.as_path()), &file.flag))
            .collect();
        for draft in drafts {
            let (Some(table), Some(maintenance)) =
                (&draft.table.maintenance, &mut draft.replies.maintenance)
            else {
                continue;
            };
            if let Some(flag) = known.get(&(draft.table.name.as_str(), table.file.as_path())) {
                maintenance.flag = Arc::clone(flag);
            }
        }
    }

    /// Adds those of these files that are not there already.
    fn add(&self, files: impl IntoIterator<Item = Watched>) -> io::Result<()> {
        let mut folders: BTreeMap<PathBuf, Vec<Arc<Watched>>> = BTreeMap::new();
        for file in files {
            let folder = folders.entry(file.folder().to_owned()).or_default();
            folder.push(Arc::new(file));
        }
        let mut first_looks = Vec::new();
        for (folder, mut files) in folders {
            let mut lookers = self.lookers();
            let looker = match lookers.entry(folder.clone()) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(place) => place.insert(Looker::start(self.look)?),
            };
            let mut task = looker.task();
            let known: HashSet<_> = task.files.iter().map(|file| file.flag()).collect();
            files.retain(|file| !known.contains(&file.flag()));
            if !files.is_empty() {
                let (pending, done) = crossbeam_channel::bounded(0);
                task.files.append(&mut files);
                task.first_look = Some(pending);
                first_looks.push((folder, done));
                looker.wake();
            }
        }
        let until = Instant::now() + self.patience;
        for (folder, done) in first_looks {
            if done.recv_deadline(until) == Err(RecvTimeoutError::Timeout) {
                let folder = folder.display();
                tracing::warn!(%folder, "no answer from the disk of a maintenance file");
            }
        }
        Ok(())
    }

    fn lookers(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Looker>> {
        self.lookers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Looker {
    fn start(look: Look) -> io::Result<Self> {
        let (wake, woken) = crossbeam_channel::bounded(1);
        let task = Arc::<Mutex<Task>>::default();
        let of_thread = Arc::clone(&task);
        thread::Builder::new()
            .name("maintenance".to_owned())
            .spawn(move || look_out(&of_thread, &woken, look))?;
        Ok(Self { task, wake })
    }

    fn task(&self) -> MutexGuard<'_, Task> {
        lock(&self.task)
    }

    fn wake(&self) {
        // Full: it is about to look.
        let _woken = self.wake.try_send(());
    }
}

fn lock(task: &Mutex<Task>) -> MutexGuard<'_, Task> {
    task.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends with the looker.
fn look_out(task: &Mutex<Task>, woken: &Receiver<()>, look: Look) {
    while woken.recv_timeout(INTERVAL) != Err(RecvTimeoutError::Disconnected) {
        let (files, first_look) = {
            let mut task = lock(task);
            (task.files.clone(), task.first_look.take())
        };
        for file in files {
            file.look(look);
        }
        drop(first_look);
    }
}

/// Whether there is anything at `path`: a symbolic link is, wherever it leads.
fn is_there(path: &Path) -> io::Result<bool> {
    match std::fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
