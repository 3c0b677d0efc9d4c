//! After login: bytes from one stream to the other, without the session.

use crate::{
    buffer::{self, Lent},
    stream::Stream,
    wait::{Interest, Level, Stop, Wait},
};
use proxy_proto::Side;
use proxy_runtime::{Course, Failure, Progress, Relayed, SessionRecord, Why, pace::Bulk};
use std::{
    io,
    time::{Duration, Instant},
};

/// Bytes that one direction may move before the other one has its turn.
const QUANTUM: usize = 256 * 1024;

/// Relays until both sides have ended. A side's EOF is passed on once its bytes are out. At shutdown nothing is injected,
/// which could land inside a message: the client is no longer read, the server's bytes are drained for at most `drain`.
pub(crate) fn relay(
    client: Stream,
    server: Stream,
    stop: &Stop,
    drain: Duration,
    record: &SessionRecord,
) -> Relayed {
    let mut relay = Relay {
        client,
        server,
        up: Direction::default(),
        down: Direction::default(),
        course: Course::default(),
        bulk: Bulk::default(),
    };
    let why = loop {
        if let Some(why) = relay.turn(stop, drain, record) {
            break why;
        }
    };
    if why.leaves_open() {
        relay.close();
    }
    Relayed {
        up: relay.up.moved,
        down: relay.down.moved,
        why,
    }
}

struct Relay {
    client: Stream,
    server: Stream,
    up: Direction,
    down: Direction,
    course: Course,
    bulk: Bulk,
}

impl Relay {
    /// Moves what can be moved and waits for more; `Some` at the end.
    fn turn(&mut self, stop: &Stop, drain: Duration, record: &SessionRecord) -> Option<Why> {
        match stop.level() {
            Level::Running => {}
            Level::Draining => {
                if self.course.drain(drain) {
                    self.up.no_more = true;
                }
            }
            Level::Cut => return Some(Why::Stopped),
        }

        let (up, down) = (self.up.moved, self.down.moved);
        let up_waits = self
            .up
            .go_on(&mut self.client, &mut self.server, &mut self.bulk);
        let up_waits = up_waits.unwrap_or_else(|failure| self.broke(Side::Client, failure));
        let down_waits = self
            .down
            .go_on(&mut self.server, &mut self.client, &mut self.bulk);
        let down_waits = down_waits.unwrap_or_else(|failure| self.broke(Side::Server, failure));
        let before = up + down;
        let (up, down) = (self.up.since(up), self.down.since(down));
        if up.moved || down.moved {
            record.relayed(self.down.moved, self.up.moved);
            self.bulk.moved(self.up.moved + self.down.moved - before);
        }
        if let Some(why) = self.course.after(up, down) {
            return Some(why);
        }
        if up_waits != Waits::Turn && down_waits != Waits::Turn {
            self.wait(up_waits, down_waits, stop);
        }
        None
    }

    fn wait(&self, up: Waits, down: Waits, stop: &Stop) {
        let client = Interest {
            read: up == Waits::Source,
            write: down == Waits::Sink,
        };
        let server = Interest {
            read: down == Waits::Source,
            write: up == Waits::Sink,
        };
        let mut wait = Wait::default();
        wait.stream(&self.client, client);
        wait.stream(&self.server, server);
        wait.readable(stop.beyond(match self.course.is_draining() {
            true => Level::Draining,
            false => Level::Running,
        }));
        if let Some(until) = self.course.silent_until() {
            wait.until(until);
        }
        wait.wait();
    }

    fn broke(&mut self, from: Side, failure: Failure) -> Waits {
        if self.course.broke(from, failure) {
            match from {
                Side::Client => self.down.give_up(),
                Side::Server => self.up.give_up(),
            }
        }
        Waits::Turn
    }

    /// close_notify and the end of both write halves, as far as the peers let us.
    fn close(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(1);
        loop {
            let blocks = |result: io::Result<()>| matches!(result, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
            let client = blocks(self.client.close());
            let server = blocks(self.server.close());
            if (!client && !server) || Instant::now() >= deadline {
                return;
            }
            let writable = |write| Interest { read: false, write };
            let mut wait = Wait::default();
            wait.stream(&self.client, writable(client));
            wait.stream(&self.server, writable(server));
            wait.until(deadline);
            wait.wait();
        }
    }
}

/// What a direction needs to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    /// Bytes from its source.
    Source,
    /// Room at its sink.
    Sink,
    /// Nothing; it stopped for the other one.
    Turn,
    /// Nothing, ever.
    Never,
}

/// One direction of a relay.
#[derive(Default)]
struct Direction {
    /// Borrowed only while bytes are in it: `start..end`.
    buffer: Option<Lent>,
    start: usize,
    end: usize,
    /// The source has ended.
    ended: bool,
    /// The source is no longer to be read, but the sink stays open.
    no_more: bool,
    /// Why the source cannot be read any more.
    failure: Option<io::Error>,
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

    /// Moves bytes until one of the streams is not ready or the quantum is used up. A source that is not read because its
    /// sink is full feels it as back-pressure.
    fn go_on(
        &mut self,
        from: &mut Stream,
        to: &mut Stream,
        bulk: &mut Bulk,
    ) -> Result<Waits, Failure> {
        let mut left = QUANTUM;
        while !self.finished {
            while let Some(buffer) = &self.buffer {
                match to.write(&buffer[self.start..self.end]) {
                    Ok(count) => {
                        self.start += count;
                        self.moved += count as u64;
                        left = left.saturating_sub(count);
                        if self.start == self.end {
                            self.buffer = None;
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        return Ok(Waits::Sink);
                    }
                    Err(error) => {
                        self.give_up();
                        return Err(Failure::Write(error));
                    }
                }
            }
            if self.ended {
                match to.close() {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        return Ok(Waits::Sink);
                    }
                    // The peer's own end may come first: then there is nobody to tell.
                    _ => self.finished = true,
                }
                return match self.failure.take() {
                    Some(error) => Err(Failure::Read(error)),
                    None => Ok(Waits::Turn),
                };
            }
            match to.flush() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Waits::Sink),
                Err(error) => {
                    self.give_up();
                    return Err(Failure::Write(error));
                }
                Ok(()) => {}
            }
            if self.no_more {
                return Ok(Waits::Never);
            }
            if left == 0 {
                bulk.give_way();
                return Ok(Waits::Turn);
            }
            self.fill(from);
            if self.buffer.is_none() && !self.ended {
                return Ok(Waits::Source);
            }
        }
        Ok(Waits::Never)
    }

    /// Reads what is there at once. Without any byte, `ended` is set or there is nothing yet.
    fn fill(&mut self, from: &mut Stream) {
        let mut buffer = buffer::lend();
        self.start = 0;
        self.end = 0;
        loop {
            match from.read(&mut buffer[self.end..]) {
                Ok(0) => self.ended = true,
                Ok(count) => {
                    self.end += count;
                    if self.end < buffer.len() && from.has_more() {
                        continue;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    self.ended = true;
                    self.failure = Some(error);
                }
            }
            break;
        }
        if self.end > 0 {
            self.buffer = Some(buffer);
        }
    }
}
