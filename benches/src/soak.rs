//! Hours of mixed work on one proxy, to see whether it keeps anything: memory, descriptors, threads.

use crate::{
    client::{Client, Target},
    peers::{Peer, Running},
    upstream::Upstream,
    usage::{Usage, usage},
};
use proxy_proto::Protocol;
use std::{
    fmt, io,
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

/// How often figures are printed.
const INTERVAL: Duration = Duration::from_secs(30);

/// Longest time for the proxy to notice that everybody has left.
const SETTLING: Duration = Duration::from_secs(60);

/// Descriptors and threads that may stay when everybody has left: helpers of a process that has worked.
const SPARE: usize = 24;

/// Errors that are printed one by one.
const SHOWN: usize = 20;

/// A long run of mixed work.
pub struct Soak {
    /// The program under test.
    pub emailproxy: PathBuf,
    /// Which of its runtimes.
    pub peer: Peer,
    /// Mail programs at a time.
    pub sessions: usize,
    /// How long they work.
    pub duration: Duration,
}

impl Soak {
    /// Runs, printing figures to standard output.
    ///
    /// # Errors
    /// Something could not be started; a session failed without having been provoked to; or descriptors or threads are
    /// still there when everybody has left.
    pub fn run(&self) -> io::Result<()> {
        let upstream = Upstream::start()?;
        let running = Running::start(self.peer, &self.emailproxy, &upstream)?;
        let at_start = usage(running.pid())?;
        let tally = Tally::default();
        let began = Instant::now();
        let done = AtomicBool::new(false);
        println!("{}", Line::HEADING);
        let line = |name: &str| -> io::Result<Usage> {
            let usage = usage(running.pid())?;
            let seconds = began.elapsed().as_secs();
            println!(
                "{}",
                Line {
                    name,
                    seconds,
                    usage,
                    tally: &tally
                }
            );
            Ok(usage)
        };
        line("start")?;

        let watched = thread::scope(|scope| -> io::Result<()> {
            let mut started = Ok(());
            for number in 0..self.sessions {
                let targets = [Protocol::Imap, Protocol::Pop, Protocol::Smtp]
                    .map(|protocol| running.target(protocol));
                let (tally, done) = (&tally, &done);
                let mail_program = thread::Builder::new().stack_size(256 * 1024);
                let spawned = mail_program.spawn_scoped(scope, move || {
                    let mut chance = Chance::new(number as u64);
                    // Not everybody comes at once.
                    pause(done, Duration::from_millis(chance.below(5_000)));
                    while !done.load(Relaxed) {
                        session(&targets, &mut chance, tally, done);
                    }
                });
                if let Err(error) = spawned {
                    started = Err(error);
                    break;
                }
            }
            let watched = started.and_then(|()| {
                while began.elapsed() < self.duration {
                    let left = self.duration.saturating_sub(began.elapsed());
                    thread::sleep(left.min(INTERVAL));
                    line("")?;
                }
                Ok(())
            });
            done.store(true, Relaxed);
            watched
        });
        watched?;
        let left = Instant::now();
        let stays = loop {
            let now = usage(running.pid())?;
            let stays = (now - at_start).descriptors.max((now - at_start).threads);
            if stays <= SPARE || left.elapsed() > SETTLING {
                break stays;
            }
            thread::sleep(Duration::from_millis(500));
        };
        line("end")?;
        drop(running);

        let errors = tally.errors.load(Relaxed);
        if errors > 0 {
            return Err(io::Error::other(format!(
                "{errors} sessions failed without having been provoked to"
            )));
        }
        if stays > SPARE {
            return Err(io::Error::other(format!(
                "{stays} descriptors or threads more than at the start are left, {} s after the last client",
                left.elapsed().as_secs()
            )));
        }
        Ok(())
    }
}

/// What has happened so far.
#[derive(Default)]
struct Tally {
    open: AtomicUsize,
    logins: AtomicU64,
    round_trips: AtomicU64,
    messages: AtomicU64,
    kib: AtomicU64,
    vanished: AtomicU64,
    errors: AtomicUsize,
    /// The printing of errors, so that lines stay whole.
    said: Mutex<()>,
}

impl Tally {
    fn message(&self, kib: u64) {
        self.messages.fetch_add(1, Relaxed);
        self.kib.fetch_add(kib, Relaxed);
    }

    fn error(&self, protocol: Protocol, doing: &str, error: &io::Error) {
        let _one = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if self.errors.fetch_add(1, Relaxed) < SHOWN {
            println!("error: {protocol:?}, {doing}: {error}");
        }
    }
}

/// How a session ends.
enum Farewell {
    Polite,
    /// The connection is closed without a word.
    HangUp,
    /// In the middle of an upload.
    MidUpload,
    /// In the middle of a download.
    MidDownload,
}

/// One session: login, some work, an end. The last two of `Farewell` are the provoked ones: nothing that happens in
/// them counts.
fn session(targets: &[Target; 3], chance: &mut Chance, tally: &Tally, done: &AtomicBool) {
    let target = &targets[match chance.below(10) {
        0..7 => 0,
        7 => 1,
        _ => 2,
    }];
    let mut doing = "login";
    let worked = Client::log_in(target, 16 * 1024).and_then(|mut client| {
        tally.logins.fetch_add(1, Relaxed);
        let _open = Open::new(&tally.open);
        for _ in 0..chance.below(20) {
            pause(done, Duration::from_millis(chance.below(2_000)));
            if done.load(Relaxed) {
                break;
            }
            work(
                &mut client,
                target.protocol,
                chance,
                tally,
                done,
                &mut doing,
            )?;
        }
        doing = "farewell";
        match (chance.farewell(), target.protocol) {
            (Farewell::Polite, _) => client.log_out(),
            (Farewell::MidUpload, Protocol::Imap | Protocol::Smtp) => {
                tally.vanished.fetch_add(1, Relaxed);
                let kib = chance.size();
                let _ = client
                    .begin_send(kib)
                    .and_then(|()| client.send_part(chance.below(kib * 1024)));
                Ok(())
            }
            (Farewell::MidDownload, Protocol::Imap | Protocol::Pop) => {
                tally.vanished.fetch_add(1, Relaxed);
                let kib = chance.size();
                let _ = client
                    .begin_fetch(kib)
                    .and_then(|()| client.skip(chance.below(kib * 1024)));
                Ok(())
            }
            _ => Ok(()),
        }
    });
    if let Err(error) = worked {
        tally.error(target.protocol, doing, &error);
        // Whatever it is, it is not to be hammered at.
        pause(done, Duration::from_secs(1));
    }
}

/// One piece of work.
fn work(
    client: &mut Client,
    protocol: Protocol,
    chance: &mut Chance,
    tally: &Tally,
    done: &AtomicBool,
    doing: &mut &'static str,
) -> io::Result<()> {
    let kib = chance.size();
    match (chance.below(10), protocol) {
        (5..8, Protocol::Imap | Protocol::Pop) => {
            *doing = "fetch";
            client.fetch(kib)?;
            tally.message(kib);
        }
        (8, Protocol::Imap | Protocol::Pop) => {
            *doing = "slow fetch";
            // A slow reader: the server is much faster than this.
            client.begin_fetch(kib)?;
            let mut left = kib * 1024;
            for _ in 0..20 {
                let part = left.min(2048);
                client.skip(part)?;
                left -= part;
                pause(done, Duration::from_millis(50));
            }
            client.skip(left)?;
            client.end_fetch()?;
            tally.message(kib);
        }
        (9, Protocol::Imap) | (5..10, Protocol::Smtp) => {
            *doing = "upload";
            client.send(kib)?;
            tally.message(kib);
        }
        _ => {
            *doing = "NOOP";
            client.noop()?;
            tally.round_trips.fetch_add(1, Relaxed);
        }
    }
    Ok(())
}

/// Counts a session as open while it lives.
struct Open<'a>(&'a AtomicUsize);

