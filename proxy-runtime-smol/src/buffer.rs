//! Buffers that are borrowed only while there are bytes in them, so that an idle session holds none.

use proxy_runtime::{BUFFER, Lend};
use std::{
    cell::RefCell,
    ops::{Deref, DerefMut},
};

/// Buffers that a thread keeps for the next session that has something to do: what was read, and what comes of it.
const KEPT: usize = 2;

thread_local! {
    static FREE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer of the thread's.
pub(crate) struct Lent(Box<[u8]>);

impl Lend for Lent {
    fn lend() -> Self {
        let free = FREE.with(|free| free.borrow_mut().pop());
        Lent(free.unwrap_or_else(|| vec![0; BUFFER].into_boxed_slice()))
    }
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
