//! One exchange as a client sees it: what is asked of whom, what has to come back, and how it can end.

use std::net::SocketAddr;

/// The longest reply of a kind whose head is the server's own.
const HTTP_REPLY_MAX: usize = 1024;

const HTTP_OK: &[u8] = b"HTTP/1.1 200";

/// What a server says that won't serve now: replyd over raw TCP, and everyone over HTTP.
const BUSY: &[u8] = b"busy\n";
const HTTP_BUSY: &[u8] = b"HTTP/1.1 503";

/// Who is asked what, and what has to come back.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) addr: SocketAddr,
    pub(super) request: Vec<u8>,
    pub(super) reply: Reply,
}

impl Target {
    pub(super) fn new(addr: SocketAddr, request: &str, reply: Reply) -> Self {
        Self {
            addr,
            request: request.into(),
            reply,
        }
    }
}

/// What has to come back before the end.
#[derive(Debug, Clone)]
pub(super) enum Reply {
    /// These bytes, and no others.
    Exactly(Vec<u8>),

    /// HTTP of status 200 with this body, whatever else the head says.
    Http { body: Vec<u8> },
}

impl Reply {
    pub(super) fn exactly(text: &str) -> Self {
        Self::Exactly(text.into())
    }

    pub(super) fn http(body: &str) -> Self {
        Self::Http { body: body.into() }
    }

    /// Bytes of a buffer in which a reply that is too long shows.
    pub(super) fn buffer_len(&self) -> usize {
        match self {
            Self::Exactly(bytes) => bytes.len() + 1,
            Self::Http { .. } => HTTP_REPLY_MAX,
        }
    }

    /// What came of an exchange that ended like this after these bytes.
    pub(super) fn ending(&self, received: &[u8], end: End) -> Ending {
        match end {
            End::Timeout => Ending::TimedOut,
            End::Reset if self.is_whole(received) => Ending::RepliedThenReset,
            End::Close if self.is_whole(received) => Ending::Replied,
            End::Close if received == BUSY || received.starts_with(HTTP_BUSY) => Ending::Busy,
            _ if !self.may_begin_with(received) => Ending::Wrong,
            End::Close => Ending::Short,
            End::Reset => Ending::Reset,
        }
    }

    fn is_whole(&self, received: &[u8]) -> bool {
        match self {
            Self::Exactly(bytes) => received == bytes,
            Self::Http { body } => {
                let head_end = received.len().checked_sub(body.len());
                let head = head_end.and_then(|end| received.get(..end));
                let is_head =
                    |head: &[u8]| head.starts_with(HTTP_OK) && head.ends_with(b"\r\n\r\n");
                head.is_some_and(is_head) && received.ends_with(body)
            }
        }
    }

    fn may_begin_with(&self, received: &[u8]) -> bool {
        match self {
            Self::Exactly(bytes) => bytes.starts_with(received),
            Self::Http { .. } => {
                let len = received.len().min(HTTP_OK.len());
                received[..len] == HTTP_OK[..len]
            }
        }
    }
}

/// How a connection ended, as the kernel says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Close,
    Reset,
    Timeout,
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
    /// A server's word that it won't serve now, as it has too much to do.
    Busy,
    Refused,
    TimedOut,
    /// Its time had come, but too many were still under way.
    NotStarted,
}

impl Ending {
    /// Each of them, in the order of their numbers.
    pub(super) const ALL: [Self; 9] = [
        Self::Replied,
        Self::RepliedThenReset,
        Self::Reset,
        Self::Short,
        Self::Wrong,
        Self::Busy,
        Self::Refused,
        Self::TimedOut,
        Self::NotStarted,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Replied => "replied",
            Self::RepliedThenReset => "replied, then reset",
            Self::Reset => "reset",
            Self::Short => "short",
            Self::Wrong => "wrong",
            Self::Busy => "busy",
            Self::Refused => "refused",
            Self::TimedOut => "timed out",
            Self::NotStarted => "not started",
        }
    }

    /// Whether the client has its reply.
    pub(super) fn has_reply(self) -> bool {
        matches!(self, Self::Replied | Self::RepliedThenReset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(reply: &Reply, received: &str, ends: [Ending; 2]) {
        let ending = |end| reply.ending(received.as_bytes(), end);
        assert_eq!([ending(End::Close), ending(End::Reset)], ends, "{received}");
        assert_eq!(ending(End::Timeout), Ending::TimedOut);
    }

    #[test]
    fn a_constant_reply_is_compared_byte_for_byte() {
        let reply = Reply::exactly("answer");
        check(
            &reply,
            "answer",
            [Ending::Replied, Ending::RepliedThenReset],
        );
        check(&reply, "ans", [Ending::Short, Ending::Reset]);
        check(&reply, "", [Ending::Short, Ending::Reset]);
        check(&reply, "answers", [Ending::Wrong; 2]);
        check(&reply, "nswer", [Ending::Wrong; 2]);
        check(&reply, "busy\n", [Ending::Busy, Ending::Wrong]);
        assert_eq!(
            reply.buffer_len(),
            7,
            "one more than it has to be, to be seen"
        );
    }

    #[test]
    fn of_http_the_status_and_the_body_are_compared() {
        let reply = Reply::http("ok\n");
        let head = "HTTP/1.1 200 OK\r\nServer: x\r\n\r\n";
        let whole = [Ending::Replied, Ending::RepliedThenReset];
        check(&reply, &format!("{head}ok\n"), whole);
        check(&reply, &format!("{head}o"), [Ending::Short, Ending::Reset]);
        check(&reply, "HTTP/1", [Ending::Short, Ending::Reset]);
        check(&reply, "HTTP/1.1 404 No\r\n\r\nok\n", [Ending::Wrong; 2]);
        let busy = [Ending::Busy, Ending::Wrong];
        check(&reply, "HTTP/1.1 503 No\r\n\r\nbusy\n", busy);
        check(&reply, "ok\n", [Ending::Wrong; 2]);
    }

    #[test]
    fn a_body_is_not_found_within_a_head() {
        let reply = Reply::http("ok\n");
        let cut = "HTTP/1.1 200 OK\r\nX-Is: ok\n";
        check(&reply, cut, [Ending::Short, Ending::Reset]);
    }
}
