//! One exchange as a client: connect, ask, read to the end, and what came of it.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// Longest wait for a connection, for room to send and for the next bytes.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Who is asked what, and what has to come back, byte for byte.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) addr: SocketAddr,
    pub(super) request: Vec<u8>,
    pub(super) reply: Vec<u8>,
}

impl Target {
    pub(super) fn new(addr: SocketAddr, request: &str, reply: &str) -> Self {
        Self {
            addr,
            request: request.into(),
            reply: reply.into(),
        }
    }
}

/// How an exchange ended. Everything but the first is a fault of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// The whole reply, then the end.
    Replied,
    /// The whole reply, then a reset instead of the end. This client has read it all; one that is slower may lose some.
    RepliedThenReset,
    /// A reset before the reply was whole.
    Reset,
    /// The end before the reply was whole.
    Short,
    /// Other bytes.
    Wrong,
    Refused,
    TimedOut,
}

impl Ending {
    /// Each of them, in the order of their numbers.
    pub(super) const ALL: [Self; 7] = [
        Self::Replied,
        Self::RepliedThenReset,
        Self::Reset,
        Self::Short,
        Self::Wrong,
        Self::Refused,
        Self::TimedOut,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Replied => "replied",
            Self::RepliedThenReset => "replied, then reset",
            Self::Reset => "reset",
            Self::Short => "short",
            Self::Wrong => "wrong",
            Self::Refused => "refused",
            Self::TimedOut => "timed out",
        }
    }

    /// Whether the client has its reply.
    pub(super) fn has_reply(self) -> bool {
        matches!(self, Self::Replied | Self::RepliedThenReset)
    }
}

/// Does one exchange from `source`. An error is this machine's: no descriptor, no port.
pub(super) fn exchange(target: &Target, source: Ipv4Addr) -> io::Result<Ending> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    // The second one is for connect, too.
    socket.set_read_timeout(Some(TIMEOUT))?;
    socket.set_write_timeout(Some(TIMEOUT))?;
    if let Err(error) = socket.connect(&target.addr.into()) {
        return match error.kind() {
            ErrorKind::ConnectionRefused => Ok(Ending::Refused),
            ErrorKind::ConnectionReset => Ok(Ending::Reset),
            _ if is_timeout(&error) => Ok(Ending::TimedOut),
            _ => Err(error),
        };
    }
    let mut stream = TcpStream::from(socket);
    // Who doesn't want the request may have sent a reply all the same: reading tells.
    let _sent = stream.write_all(&target.request);
    receive(&mut stream, &target.reply)
}

/// Reads to the end.
fn receive(stream: &mut TcpStream, reply: &[u8]) -> io::Result<Ending> {
    // One byte more, so that a reply that is too long shows.
    let mut buffer = vec![0; reply.len() + 1];
    let mut len = 0;
    let end = loop {
        match stream.read(&mut buffer[len..]) {
            Ok(0) => break Ending::Short,
            Ok(count) => len += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break Ending::Reset,
            Err(error) if is_timeout(&error) => break Ending::TimedOut,
            Err(error) => return Err(error),
        }
        if len == buffer.len() {
            return Ok(Ending::Wrong);
        }
    };
    let received = &buffer[..len];
    Ok(match end {
        Ending::TimedOut => Ending::TimedOut,
        Ending::Reset if received == reply => Ending::RepliedThenReset,
        _ if received == reply => Ending::Replied,
        _ if !reply.starts_with(received) => Ending::Wrong,
        _ => end,
    })
}

/// What Linux says when a socket's own timeout is over: EAGAIN, of connect EINPROGRESS; and when TCP gives up: ETIMEDOUT.
fn is_timeout(error: &io::Error) -> bool {
    let in_progress = rustix::io::Errno::INPROGRESS.raw_os_error();
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
        || error.raw_os_error() == Some(in_progress)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// The ending of an exchange with a server that does this to its one connection.
    fn ending(serve: impl FnOnce(TcpStream) + Send) -> Ending {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let addr = listener.local_addr().expect("its address");
        let target = Target::new(addr, "ask\n", "answer");
        std::thread::scope(|scope| {
            scope.spawn(|| serve(listener.accept().expect("a connection").0));
            exchange(&target, Ipv4Addr::new(127, 1, 2, 3)).expect("the machine can")
        })
    }

    /// Reads the request, so that the close is a clean one.
    fn say(stream: &mut TcpStream, reply: &[u8]) {
        stream.read_exact(&mut [0; 4]).expect("the request");
        stream.write_all(reply).expect("it is sent");
    }

    #[test]
    fn a_whole_reply_is_one() {
        assert_eq!(
            ending(|mut stream| say(&mut stream, b"answer")),
            Ending::Replied
        );
    }

    #[test]
    fn half_a_reply_is_short() {
        assert_eq!(ending(|mut stream| say(&mut stream, b"ans")), Ending::Short);
    }

    #[test]
    fn other_bytes_and_more_bytes_are_wrong() {
        assert_eq!(
            ending(|mut stream| say(&mut stream, b"nswer")),
            Ending::Wrong
        );
        assert_eq!(
            ending(|mut stream| say(&mut stream, b"answers")),
            Ending::Wrong
        );
    }

    #[test]
    fn a_request_that_nobody_read_resets_behind_the_reply() {
        let without_reading = |mut stream: TcpStream| {
            stream.peek(&mut [0; 4]).expect("the request is there");
            stream.write_all(b"answer").expect("it is sent");
        };
        assert_eq!(ending(without_reading), Ending::RepliedThenReset);
    }

    #[test]
    fn a_reset_before_the_reply_is_a_reset() {
        let without_a_word = |stream: TcpStream| {
            stream.peek(&mut [0; 4]).expect("the request is there");
        };
        assert_eq!(ending(without_a_word), Ending::Reset);
    }

    #[test]
    fn the_client_comes_from_the_address_it_was_told() {
        let ending = ending(|mut stream| {
            let peer = stream.peer_addr().expect("its address");
            assert_eq!(peer.ip(), Ipv4Addr::new(127, 1, 2, 3));
            say(&mut stream, b"answer");
        });
        assert_eq!(ending, Ending::Replied);
    }

    #[test]
    fn nobody_there_is_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let addr = listener.local_addr().expect("its address");
        drop(listener);
        let ending =
            exchange(&Target::new(addr, "", ""), Ipv4Addr::LOCALHOST).expect("the machine can");
        assert_eq!(ending, Ending::Refused);
    }
}
