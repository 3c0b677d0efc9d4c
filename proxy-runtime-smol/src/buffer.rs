//! Buffers that are borrowed only while there are bytes in them, so that an idle session holds none.

use std::{
    cell::RefCell,
    ops::{Deref, DerefMut},
};

/// Plaintext moved at once: eight TLS records of 16 KiB. One system call serves all of them.
pub(crate) const PLAINTEXT: usize = 128 * 1024;

/// Bytes in one buffer: [`PLAINTEXT`] and all that TLS adds to it, with a little room for alerts and key updates.
pub(crate) const SIZE: usize = PLAINTEXT + 4 * 1024;

/// Buffers that a thread keeps for the next session that has something to do: what was read, and what comes of it.
const KEPT: usize = 2;

thread_local! {
    static FREE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer of [`SIZE`] bytes with undefined content; it returns to its thread's stock when dropped.
pub(crate) struct Lent(Box<[u8]>);

pub(crate) fn lend() -> Lent {
    let free = FREE.with(|free| free.borrow_mut().pop());
    Lent(free.unwrap_or_else(|| vec![0; SIZE].into_boxed_slice()))
}

impl Deref for Lent {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.0);
        // A thread that is ending has no stock any more: then the buffer is simply freed.
        let _ = FREE.try_with(|free| {
            let mut free = free.borrow_mut();
            if free.len() < KEPT {
                free.push(bytes);
            }
        });
    }
}
