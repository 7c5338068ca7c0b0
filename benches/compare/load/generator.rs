//! One thread's clients, in one loop around epoll: nothing is allocated for an exchange, and nothing is waited for but by epoll.

use std::io;
use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, connect, ipproto, recv,
    send, socket_with,
};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

use super::super::exchange::{End, Ending, Target};
use super::pace::{Pace, Schedule, Window};
use super::{Sources, Tally};

/// Longest wait for the end of an exchange.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How often it is looked for exchanges whose time is over.
const SWEEP: Duration = Duration::from_millis(100);

const EVENTS_MAX: usize = 256;

/// Of those that are late: so many are begun before those under way are looked after again.
const STARTS_MAX: usize = 64;

/// What epoll says of the timer; the others are numbers of slots.
const TIMER: u64 = u64::MAX;

/// The place of one client, for one exchange after the other.
#[derive(Debug)]
struct Slot {
    socket: Option<OwnedFd>,

    /// When it began, or should have.
    began: Instant,

    /// The request is not sent: the connection isn't there yet.
    is_connecting: bool,

    received: Vec<u8>,
}

/// A thread's clients.
#[derive(Debug)]
pub(super) struct Generator<'a> {
    target: &'a Target,
    sources: Sources,
    window: Window,
    epoll: OwnedFd,
    slots: Vec<Slot>,
    free: Vec<usize>,
    tally: Tally,
}

impl<'a> Generator<'a> {
    pub(super) fn new(target: &'a Target, sources: Sources, window: Window) -> io::Result<Self> {
        Ok(Self {
            target,
            sources,
            window,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            slots: Vec::new(),
            free: Vec::new(),
            tally: Tally::new(),
        })
    }

    /// Asks until the window is over, and waits for the last ones. An error is this machine's: no descriptor, no port.
    pub(super) fn run(mut self, mut pace: Pace) -> io::Result<Tally> {
        let mut timer = match pace {
            Pace::Open(_) => Some(Timer::new(&self.epoll)?),
            _ => None,
        };
        thread::sleep(self.window.begin.saturating_duration_since(Instant::now()));
        let mut events = Vec::with_capacity(EVENTS_MAX);
        let mut is_begun = false;
        let mut next_sweep = Instant::now() + SWEEP;
        // Ends once nothing is to be begun and nothing is under way, which has a time limit.
        loop {
            let mut is_behind = false;
            match &mut pace {
                Pace::Once if is_begun => {}
                Pace::Once => self.start(Instant::now())?,
                Pace::Closed { clients } => self.start_all(*clients)?,
                Pace::Open(schedule) => is_behind = self.start_due(schedule)?,
            }
            is_begun = true;
            let now = Instant::now();
            let may_begin = !matches!(pace, Pace::Once) && !self.window.is_over(now);
            if self.under_way() == 0 && !may_begin {
                return Ok(self.tally);
            }
            if now >= next_sweep {
                self.sweep(now);
                next_sweep = now + SWEEP;
            }
            if let (Some(timer), Pace::Open(schedule)) = (&mut timer, &pace)
                && may_begin
                && !is_behind
            {
                timer.set(schedule.next(), now)?;
            }
            let patience = if is_behind { Duration::ZERO } else { SWEEP };
            self.wait(&mut events, patience)?;
        }
    }

