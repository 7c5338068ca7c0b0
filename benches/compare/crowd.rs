//! Connections that only wait: silent ones, or ones that have sent half a request.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::{
    AddressFamily, SendFlags, SocketFlags, SocketType, bind, connect, ipproto, send, socket_with,
    sockopt,
};

use super::exchange::Target;
use super::processes::descriptors;

/// For a server to have taken in all, or to have closed all.
const SETTLE_MAX: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

/// After that: for what it does once about each.
const REST: Duration = Duration::from_millis(300);

/// Descriptors that a server may have opened or closed besides.
const SLACK: usize = 16;

/// So many connect at a time, and so long after those before. One that is deferred stays in the kernel's queue for a second:
/// with more than a backlog of 4096 there, some are forgotten, and come in only when they have something to say.
const AT_ONCE: u32 = 1000;
const BETWEEN: Duration = Duration::from_millis(400);

/// For one connection.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// From 127.32.0.0, where no other client is.
const SOURCE: Ipv4Addr = Ipv4Addr::new(127, 32, 0, 0);

/// Connections to a server, until this is dropped.
#[derive(Debug)]
pub(super) struct Crowd {
    sockets: Vec<OwnedFd>,

    /// The server's process.
    pid: u32,

    /// The server's descriptors before.
    before: usize,
}

impl Crowd {
    /// Connects so many, and waits until the server has each of them: one that defers its accept has it after some seconds.
    pub(super) fn open(target: &Target, pid: u32, count: u16) -> Result<Self, String> {
        let before = at_rest(pid)?;
        let mut sockets = Vec::with_capacity(usize::from(count));
        for number in 0..u32::from(count) {
            if number > 0 && number % AT_ONCE == 0 {
                thread::sleep(BETWEEN);
            }
            let socket = silent(target, number);
            sockets.push(socket.map_err(|error| format!("a silent connection: {error}"))?);
        }
        let crowd = Self {
            sockets,
            pid,
            before,
        };
        let wanted = before + usize::from(count);
        settle(pid, "taken in", |now| now >= wanted)?;
        Ok(crowd)
    }

    /// Has each send the first half of the request.
    pub(super) fn say_half(&self, request: &[u8]) -> Result<(), String> {
        let half = &request[..request.len() / 2];
        for socket in &self.sockets {
            send(socket, half, SendFlags::NOSIGNAL)
                .map_err(|error| format!("half a request: {error}"))?;
        }
        thread::sleep(REST);
        let wanted = self.before + self.sockets.len();
        settle(self.pid, "kept", |now| now >= wanted)
    }

    /// Closes all, and waits until the server has, too.
    pub(super) fn close(self) -> Result<(), String> {
        let (pid, most) = (self.pid, self.before + SLACK);
        drop(self);
        settle(pid, "closed", |now| now <= most)
    }
}

fn silent(target: &Target, number: u32) -> rustix::io::Result<OwnedFd> {
    let tcp = Some(ipproto::TCP);
    let (family, kind) = (AddressFamily::INET, SocketType::STREAM);
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, tcp)?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(CONNECT_MAX))?;
    // Ends at once, for both sides, and leaves nothing behind.
    sockopt::set_socket_linger(&socket, Some(Duration::ZERO))?;
    let source = Ipv4Addr::from_bits(SOURCE.to_bits() + number);
    bind(&socket, &SocketAddrV4::new(source, 0))?;
    connect(&socket, &target.addr)?;
    Ok(socket)
}

/// A server's descriptors, once those of the connections before are closed.
fn at_rest(pid: u32) -> Result<usize, String> {
    let deadline = Instant::now() + SETTLE_MAX;
    let mut before = descriptors(pid)?;
    loop {
        thread::sleep(REST);
        let now = descriptors(pid)?;
        if now == before || Instant::now() > deadline {
            return Ok(now);
        }
        before = now;
    }
}

/// Waits until a server's descriptors are as they are to be.
fn settle(pid: u32, what: &str, is_settled: impl Fn(usize) -> bool) -> Result<(), String> {
    let deadline = Instant::now() + SETTLE_MAX;
    loop {
        let now = descriptors(pid)?;
        if is_settled(now) {
            thread::sleep(REST);
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!(
                "it has not {what} a crowd in time: it has {now} descriptors"
            ));
        }
        thread::sleep(POLL);
    }
}

#[cfg(test)]
mod tests {
    use super::super::exchange::Reply;
    use super::*;
    use std::io::Read as _;
    use std::net::{Shutdown, TcpListener};

    #[test]
    fn a_crowd_is_silent_and_then_says_half() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let addr = listener.local_addr().expect("its address");
        let target = Target::new(addr, "ping\n", Reply::exactly(""));
        let own = std::process::id();
        let crowd = Crowd::open(&target, own, 3).expect("the backlog holds them");
        let mut streams: Vec<_> = listener.incoming().take(3).flatten().collect();
        let sources: Vec<_> = streams
            .iter()
            .map(|stream| stream.peer_addr().expect("its address").ip().to_string())
            .collect();
        assert_eq!(sources, ["127.32.0.0", "127.32.0.1", "127.32.0.2"]);
        crowd.say_half(&target.request).expect("they are open");
        for socket in &crowd.sockets {
            rustix::net::shutdown(socket, rustix::net::Shutdown::Write).expect("it is open");
        }
        for stream in &mut streams {
            let mut received = String::new();
            stream.read_to_string(&mut received).expect("half");
            assert_eq!(received, "pi");
            let _closed = stream.shutdown(Shutdown::Both);
        }
        drop(streams);
        crowd.close().expect("it is closed");
    }

    #[test]
    fn a_server_that_never_settles_is_a_fault() {
        // Its deadline is long; one that is there at once is no wait.
        settle(std::process::id(), "opened", |now| now > 2).expect("it has more");
    }
}
