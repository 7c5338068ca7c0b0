//! Buffers to be used again, so that an exchange allocates nothing once the server is warm: not
//! for a constant reply, nor for an echo of a small request.

/// One worker's spare buffers.
#[derive(Debug)]
pub struct Buffers {
    spare: Vec<Vec<u8>>,
}

/// Spare buffers kept: more than one worker has in hand at once, few enough to forget about.
const SPARE_MAX: usize = 64;

/// Bytes of a buffer worth keeping. Few, since the next one to use it may wait with one byte in it.
const SPARE_BYTES_MAX: usize = 4 * 1024;

impl Buffers {
    /// None spare yet.
    #[must_use]
    pub fn new() -> Self {
        Self { spare: Vec::new() }
    }

    /// An empty buffer.
    pub fn take(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    /// Takes a buffer back.
    pub fn put(&mut self, mut buffer: Vec<u8>) {
        let is_worth_it = (1..=SPARE_BYTES_MAX).contains(&buffer.capacity());
        if is_worth_it && self.spare.len() < SPARE_MAX {
            buffer.clear();
            self.spare.push(buffer);
        }
    }
}

impl Default for Buffers {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_empty_and_the_spare_ones_are_bounded() {
        let mut buffers = Buffers::new();
        buffers.put(b"old".to_vec());
        let buffer = buffers.take();
        assert!(buffer.is_empty() && buffer.capacity() >= 3);
        buffers.put(Vec::with_capacity(SPARE_BYTES_MAX + 1));
        assert_eq!(buffers.take().capacity(), 0, "a large buffer was kept");
        for _ in 0..2 * SPARE_MAX {
            buffers.put(vec![0]);
        }
        assert_eq!(buffers.spare.len(), SPARE_MAX);
    }
}
