//! What may look at, and change, the bytes of an open session.
//!
//! A [`Filter`] stands between client and server once the login has succeeded. It does no IO either: bytes go in, and a
//! verdict and further bytes come out. A [`Chain`] is several of them in a row. A session whose configuration has
//! [`Filters`] makes its own chain when the server has accepted the login, takes everything through it from the server's
//! final answer on, and never announces [`Event::Relay`](crate::Event::Relay): its driver goes on as before.
//!
//! ```text
//!   client  ──▶ [0] ──▶ [1] ──▶ [2] ──▶  server
//!           ◀── [0] ◀── [1] ◀── [2] ◀──
//! ```
//!
//! What a filter sends by itself goes on from its own place: towards the server to the filters behind it, towards the
//! client to those before it.
//!
//! ```
//! use proxy_proto::{Side, filter::{Chain, Failed, Filter, Output, Verdict}};
//!
//! struct Shout;
//!
//! impl Filter for Shout {
//!     fn bytes(&mut self, from: Side, bytes: &[u8], out: &mut Output) -> Result<Verdict, Failed> {
//!         if from == Side::Server {
//!             return Ok(Verdict::Keep);
//!         }
//!         out.send(Side::Server, &bytes.to_ascii_uppercase());
//!         Ok(Verdict::Taken)
//!     }
//! }
//!
//! let mut chain = Chain::new(vec![Box::new(Shout)]);
//! let mut to_server = Vec::new();
//! chain.pass(Side::Client, b"noop\r\n", &mut |_, bytes| to_server.extend_from_slice(bytes))?;
//! assert_eq!(to_server, b"NOOP\r\n");
//! # Ok::<(), Failed>(())
//! ```

mod framed;

pub use framed::{Bounds, Change, Command, Message, Response, Units, Wants, framed};

use crate::{Side, messages};
use std::{collections::VecDeque, fmt, sync::Arc};

/// Most bytes that the filters of a chain may put out for one piece of input, unless [`Chain::limit_output`] says
/// otherwise: for each filter.
pub const OUTPUT_LIMIT: usize = 16 * 1024 * 1024;

/// What each piece of output counts beyond its bytes, so that filters that answer each other come to an end.
const PIECE: usize = 64;

/// Something between the client and the server of one session.
///
/// A filter sees bytes in the order in which they pass, cut anywhere. An error ends the session.
pub trait Filter: Send {
    /// The login has succeeded; nothing has passed yet.
    ///
    /// # Errors
    /// When the filter cannot do its work.
    fn open(&mut self, _out: &mut Output) -> Result<(), Failed> {
        Ok(())
    }

    /// Takes bytes that came from this side. What the filter puts out goes before bytes that it keeps.
    ///
    /// # Errors
    /// When the filter cannot do its work.
    fn bytes(&mut self, from: Side, bytes: &[u8], out: &mut Output) -> Result<Verdict, Failed>;

    /// This side will send nothing more: what was held of its bytes must be let go.
    ///
    /// # Errors
    /// When the filter cannot do its work.
    fn end(&mut self, _from: Side, _out: &mut Output) -> Result<(), Failed> {
        Ok(())
    }

    /// Whether this side may be read. A filter that waits for the other side says `false`, and must then take, and hold,
    /// only what had been read already.
    fn ready(&self, _from: Side) -> bool {
        true
    }
}

/// What becomes of the bytes that a filter was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They go on, all of them, without being copied.
    Keep,
    /// The filter has taken them: what goes on is what it put out.
    Taken,
}

/// Why a filter gave up: one line that names the filter, fit for a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed(pub String);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failed {}

/// What a filter sends, in order.
#[derive(Debug, Default)]
pub struct Output {
    pieces: Vec<(Side, Vec<u8>)>,
    left: usize,
    exceeded: bool,
}

impl Output {
    /// An output that takes this many bytes.
    pub fn new(limit: usize) -> Self {
        Output {
            pieces: Vec::new(),
            left: limit,
            exceeded: false,
        }
    }

    /// Sends bytes to this side. Beyond the limit they are dropped, and the session ends when the filter returns.
    pub fn send(&mut self, to: Side, bytes: &[u8]) {
        if bytes.is_empty() || !self.admits(bytes.len()) {
            return;
        }
        match self.pieces.last_mut() {
            Some((side, piece)) if *side == to => piece.extend_from_slice(bytes),
            _ => self.pieces.push((to, bytes.to_vec())),
        }
    }

    /// As [`send`](Self::send), without a copy where that can be.
    pub fn send_owned(&mut self, to: Side, bytes: Vec<u8>) {
        if self.pieces.last().is_some_and(|(side, _)| *side == to) {
            self.send(to, &bytes);
        } else if !bytes.is_empty() && self.admits(bytes.len()) {
            self.pieces.push((to, bytes));
        }
    }

    /// What was sent, in order; neighbouring pieces are to different sides.
    pub fn take(&mut self) -> Vec<(Side, Vec<u8>)> {
        std::mem::take(&mut self.pieces)
    }

    /// Whether nothing was sent.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    fn admits(&mut self, len: usize) -> bool {
        match self.left.checked_sub(len.saturating_add(PIECE)) {
            Some(left) => self.left = left,
            None => self.exceeded = true,
        }
        !self.exceeded
    }
}

/// Filters in a row, the client's neighbour first.
pub struct Chain {
    filters: Vec<Box<dyn Filter>>,
    limit: usize,
}

impl Chain {
    /// A chain of these filters; without any, everything passes.
    pub fn new(filters: Vec<Box<dyn Filter>>) -> Self {
        Chain {
            filters,
            limit: OUTPUT_LIMIT,
        }
    }

