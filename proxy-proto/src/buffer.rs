//! Bytes that wait to be written, and bytes that wait to be understood.

/// Bytes on their way out. Written bytes are cut off lazily, so that progress costs no copy.
#[derive(Default)]
pub(crate) struct SendBuffer {
    bytes: Vec<u8>,
    sent: usize,
}

impl SendBuffer {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.sent > 0 && (self.sent == self.bytes.len() || self.sent >= 16 * 1024) {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn pending(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `written` beyond what is pending counts as all of it.
    pub(crate) fn advance(&mut self, written: usize) {
        self.sent = self.sent.saturating_add(written).min(self.bytes.len());
        if self.sent == self.bytes.len() {
            self.clear();
        }
    }

    /// Forgets everything; a large allocation is given back, since an idle session should not keep it.
    pub(crate) fn clear(&mut self) {
        self.sent = 0;
        if self.bytes.capacity() > 16 * 1024 {
            self.bytes = Vec::new();
        } else {
            self.bytes.clear();
        }
    }
}

/// Received bytes that do not yet make up a frame, or that must wait.
#[derive(Default)]
pub(crate) struct ReceiveBuffer {
    bytes: Vec<u8>,
}

impl ReceiveBuffer {
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Lends the bytes out; [`restore`](Self::restore) takes back what was not used.
    pub(crate) fn lend(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    pub(crate) fn restore(&mut self, mut bytes: Vec<u8>, used: usize) {
        bytes.drain(..used);
        if bytes.is_empty() && bytes.capacity() > 16 * 1024 {
            bytes = Vec::new();
        }
        bytes.append(&mut self.bytes);
        self.bytes = bytes;
    }

    pub(crate) fn clear(&mut self) {
        self.bytes = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sent_bytes_leave_in_order() {
        let mut buffer = SendBuffer::default();
        buffer.push(b"abc");
        buffer.advance(2);
        buffer.push(b"def");
        assert_eq!(buffer.pending(), b"cdef");
        buffer.advance(1);
        buffer.advance(usize::MAX);
        assert!(buffer.is_empty());
    }

    #[test]
    fn unused_bytes_come_back_in_front() {
        let mut buffer = ReceiveBuffer::default();
        buffer.push(b"abcdef");
        let lent = buffer.lend();
        buffer.push(b"ghi");
        buffer.restore(lent, 4);
        assert_eq!(buffer.lend(), b"efghi");
    }
}