    fn under_way(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Has so many under way.
    fn start_all(&mut self, clients: usize) -> io::Result<()> {
        while self.under_way() < clients {
            let now = Instant::now();
            if self.window.is_over(now) {
                break;
            }
            self.start(now)?;
        }
        Ok(())
    }

    /// Begins what is due, each timed from when it was. Whether there is more.
    fn start_due(&mut self, schedule: &mut Schedule) -> io::Result<bool> {
        for _ in 0..STARTS_MAX {
            let due = schedule.next();
            if due > Instant::now() || self.window.is_over(due) {
                return Ok(false);
            }
            schedule.advance();
            if self.under_way() < schedule.under_way_max {
                self.start(due)?;
            } else {
                self.tally.add(Ending::NotStarted, Duration::ZERO);
            }
        }
        Ok(true)
    }

    /// Connects and, as over loopback that is done at once, asks.
    fn start(&mut self, began: Instant) -> io::Result<()> {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot {
                socket: None,
                began,
                is_connecting: false,
                received: Vec::with_capacity(self.target.reply.buffer_len()),
            });
            self.slots.len() - 1
        });
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let tcp = Some(ipproto::TCP);
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, tcp)?;
        let source = self.sources.next().expect("they are endless");
        bind(&socket, &SocketAddrV4::new(source, 0))?;
        let slot = &mut self.slots[index];
        slot.began = began;
        slot.received.clear();
        match connect(&socket, &self.target.addr) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return self.fail(index, error),
        }
        let sent = send(&socket, &self.target.request, SendFlags::NOSIGNAL);
        slot.is_connecting = sent == Err(Errno::AGAIN);
        let interest = if slot.is_connecting {
            epoll::EventFlags::OUT
        } else {
            epoll::EventFlags::IN
        };
        let data = epoll::EventData::new_u64(index as u64);
        epoll::add(&self.epoll, &socket, data, interest)?;
        slot.socket = Some(socket);
        if sent == Err(Errno::CONNREFUSED) {
            self.finish(index, Ending::Refused);
        }
        Ok(())
    }

    fn wait(&mut self, events: &mut Vec<epoll::Event>, patience: Duration) -> io::Result<()> {
        let patience = Timespec::try_from(patience).expect("it is short");
        events.clear();
        match epoll::wait(&self.epoll, spare_capacity(events), Some(&patience)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in events.iter() {
            let data = event.data.u64();
            if data != TIMER {
                self.step(usize::try_from(data).expect("a slot's number"))?;
            }
        }
        Ok(())
    }

    /// Goes on with one of which epoll had something to say.
    fn step(&mut self, index: usize) -> io::Result<()> {
        let slot = &mut self.slots[index];
        let Some(socket) = &slot.socket else {
            return Ok(());
        };
        if slot.is_connecting {
            match send(socket, &self.target.request, SendFlags::NOSIGNAL) {
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::CONNREFUSED) => {
                    self.finish(index, Ending::Refused);
                    return Ok(());
                }
                // Who doesn't want the request may have sent a reply all the same: receiving tells.
                _ => {
                    slot.is_connecting = false;
                    let data = epoll::EventData::new_u64(index as u64);
                    epoll::modify(&self.epoll, socket, data, epoll::EventFlags::IN)?;
                }
            }
        }
        self.receive(index)
    }

    /// Receives what is there.
    fn receive(&mut self, index: usize) -> io::Result<()> {
        let slot = &mut self.slots[index];
        let Some(socket) = &slot.socket else {
            return Ok(());
        };
        // Ends with the connection, with nothing there, or with a full buffer.
        loop {
            match recv(
                socket,
                spare_capacity(&mut slot.received),
                RecvFlags::empty(),
            ) {
                Ok((_, 0)) => {
                    let ending = self.target.reply.ending(&slot.received, End::Close);
                    self.finish(index, ending);
                    return Ok(());
                }
                Ok(_) if slot.received.len() >= self.target.reply.buffer_len() => {
                    self.finish(index, Ending::Wrong);
                    return Ok(());
                }
                Ok(_) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => return self.fail(index, error),
            }
        }
    }

    /// An exchange that ended with an error of its socket.
    fn fail(&mut self, index: usize, error: Errno) -> io::Result<()> {
        let end = match error {
            Errno::CONNREFUSED => {
                self.finish(index, Ending::Refused);
                return Ok(());
            }
            Errno::CONNRESET | Errno::PIPE => End::Reset,
            Errno::TIMEDOUT => End::Timeout,
            _ => return Err(error.into()),
        };
        let received = &self.slots[index].received;
        self.finish(index, self.target.reply.ending(received, end));
        Ok(())
    }

    fn finish(&mut self, index: usize, ending: Ending) {
        let slot = &mut self.slots[index];
        let ended = Instant::now();
        // Not before the clock was read: what closing takes is the next one's.
        slot.socket = None;
        let latency = ended.saturating_duration_since(slot.began);
        if self.window.is_over(ended) {
            self.tally.add_late(ending, latency);
        } else {
            self.tally.add(ending, latency);
        }
        self.free.push(index);
    }

    /// Ends those whose time is over.
    fn sweep(&mut self, now: Instant) {
        let is_drained = self.window.is_drained(now);
        for index in 0..self.slots.len() {
            let slot = &self.slots[index];
            let is_late = is_drained || now.saturating_duration_since(slot.began) > TIMEOUT;
            if is_late && slot.socket.is_some() {
                self.finish(index, Ending::TimedOut);
            }
        }
    }
}

/// Wakes epoll to the microsecond; its own timeout is in milliseconds.
#[derive(Debug)]
struct Timer {
    fd: OwnedFd,

    /// For when it is set.
    due: Option<Instant>,
}

impl Timer {
    fn new(epoll: &OwnedFd) -> io::Result<Self> {
        let fd = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
        // Told once each time, and so never read.
        let interest = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(epoll, &fd, epoll::EventData::new_u64(TIMER), interest)?;
        Ok(Self { fd, due: None })
    }

    fn set(&mut self, due: Instant, now: Instant) -> io::Result<()> {
        if self.due == Some(due) {
            return Ok(());
        }
        // Nothing at all would stop it.
        let patience = due.saturating_duration_since(now);
        let patience = patience.max(Duration::from_nanos(1));
        let once = Itimerspec {
            it_interval: Timespec::default(),
            it_value: Timespec::try_from(patience).expect("it is short"),
        };
        timerfd_settime(&self.fd, TimerfdTimerFlags::empty(), &once)?;
        self.due = Some(due);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
