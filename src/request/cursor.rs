//! Reading a body and writing what it decodes to, in one buffer.

/// Where one call reads and writes in its input. `to` never overtakes `from`.
pub(super) struct Cursor<'a> {
    pub(super) input: &'a mut [u8],

    /// The next byte as the peer sent it.
    pub(super) from: usize,

    /// Where the next byte of the decoded body goes.
    pub(super) to: usize,

    /// Bytes of the body taken so far, by all calls.
    pub(super) taken: usize,

    /// Else bytes are taken but not written.
    pub(super) keep: bool,
}

impl Cursor<'_> {
    /// Takes the next byte, which is not part of the decoded body.
    pub(super) fn next(&mut self) -> Option<u8> {
        let byte = self.input.get(self.from).copied()?;
        self.from += 1;
        Some(byte)
    }

    /// Takes up to `count` bytes of body, as many as are there; returns how many.
    pub(super) fn take(&mut self, count: usize) -> usize {
        let count = count.min(self.input.len() - self.from);
        let end = self.from + count;
        if self.keep {
            if self.from != self.to {
                self.input.copy_within(self.from..end, self.to);
            }
            self.to += count;
        }
        self.from = end;
        self.taken += count;
        count
    }
}
