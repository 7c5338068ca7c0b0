//! Clients in a closed loop, for `tests/cost.py`, which compiles this file by itself.
//!
//! `load ADDR CLIENTS EXCHANGES REQUEST`: so many clients, a thread each, do so many exchanges each, one after
//! another. The exit code is 0 if each was answered to a clean end.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

/// How long a client waits for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// Of a client's thread, in bytes.
const STACK: usize = 64 * 1024;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [addr, clients, exchanges, request] = &arguments[..] else {
        return ExitCode::from(64);
    };
    let addr: SocketAddr = addr.parse().expect("an address");
    let clients: usize = clients.parse().expect("a number of clients");
    let exchanges: usize = exchanges.parse().expect("a number of exchanges");
    let client = |_| {
        let request = request.clone().into_bytes();
        let work = move || (0..exchanges).all(|_| exchange(addr, &request));
        let builder = thread::Builder::new().stack_size(STACK);
        builder.spawn(work).expect("a thread")
    };
    let clients: Vec<_> = (0..clients).map(client).collect();
    let are_good = clients
        .into_iter()
        .map(|client| client.join().unwrap_or(false));
    if are_good.fold(true, |all, good| all & good) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Whether there was a reply with a clean end.
fn exchange(addr: SocketAddr, request: &[u8]) -> bool {
    let ask = || {
        let mut socket = TcpStream::connect(addr)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.write_all(request)?;
        let mut buffer = [0; 4096];
        let mut total = 0;
        // Ends with the server's end, with an error, or when nothing comes for too long.
        loop {
            match socket.read(&mut buffer)? {
                0 => return std::io::Result::Ok(total),
                count => total += count,
            }
        }
    };
    ask().is_ok_and(|total| total > 0)
}
