//! Each thread's stock of buffers.

use proxy_runtime::Stock;
use std::cell::RefCell;

/// Buffers that a thread keeps for the next session that has something to do: what was read, and what comes of it.
const KEPT: usize = 2;

thread_local! {
    static FREE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

pub(crate) struct OfThread;

pub(crate) type Lent = proxy_runtime::Lent<OfThread>;

impl Stock for OfThread {
    fn take() -> Option<Box<[u8]>> {
        FREE.with(|free| free.borrow_mut().pop())
    }

    fn give_back(buffer: Box<[u8]>) {
        // A thread that is ending has no stock any more: then the buffer is simply freed.
        let _ = FREE.try_with(|free| {
            let mut free = free.borrow_mut();
            if free.len() < KEPT {
                free.push(buffer);
            }
        });
    }
}
