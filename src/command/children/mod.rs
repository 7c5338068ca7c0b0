//! Child processes: started, fed, read, ended and reaped by the one thread that owns them.
//!
//! A run is one start of a program: a process group of its own, whose first process is our child.
//! With the end of the first process the run ends, whatever else is in the group: that is killed,
//! and nobody waits for a pipe that it holds. Nothing here blocks but [`Children::turn`].

mod event;
mod orphans;
mod process;
mod run;
mod signals;
mod spawn;
mod watch;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::wait::{self, Id, WaitPidFlag};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

pub use event::End;
pub(super) use event::{Ended, Event, Failed, Failure, RunId};
pub(super) use process::Input;
pub use process::{Argument, Identity, Process};

use crate::command::children::orphans::Orphans;
use crate::command::children::run::{Feed, Phase, READ_BYTES_MAX, Run};
use crate::command::children::signals::ChildSignal;
use crate::command::children::watch::{Key, Stream, Watch};

/// How often one looks for who has ended, while children run and nothing is heard: SIGCHLD's handler tells of
/// it by a socket, and the kernel may have no memory for that one byte.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// At the end: how long one looks for those who are left, at most;
const LAST_LOOKS: Duration = Duration::from_millis(200);

/// how often;
const LAST_LOOKS_INTERVAL: Duration = Duration::from_millis(5);

/// and how often without finding any.
const QUIET_LOOKS: usize = 4;

/// All children of one thread. No other may start or wait for any.
#[derive(Debug)]
pub(super) struct Children {
    watch: Watch,
    child_signal: ChildSignal,
    orphans: Orphans,

    /// `/dev/null`.
    null: OwnedFd,

    runs: HashMap<RunId, Run>,

    /// Who a first process is.
    ids: HashMap<Pid, RunId>,

    /// The next deadline of each run.
    deadlines: BTreeSet<(Instant, RunId)>,

    /// What is read from pipes comes through here.
    buffer: Box<[u8]>,

    /// To stay with the thread whose signal mask they inherit.
    thread: PhantomData<Rc<()>>,
}

impl Children {
    /// Makes this thread the one that has children. `inbox` is one more descriptor to watch.
    ///
    /// From now on nothing is blocked by this thread's signal mask, no descriptor of this process but
    /// the first three survives an exec, and orphaned descendants come to this process.
    ///
    /// # Errors
    /// No descriptors, or no memory in the kernel.
    pub(super) fn new(inbox: BorrowedFd<'_>) -> io::Result<Self> {
        signals::unblock_all()?;
        drop_ambient_capabilities();
        signals::handle_ignored()?;
        // Ours are from birth; but we may have been started with others.
        close_fds::set_fds_cloexec_threadsafe(3, &[]);
        let child_signal = ChildSignal::new()?;
        let watch = Watch::new()?;
        watch.add(inbox, Key::Inbox)?;
        watch.add(&child_signal, Key::ChildSignal)?;
        Ok(Self {
            watch,
            child_signal,
            orphans: Orphans::new(Instant::now())?,
            null: File::open("/dev/null")?.into(),
            runs: HashMap::new(),
            ids: HashMap::new(),
            deadlines: BTreeSet::new(),
            buffer: vec![0; READ_BYTES_MAX].into(),
            thread: PhantomData,
        })
    }

    /// Starts a run.
    ///
    /// # Errors
    /// It could not be started, for a reason that is told; nothing more comes of it.
    pub(super) fn start(
        &mut self,
        id: RunId,
        process: &Arc<Process>,
        input: Input,
        now: Instant,
    ) -> io::Result<()> {
        debug_assert!(!self.runs.contains_key(&id), "{id:?} is running");
        let run = self.spawn(id, process, input, now);
        let run = run.map_err(|error| spawn::explained(process, &error))?;
        schedule(&mut self.deadlines, id, &run);
        self.ids.insert(run.pid, id);
        self.runs.insert(id, run);
        Ok(())
    }

