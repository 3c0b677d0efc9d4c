//! After login: bytes from one stream to the other, without the session.

use crate::{
    buffer::Lent,
    stop::{Level, Watch},
    stream::Stream,
    timer::Timer,
};
use proxy_proto::Side;
use proxy_runtime::{
    Course, Failure, PLAINTEXT, Progress, Relayed, SessionRecord, Why, pace::Bulk,
};
use std::{
    future::{Future, poll_fn},
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

/// Bytes that one direction may move before the other sessions get their turn.
const QUANTUM: usize = PLAINTEXT;

/// Relays until both sides have ended. A side's EOF is passed on once its bytes are out. At shutdown nothing is injected,
/// which could land inside a message: the client is no longer read, the server's bytes are drained for at most `drain`.
pub(crate) fn relay(
    client: Stream,
    server: Stream,
    watch: Watch,
    drain: Duration,
    record: Arc<SessionRecord>,
) -> impl Future<Output = Relayed> + Send {
    let mut relay = Relay {
        client,
        server,
        watch,
        record,
        up: Direction::default(),
        down: Direction::default(),
        course: Course::default(),
        bulk: Bulk::default(),
        drain,
        armed: None,
    };
    async move {
        let why = poll_fn(|cx| relay.poll(cx)).await;
        if why.leaves_open() {
            Box::pin(relay.close()).await;
        }
        Relayed {
            up: relay.up.moved,
            down: relay.down.moved,
            why,
        }
    }
}

struct Relay {
    client: Stream,
    server: Stream,
    watch: Watch,
    record: Arc<SessionRecord>,
    up: Direction,
    down: Direction,
    course: Course,
    bulk: Bulk,
    drain: Duration,
    /// Only there when silence may end the relay, and for which time.
    armed: Option<(Instant, Box<Timer>)>,
}

impl Relay {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Why> {
        match self.watch.poll(cx) {
            Level::Running => {}
            Level::Draining => {
                if self.course.drain(self.drain) {
                    self.up.no_more = true;
                }
            }
            Level::Cut => return Poll::Ready(Why::Stopped),
        }

        let (up, down) = (self.up.moved, self.down.moved);
        if let Poll::Ready(Err(failure)) =
            self.up
                .poll(cx, &mut self.client, &mut self.server, &mut self.bulk)
            && self.course.broke(Side::Client, failure)
        {
            self.down.give_up();
        }
        if let Poll::Ready(Err(failure)) =
            self.down
                .poll(cx, &mut self.server, &mut self.client, &mut self.bulk)
            && self.course.broke(Side::Server, failure)
        {
            self.up.give_up();
        }
        let before = up + down;
        let (up, down) = (self.up.since(up), self.down.since(down));
        if up.moved || down.moved {
            self.record.relayed(self.down.moved, self.up.moved);
            self.bulk.moved(self.up.moved + self.down.moved - before);
        }
        if let Some(why) = self.course.after(up, down) {
            return Poll::Ready(why);
        }
        let Some(until) = self.course.silent_until() else {
            return Poll::Pending;
        };
        let timer = match &mut self.armed {
            Some((armed, timer)) if *armed == until => timer,
            armed => &mut armed.insert((until, Box::new(Timer::at(until)))).1,
        };
        ready!(Pin::new(timer).poll(cx));
        Poll::Ready(self.course.silence())
    }

    /// close_notify and the end of both write halves, as far as the peers let us.
    async fn close(&mut self) {
        let both = poll_fn(|cx| {
            let client = self.client.poll_close(cx).is_ready();
            let server = self.server.poll_close(cx).is_ready();
            match client && server {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        });
        crate::handshake::within(Duration::from_secs(1), both).await;
    }
}

/// One direction of a relay.
#[derive(Default)]
struct Direction {
    /// Borrowed only while bytes are in it: `start..end`.
    buffer: Option<Lent>,
    start: usize,
    end: usize,
    /// The source has ended, or is no longer to be read but the sink stays open.
    ended: bool,
    no_more: bool,
    /// Why the source cannot be read any more.
    failure: Option<io::Error>,
    /// TLS may hold bytes back until it is flushed; so may what the session wrote before.
    flushed: bool,
    finished: bool,
    moved: u64,
}

impl Direction {
    /// How it stands, `before` being what it had moved at the beginning of the turn.
    fn since(&self, before: u64) -> Progress {
        Progress {
            moved: self.moved > before,
            finished: self.finished,
        }
    }

    fn give_up(&mut self) {
        self.buffer = None;
        self.finished = true;
    }

    /// Moves bytes until one of the streams is not ready or the quantum is used up; the task is woken for more.
    /// A source that is not read because its sink is full feels it as back-pressure.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Stream,
        to: &mut Stream,
        bulk: &mut Bulk,
    ) -> Poll<Result<(), Failure>> {
        let mut left = QUANTUM;
        while !self.finished {
            while let Some(buffer) = &self.buffer {
                match ready!(to.poll_write(cx, &buffer[self.start..self.end])) {
                    Ok(count) => {
                        self.start += count;
                        self.moved += count as u64;
                        self.flushed = false;
                        left = left.saturating_sub(count);
                        if self.start == self.end {
                            self.buffer = None;
                        }
                    }
                    Err(error) => {
                        self.give_up();
                        return Poll::Ready(Err(Failure::Write(error)));
                    }
                }
            }
            // More is read only when all that was is out, so that a slow peer costs one buffer at most.
            if let Err(error) = ready!(self.poll_flush(cx, to)) {
                return Poll::Ready(Err(Failure::Write(error)));
            }
            if self.ended {
                // The peer's own end may come first: then there is nobody to tell.
                let _ = ready!(to.poll_close(cx));
                self.finished = true;
                return Poll::Ready(match self.failure.take() {
                    Some(error) => Err(Failure::Read(error)),
                    None => Ok(()),
                });
            }
            if self.no_more {
                return Poll::Pending;
            }
            if left == 0 {
                bulk.give_way();
                if let Err(error) = from.rest(cx) {
                    self.ended = true;
                    self.failure = Some(error);
                    continue;
                }
                return Poll::Pending;
            }
            self.fill(cx, from);
            if self.buffer.is_none() && !self.ended {
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads what is there at once. Without any byte, either the task is woken for the next one or `ended` is set.
    fn fill(&mut self, cx: &mut Context<'_>, from: &mut Stream) {
        let mut buffer = Lent::lend();
        self.start = 0;
        self.end = 0;
        loop {
            match from.poll_read(cx, &mut buffer[self.end..PLAINTEXT]) {
                Poll::Ready(Ok(0)) => self.ended = true,
                Poll::Ready(Ok(count)) => {
                    self.end += count;
                    if self.end < PLAINTEXT && from.has_more() {
                        continue;
                    }
                }
                Poll::Ready(Err(error)) => {
                    self.ended = true;
                    self.failure = Some(error);
                }
                Poll::Pending => {}
            }
            break;
        }
        if self.end > 0 {
            self.buffer = Some(buffer);
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>, to: &mut Stream) -> Poll<io::Result<()>> {
        if !self.flushed {
            if let Err(error) = ready!(to.poll_flush(cx)) {
                self.give_up();
                return Poll::Ready(Err(error));
            }
            self.flushed = true;
        }
        Poll::Ready(Ok(()))
    }
}