    /// Lets each filter put out so many bytes for one piece of input, on average over the chain.
    pub fn limit_output(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }

    /// Tells the filters that the session is open. What they send passes the others, whether these have been told or not:
    /// all of them are told first.
    ///
    /// # Errors
    /// The first filter's that fails.
    pub fn open(&mut self, sink: &mut dyn FnMut(Side, &[u8])) -> Result<(), Failed> {
        let mut work = Work::new(self);
        for at in 0..self.filters.len() {
            self.filters[at].open(&mut work.out)?;
            work.sent(at)?;
        }
        self.finish(work, sink)
    }

    /// Takes bytes that came from this side through the chain; `sink` gets what comes out, in order.
    ///
    /// # Errors
    /// The first filter's that fails, or when the filters put out too much. The chain must not be used any more then.
    pub fn pass(
        &mut self,
        from: Side,
        bytes: &[u8],
        sink: &mut dyn FnMut(Side, &[u8]),
    ) -> Result<(), Failed> {
        let mut work = Work::new(self);
        self.step(self.entrance(from), from, bytes, &mut work, sink)?;
        self.finish(work, sink)
    }

    /// This side will send nothing more. Each filter lets go what it holds of it before the next one is told.
    ///
    /// # Errors
    /// As those of [`pass`](Self::pass).
    pub fn end(&mut self, from: Side, sink: &mut dyn FnMut(Side, &[u8])) -> Result<(), Failed> {
        let mut work = Work::new(self);
        let count = self.filters.len();
        for nth in 0..count {
            let at = match from {
                Side::Client => nth,
                Side::Server => count - 1 - nth,
            };
            self.filters[at].end(from, &mut work.out)?;
            work.sent(at)?;
            self.work_off(&mut work, sink)?;
        }
        Ok(())
    }

    /// Whether this side may be read.
    pub fn ready(&self, from: Side) -> bool {
        self.filters.iter().all(|filter| filter.ready(from))
    }

    /// How many filters are behind us when bytes of this side come in.
    fn entrance(&self, from: Side) -> usize {
        match from {
            Side::Client => 0,
            Side::Server => self.filters.len(),
        }
    }

    /// Bytes on their way, at the gap `at`: between the filters `at - 1` and `at`.
    fn step(
        &mut self,
        mut at: usize,
        from: Side,
        bytes: &[u8],
        work: &mut Work,
        sink: &mut dyn FnMut(Side, &[u8]),
    ) -> Result<(), Failed> {
        loop {
            let (next, beyond) = match from {
                Side::Client => (at, at + 1),
                Side::Server => (at.wrapping_sub(1), at.wrapping_sub(1)),
            };
            let Some(filter) = self.filters.get_mut(next) else {
                sink(from.other(), bytes);
                return Ok(());
            };
            let verdict = filter.bytes(from, bytes, &mut work.out)?;
            work.sent(next)?;
            if verdict == Verdict::Taken {
                return Ok(());
            }
            if !work.queue.is_empty() {
                work.queue.push_back((beyond, from, bytes.to_vec()));
                return Ok(());
            }
            at = beyond;
        }
    }

    fn work_off(
        &mut self,
        work: &mut Work,
        sink: &mut dyn FnMut(Side, &[u8]),
    ) -> Result<(), Failed> {
        // First come, first served: that keeps the order between any two neighbours.
        while let Some((at, from, bytes)) = work.queue.pop_front() {
            self.step(at, from, &bytes, work, sink)?;
        }
        Ok(())
    }

    fn finish(&mut self, mut work: Work, sink: &mut dyn FnMut(Side, &[u8])) -> Result<(), Failed> {
        self.work_off(&mut work, sink)
    }
}

/// What one piece of input has set going.
struct Work {
    out: Output,
    /// Gap, origin, bytes.
    queue: VecDeque<(usize, Side, Vec<u8>)>,
}

impl Work {
    fn new(chain: &Chain) -> Self {
        Work {
            out: Output::new(chain.limit.saturating_mul(chain.filters.len().max(1))),
            queue: VecDeque::new(),
        }
    }

    /// Sends what the filter `at` has put out on its way.
    fn sent(&mut self, at: usize) -> Result<(), Failed> {
        if self.out.exceeded {
            return Err(Failed(messages::PLUGINS_WITHOUT_END.to_owned()));
        }
        for (to, bytes) in self.out.pieces.drain(..) {
            let gap = match to {
                Side::Server => at + 1,
                Side::Client => at,
            };
            self.queue.push_back((gap, to.other(), bytes));
        }
        Ok(())
    }
}

/// What is known of a session when its chain is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The login name that the client gave.
    pub login: Arc<str>,
    /// The identity sent upstream.
    pub user: Arc<str>,
}

/// Makes a chain for one session.
type Make = dyn Fn(&Opened) -> Result<Chain, Failed> + Send + Sync;

/// Makes the chains of a listener's sessions.
#[derive(Clone)]
pub struct Filters(Arc<Make>);

impl Filters {
    /// `make` is called when a login has succeeded.
    pub fn new(make: impl Fn(&Opened) -> Result<Chain, Failed> + Send + Sync + 'static) -> Self {
        Filters(Arc::new(make))
    }

    /// The chain of one session.
    ///
    /// # Errors
    /// When a filter cannot be made.
    pub fn chain(&self, opened: &Opened) -> Result<Chain, Failed> {
        (self.0)(opened)
    }
}

impl fmt::Debug for Filters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Filters")
    }
}

#[cfg(test)]
mod tests;
