//! Log spans of sessions that are many threads.
//!
//! The registry of tracing-subscriber gives each thread that begins or ends a span a number of its own, of which there are
//! 4,096: one thread more panics. Threads that only are in a span, or log in one, need none. So a session's span begins on
//! the thread that accepts, and ends on a thread that does nothing else.

use std::{
    io,
    ops::Deref,
    sync::mpsc::{self, Sender},
    thread,
};
use tracing::Span;

/// Where spans end.
#[derive(Clone)]
pub(crate) struct Spans(Option<Sender<Span>>);

impl Spans {
    /// Starts the thread on which they end. It ends itself when the last span has.
    pub(crate) fn start() -> io::Result<Self> {
        let (sender, ended) = mpsc::channel::<Span>();
        thread::Builder::new()
            .name("spans".to_owned())
            .stack_size(crate::workers::STACK)
            .spawn(move || ended.into_iter().for_each(drop))?;
        Ok(Spans(Some(sender)))
    }

    /// They end wherever they are dropped: right for a few sessions.
    pub(crate) fn anywhere() -> Self {
        Spans(None)
    }

    /// Makes sure that `span` does not end on the thread that drops it.
    pub(crate) fn lend(&self, span: Span) -> Lent {
        Lent {
            span,
            ended: self.clone(),
        }
    }
}

/// A span that ends elsewhere.
pub(crate) struct Lent {
    span: Span,
    ended: Spans,
}

impl Deref for Lent {
    type Target = Span;

    fn deref(&self) -> &Span {
        &self.span
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Spans(Some(ended)) = &self.ended {
            let span = std::mem::replace(&mut self.span, Span::none());
            // The thread is there as long as anybody may send to it.
            let _ = ended.send(span);
        }
    }
}