impl<'a> Open<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Relaxed);
        Open(count)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

fn pause(done: &AtomicBool, duration: Duration) {
    let end = Instant::now() + duration;
    while !done.load(Relaxed) {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        thread::sleep(left.min(Duration::from_millis(250)));
    }
}

/// Repeatable choices (splitmix64).
struct Chance(u64);

impl Chance {
    fn new(seed: u64) -> Chance {
        Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// A number below `limit`, which is not 0.
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    /// KiB: mostly small, now and then a few MiB.
    fn size(&mut self) -> u64 {
        let largest = 1 << self.below(12);
        1 + self.below(largest)
    }

    fn farewell(&mut self) -> Farewell {
        match self.below(10) {
            0..5 => Farewell::Polite,
            5..7 => Farewell::HangUp,
            7 => Farewell::MidDownload,
            _ => Farewell::MidUpload,
        }
    }
}

/// A line of figures.
struct Line<'a> {
    name: &'a str,
    seconds: u64,
    usage: Usage,
    tally: &'a Tally,
}

impl Line<'_> {
    const HEADING: &'static str = "    s        RSS KiB  PSS KiB  descr. threads   CPU s   open   logins    NOOPs messages      MiB vanished errors";
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tally = self.tally;
        write!(
            f,
            "{:>5} {:<6} {:>8} {:>8} {:>7} {:>7} {:>7.1} {:>6} {:>8} {:>8} {:>8} {:>8} {:>8} {:>6}",
            self.seconds,
            self.name,
            self.usage.rss,
            self.usage.pss,
            self.usage.descriptors,
            self.usage.threads,
            self.usage.cpu.as_secs_f64(),
            tally.open.load(Relaxed),
            tally.logins.load(Relaxed),
            tally.round_trips.load(Relaxed),
            tally.messages.load(Relaxed),
            tally.kib.load(Relaxed) / 1024,
            tally.vanished.load(Relaxed),
            tally.errors.load(Relaxed),
        )
    }
}
