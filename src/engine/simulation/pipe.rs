//! Bytes in a row: what a kernel holds of them, or what is under way.

/// Bytes that come out in the order in which they went in.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    bytes: Vec<u8>,

    /// How many of them are out.
    out: usize,
}

impl Pipe {
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.out
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.out = 0;
    }

    pub(super) fn put(&mut self, bytes: &[u8]) {
        if self.is_empty() {
            self.clear();
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The first so many bytes.
    pub(super) fn take(&mut self, count: usize) -> &[u8] {
        self.out += count;
        &self.bytes[self.out - count..self.out]
    }
}
