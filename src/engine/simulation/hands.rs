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
pub(super) struct Hand {
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
pub(super) struct Work {
    service: usize,
    token: Token,

    /// `None` once it is done.
    job: Option<Box<Job>>,

    /// Nobody waits for it anymore, and whether it is stopped by that.
    is_left: bool,
    is_stopped: bool,
}

impl Work {
    /// Whether it is under way for ever, and nobody has said that nobody waits for it.
    pub(super) fn is_forgotten(&self) -> bool {
        self.job.is_some() && !self.is_left
    }
}

/// A worker that takes a task now and then holds it for up to so long.
const STALL_MAX: Duration = Duration::from_secs(1);

/// Hires the workers of a pool.
pub(super) fn hire(worker: Worker, threads: usize) {
    let worker = Arc::new(worker);
    for index in 0..threads {
        let hand = Hand {
            index,
            queue: worker.queue.clone(),
            tools: Some(Tools {
                worker: Arc::clone(&worker),
                desk: worker.desk(),
            }),
            held: None,
            is_due: false,
        };
        world::within(|world| world.hands.push(hand));
    }
}

impl World {
    /// Whoever has nothing to do and finds something in the queue comes for it.
    pub(super) fn rouse(&mut self) {
        for number in 0..self.hands.len() {
            let hand = &self.hands[number];
            if !hand.is_due && hand.queue.len() > 0 {
                self.hands[number].is_due = true;
                let is_stalled = self.chance(self.weather.worker_stalls);
                let max = if is_stalled {
                    STALL_MAX
                } else {
                    self.weather.worker_max
                };
                let after = self.up_to(max);
                self.schedule(after, Event::Worker(number));
            }
        }
    }

    /// Connections that workers have in hand.
    pub(super) fn held(&self) -> usize {
        let hands = self.hands.iter();
        hands
            .filter(|hand| matches!(hand.held, Some(Task::Serve(_))))
            .count()
    }

    /// Takes a job. There may be too many.
    pub(super) fn submit_work(
        &mut self,
        service: usize,
        token: Token,
        job: Box<Job>,
    ) -> Result<(), Made> {
        if self.random.u8(0..32) == 0 {
            return Err(Made::Failed);
        }
        let number = self.works.len();
        self.works.push(Work {
            service,
            token,
            job: Some(job),
            is_left: false,
            is_stopped: false,
        });
        // Some are never made.
        if self.random.u8(0..16) > 0 {
            let after = self.up_to(self.weather.making_max);
            self.schedule(after, Event::Made(number));
        }
        Ok(())
    }

    /// Nobody waits for what comes of it. It may come all the same: it may be on its way.
    pub(super) fn leave_work(&mut self, service: usize, token: Token) {
        let is_it = |work: &&mut Work| work.service == service && work.token == token;
        let is_stopped = self.random.bool();
        if let Some(work) = self.works.iter_mut().rev().find(is_it) {
            work.is_left = true;
            work.is_stopped = is_stopped;
        }
    }
}

/// Worker number `number` takes a task, or does the one it has.
pub(super) fn work(number: usize) {
    let (held, tools) = world::within(|world| {
        let hand = &mut world.hands[number];
        hand.is_due = false;
        (hand.held.take(), hand.tools.take())
    });
    let Some(Tools { worker, mut desk }) = tools else {
        return;
    };
    let had_one = held.is_some();
    let index = world::within(|world| world.hands[number].index);
    let task = held.or_else(|| worker.queue.try_next(index).ok());
    let is_stalled = world::within(|world| world.chance(world.weather.worker_stalls));
    if is_stalled && !had_one && task.is_some() {
        world::within(|world| {
            world.note(|_| format!("worker {number} stalls"));
            let after = world.up_to(STALL_MAX);
            world.hands[number].held = task;
            world.hands[number].is_due = true;
            world.schedule(after, Event::Worker(number));
        });
    } else if let Some(task) = task {
        world::within(|world| world.note(|_| format!("worker {number} has a turn")));
        worker.turn(index, task, &mut desk);
    }
    world::within(|world| {
        world.hands[number].tools = Some(Tools { worker, desk });
        world.rouse();
    });
}

/// What comes of job number `number` goes to the acceptor.
pub(super) fn answer(number: usize) {
    let (outbox, work, has_more, fails) = world::within(|world| {
        let work = &mut world.works[number];
        let job = work.job.take().filter(|_| !work.is_stopped);
        let work = (work.service, work.token, job);
        let has_more = world.random.u8(0..3) == 0;
        let fails = world.random.u8(0..16) == 0;
        (world.outbox.clone(), work, has_more, fails)
    });
    let (Some(outbox), (service, token, Some(job))) = (outbox, work) else {
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
