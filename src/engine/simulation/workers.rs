//! Workers and makers, as they get the processor.
//!
//! A worker takes a task at one time and may be done with it at a later one; what it does is the real
//! worker's turn. A reply that comes later is made in time, late, in parts, not at all, or fails.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::connection::Desk;
use crate::engine::home::Home;
use crate::engine::queue::{QueueEnd, Task};
use crate::engine::simulation::services::PART;
use crate::engine::simulation::world::{self, Event, World};
use crate::engine::token::Token;
use crate::engine::worker::Worker;
use crate::reply::{Job, Made};

/// A worker.
#[derive(Debug)]
pub(super) struct SimulatedWorker {
    index: usize,
    queue: QueueEnd,

    /// `None` while it acts.
    tools: Option<Tools>,

    /// What it has taken and not done yet.
    held: Option<Task>,
    is_due: bool,
}

#[derive(Debug)]
struct Tools {
    worker: Arc<Worker>,
    desk: Desk,
}

/// A job that somebody makes a reply of.
#[derive(Debug)]
pub(super) struct SimulatedJob {
    service: usize,
    token: Token,

    /// `None` once it is done.
    job: Option<Box<Job>>,

    /// Nobody waits for it anymore, and whether it is stopped by that.
    is_left: bool,
    is_stopped: bool,
}

impl SimulatedJob {
    /// Whether it is under way for ever, and nobody has said that nobody waits for it.
    pub(super) fn is_forgotten(&self) -> bool {
        self.job.is_some() && !self.is_left
    }
}

/// A worker that takes a task now and then holds it for up to so long.
const STALL_MAX: Duration = Duration::from_secs(1);

/// What a worker's turn takes at the most where nobody waits for the processor: its quantum, and the
/// steps that it takes between two looks at the clock.
const TURN_MAX: Duration = Duration::from_micros(1_500);

/// Hires the workers of a pool.
pub(super) fn hire(worker: Worker, threads: usize) {
    let worker = Arc::new(worker);
    for index in 0..threads {
        let simulated = SimulatedWorker {
            index,
            queue: worker.queue.clone(),
            tools: Some(Tools {
                worker: Arc::clone(&worker),
                desk: worker.desk(),
            }),
            held: None,
            is_due: false,
        };
        world::within(|world| world.workers.push(simulated));
    }
}

impl World {
    /// Whoever has nothing to do and finds something in the queue comes for it.
    pub(super) fn wake_workers(&mut self) {
        for number in 0..self.workers.len() {
            let simulated = &self.workers[number];
            if !simulated.is_due && simulated.queue.len() > 0 {
                self.workers[number].is_due = true;
                let is_stalled = self.chance(self.conditions.worker_stalls);
                let max = if is_stalled {
                    STALL_MAX
                } else {
                    self.conditions.worker_max
                };
                let after = self.up_to(max);
                self.schedule(after, Event::Worker(number));
            }
        }
    }

    /// Connections that workers have in hand.
    pub(super) fn held(&self) -> usize {
        let holds = |worker: &&SimulatedWorker| matches!(worker.held, Some(Task::Serve(_)));
        self.workers.iter().filter(holds).count()
    }

    /// Takes a job. There may be too many.
    pub(super) fn submit_job(
        &mut self,
        service: usize,
        token: Token,
        job: Box<Job>,
    ) -> Result<(), Made> {
        if self.random.u8(0..32) == 0 {
            return Err(Made::Failed);
        }
        let number = self.jobs.len();
        self.jobs.push(SimulatedJob {
            service,
            token,
            job: Some(job),
            is_left: false,
            is_stopped: false,
        });
        // Some are never made.
        if self.random.u8(0..16) > 0 {
            let after = self.up_to(self.conditions.making_max);
            self.schedule(after, Event::Made(number));
        }
        Ok(())
    }

    /// Nobody waits for what comes of it. It may come all the same: it may be on its way.
    pub(super) fn leave_job(&mut self, service: usize, token: Token) {
        let is_it = |job: &&mut SimulatedJob| job.service == service && job.token == token;
        let is_stopped = self.random.bool();
        if let Some(job) = self.jobs.iter_mut().rev().find(is_it) {
            job.is_left = true;
            job.is_stopped = is_stopped;
        }
    }
}

/// Worker number `number` takes a task, or does the one it has.
pub(super) fn work(number: usize) {
    let (held, tools) = world::within(|world| {
        let simulated = &mut world.workers[number];
        simulated.is_due = false;
        (simulated.held.take(), simulated.tools.take())
    });
    let Some(Tools { worker, mut desk }) = tools else {
        return;
    };
    let had_one = held.is_some();
    let index = world::within(|world| world.workers[number].index);
    let task = held.or_else(|| worker.queue.try_next(index).ok());
    let is_stalled = world::within(|world| world.chance(world.conditions.worker_stalls));
    if is_stalled && !had_one && task.is_some() {
        world::within(|world| {
            world.note(|_| format!("worker {number} stalls"));
            let after = world.up_to(STALL_MAX);
            world.workers[number].held = task;
            world.workers[number].is_due = true;
            world.schedule(after, Event::Worker(number));
        });
    } else if let Some(task) = task {
        let began = world::within(|world| {
            world.note(|_| format!("worker {number} has a turn"));
            world.now
        });
        worker.turn(index, task, &mut desk);
        world::within(|world| {
            let took = world.now.saturating_sub(began);
            if took > TURN_MAX && world.conditions.preemptions == 0 {
                world.break_promise(&format!("P2: a connection had a worker for {took:?}"));
            }
        });
    }
    world::within(|world| {
        world.workers[number].tools = Some(Tools { worker, desk });
        world.wake_workers();
    });
}

/// What comes of job number `number` goes to the acceptor.
pub(super) fn answer(number: usize) {
    let (outbox, job, has_more, fails) = world::within(|world| {
        let simulated = &mut world.jobs[number];
        let job = simulated.job.take().filter(|_| !simulated.is_stopped);
        let job = (simulated.service, simulated.token, job);
        let has_more = world.random.u8(0..3) == 0;
        let fails = world.random.u8(0..16) == 0;
        (world.outbox.clone(), job, has_more, fails)
    });
    let (Some(outbox), (service, token, Some(job))) = (outbox, job) else {
        return;
    };
    let made = if fails {
        Box::new(Made::Failed)
    } else if has_more {
        Box::new(Made::Part {
            total_bytes: Some(PART.len() as u64),
            bytes: PART.into(),
            more: Some(job),
        })
    } else {
        job.run()
    };
    world::within(|world| world.note(|_| format!("job {number} of {token:?} is done")));
    // An acceptor that has ended wants no answers.
    let _sent = outbox.send(Home::Answer(service, token, made));
}
