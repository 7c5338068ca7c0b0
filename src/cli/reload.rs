//! `replyd reload`: has a running replyd read its configuration again, and tells what came of it.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use replyd::config::address::Address;

use crate::cli::{CONFIG, FAILED, print, refuse, say, source};

/// How long the running replyd may take: it reads files, and binds addresses.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// Bytes of an answer: a difference has a hundred lines at the most, a page of faults some more.
const ANSWER_BYTES_MAX: u64 = 4 << 20;

/// RFC 9112. The connection ends with the answer, so its length doesn't matter here.
const REQUEST: &[u8] = b"POST /-/reload HTTP/1.1\r\nHost: replyd\r\nContent-Length: 0\r\n\r\n";

/// Asks the replyd whose admin listener the configuration names.
pub(super) fn reload(file: Option<&Path>, admin: Option<&Address>) -> u8 {
    let addresses = match admin {
        Some(address) => vec![address.clone()],
        None => match source::load(file) {
            Ok(loaded) => loaded.config.admin.listen,
            // The running one would say the same.
            Err(faults) => return refuse(&faults),
        },
    };
    let mut failed = Vec::new();
    for address in &addresses {
        match ask(address) {
            Ok((200, body)) => return print(&body),
            Ok((status, body)) => {
                say(&body);
                return if status == 422 { CONFIG } else { FAILED };
            }
            Err(error) => failed.push(format!("cannot reach replyd at {address}: {error}\n")),
        }
    }
    say(&failed.concat());
    FAILED
}

/// Status and body of the answer.
fn ask(address: &Address) -> io::Result<(u16, String)> {
    let answer = match address {
        Address::Tcp(addr) => {
            let stream = TcpStream::connect_timeout(addr, ANSWER_MAX)?;
            stream.set_read_timeout(Some(ANSWER_MAX))?;
            stream.set_write_timeout(Some(ANSWER_MAX))?;
            exchange(stream)?
        }
        Address::Unix(path) => {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(ANSWER_MAX))?;
            stream.set_write_timeout(Some(ANSWER_MAX))?;
            exchange(stream)?
        }
    };
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Response::new(&mut headers);
    let parsed = head.parse(&answer);
    match (parsed, head.code) {
        (Ok(httparse::Status::Complete(length)), Some(code)) => {
            let body = String::from_utf8_lossy(&answer[length..]);
            Ok((code, body.into_owned()))
        }
        _ => Err(io::Error::other("the answer is no HTTP")),
    }
}

fn exchange(mut stream: impl Read + Write) -> io::Result<Vec<u8>> {
    stream.write_all(REQUEST)?;
    let mut answer = Vec::new();
    match stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            let message = format!("no answer within {} s", ANSWER_MAX.as_secs());
            Err(io::Error::new(io::ErrorKind::TimedOut, message))
        }
        read => read.map(|_| answer),
    }
}
