//! Clients that allocate nothing.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Barrier};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long anything may take before the test says that it hangs.
pub(crate) const LIVENESS: Duration = Duration::from_secs(10);

/// Connections that the first round of a crowd has open at once, for each client: more than there
/// ever are at once later, lingering ones included (for 10 ms at the most, unless the machine is very
/// busy), so that each of those finds its memory there.
const OPEN_AT_ONCE: usize = 128;

/// What is sent.
#[derive(Clone, Copy)]
pub(crate) struct Request {
    pub(crate) bytes: &'static [u8],

    /// Whether the client ends its side behind it.
    pub(crate) ends: bool,
}

/// Clients, a thread each, that exchange when they are told.
pub(crate) struct Crowd {
    round: Arc<Round>,
    threads: Vec<JoinHandle<()>>,
}

/// What the clients and who tells them have in common.
struct Round {
    /// Begins a round, and ends it.
    barrier: Barrier,

    /// Exchanges of each; 0 ends the clients.
    exchanges: AtomicUsize,
    has_failed: AtomicBool,
}

impl Crowd {
    /// Starts so many clients; each has had several connections open at once already.
    pub(crate) fn start(clients: usize, addr: SocketAddr, request: Request) -> Self {
        let round = Arc::new(Round {
            barrier: Barrier::new(clients + 1),
            exchanges: AtomicUsize::new(0),
            has_failed: AtomicBool::new(false),
        });
        let client = |_| {
            let round = Arc::clone(&round);
            thread::spawn(move || {
                round.note_failure(|| {
                    let open = (0..OPEN_AT_ONCE).map(|_| ask(addr, request));
                    let mut open: Vec<TcpStream> = open.collect();
                    open.iter_mut().for_each(read_to_end);
                });
                round.follow(addr, request);
            })
        };
        let threads = (0..clients).map(client).collect();
        Self { round, threads }
    }

    /// Has each client do so many exchanges, one after another. Back when all are done.
    pub(crate) fn exchange(&self, exchanges: usize) {
        self.round.exchanges.store(exchanges, Relaxed);
        self.round.barrier.wait();
        self.round.barrier.wait();
        let has_failed = self.round.has_failed.load(Relaxed);
        assert!(!has_failed, "a client has panicked, as said above");
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        if thread::panicking() {
            // A client that is gone would be waited for.
            return;
        }
        self.round.exchanges.store(0, Relaxed);
        self.round.barrier.wait();
        for thread in self.threads.drain(..) {
            thread.join().expect("a client that didn't panic");
        }
    }
}

impl Round {
    /// Ends when it is told to.
    fn follow(&self, addr: SocketAddr, request: Request) {
        loop {
            self.barrier.wait();
            let exchanges = self.exchanges.load(Relaxed);
            if exchanges == 0 {
                return;
            }
            self.note_failure(|| {
                (0..exchanges).for_each(|_| read_to_end(&mut ask(addr, request)));
            });
            self.barrier.wait();
        }
    }

    /// A client that panics still comes to the barrier: the others would wait there for ever.
    fn note_failure(&self, work: impl FnOnce()) {
        if catch_unwind(AssertUnwindSafe(work)).is_err() {
            self.has_failed.store(true, Relaxed);
        }
    }
}

fn ask(addr: SocketAddr, request: Request) -> TcpStream {
    let mut socket = TcpStream::connect(addr).expect("connected");
    socket.set_read_timeout(Some(LIVENESS)).expect("an option");
    socket.write_all(request.bytes).expect("sent");
    if request.ends {
        socket.shutdown(Shutdown::Write).expect("ended");
    }
    socket
}

/// Reads to the server's end: at least a byte.
fn read_to_end(socket: &mut TcpStream) {
    let mut buffer = [0; 16 * 1024];
    let mut total = 0;
    // Ends with the server's end, with an error, or when nothing comes for too long.
    loop {
        match socket.read(&mut buffer).expect("a clean end") {
            0 => break,
            count => total += count,
        }
    }
    assert!(total > 0, "an empty reply");
}
