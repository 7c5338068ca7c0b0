//! The one hand-made primitive: who wakes a sleeping thread.
//!
//! The thread marks itself asleep and then looks once more for what there is to do, in its inbox or in
//! the queue; a sender puts its message in and then looks at the mark. One of the two sees the other,
//! whatever the order, so no message waits for a sleeper; and only the sender that takes the mark off
//! pays for a system call. The loom tests below go through every interleaving.

#[cfg(not(replyd_loom))]
use std::sync::atomic::{AtomicBool, Ordering::SeqCst, fence};

#[cfg(replyd_loom)]
use loom::sync::atomic::{AtomicBool, Ordering::SeqCst, fence};

/// The mark that says the thread sleeps, or is about to.
#[derive(Debug)]
pub(crate) struct Bell {
    asleep: AtomicBool,
}

impl Bell {
    /// Nobody sleeps.
    pub(crate) fn new() -> Self {
        Self {
            asleep: AtomicBool::new(false),
        }
    }

    /// The thread: about to sleep. It has to look for messages after this, and must not sleep if
    /// there is one.
    pub(crate) fn lie_down(&self) {
        self.asleep.store(true, SeqCst);
        // Orders the mark before the look, whatever that look is made of.
        fence(SeqCst);
    }

    /// The thread: awake again, or not asleep after all. Whether somebody has rung meanwhile.
    pub(crate) fn get_up(&self) -> bool {
        !self.asleep.swap(false, SeqCst)
    }

    /// A sender, after its message is in: whether it is the one to wake the thread.
    pub(crate) fn is_mine_to_ring(&self) -> bool {
        // Orders the message before the look at the mark.
        fence(SeqCst);
        // The plain load spares the locked instruction while the thread is busy.
        self.asleep.load(SeqCst) && self.asleep.swap(false, SeqCst)
    }
}

#[cfg(all(test, replyd_loom))]
mod tests {
    use super::*;
    use loom::sync::Arc;
    use loom::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use loom::thread;

    /// Two senders, one acceptor that sleeps unless something is there. A lost wake-up is an
    /// acceptor asleep with a message in its inbox and no ring; two rings for one sleep would be
    /// a wasted system call.
    #[test]
    fn no_message_waits_for_a_sleeper_and_one_sender_rings() {
        loom::model(|| {
            let bell = Arc::new(Bell::new());
            let inbox = Arc::new(AtomicUsize::new(0));
            let rings = Arc::new(AtomicUsize::new(0));
            let senders: Vec<_> = (0..2)
                .map(|_| {
                    let (bell, inbox, rings) = (bell.clone(), inbox.clone(), rings.clone());
                    thread::spawn(move || {
                        inbox.fetch_add(1, Relaxed);
                        if bell.is_mine_to_ring() {
                            rings.fetch_add(1, Relaxed);
                        }
                    })
                })
                .collect();

            bell.lie_down();
            let is_sleeping = inbox.load(Relaxed) == 0;
            if !is_sleeping {
                bell.get_up();
            }
            for sender in senders {
                sender.join().expect("joined");
            }
            let rings = rings.load(Relaxed);
            assert!(rings <= 1, "{rings} senders rang for one sleep");
            assert!(
                !is_sleeping || rings == 1,
                "asleep with two messages and no ring"
            );
        });
    }

    /// Two sleepers of one queue, and two messages. A sleeper that takes a message as it lies down may
    /// have been rung for the other one: nobody else would come for that, were the ring not passed on.
    #[test]
    fn no_message_waits_while_one_of_two_sleeps() {
        let mut model = loom::model::Builder::new();
        // All of them would take hours. Two switches show what happens without passing the ring on.
        model.preemption_bound = Some(2);
        model.check(|| {
            let queue = Arc::new(Queue {
                messages: AtomicUsize::new(0),
                bells: [Bell::new(), Bell::new()],
            });
            let sleepers = [0, 1].map(|index| {
                let queue = queue.clone();
                // Whether it sleeps until it is rung. One that has a message is busy with it for long.
                thread::spawn(move || {
                    queue.bells[index].lie_down();
                    let has_taken = queue.take();
                    if has_taken && queue.bells[index].get_up() {
                        queue.ring();
                    }
                    !has_taken
                })
            });
            for _ in 0..2 {
                queue.messages.fetch_add(1, Relaxed);
                queue.ring();
            }
            let sleep = sleepers.map(|sleeper| sleeper.join().expect("joined"));
            let is_asleep = |index: usize| sleep[index] && !queue.bells[index].get_up();
            let is_one_asleep = is_asleep(0) | is_asleep(1);
            assert!(
                !is_one_asleep || queue.messages.load(Relaxed) == 0,
                "one sleeps while a message waits"
            );
        });
    }

    struct Queue {
        messages: AtomicUsize,
        bells: [Bell; 2],
    }

    impl Queue {
        fn take(&self) -> bool {
            let one_less = |count: usize| count.checked_sub(1);
            self.messages
                .fetch_update(Relaxed, Relaxed, one_less)
                .is_ok()
        }

        fn ring(&self) {
            let _rung = self.bells.iter().any(Bell::is_mine_to_ring);
        }
    }
}
