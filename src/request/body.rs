//! An HTTP body: taken from the input as it arrives, and put behind what is kept.

use super::chunked::Chunk;
use super::cursor::Cursor;
use super::framing::more;
use super::{Fault, Progress, Request, Rules};

/// How far the body of one request has come.
#[derive(Clone, Debug)]
pub(super) struct Body {
    /// Bytes of the head that are kept, before the body: all or none.
    head: u32,

    /// The method is HEAD.
    pub(super) is_head: bool,

    /// Bytes taken, decoded; at most `max_request_bytes`.
    taken: usize,

    rest: Rest,
}

/// What is still to come of a body.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rest {
    /// So many bytes.
    Bytes(usize),

    /// Chunks, up to the last one.
    Chunks(Chunk),
}

/// A complete head without fault.
#[derive(Debug)]
pub(super) struct Judged {
    /// Its length in bytes, with the empty line.
    pub(super) bytes: usize,

    /// Method HEAD.
    pub(super) is_head: bool,

    /// The client waits for `100 Continue` before it sends its body.
    pub(super) expects_continue: bool,

    /// What follows.
    pub(super) rest: Rest,
}

impl Body {
    /// The body that the head announces.
    pub(super) fn new(rules: &Rules, head: &Judged) -> Self {
        let kept = if rules.keep_head { head.bytes } else { 0 };
        Self {
            head: u32::try_from(kept).expect("invariant: `Scan` bounds the head"),
            is_head: head.is_head,
            taken: 0,
            rest: head.rest,
        }
    }

    /// Bytes at the start of the input that are head and decoded body.
    pub(super) fn kept(&self, rules: &Rules) -> usize {
        self.head as usize + if rules.keep_body { self.taken } else { 0 }
    }

    /// Takes what has arrived of the body, which begins at `from` in `input`.
    pub(super) fn advance(&mut self, rules: &Rules, input: &mut [u8], from: usize) -> Progress {
        let mut cursor = Cursor {
            to: self.kept(rules),
            from,
            taken: self.taken,
            keep: rules.keep_body,
            input,
        };
        let is_complete = self.rest.advance(rules, &mut cursor);
        let kept = cursor.to;
        self.taken = cursor.taken;
        match is_complete {
            Err(fault) => Progress::Fault(fault),
            Ok(false) => more(kept),
            Ok(true) => Progress::Complete(Request {
                head: 0..self.head as usize,
                body: self.head as usize..kept,
                received: 0..kept,
            }),
        }
    }
}

impl Rest {
    /// Takes what is there; returns whether that was all.
    fn advance(&mut self, rules: &Rules, cursor: &mut Cursor<'_>) -> Result<bool, Fault> {
        match self {
            Self::Bytes(left) => {
                *left -= cursor.take(*left);
                Ok(*left == 0)
            }
            Self::Chunks(chunk) => chunk.advance(rules, cursor),
        }
    }
}
