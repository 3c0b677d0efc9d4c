//! After login: bytes from one stream to the other, without the session.

use crate::{
    buffer::Lent,
    stream::Stream,
    wait::{Interest, Level, Stop, Wait},
};
use proxy_proto::Side;
use proxy_runtime::{
    Course, Failure, PLAINTEXT, Progress, Relayed, SessionRecord, Why,
    pace::{self, Bulk},
};
use std::{
    io,
    net::TcpStream,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// Bytes that one direction may move before the other one has its turn.
const QUANTUM: usize = PLAINTEXT;

/// How long a thread waits for more from an idle session before it parks it. Longer than the pause between two commands of a
/// mail program, which then costs nothing.
const LINGER: Duration = Duration::from_millis(30);

/// How long a peer that takes nothing may delay the end.
const CLOSING: Duration = Duration::from_secs(1);

/// Bytes from one stream to the other, until both sides have ended. A side's EOF is passed on once its bytes are out. At
/// shutdown nothing is injected, which could land inside a message: the client is no longer read, the server's bytes are
/// drained.
pub(crate) struct Relay {
    client: Stream,
    server: Stream,
    up: Direction,
    down: Direction,
    course: Course,
    bulk: Bulk,
    /// Why it is over, and until when the streams may be closed in peace.
    ending: Option<(Why, Instant)>,
    record: Arc<SessionRecord>,
    /// How long a drain may take.
    drain: Duration,
}

/// What came of trying everything once.
pub(crate) enum Turn {
    /// There may be more to do at once.
    Again,
    /// Nothing moves before a peer does.
    Wait,
    /// The relay is over.
    Over(Relayed),
}

impl Relay {
    pub(crate) fn new(
        client: Stream,
        server: Stream,
        record: Arc<SessionRecord>,
        drain: Duration,
    ) -> Self {
        Relay {
            client,
            server,
            up: Direction::default(),
            down: Direction::default(),
            course: Course::default(),
            bulk: Bulk::default(),
            ending: None,
            record,
            drain,
        }
    }

    /// Relays on this thread until the end. With `may_park` also until the session has been [idle](Self::is_idle) for a while:
    /// then the result is `None`.
    pub(crate) fn run(&mut self, stop: &Stop, may_park: bool) -> Option<Relayed> {
        let mut moved = self.moved();
        let mut linger = Instant::now() + LINGER;
        self.news_of_all();
        loop {
            let before = self.moved();
            match self.step(stop) {
                Turn::Over(relayed) => return Some(relayed),
                Turn::Again => continue,
                Turn::Wait => {}
            }
            // A message has passed. Where its reader is about to run on this processor, the next command is there when this thread is
            // back, and it need not be put to sleep and woken for it.
            if self.moved() - before > pace::SHORT {
                thread::yield_now();
            }
            let mut wait = Wait::default();
            if may_park && self.is_idle() {
                let now = Instant::now();
                if moved != self.moved() {
                    moved = self.moved();
                    linger = now + LINGER;
                }
                if now >= linger {
                    return None;
                }
                wait.until(linger);
            }
            self.add_to(&mut wait);
            if let Some(level) = self.heard() {
                wait.readable(stop.beyond(level));
            }
            let ready = wait.wait();
            let news = self.sockets().map(|socket| ready.has(socket));
            self.up.drained &= !news[0];
            self.down.drained &= !news[1];
        }
    }

    /// Both peers may have sent something.
    fn news_of_all(&mut self) {
        self.up.drained = false;
        self.down.drained = false;
    }

    /// Whether all that it waits for are bytes of either peer, for as long as it takes.
    pub(crate) fn is_idle(&self) -> bool {
        self.ending.is_none()
            && self.course.silent_until().is_none()
            && self.up.waits == Waits::Source
            && self.down.waits == Waits::Source
    }

    /// The client's and the server's connection.
    pub(crate) fn sockets(&self) -> [&TcpStream; 2] {
        [self.client.tcp(), self.server.tcp()]
    }

    /// Moves what can be moved; nothing in here waits for anybody.
    pub(crate) fn turn(&mut self, stop: &Stop) -> Turn {
        self.news_of_all();
        self.step(stop)
    }

    /// The same, without another look at a source that is known to be drained.
    fn step(&mut self, stop: &Stop) -> Turn {
        if let Some((why, until)) = self.ending.take() {
            return self.close(why, until);
        }
        match stop.level() {
            Level::Running => {}
            Level::Draining => {
                if self.course.drain(self.drain) {
                    self.up.no_more = true;
                }
            }
            Level::Cut => return self.end(Why::Stopped),
        }

        let (up, down) = (self.up.moved, self.down.moved);
        let result = self
            .up
            .go_on(&mut self.client, &mut self.server, &mut self.bulk);
        self.up.waits = result.unwrap_or_else(|failure| self.broke(Side::Client, failure));
        let result = self
            .down
            .go_on(&mut self.server, &mut self.client, &mut self.bulk);
        self.down.waits = result.unwrap_or_else(|failure| self.broke(Side::Server, failure));
        let before = up + down;
        let (up, down) = (self.up.since(up), self.down.since(down));
        if up.moved || down.moved {
            self.record.relayed(self.down.moved, self.up.moved);
            self.bulk.moved(self.moved() - before);
        }
        if let Some(why) = self.course.after(up, down) {
            return self.end(why);
        }
        match self.up.waits == Waits::Turn || self.down.waits == Waits::Turn {
            true => Turn::Again,
            false => Turn::Wait,
        }
    }

    /// What has to happen before another turn makes sense, but for a shutdown.
    pub(crate) fn add_to<'a>(&'a self, wait: &mut Wait<'a>) {
        if let Some((_, until)) = self.ending {
            let write = |stream: &Stream| Interest {
                read: false,
                write: stream.unsent(),
            };
            wait.stream(&self.client, write(&self.client));
            wait.stream(&self.server, write(&self.server));
            wait.until(until);
            return;
        }
        let (up, down) = (self.up.waits, self.down.waits);
        let client = Interest {
            read: up == Waits::Source,
            write: down == Waits::Sink,
        };
        let server = Interest {
            read: down == Waits::Source,
            write: up == Waits::Sink,
        };
        wait.stream(&self.client, client);
        wait.stream(&self.server, server);
        if let Some(until) = self.course.silent_until() {
            wait.until(until);
        }
    }

    /// The level of shutdown that it knows of; `None` when it does not matter any more.
    pub(crate) fn heard(&self) -> Option<Level> {
        match self.course.is_draining() {
            _ if self.ending.is_some() => None,
            true => Some(Level::Draining),
            false => Some(Level::Running),
        }
    }

    fn moved(&self) -> u64 {
        self.up.moved + self.down.moved
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

    fn end(&mut self, why: Why) -> Turn {
        match why.leaves_open() {
            true => self.close(why, Instant::now() + CLOSING),
            false => self.over(why),
        }
    }

    /// close_notify and the end of both write halves, as far as the peers let us.
    fn close(&mut self, why: Why, until: Instant) -> Turn {
        let blocks = |result: io::Result<()>| matches!(result, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        let client = blocks(self.client.close());
        let server = blocks(self.server.close());
        if (client || server) && Instant::now() < until {
            self.ending = Some((why, until));
            return Turn::Wait;
        }
        self.over(why)
    }

    fn over(&self, why: Why) -> Turn {
        Turn::Over(Relayed {
            up: self.up.moved,
            down: self.down.moved,
            why,
        })
    }
}

/// What a direction needs to go on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Waits {
    /// Bytes from its source.
    Source,
    /// Room at its sink.
    Sink,
    /// Nothing; it stopped for the other one.
    #[default]
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
    /// Its source has nothing before it is readable again.
    drained: bool,
    moved: u64,
    /// What it needed at its last turn.
    waits: Waits,
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
            if self.drained {
                return Ok(Waits::Source);
            }
            self.fill(from);
            self.drained = from.is_drained();
            if self.buffer.is_none() && !self.ended {
                return Ok(Waits::Source);
            }
        }
        Ok(Waits::Never)
    }

    /// Reads what is there at once. Without any byte, `ended` is set or there is nothing yet.
    fn fill(&mut self, from: &mut Stream) {
        let mut buffer = Lent::lend();
        self.start = 0;
        self.end = 0;
        loop {
            match from.read(&mut buffer[self.end..PLAINTEXT]) {
                Ok(0) => self.ended = true,
                Ok(count) => {
                    self.end += count;
                    if self.end < PLAINTEXT && from.has_more() {
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
