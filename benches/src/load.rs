//! The work that every peer does, and what it costs.

use crate::{
    client::{Client, Target},
    usage::{Usage, cpu, own_cpu, usage},
    wire::Stream,
};
use std::{
    io,
    sync::{
        Barrier,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Connections that carry bulk at a time.
const BULK: usize = 4;
/// A large message, in KiB.
const LARGE: u64 = 64 * 1024;
/// A small one.
const SMALL: u64 = 16;
/// What a session has fetched that is not idle from the beginning, in KiB.
const FETCHED: u64 = 256;
/// Clients that log in at a time.
const LOGGING_IN: usize = 8;
/// Connections that are opened at a time, so that no queue overflows.
const OPENING: usize = 32;

/// Whom the work is for, and whose time it costs.
pub(crate) struct Subject {
    pub(crate) target: Target,
    pub(crate) payer: Payer,
}

/// Whose processor time counts.
#[derive(Clone, Copy)]
pub(crate) enum Payer {
    /// A proxy with its children.
    Tree(u32),
    /// This process: there is no proxy, and the clients do their own TLS.
    Ourselves,
}

impl Payer {
    fn cpu(self) -> io::Result<Duration> {
        match self {
            Payer::Tree(pid) => cpu(pid),
            Payer::Ourselves => own_cpu(),
        }
    }

    fn usage(self) -> io::Result<Usage> {
        match self {
            Payer::Tree(pid) => usage(pid),
            Payer::Ourselves => Err(io::Error::other("there is no proxy")),
        }
    }
}

/// How much of everything.
#[derive(Clone, Copy)]
pub(crate) struct Amount {
    /// MiB of bulk in each direction.
    pub(crate) bulk: u64,
    /// MiB of small messages.
    pub(crate) small: u64,
    /// How long clients log in, one after the other.
    pub(crate) logins: Duration,
    /// How long round trips are made.
    pub(crate) round_trips: Duration,
}

impl Amount {
    pub(crate) const FULL: Amount = Amount {
        bulk: 1024,
        small: 256,
        logins: Duration::from_secs(3),
        round_trips: Duration::from_secs(2),
    };

    pub(crate) const QUICK: Amount = Amount {
        bulk: 256,
        small: 64,
        logins: Duration::from_millis(800),
        round_trips: Duration::from_millis(500),
    };
}

/// One round of all work.
pub(crate) struct Round {
    /// CPU seconds for each GiB downloaded.
    pub(crate) down: f64,
    /// Throughput of the same in MiB/s.
    pub(crate) down_rate: f64,
    /// CPU seconds for each GiB uploaded.
    pub(crate) up: f64,
    /// Throughput of the same in MiB/s.
    pub(crate) up_rate: f64,
    /// CPU microseconds for each message of 16 KiB.
    pub(crate) message: f64,
    /// Logins per second.
    pub(crate) logins: f64,
    /// CPU milliseconds for each of them.
    pub(crate) login: f64,
    /// NOOPs on an otherwise idle machine.
    pub(crate) alone: RoundTrips,
    /// The same while another session downloads.
    pub(crate) beside: RoundTrips,
}

/// Microseconds.
pub(crate) struct RoundTrips {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

impl Subject {
    /// All work once.
    pub(crate) fn round(&self, amount: Amount) -> io::Result<Round> {
        // Keys are derived and tokens fetched for the first login of all.
        self.log_in(4096)?.log_out()?;
        let large = amount.bulk * 1024 / LARGE;
        let (down, down_rate) = self.bulk(large, LARGE, Client::fetch)?;
        let (up, up_rate) = self.bulk(large, LARGE, Client::send)?;
        let (small, _) = self.bulk(amount.small * 1024 / SMALL, SMALL, Client::fetch)?;
        let (logins, login) = self.logins(amount.logins)?;
        Ok(Round {
            down,
            down_rate,
            up,
            up_rate,
            message: small * 1e6 * SMALL as f64 / 1024.0 / 1024.0,
            logins,
            login,
            alone: self.round_trips(amount.round_trips)?,
            beside: self.beside_bulk(amount.round_trips)?,
        })
    }

    fn log_in(&self, capacity: usize) -> io::Result<Client> {
        Client::log_in(&self.target, capacity)
    }

    /// CPU seconds for each GiB, and MiB/s, of `count` messages on some connections at once.
    fn bulk(
        &self,
        count: u64,
        kib: u64,
        transfer: fn(&mut Client, u64) -> io::Result<()>,
    ) -> io::Result<(f64, f64)> {
        let mut clients = Vec::new();
        for _ in 0..BULK {
            clients.push(self.log_in(256 * 1024)?);
        }
        let each = count.div_ceil(BULK as u64);
        let (before, began) = (self.payer.cpu()?, Instant::now());
        in_parallel(clients, |mut client| {
            (0..each).try_for_each(|_| transfer(&mut client, kib))?;
            Ok(client)
        })?;
        let (took, spent) = (began.elapsed(), self.payer.cpu()? - before);
        let mib = (each * BULK as u64 * kib) as f64 / 1024.0;
        Ok((spent.as_secs_f64() / mib * 1024.0, mib / took.as_secs_f64()))
    }

    /// Logins per second, and CPU milliseconds for each.
    fn logins(&self, duration: Duration) -> io::Result<(f64, f64)> {
        let count = AtomicUsize::new(0);
        let (before, began) = (self.payer.cpu()?, Instant::now());
        in_parallel(0..LOGGING_IN, |_| {
            while began.elapsed() < duration {
                self.log_in(4096)?.log_out()?;
                count.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        })?;
        let (took, spent) = (began.elapsed(), self.payer.cpu()? - before);
        let count = count.into_inner() as f64;
        Ok((
            count / took.as_secs_f64(),
            spent.as_secs_f64() * 1e3 / count,
        ))
    }

    fn round_trips(&self, duration: Duration) -> io::Result<RoundTrips> {
        let mut client = self.log_in(4096)?;
        let mut times = Vec::new();
        let began = Instant::now();
        while began.elapsed() < duration {
            let asked = Instant::now();
            client.noop()?;
            times.push(asked.elapsed().as_secs_f64() * 1e6);
        }
        times.sort_by(f64::total_cmp);
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        Ok(RoundTrips {
            p50: at(0.5),
            p99: at(0.99),
        })
    }

    fn beside_bulk(&self, duration: Duration) -> io::Result<RoundTrips> {
        let mut bulk = self.log_in(256 * 1024)?;
        let done = AtomicBool::new(false);
        let flowing = Barrier::new(2);
        thread::scope(|scope| {
            let fetching = scope.spawn(|| -> io::Result<()> {
                // The other thread waits here whether or not this goes well.
                let first = bulk.begin_fetch(LARGE);
                flowing.wait();
                first?;
                bulk.skip(LARGE * 1024)?;
                bulk.end_fetch()?;
                while !done.load(Ordering::Relaxed) {
                    bulk.fetch(LARGE)?;
                }
                Ok(())
            });
            flowing.wait();
            let times = self.round_trips(duration);
            done.store(true, Ordering::Relaxed);
            match fetching.join() {
                Ok(fetched) => fetched?,
                Err(_) => return Err(io::Error::other("the bulk transfer panicked")),
            }
            times
        })
    }

    /// Memory for each session in KiB when so many are there and idle, and how much of one processor all of them take
    /// (percent), at each of the `steps`.
    ///
    /// `fetched`: each has fetched a message of 256 KiB before.
    pub(crate) fn idle(&self, steps: &[usize], fetched: bool) -> io::Result<Vec<Idle>> {
        self.log_in(4096)?.log_out()?;
        let base = self.payer.usage()?;
        let mut sessions: Vec<Stream> = Vec::new();
        let mut result = Vec::new();
        for &step in steps {
            let missing = step.saturating_sub(sessions.len());
            let share = |of: usize| missing / OPENING + usize::from(of < missing % OPENING);
            let opened = in_parallel((0..OPENING).map(share), |count| {
                let mut opened = Vec::new();
                for _ in 0..count {
                    let mut client = self.log_in(4096)?;
                    if fetched {
                        client.fetch(FETCHED)?;
                    }
                    opened.push(client.idle()?);
                }
                Ok(opened)
            })?;
            sessions.extend(opened.into_iter().flatten());
            // What logins leave behind (resumption, timers) comes to rest.
            thread::sleep(Duration::from_secs(1));
            let before = self.payer.usage()?;
            let began = Instant::now();
            thread::sleep(Duration::from_secs(2));
            let cpu = (self.payer.cpu()? - before.cpu).as_secs_f64();
            result.push(Idle {
                sessions: step,
                kib: (before.pss as f64 - base.pss as f64) / sessions.len() as f64,
                cpu: cpu / began.elapsed().as_secs_f64() * 100.0,
            });
        }
        Ok(result)
    }
}

/// Idle sessions.
pub(crate) struct Idle {
    pub(crate) sessions: usize,
    /// KiB (PSS) for each of them.
    pub(crate) kib: f64,
    /// Percent of one processor, for all of them.
    pub(crate) cpu: f64,
}

/// Does something on a thread for each of `inputs`; all of them are joined before the first error is returned.
fn in_parallel<I: Send, O: Send>(
    inputs: impl IntoIterator<Item = I>,
    work: impl Fn(I) -> io::Result<O> + Sync,
) -> io::Result<Vec<O>> {
    let work = &work;
    thread::scope(|scope| {
        let threads: Vec<_> = inputs
            .into_iter()
            .map(|input| scope.spawn(move || work(input)))
            .collect();
        let results: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
        let mut outputs = Vec::new();
        for result in results {
            outputs.push(result.map_err(|_| io::Error::other("a client panicked"))??);
        }
        Ok(outputs)
    })
}
