//! Requests: where they end in a stream of bytes, and what an HTTP one says.
//!
//! Pure: no socket, no clock, no thread. The caller reads bytes into a buffer of
//! its own and shows them to a [`Reader`], which says how many of them it still
//! needs, or that the request is complete, or what is wrong with it.
//!
//! ```text
//! mod.rs       Rules, Reader, Progress: what the exchange uses
//! framing.rs   nothing, line, delimiter, bytes, eof
//! http.rs      finds and judges an HTTP head
//! body.rs      takes an HTTP body of known length
//! chunked.rs   takes a chunked one
//! cursor.rs    where both read and write
//! head.rs      a look at a complete head, for replies that use it
//! fault.rs     what can be wrong with a request
//! ```
//!
//! **The result does not depend on how the bytes were cut.** Whatever the sizes of
//! the reads, the same stream gives the same request or the same fault: every
//! decision is made at the first byte that settles it, in the order of the bytes,
//! and what follows is not looked at. `tests.rs` holds the proof by property.
//!
//! Sources: RFC 9110 (semantics), RFC 9112 (HTTP/1.1), RFC 6585 (431).

mod body;
mod chunked;
mod cursor;
mod fault;
mod framing;
mod head;
mod http;
#[cfg(test)]
mod tests;

use std::ops::Range;

use self::body::Body;
pub use self::fault::Fault;
pub use self::framing::Framing;
pub use self::head::Head;
use self::http::Scan;

/// How a service's requests are framed, and what may be kept of them.
///
/// One per service, shared by all its connections.
#[derive(Clone, Debug)]
pub struct Rules {
    /// What ends a request.
    pub framing: Framing,

    /// Longest request without its terminator, in bytes, inclusive. For HTTP the
    /// body, decoded. Not asked for [`Framing::Bytes`], which is its own bound.
    pub max_request_bytes: usize,

    /// Longest HTTP head in bytes, inclusive: from the first byte of the connection
    /// to the empty line, empty lines before the request line included. Bounds the
    /// trailer section of a chunked body likewise.
    pub max_head_bytes: usize,

    /// Whether the reply uses the HTTP method, target or headers. Else the head is
    /// dropped once it is judged.
    pub keep_head: bool,

    /// Whether the reply uses the HTTP body. Else it is dropped as it arrives and
    /// takes no memory, but still has to be well-formed and within its limit.
    pub keep_body: bool,
}

/// What one call of [`Reader::advance`] or [`Reader::ended`] came to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Progress {
    /// The request is not complete yet.
    More {
        /// The first `keep` bytes of the input, which may have been moved and decoded
        /// in place, must be there again at the next call, before what arrives next.
        keep: usize,

        /// Send `HTTP/1.1 100 Continue` and an empty line now. True at most once.
        /// Source: RFC 9110 section 10.1.1.
        interim: bool,
    },

    /// The request is complete; bytes after it are ignored.
    Complete(Request),

    /// The request is wrong, and no further byte could mend it.
    Fault(Fault),

    /// The peer ended its side without having asked anything.
    Nothing,
}

/// Where a complete request is: ranges into the input of the call that said so.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    /// The HTTP head up to and with its empty line, for [`Head::parse`]. Empty for
    /// other framings, and without [`Rules::keep_head`].
    pub head: Range<usize>,

    /// The request without its terminator. For HTTP the decoded body, empty without
    /// [`Rules::keep_body`].
    pub body: Range<usize>,

    /// All of it as it came: with its terminator; over HTTP head and decoded body, as far as
    /// they are kept.
    pub received: Range<usize>,
}

impl Request {
    /// A request of a framing that knows no head, and all bytes of it.
    fn headless(body: Range<usize>, received: Range<usize>) -> Self {
        Self {
            head: 0..0,
            body,
            received,
        }
    }
}

/// What is known about a request between two reads. The bytes are the caller's.
///
/// Every connection that waits holds one, hence its size is bounded below.
#[derive(Clone, Debug)]
pub struct Reader {
    state: State,
}

const _: () = assert!(size_of::<Reader>() <= 32);

#[derive(Clone, Debug)]
enum State {
    /// Looking for the end of the request or, for HTTP, of its head.
    Scan(Scan),

    /// HTTP, with the head judged.
    Body(Body),
}

impl Reader {
    /// Returns a reader that has not seen a byte.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: State::Scan(Scan::default()),
        }
    }

    /// Looks at what arrived, and says what it came to.
    ///
    /// `input` is what [`Progress::More`] asked to keep, followed by the new bytes,
    /// if any: a call without a new byte changes nothing. HTTP bodies are decoded in
    /// place, hence `&mut`. Not to be called again after another `Progress` than
    /// `More`.
    ///
    /// The cost of all calls together is linear in the length of the stream,
    /// however it is cut.
    ///
    /// Units: `keep` is at most `max_request_bytes`, plus the terminator less one
    /// byte for a line (CR LF) or a delimiter; `n` less one for [`Framing::Bytes`];
    /// `max_head_bytes` for an HTTP head, and that plus `max_request_bytes` for a body.
    ///
    /// # Panics
    /// If the kept bytes are not there, or `rules` are not those of the last call.
    pub fn advance(&mut self, rules: &Rules, input: &mut [u8]) -> Progress {
        let scan = match &mut self.state {
            State::Body(body) => {
                let kept = body.kept(rules);
                return body.advance(rules, input, kept);
            }
            State::Scan(scan) => scan,
        };
        let head = match &rules.framing {
            Framing::Http => match scan.advance(rules, input) {
                Ok(Some(head)) => head,
                Ok(None) => return framing::more(input.len()),
                Err(fault) => return Progress::Fault(fault),
            },
            framing => {
                return framing.advance(rules.max_request_bytes, &mut scan.scanned, input);
            }
        };
        let mut body = Body::new(rules, &head);
        let mut progress = body.advance(rules, input, head.bytes);
        if let Progress::More { interim, .. } = &mut progress {
            // A client that has begun its body does not wait to be asked for it.
            *interim = head.expects_continue && input.len() == head.bytes;
        }
        self.state = State::Body(body);
        progress
    }

    /// Says what the request came to, now that the peer has ended its side (FIN).
    ///
    /// `input` is as for [`advance`](Self::advance). Never returns [`Progress::More`].
    ///
    /// A line or a delimited request is complete with what is there: a client that
    /// half-closes instead of ending its line (`printf query | nc -N`) gets its reply.
    ///
    /// # Panics
    /// As [`advance`](Self::advance).
    pub fn ended(&mut self, rules: &Rules, input: &mut [u8]) -> Progress {
        let kept = match self.advance(rules, input) {
            Progress::More { keep, .. } => &input[..keep],
            decided => return decided,
        };
        match (&self.state, &rules.framing) {
            (State::Scan(scan), Framing::Http) if !scan.has_begun(kept) => Progress::Nothing,
            (_, Framing::Http) => Progress::Fault(Fault::Truncated),
            (_, framing) => framing.ended(rules.max_request_bytes, kept),
        }
    }

    /// Whether this is an HTTP request of method HEAD, whose reply has no body.
    ///
    /// Known from the end of the request line on, so that it also holds for the
    /// reply to a fault found after it; false before.
    #[must_use]
    pub fn is_head(&self) -> bool {
        match &self.state {
            State::Scan(scan) => scan.is_head,
            State::Body(body) => body.is_head,
        }
    }
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}
