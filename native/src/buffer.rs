//! A byte queue that holds no memory while it is empty.

#[derive(Default)]
pub struct Buffer {
    data: Vec<u8>,
    start: usize,
}

impl Buffer {
    pub fn len(&self) -> usize {
        self.data.len() - self.start
    }

    pub fn is_empty(&self) -> bool {
        self.start == self.data.len()
    }

    pub fn as_slice(&self) -> &[u8] {
        &self.data[self.start..]
    }

    pub fn extend(&mut self, bytes: &[u8]) {
        // What was consumed goes before more memory is asked for.
        if self.start > self.len() && self.data.capacity() - self.data.len() < bytes.len() {
            self.data.drain(..self.start);
            self.start = 0;
        }
        self.data.extend_from_slice(bytes);
    }

    pub fn reserve(&mut self, additional: usize) {
        self.data.reserve(additional);
    }

    /// Drops the first `count` bytes; an emptied buffer gives its memory back.
    pub fn consume(&mut self, count: usize) {
        self.start += count;
        if self.is_empty() {
            *self = Buffer::default();
        }
    }

    /// Copies out at most `limit` bytes.
    pub fn take(&mut self, limit: usize) -> Vec<u8> {
        let taken = self.as_slice()[..limit.min(self.len())].to_vec();
        self.consume(taken.len());
        taken
    }

    /// Like `consume`, but keeps the memory: for a buffer that is only borrowed (see `borrow`).
    pub fn advance(&mut self, count: usize) {
        self.start += count;
    }

    /// Continues in the memory of `scratch`, which must be empty: what was waiting is copied to its front.
    pub fn borrow(&mut self, scratch: &mut Vec<u8>) {
        debug_assert!(scratch.is_empty());
        scratch.extend_from_slice(self.as_slice());
        self.start = 0;
        std::mem::swap(&mut self.data, scratch);
        *scratch = Vec::new();
    }

    /// Gives borrowed memory back; what is left moves to memory of the buffer's own.
    pub fn give_back(&mut self, scratch: &mut Vec<u8>) {
        let rest = if self.is_empty() { Vec::new() } else { self.as_slice().to_vec() };
        *scratch = std::mem::replace(&mut self.data, rest);
        scratch.clear();
        self.start = 0;
    }

    /// The memory behind the bytes, to be filled from its end on; the bytes move to its front first.
    pub fn tail(&mut self) -> &mut Vec<u8> {
        if self.start > 0 {
            self.data.drain(..self.start);
            self.start = 0;
        }
        &mut self.data
    }
}

#[cfg(test)]
mod tests {
    use super::Buffer;

    #[test]
    fn an_emptied_buffer_holds_no_memory() {
        let mut buffer = Buffer::default();
        buffer.extend(b"abcdef");
        assert_eq!(buffer.take(4), b"abcd");
        assert_eq!(buffer.as_slice(), b"ef");
        buffer.consume(2);
        assert_eq!(buffer.data.capacity(), 0);
    }

    #[test]
    fn borrowed_memory_goes_back_and_what_is_left_stays() {
        let mut scratch = Vec::with_capacity(100);
        let mut buffer = Buffer::default();
        buffer.extend(b"ab");
        buffer.borrow(&mut scratch);
        buffer.tail().extend_from_slice(b"cdef");
        buffer.advance(3);
        buffer.give_back(&mut scratch);
        assert_eq!(buffer.as_slice(), b"def");
        assert_eq!(buffer.data.capacity(), 3);
        assert!(scratch.is_empty() && scratch.capacity() >= 100);
    }
}
