//! What clients do: connect, send, read to the end, understand what they got.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::harness::LIVENESS;

/// Connects with timeouts that only a hang reaches.
pub(crate) fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let client = TcpStream::connect_timeout(&addr, LIVENESS)?;
    client.set_read_timeout(Some(LIVENESS))?;
    client.set_write_timeout(Some(LIVENESS))?;
    client.set_nodelay(true)?;
    Ok(client)
}

/// A client that comes from another address of this machine.
pub(crate) fn connect_from(source: Ipv4Addr, addr: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    socket.connect_timeout(&addr.into(), LIVENESS)?;
    socket.set_read_timeout(Some(LIVENESS))?;
    socket.set_write_timeout(Some(LIVENESS))?;
    Ok(socket.into())
}

/// Reads to the server's end; a reset or a hang fails.
#[track_caller]
pub(crate) fn read_all(client: &mut impl io::Read) -> Vec<u8> {
    let mut reply = Vec::new();
    if let Err(error) = client.read_to_end(&mut reply) {
        let shown = String::from_utf8_lossy(&reply[..reply.len().min(200)]).into_owned();
        panic!(
            "no clean end after {} bytes: {error}; they begin {shown:?}",
            reply.len()
        );
    }
    reply
}

/// Reads to a reset, which has to come: how many bytes came before it.
#[track_caller]
pub(crate) fn read_to_reset(client: &mut TcpStream) -> usize {
    let mut reply = Vec::new();
    let error = client
        .read_to_end(&mut reply)
        .expect_err("a reset, not a clean end");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}");
    reply.len()
}

/// Whether the server says nothing for so long; else it has ended, or spoken.
pub(crate) fn is_silent_for(client: &mut TcpStream, pause: Duration) -> io::Result<bool> {
    let patience = client.read_timeout()?;
    client.set_read_timeout(Some(pause))?;
    let read = client.read(&mut [0]);
    client.set_read_timeout(patience)?;
    match read {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
        Err(error) => Err(error),
        Ok(_) => Ok(false),
    }
}

/// Makes the close of this client a reset.
pub(crate) fn reset(client: TcpStream) {
    socket2::SockRef::from(&client)
        .set_linger(Some(Duration::ZERO))
        .expect("an option");
    drop(client);
}

/// Sends single bytes, as slowly as `pause`, until the server says something, ends, or breaks
/// the connection: what it said.
pub(crate) fn trickle(client: &mut TcpStream, pause: Duration) -> Vec<u8> {
    let began = Instant::now();
    client.set_read_timeout(Some(pause)).expect("an option");
    let mut reply = vec![0; 4096];
    while began.elapsed() < LIVENESS {
        if client.write_all(b"x").is_err() {
            return Vec::new();
        }
        match client.read(&mut reply) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return Vec::new(),
            Ok(count) => {
                reply.truncate(count);
                return reply;
            }
        }
    }
    panic!("it goes on listening");
}

/// Status, head and body of an HTTP reply, whose length must be what it says.
#[track_caller]
pub(crate) fn parse_http(reply: &[u8]) -> (u16, String, String) {
    let text = String::from_utf8(reply.to_vec()).expect("UTF-8");
    let (head, body) = text
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("no head: {text:?}"));
    let status = head
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3));
    let status = status.and_then(|status| status.parse().ok());
    let status = status.unwrap_or_else(|| panic!("no status: {head:?}"));
    if let Some(length) = header(head, "Content-Length") {
        let is_whole = length == body.len().to_string();
        assert!(
            is_whole || body.is_empty(),
            "{length} bytes are promised, not {}",
            body.len()
        );
    }
    (status, head.to_owned(), body.to_owned())
}

/// The value of a header; none if it isn't there or there are two.
pub(crate) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let lines = head.split("\r\n").filter_map(|line| line.split_once(": "));
    let mut values = lines.filter(|(found, _)| found.eq_ignore_ascii_case(name));
    let first = values.next()?;
    values.next().is_none().then_some(first.1)
}
