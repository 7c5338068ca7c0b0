//! The queue to the workers of one pool, and how they sleep while it is empty.
//!
//! A worker that finds nothing sleeps at once. The channel's own blocking receive would spin and
//! yield first, which is lost processor time with one client after another: see benches/README.md.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};

use crossbeam_channel::{Receiver, Sender, TryRecvError, TrySendError};

use crate::bell::Bell;
use crate::engine::connection::{Connection, Wake};

/// What goes through the queue.
#[derive(Debug)]
pub(super) enum Task {
    /// Advance this one.
    Serve(Box<Connection>),
    /// Tell that a worker has come to it.
    Probe(Sender<()>),
}

impl Task {
    fn is_new(&self) -> bool {
        matches!(self, Self::Serve(connection) if connection.wake == Wake::New)
    }
}

/// The acceptor's end. Dropping it ends the workers, once the queue is empty.
#[derive(Debug)]
pub(super) struct Queue {
    /// `None` once it is closed.
    tx: Option<Sender<Task>>,

    /// To wake who sleeps there, and for what is left when nobody is to be served anymore.
    end: QueueEnd,

    /// New connections that were put in.
    put: usize,
}

/// The workers' end.
#[derive(Clone, Debug)]
pub(super) struct QueueEnd {
    rx: Receiver<Task>,
    sleepers: Arc<[Sleeper]>,
}

/// One worker, as who has to wake it sees it.
#[derive(Debug)]
struct Sleeper {
    bell: Bell,

    /// Set before it sleeps for the first time.
    thread: OnceLock<Thread>,

    /// New connections that it has taken.
    taken: AtomicUsize,
}

/// A queue for `capacity` tasks, to so many workers.
pub(super) fn queue(capacity: usize, workers: usize) -> (Queue, QueueEnd) {
    let (tx, rx) = crossbeam_channel::bounded(capacity);
    let sleeper = |_| Sleeper {
        bell: Bell::new(),
        thread: OnceLock::new(),
        taken: AtomicUsize::new(0),
    };
    let sleepers: Arc<[Sleeper]> = (0..workers).map(sleeper).collect();
    let end = QueueEnd { rx, sleepers };
    let queue = Queue {
        tx: Some(tx),
        end: end.clone(),
        put: 0,
    };
    (queue, end)
}

impl Queue {
    /// Puts a task at the end, and wakes a worker if one sleeps. Gives it back if there is no room, or
    /// it is closed.
    pub(super) fn try_send(&mut self, task: Task) -> Result<(), Task> {
        let Some(tx) = &self.tx else {
            return Err(task);
        };
        let is_new = task.is_new();
        tx.try_send(task).map_err(TrySendError::into_inner)?;
        self.put = self.put.wrapping_add(usize::from(is_new));
        // One is enough, and one that is awake looks into the queue before it sleeps.
        wake_one(&self.end.sleepers);
        Ok(())
    }

    /// Whether as many new connections are in it as `capacity`. Those that come back don't count: a
    /// crowd that hangs up at once keeps nobody out.
    pub(super) fn is_full(&self, capacity: usize) -> bool {
        self.end.len() >= capacity && self.new_connections() >= capacity
    }

    /// Tasks in it.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.end.len()
    }

    fn new_connections(&self) -> usize {
        let taken = |sleeper: &Sleeper| sleeper.taken.load(Relaxed);
        let taken = (self.end.sleepers.iter().map(taken)).fold(0, usize::wrapping_add);
        self.put.wrapping_sub(taken)
    }

    /// Takes a task out that no worker has taken.
    pub(super) fn take_unserved(&self) -> Option<Task> {
        self.end.rx.try_recv().ok()
    }

    /// Ends the workers, once it is empty. What comes here all the same is given back.
    pub(super) fn close(&mut self) {
        self.tx = None;
        self.end.rx = crossbeam_channel::never();
        for sleeper in &*self.end.sleepers {
            sleeper.wake();
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.close();
    }
}

impl QueueEnd {
    /// Tasks in it.
    pub(super) fn len(&self) -> usize {
        self.rx.len()
    }

    /// The next task for worker number `index`, if there is one.
    pub(super) fn try_next(&self, index: usize) -> Result<Task, TryRecvError> {
        let task = self.rx.try_recv()?;
        Ok(self.sleepers[index].took(task))
    }

