//! The epoll set of a simulation. While the acceptor sleeps in it, everybody else acts.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::epoll::EventFlags;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use crate::engine::poller::Source;
use crate::engine::simulation::handles::SimulatedSource;
use crate::engine::simulation::network::Stage;
use crate::engine::simulation::world::{self, World};
use crate::engine::token::Key;

/// What the poller is to tell of a source.
#[derive(Debug)]
pub(super) struct Watch {
    key: Key,
    flags: EventFlags,

    /// A one-shot watch that has told of something is not.
    is_armed: bool,
}

/// The inbox's bell, which is a real one.
#[derive(Debug)]
pub(super) struct Bell {
    fd: OwnedFd,
    key: Key,
}

/// epoll_ctl(2), `EPOLL_CTL_ADD`.
pub(in crate::engine) fn add(source: Source<'_>, key: Key, flags: EventFlags) -> Result<(), Errno> {
    world::within(|world| match source {
        Source::Kernel(fd) => {
            let fd = fd.try_clone_to_owned().expect("descriptors");
            world.bell = Some(Bell { fd, key });
            Ok(())
        }
        Source::Simulated(source) => world.watch(source, key, flags),
    })
}

/// epoll_ctl(2), `EPOLL_CTL_MOD`.
pub(in crate::engine) fn modify(
    source: Source<'_>,
    key: Key,
    flags: EventFlags,
) -> Result<(), Errno> {
    world::within(|world| match source {
        Source::Kernel(_) => Err(Errno::NOENT),
        Source::Simulated(source) => {
            world.watch_for(source, key, flags);
            Ok(())
        }
    })
}

/// epoll_ctl(2), `EPOLL_CTL_DEL`.
pub(in crate::engine) fn delete(source: Source<'_>) -> Result<(), Errno> {
    world::within(|world| match source {
        Source::Simulated(source) if world.watches.remove(&source).is_some() => Ok(()),
        _ => Err(Errno::NOENT),
    })
}

/// epoll_wait(2): lets everybody else act until there is something to tell, or for `timeout`.
pub(in crate::engine) fn wait(timeout: Option<Duration>, max: usize, keys: &mut Vec<Key>) {
    let (until, is_disturbed) = world::within(|world| {
        world.spend();
        world.is_pressed = false;
        world.note_readiness();
        world.may_have_rung = true;
        let until = timeout.map(|timeout| world.now + timeout);
        (until, world.chance(world.conditions.false_alarms))
    });
    // Ends with something to tell, or with the time.
    while !is_disturbed && !world::within(World::has_something) && world::pass(until) {}
    let (is_late, is_told_before) = world::within(|world| {
        let is_late = world.chance(world.conditions.oversleeps);
        // Who has to wait for the processor hardly ever has its events by then.
        (is_late, world.random.u8(0..8) == 0)
    });
    if is_late && is_told_before {
        world::within(|world| world.tell(max, keys));
    }
    if is_late {
        let until = world::within(|world| world.now + world.up_to(world.conditions.oversleeps_max));
        while world::pass(Some(until)) {}
    }
    world::within(|world| {
        if keys.is_empty() {
            world.tell(max, keys);
        }
        world.note(|_| format!("the acceptor wakes for {keys:?}"));
    });
}

impl World {
    fn watch(&mut self, source: SimulatedSource, key: Key, flags: EventFlags) -> Result<(), Errno> {
        self.spend();
        if self.chance(self.conditions.watch_failures) {
            return Err(Errno::NOSPC);
        }
        self.note_readiness();
        let watch = Watch::new(key, flags);
        if self.watches.insert(source, watch).is_some() {
            self.break_promise(&format!("{source:?} is watched twice"));
        }
        Ok(())
    }

    fn watch_for(&mut self, source: SimulatedSource, key: Key, flags: EventFlags) {
        self.spend();
        self.note_readiness();
        match self.watches.get_mut(&source) {
            Some(watch) => *watch = Watch::new(key, flags),
            None => self.break_promise(&format!("{source:?} is not watched")),
        }
    }

    /// Its socket is closed.
    pub(super) fn forget_socket(&mut self, connection: usize) {
        self.watches.remove(&SimulatedSource::Socket(connection));
        self.descriptors -= 1;
    }

    /// Whether the poller has something to tell.
    fn has_something(&mut self) -> bool {
        if std::mem::take(&mut self.may_have_rung) && self.bell.as_ref().is_some_and(Bell::has_rung)
        {
            return true;
        }
        std::mem::take(&mut self.is_ready) && !self.ready().is_empty()
    }

    fn ready(&mut self) -> Vec<SimulatedSource> {
        let mut ready: Vec<SimulatedSource> = self.watches.keys().copied().collect();
        ready.retain(|source| self.is_ready(*source));
        ready
    }

    /// Collects what the poller has to tell, in an order that only the seed knows.
    fn tell(&mut self, max: usize, keys: &mut Vec<Key>) {
        let mut ready = self.ready();
        self.random.shuffle(&mut ready);
        // The rest is told of next time.
        ready.truncate(max);
        for source in ready {
            self.tell_of(source, keys);
        }
        if let Some(bell) = self.bell.as_ref().filter(|bell| bell.has_rung()) {
            keys.push(bell.key);
        }
    }

    fn tell_of(&mut self, source: SimulatedSource, keys: &mut Vec<Key>) {
        if let Some(watch) = self.watches.get_mut(&source) {
            keys.push(watch.key);
            // Not even of errors, until it is armed again.
            watch.is_armed = !watch.flags.contains(EventFlags::ONESHOT);
        }
    }

    fn is_ready(&mut self, source: SimulatedSource) -> bool {
        let Some(watch) = self.watches.get(&source) else {
            return false;
        };
        let (flags, is_armed) = (watch.flags, watch.is_armed);
        match source {
            SimulatedSource::Listener(listener) => {
                flags.contains(EventFlags::IN) && !self.listeners[listener].queue.is_empty()
            }
            SimulatedSource::Socket(_) if !is_armed => false,
            SimulatedSource::Socket(id) => {
                let connection = &self.connections[id];
                let ours = &connection.ours;
                let has_ended = ours.peer_has_ended || ours.is_broken;
                let has_room = ours.to_send.len() < ours.sends_max;
                debug_assert_eq!(connection.stage, Stage::Open);
                ours.is_broken
                    || (ours.peer_has_ended && ours.has_ended)
                    || (flags.contains(EventFlags::IN) && (!ours.received.is_empty() || has_ended))
                    || (flags.contains(EventFlags::RDHUP) && has_ended)
                    || (flags.contains(EventFlags::OUT) && has_room)
                    // Of errors and hang-ups the kernel is sure.
                    || (flags.intersects(EventFlags::IN | EventFlags::OUT)
                        && self.chance(self.conditions.false_alarms / 100))
            }
        }
    }
}

impl Watch {
    fn new(key: Key, flags: EventFlags) -> Self {
        Self {
            key,
            flags,
            is_armed: true,
        }
    }
}

impl Bell {
    fn has_rung(&self) -> bool {
        let mut fds = [PollFd::new(&self.fd, PollFlags::IN)];
        let at_once = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        rustix::event::poll(&mut fds, Some(&at_once)).is_ok_and(|count| count > 0)
    }
}
