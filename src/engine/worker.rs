//! Worker pools: each a private rayon `ThreadPool` whose threads each hold one resident loop.
//!
//! Rayon names the threads, owns them and hands a panic over; its work stealing has nothing to do
//! here. Nothing else may be spawned on such a pool: it would never run, since the loops end only
//! when the queue's one sender, the acceptor's, is gone.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender};

use crate::engine::clock;
use crate::engine::connection::{Connection, Desk, Next, Wake};
use crate::engine::discipline::{Discipline, Waits};
use crate::engine::home::Home;
use crate::engine::queue::{self, Queue, QueueEnd, Task};
use crate::exchange::buffers::Buffers;
use crate::exchange::outcome::Outcome;
use crate::failpoint;
use crate::inbox::Outbox;
use crate::metrics::{Metrics, PoolMetrics};
use crate::reply::calendar::Calendar;

/// Bytes a worker receives at once.
const SCRATCH_BYTES: usize = 64 * 1024;

/// What a pool is made of.
#[derive(Clone, Debug)]
pub struct PoolOptions {
    /// Label `pool`, and the beginning of its threads' names.
    pub name: String,

    /// Workers.
    pub threads: usize,

    /// New connections in the queue from which on others are answered busy, but of services that keep
    /// to their share.
    pub queue_capacity: usize,

    /// How long a new connection may wait in the queue before it is answered busy.
    pub waits: Waits,
}

/// A pool, as the acceptor has it. Dropping it closes the queue.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) queue: Queue,
    pub(super) queue_capacity: usize,
    pub(super) ended: Ended,
}

/// Probes in a queue at the most: there is a new one only when the last is back.
const PROBES_MAX: usize = 1;

/// Told when the last worker has ended: then this channel is disconnected.
pub(super) type Ended = Receiver<std::convert::Infallible>;

/// Starts a pool whose queue can physically hold `max_connections`: what comes back from waiting
/// always fits.
///
/// # Errors
/// * the threads can't be started
pub(super) fn start(
    options: &PoolOptions,
    max_connections: usize,
    outbox: &Outbox<Home>,
    metrics: &Metrics,
) -> Result<Pool, rayon::ThreadPoolBuildError> {
    let name = options.name.clone();
    let threads = rayon::ThreadPoolBuilder::new()
        .num_threads(options.threads)
        .thread_name(move |index| thread_name(&name, index))
        .build()?;
    let (pool, worker) = without_threads(options, max_connections, outbox, metrics);
    threads.spawn_broadcast(move |broadcast| worker.run(broadcast.index()));
    Ok(pool)
}

/// A pool, and what each of its threads is to run.
pub(super) fn without_threads(
    options: &PoolOptions,
    max_connections: usize,
    outbox: &Outbox<Home>,
    metrics: &Metrics,
) -> (Pool, Worker) {
    let (queue, queue_end) = queue::queue(max_connections + PROBES_MAX, options.threads);
    let (ended_tx, ended_rx) = crossbeam_channel::bounded(0);
    let length = queue_end.clone();
    let pool_metrics = metrics.pool(
        &options.name,
        options.threads,
        options.queue_capacity,
        move || length.len(),
    );
    let worker = Worker {
        queue: queue_end,
        outbox: outbox.clone(),
        waits: options.waits,
        metrics: pool_metrics,
        _tells_the_end: ended_tx,
    };
    let pool = Pool {
        queue,
        queue_capacity: options.queue_capacity,
        ended: ended_rx,
    };
    (pool, worker)
}

/// At most 15 bytes: Linux cuts the rest off. The number is what tells them apart.
fn thread_name(pool: &str, index: usize) -> String {
    let number = format!("-{index}");
    let prefix = if pool == "main" { "worker" } else { pool };
    let room = 15_usize.saturating_sub(number.len());
    format!("{}{number}", &prefix[..prefix.len().min(room)])
}

/// What the threads of a pool have in common.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) queue: QueueEnd,
    outbox: Outbox<Home>,
    waits: Waits,
    metrics: Arc<PoolMetrics>,
    _tells_the_end: Sender<std::convert::Infallible>,
}

impl Worker {
    /// Ends when the acceptor has closed the queue and it is empty.
    fn run(&self, index: usize) {
        let mut desk = self.desk();
        while let Some(task) = self.queue.next(index) {
            self.turn(index, task, &mut desk);
        }
    }

    /// What a worker has at hand when it begins.
    pub(super) fn desk(&self) -> Desk {
        Desk {
            scratch: vec![0; SCRATCH_BYTES].into(),
            buffers: Buffers::new(),
            calendar: Calendar::new(clock::time_of_day()),
            discipline: Discipline::new(clock::now(), self.waits),
        }
    }

    /// Worker number `index` does a task.
    pub(super) fn turn(&self, index: usize, task: Task, desk: &mut Desk) {
        let mut connection = match task {
            Task::Serve(connection) => connection,
            Task::Probe(back) => {
                // Who has sent it may have ended.
                let _told = back.try_send(());
                return;
            }
        };
        let metrics = self.metrics.worker(index);
        metrics.busy();
        let now = clock::now();
        let is_new = connection.wake == Wake::New;
        desk.calendar.turn(clock::time_of_day());
        let next = Self::advance(&mut connection, now, desk);
        let is_shed = next == Next::Shed;
        let home = match next {
            Next::Wait(wait) => self.outbox.send(Home::Waits(connection, wait)),
            Next::Again => self.outbox.send(Home::Again(connection)),
            Next::Linger => self.outbox.send_quietly(Home::Lingers(connection)),
            Next::Closed => self.outbox.send_quietly(Home::Closed(connection)),
            Next::Shed => self.outbox.send(Home::Shed(connection)),
        };
        // An acceptor that is gone has counted all that were open; the socket closes here, and a part of
        // a reply must not look like the whole.
        if let Err(Home::Waits(mut connection, _) | Home::Again(mut connection)) = home {
            connection.abort(Outcome::Abandoned);
        }
        let turn = clock::since(now);
        metrics.idle_after(turn);
        if is_new && !is_shed {
            desk.discipline.took(turn);
        }
    }

    /// One exchange that panics is one outcome: the worker lives, and so does the connection, to
    /// be counted.
    fn advance(connection: &mut Connection, now: Instant, desk: &mut Desk) -> Next {
        let advanced = catch_unwind(AssertUnwindSafe(|| {
            failpoint::reach("exchange");
            connection.advance(now, desk)
        }));
        advanced.unwrap_or_else(|_| {
            // The desk may have been lent out in the middle.
            desk.scratch = vec![0; SCRATCH_BYTES].into();
            connection.abort(Outcome::Panicked);
            Next::Closed
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_have_names_that_linux_shows_whole() {
        assert_eq!(thread_name("main", 3), "worker-3");
        assert_eq!(
            thread_name("a-very-long-service-name", 12),
            "a-very-long--12"
        );
    }
}
