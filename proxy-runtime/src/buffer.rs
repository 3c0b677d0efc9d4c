//! Buffers that are borrowed only while there are bytes in them, so that an idle session holds none.

use std::{
    marker::PhantomData,
    ops::{Deref, DerefMut},
};

/// Bytes of plaintext moved at once. With what TLS adds to them they fill two of the largest packets that systems make of a write,
/// whatever the network's are (64 KiB less headers each): a few bytes more would be a third one, which costs as much as
/// the others. And they are what is left of eight TLS records when the last one has not come whole.
pub const PLAINTEXT: usize = 126 * 1024;

/// Bytes in one buffer: [`PLAINTEXT`] and all that TLS adds to it, with a little room for alerts and key updates.
pub const BUFFER: usize = PLAINTEXT + 4 * 1024;

/// Where a runtime keeps a few buffers for whoever has something to do next.
pub trait Stock {
    /// One that was kept, if there is any.
    fn take() -> Option<Box<[u8]>>;

    /// Keeps one, or frees it.
    fn give_back(buffer: Box<[u8]>);
}

/// A buffer of [`BUFFER`] bytes, which returns to its stock when dropped.
pub struct Lent<S: Stock> {
    bytes: Box<[u8]>,
    stock: PhantomData<S>,
}

impl<S: Stock> Lent<S> {
    /// With undefined content.
    pub fn lend() -> Self {
        Lent {
            bytes: S::take().unwrap_or_else(|| vec![0; BUFFER].into_boxed_slice()),
            stock: PhantomData,
        }
    }
}

impl<S: Stock> Deref for Lent<S> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl<S: Stock> DerefMut for Lent<S> {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl<S: Stock> Drop for Lent<S> {
    fn drop(&mut self) {
        S::give_back(std::mem::take(&mut self.bytes));
    }
}