    fn spawn(
        &self,
        id: RunId,
        process: &Arc<Process>,
        mut input: Input,
        now: Instant,
    ) -> io::Result<Run> {
        let stdin = std::mem::take(&mut input.stdin);
        let (ours, theirs) = spawn::pipes(!stdin.is_empty(), &self.null)?;
        // Mostly all of it fits into the pipe: then it needs no watching.
        let feed = ours.stdin.and_then(|pipe| Feed::new(pipe, stdin).write());
        if let Some(feed) = &feed {
            self.watch.add(feed.pipe(), Key::Pipe(id, Stream::Stdin))?;
        }
        self.watch
            .add(&ours.stdout, Key::Pipe(id, Stream::Stdout))?;
        self.watch
            .add(&ours.stderr, Key::Pipe(id, Stream::Stderr))?;
        let pid = spawn::spawn(process, &input, theirs)?;
        let pipes = (feed, ours.stdout, ours.stderr);
        Ok(Run::new(process, pid, pipes, now))
    }

    /// Ends a run that nobody wants anymore. Only [`Event::Gone`] comes of it.
    pub(super) fn stop(&mut self, id: RunId, now: Instant) {
        let run = self.runs.get_mut(&id);
        if let Some(run) = run.filter(|run| run.phase == Phase::Wanted) {
            unschedule(&mut self.deadlines, id, run);
            run.terminate(&self.watch, now);
            schedule(&mut self.deadlines, id, run);
        }
    }

    /// When something is due. [`Children::turn`] knows it too.
    #[must_use]
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let first = self.deadlines.first().map(|(deadline, _)| *deadline);
        first.into_iter().chain(self.orphans.due()).min()
    }

    /// Sleeps until something happens or is due, at most for `timeout`, and adds what has happened
    /// to `events`. Whether the inbox rang.
    ///
    /// # Errors
    /// Those of `epoll_wait(2)` that have no remedy.
    pub(super) fn turn(
        &mut self,
        timeout: Option<Duration>,
        events: &mut Vec<Event>,
    ) -> io::Result<bool> {
        let due = self.next_deadline();
        let due = due.map(|due| due.saturating_duration_since(Instant::now()));
        let look = (!self.runs.is_empty()).then_some(LOOK_INTERVAL);
        self.watch
            .wait(timeout.into_iter().chain(due).chain(look).min())?;
        let now = Instant::now();
        let (mut has_rung, mut has_ended) = (false, self.watch.len() == 0 && look.is_some());
        for index in 0..self.watch.len() {
            match self.watch.event(index) {
                Key::Inbox => has_rung = true,
                Key::ChildSignal => has_ended = true,
                Key::Pipe(id, stream) => self.ready(id, stream, now, events),
            }
        }
        // Before the next runs end: what they leave has yet to come.
        if self.orphans.due().is_some_and(|due| due <= now) {
            self.sweep(now);
        }
        if has_ended {
            self.child_signal.hush();
            self.reap(now, events);
        }
        self.expire(now, events);
        Ok(has_rung)
    }

    fn sweep(&mut self, now: Instant) {
        self.orphans.sweep(now, |pid| self.ids.contains_key(&pid));
    }

    /// Moves what a pipe has, or takes. The run may have gone in this turn.
    fn ready(&mut self, id: RunId, stream: Stream, now: Instant, events: &mut Vec<Event>) {
        let Some(run) = self.runs.get_mut(&id) else {
            return;
        };
        if let Err(failure) = run.ready(stream, &mut self.buffer) {
            self.fail(id, failure, now, events);
        }
    }

    /// Answers for a run and begins to end it.
    fn fail(&mut self, id: RunId, failure: Failure, now: Instant, events: &mut Vec<Event>) {
        let run = self.runs.get_mut(&id).expect("invariant: it runs");
        events.push(Event::Failed(
            id,
            run.failed(failure, &mut self.buffer, now),
        ));
        self.stop(id, now);
    }

    /// Does what is due to runs.
    fn expire(&mut self, now: Instant, events: &mut Vec<Event>) {
        // Ends because a run's next deadline, if it is due too, is the last one.
        while let Some(&(deadline, id)) = self.deadlines.first()
            && deadline <= now
        {
            let run = self.runs.get_mut(&id).expect("invariant: it runs");
            if run.phase == Phase::Wanted {
                self.fail(id, Failure::TimedOut, now, events);
            } else {
                unschedule(&mut self.deadlines, id, run);
                run.kill();
            }
        }
    }

    /// Takes in whoever has ended.
    fn reap(&mut self, now: Instant, events: &mut Vec<Event>) {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        // Each time there is one child less.
        loop {
            let ended = match wait::waitid(Id::All, flags) {
                // nix has no name for an end by a real-time signal.
                Err(nix::Error::EINVAL) => None,
                Err(_) => return,
                Ok(status) => match status.pid() {
                    Some(pid) => Pid::from_raw(pid.as_raw()),
                    None => return,
                },
            };
            let Some(id) = ended.and_then(|pid| self.ids.get(&pid)) else {
                if self.orphans.ended(ended, now) {
                    continue;
                }
                // As long as it is not reaped, it stands before the others.
                self.reap_each(now, events);
                return;
            };
            self.finish(*id, now, events);
        }
    }

    /// Takes in whoever has ended, asking for one run after the other.
    fn reap_each(&mut self, now: Instant, events: &mut Vec<Event>) {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let has_ended =
            |pid: &Pid| waitid(WaitId::Pid(*pid), options).is_ok_and(|status| status.is_some());
        let ended = self.ids.iter().filter(|(pid, _)| has_ended(pid));
        let ended: Vec<RunId> = ended.map(|(_, id)| *id).collect();
        for id in ended {
            self.finish(id, now, events);
        }
    }

    /// The first process of a run has ended, and is still to be reaped: the last things to be done
    /// with its number, in this order, and then nothing more is.
    fn finish(&mut self, id: RunId, now: Instant, events: &mut Vec<Event>) {
        let mut run = self.runs.remove(&id).expect("invariant: it runs");
        self.ids.remove(&run.pid);
        unschedule(&mut self.deadlines, id, &run);
        let rest = match run.phase {
            Phase::Wanted => Some(run.read_rest(&mut self.buffer)),
            Phase::Terminated | Phase::Killed => None,
        };
        run.kill();
        let end = reaped(run.pid);
        match rest {
            Some(Ok(())) => events.push(Event::Ended(id, run.ended(end, now))),
            Some(Err(failure)) => events.push(Event::Failed(
                id,
                run.failed(failure, &mut self.buffer, now),
            )),
            None => {}
        }
        events.push(Event::Gone(id));
        self.orphans.expect(now);
    }
}

