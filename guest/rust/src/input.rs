//! What was read and is not yet taken by a codec: one buffer, used again and again.

/// Bytes that wait for a codec, and the room for the next read.
pub(crate) struct Input {
    bytes: Vec<u8>,
    /// The bytes that wait are those from `start` to `end`.
    start: usize,
    end: usize,
    read_size: usize,
}

impl Input {
    /// Holds `first` already. Each read gets room for `read_size` bytes, at least one.
    pub(crate) fn new(first: Vec<u8>, read_size: usize) -> Self {
        Input {
            start: 0,
            end: first.len(),
            bytes: first,
            read_size: read_size.max(1),
        }
    }

    /// The bytes that wait.
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Takes `length` bytes off the start. There must be as many.
    pub(crate) fn consume(&mut self, length: usize) {
        debug_assert!(length <= self.end - self.start);
        self.start += length;
        if self.start >= self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// The room for the next read. What waits moves only if there is no room behind it.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        if self.bytes.len() < self.end + self.read_size {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.bytes.len() < self.end + self.read_size {
            // Whole pieces, so that a rest of another size does not grow it again.
            let pieces = (self.end + self.read_size - 1) / self.read_size + 1;
            self.bytes.resize(pieces * self.read_size, 0);
        }
        &mut self.bytes[self.end..self.end + self.read_size]
    }

    /// Adds the `length` bytes that a read has put into the room.
    pub(crate) fn add(&mut self, length: usize) {
        self.end += length.min(self.read_size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(input: &mut Input, bytes: &[u8]) {
        input.room()[..bytes.len()].copy_from_slice(bytes);
        input.add(bytes.len());
    }

    #[test]
    fn what_is_left_stays_before_what_comes() {
        let mut input = Input::new(b"ab".to_vec(), 4);
        assert_eq!(input.as_slice(), b"ab");
        add(&mut input, b"cdef");
        input.consume(3);
        add(&mut input, b"ghij");
        assert_eq!(input.as_slice(), b"defghij");
        input.consume(7);
        assert_eq!(input.as_slice(), b"");
    }

    #[test]
    fn it_does_not_grow_as_long_as_as_much_is_taken_as_comes() {
        let mut input = Input::new(Vec::new(), 8);
        for round in 0..100 {
            add(&mut input, &[round; 8]);
            let rest = usize::from(round) % 5;
            input.consume(input.as_slice().len() - rest);
            assert_eq!(input.as_slice(), vec![round; rest]);
        }
        assert_eq!(input.bytes.len(), 16);
    }

    #[test]
    fn each_read_gets_the_same_room() {
        let mut input = Input::new(Vec::new(), 3);
        for _ in 0..10 {
            assert_eq!(input.room().len(), 3);
            add(&mut input, b"xy");
        }
        assert_eq!(input.as_slice().len(), 20);
    }
}
