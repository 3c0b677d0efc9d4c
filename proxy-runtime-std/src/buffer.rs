//! The process's stock of buffers.

use proxy_runtime::Stock;
use std::sync::{Mutex, PoisonError};

/// Buffers kept for whoever has something to do next.
const KEPT: usize = 8;

static FREE: Mutex<Vec<Box<[u8]>>> = Mutex::new(Vec::new());

pub(crate) struct OfProcess;

pub(crate) type Lent = proxy_runtime::Lent<OfProcess>;

impl Stock for OfProcess {
    fn take() -> Option<Box<[u8]>> {
        FREE.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn give_back(buffer: Box<[u8]>) {
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < KEPT {
            free.push(buffer);
        }
    }
}