impl Drop for Children {
    /// Leaves no one behind who can be found: what a killed one had started comes to us when that
    /// one is gone, and has to be waited for.
    fn drop(&mut self) {
        if self.runs.is_empty() && self.orphans.due().is_none() {
            return;
        }
        for run in self.runs.values_mut() {
            run.kill();
        }
        let until = Instant::now() + LAST_LOOKS;
        let mut quiet = 0;
        while quiet < QUIET_LOOKS && Instant::now() < until {
            let now = Instant::now();
            self.reap(now, &mut Vec::new());
            self.sweep(now);
            let is_quiet = self.runs.is_empty() && self.orphans.due().is_none();
            quiet = if is_quiet { quiet + 1 } else { 0 };
            std::thread::sleep(LAST_LOOKS_INTERVAL);
        }
    }
}

/// Has what we start get none of our capabilities, as what binds low ports: exec keeps ambient ones.
fn drop_ambient_capabilities() {
    // It can only fail in a sandbox without prctl(2); then they stay, as in a shell of ours.
    let _dropped = rustix::thread::clear_ambient_capability_set();
}

fn schedule(deadlines: &mut BTreeSet<(Instant, RunId)>, id: RunId, run: &Run) {
    deadlines.extend(run.deadline.map(|deadline| (deadline, id)));
}

fn unschedule(deadlines: &mut BTreeSet<(Instant, RunId)>, id: RunId, run: &Run) {
    if let Some(deadline) = run.deadline {
        deadlines.remove(&(deadline, id));
    }
}

/// Reaps a child that has ended.
fn reaped(pid: Pid) -> End {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    let status = waitid(WaitId::Pid(pid), options).ok().flatten();
    let status = status.expect("invariant: it has ended, and nobody else waits for it");
    match status.exit_status() {
        Some(code) => End::Exited(code),
        None => End::Signaled(status.terminating_signal().unwrap_or_default()),
    }
}
