//! How the acceptor's tables and the kernel's events know a connection.

/// A slot in the room, and which of the connections that had it is meant.
///
/// File descriptors are reused at once, slots too: an event or a late reply for a connection that
/// has gone must not reach its successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    index: u32,
    generation: u32,
}

/// What an event of the poller is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// The inbox was rung.
    Inbox,
    /// The listener with this number has something to accept.
    Listener(u32),
    /// A connection is ready.
    Connection(Token),
}

/// Generations that mean something else in a [`Key`]; no slot ever has them.
const INBOX: u32 = u32::MAX;
const LISTENER: u32 = u32::MAX - 1;

impl Token {
    pub(super) fn new(index: u32, generation: u32) -> Self {
        Self { index, generation }
    }

    /// The slot.
    pub(super) fn index(self) -> usize {
        self.index as usize
    }

    /// The next connection's that has this slot.
    pub(super) fn next(self) -> Self {
        let is_last = self.generation + 1 == LISTENER;
        let generation = if is_last { 0 } else { self.generation + 1 };
        Self { generation, ..self }
    }
}

impl From<Token> for u64 {
    fn from(token: Token) -> Self {
        Key::Connection(token).into()
    }
}

impl From<u64> for Token {
    #[allow(
        clippy::cast_possible_truncation,
        reason = "the two halves of the number"
    )]
    fn from(data: u64) -> Self {
        Self {
            generation: (data >> 32) as u32,
            index: data as u32,
        }
    }
}

impl From<Key> for u64 {
    fn from(key: Key) -> Self {
        let (generation, index) = match key {
            Key::Inbox => (INBOX, 0),
            Key::Listener(number) => (LISTENER, number),
            Key::Connection(token) => (token.generation, token.index),
        };
        u64::from(generation) << 32 | u64::from(index)
    }
}

impl From<u64> for Key {
    fn from(data: u64) -> Self {
        let token = Token::from(data);
        match token.generation {
            INBOX => Self::Inbox,
            LISTENER => Self::Listener(token.index),
            _ => Self::Connection(token),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_the_kernel() {
        let last = Token::new(u32::MAX, LISTENER - 1);
        for key in [Key::Inbox, Key::Listener(7), Key::Connection(last)] {
            assert_eq!(Key::from(u64::from(key)), key);
        }
    }

    #[test]
    fn generations_go_round_and_never_mean_something_else() {
        assert_eq!(Token::new(7, 0).next(), Token::new(7, 1));
        assert_eq!(Token::new(7, LISTENER - 1).next(), Token::new(7, 0));
    }
}