    /// The next task, for worker number `index`, which calls this from one thread; sleeps until
    /// there is one. `None` once the queue is closed and empty.
    pub(super) fn next(&self, index: usize) -> Option<Task> {
        let sleeper = &self.sleepers[index];
        // Ends with a task, or with the end of the queue.
        loop {
            match self.try_next(index) {
                Ok(task) => return Some(task),
                Err(TryRecvError::Disconnected) => return None,
                Err(TryRecvError::Empty) => {}
            }
            sleeper.thread.get_or_init(thread::current);
            sleeper.bell.lie_down();
            let last_look = self.rx.try_recv();
            if matches!(last_look, Err(TryRecvError::Empty)) {
                thread::park();
            }
            let was_rung = sleeper.bell.get_up();
            if let Ok(task) = last_look {
                if was_rung {
                    // For another task, as it takes this one: somebody else is to come for it.
                    wake_one(&self.sleepers);
                }
                return Some(sleeper.took(task));
            }
        }
    }
}

/// Wakes the first that sleeps, if one does.
fn wake_one(sleepers: &[Sleeper]) {
    let _woken = sleepers.iter().any(Sleeper::wake);
}

impl Sleeper {
    fn took(&self, task: Task) -> Task {
        if task.is_new() {
            // Not fetch_add: there is one writer, and a plain store needs no locked instruction.
            let taken = self.taken.load(Relaxed).wrapping_add(1);
            self.taken.store(taken, Relaxed);
        }
        task
    }

    /// Wakes it, if it sleeps and nobody else has. Whether it did.
    fn wake(&self) -> bool {
        let is_mine = self.bell.is_mine_to_ring();
        if is_mine && let Some(thread) = self.thread.get() {
            thread.unpark();
        }
        is_mine
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const LIVENESS: Duration = Duration::from_secs(10);

    /// Workers that answer probes until the queue ends.
    fn answer(queue_end: &QueueEnd, workers: usize) -> Vec<thread::JoinHandle<()>> {
        let worker = |index| {
            let queue_end = queue_end.clone();
            thread::spawn(move || {
                while let Some(task) = queue_end.next(index) {
                    if let Task::Probe(back) = task {
                        back.send(()).expect("somebody waits for it");
                    }
                }
            })
        };
        (0..workers).map(worker).collect()
    }

    /// Each probe finds the workers about to sleep, asleep, or awake again, as it happens.
    #[test]
    fn no_task_waits_for_a_worker_that_sleeps_and_the_end_wakes_them_all() {
        let (mut queue, queue_end) = queue(8, 3);
        let workers = answer(&queue_end, 3);
        let (back_tx, back) = crossbeam_channel::bounded(2);
        for _ in 0..2000 {
            for _ in 0..2 {
                let sent = queue.try_send(Task::Probe(back_tx.clone()));
                sent.expect("there is room");
            }
            for _ in 0..2 {
                back.recv_timeout(LIVENESS).expect("a worker comes to it");
            }
        }
        drop(queue);
        for worker in workers {
            worker.join().expect("it ends");
        }
    }

    #[test]
    fn what_is_queued_at_the_end_is_still_served() {
        let (mut queue, queue_end) = queue(2, 1);
        let (back_tx, back) = crossbeam_channel::bounded(2);
        let probe = || Task::Probe(back_tx.clone());
        queue.try_send(probe()).expect("there is room");
        queue.close();
        assert!(queue.try_send(probe()).is_err(), "nobody would serve it");
        assert!(queue.take_unserved().is_none(), "it is the workers'");
        for worker in answer(&queue_end, 1) {
            worker.join().expect("it ends");
        }
        assert_eq!(back.len(), 1);
    }

    #[test]
    fn a_task_for_which_there_is_no_room_is_given_back() {
        let (mut queue, _queue_end) = queue(1, 1);
        let (back, _) = crossbeam_channel::bounded(0);
        assert!(queue.try_send(Task::Probe(back.clone())).is_ok());
        assert!(queue.try_send(Task::Probe(back)).is_err());
        assert_eq!(queue.end.len(), 1);
        assert!(!queue.is_full(1), "of new connections there is none");
        assert!(queue.take_unserved().is_some());
    }
}
