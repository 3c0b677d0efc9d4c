//! Buffers that are borrowed only while there are bytes in them, so that an idle session holds none.

use proxy_runtime::{BUFFER, Lend};
use std::{
    ops::{Deref, DerefMut},
    sync::{Mutex, PoisonError},
};

/// Buffers kept for whoever has something to do next.
const KEPT: usize = 8;

static FREE: Mutex<Vec<Box<[u8]>>> = Mutex::new(Vec::new());

/// A buffer of the process's.
pub(crate) struct Lent(Box<[u8]>);

impl Lend for Lent {
    fn lend() -> Self {
        let free = FREE.lock().unwrap_or_else(PoisonError::into_inner).pop();
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
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < KEPT {
            free.push(bytes);
        }
    }
}
