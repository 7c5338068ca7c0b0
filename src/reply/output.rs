//! What an exchange has to send: bytes of its own, then a body that may be shared.
//!
//! A constant body is never copied: ten thousand slow readers of one page hold it once.

use std::sync::Arc;

/// A body up to this size, in bytes, is copied behind its head, so that one send takes both from
/// one place; a larger one is shared. With its head it fits into a buffer that is kept.
pub(super) const COPIED_BODY_MAX: usize = 2048;

/// Bytes to send, and how many of them were.
#[derive(Debug, Default)]
pub struct Output {
    own: Vec<u8>,
    body: Body,
    sent: usize,
}

#[derive(Debug, Default)]
enum Body {
    #[default]
    None,
    Shared(Arc<[u8]>),
    Made(Vec<u8>),
}

impl Body {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::None => &[],
            Self::Shared(bytes) => bytes,
            Self::Made(bytes) => bytes,
        }
    }
}

impl Output {
    /// An empty output that keeps its own bytes in `buffer`.
    #[must_use]
    pub fn new(mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        Self {
            own: buffer,
            ..Self::default()
        }
    }

    /// The bytes that go before the body, to be added to.
    pub fn own(&mut self) -> &mut Vec<u8> {
        &mut self.own
    }

    /// Adds a body that others send too: a small one is copied, so that one send takes all from one
    /// place.
    pub fn add_shared(&mut self, body: &Arc<[u8]>) {
        if body.len() <= COPIED_BODY_MAX {
            self.own.extend_from_slice(body);
        } else {
            self.body = Body::Shared(Arc::clone(body));
        }
    }

    /// Sets a body made for this exchange alone.
    pub fn set_body(&mut self, body: Vec<u8>) {
        self.body = Body::Made(body);
    }

    /// Bytes in all, sent or not.
    #[must_use]
    pub fn total_bytes(&self) -> usize {
        self.own.len() + self.body.bytes().len()
    }

    /// Whether nothing is left to send.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        self.sent == self.total_bytes()
    }

    /// What is left, in order; either may be empty.
    #[must_use]
    pub fn left(&self) -> [&[u8]; 2] {
        let from_own = self.sent.min(self.own.len());
        [
            &self.own[from_own..],
            &self.body.bytes()[self.sent - from_own..],
        ]
    }

    /// Notes that the first `count` bytes of what was left are gone.
    pub fn sent(&mut self, count: usize) {
        self.sent += count;
        debug_assert!(self.sent <= self.total_bytes(), "more sent than there was");
    }

    /// Takes the buffers apart, to be used again: the own one, and a body made for this exchange.
    #[must_use]
    pub fn into_buffers(self) -> (Vec<u8>, Option<Vec<u8>>) {
        let body = if let Body::Made(body) = self.body {
            Some(body)
        } else {
            None
        };
        (self.own, body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_leave_in_order_whatever_the_portions() {
        for portion in 1..=11 {
            let mut output = Output::new(b"rest of an older one".to_vec());
            output.own().extend_from_slice(b"head ");
            output.body = Body::Shared(Arc::from(&b"body"[..]));
            let mut received = Vec::new();
            while !output.is_sent() {
                let left = output.left().concat();
                let count = portion.min(left.len());
                received.extend_from_slice(&left[..count]);
                output.sent(count);
            }
            assert_eq!(received, b"head body", "in portions of {portion}");
            assert_eq!(output.left(), [b"", b""]);
        }
    }
}
