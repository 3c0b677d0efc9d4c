//! Instructions of a runtime, from socket to socket, under callgrind: parsing, TLS, tasks or threads, and the relay. What
//! tokens cost is counted elsewhere; here everybody who knows the password gets one at once.

use crate::{
    client::{Client, Target},
    upstream::{PASSWORD, Upstream, access_token},
};
use futures_lite::future::block_on;
use proxy_proto::{
    Authenticate, Bearer, BoxFuture, LoginRequest, Protocol, Refusal, Secret, SessionConfig,
};
use proxy_runtime_smol::{Bound, ListenerConfig, Options, Trust};
use std::{
    io::{self, BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};

/// The runtimes, as [`serve`] knows them.
const RUNTIMES: [&str; 2] = ["smol", "std"];

/// What is done once, and how often at least.
type Work = (&'static str, u64, fn(&Target, u64) -> io::Result<()>);

const WORK: [Work; 4] = [
    ("login-imap", 20, |target, count| {
        (0..count).try_for_each(|_| Client::log_in(target, 4096)?.log_out())
    }),
    ("noop", 1000, |target, count| {
        let mut client = Client::log_in(target, 4096)?;
        (0..count).try_for_each(|_| client.noop())
    }),
    ("download-1-MiB", 32, |target, count| {
        Client::log_in(target, 256 * 1024)?.fetch(count * 1024)
    }),
    ("upload-1-MiB", 32, |target, count| {
        Client::log_in(target, 4096)?.send(count * 1024)
    }),
];

/// Writes a line for each runtime and piece of work: its name, and the instructions that doing it once takes. Each is done in
/// two processes, in one of them twice as often; the difference has neither start nor first login in it.
///
/// # Errors
/// valgrind is missing or does not count; the runtime does not start or does not work.
pub fn run() -> io::Result<()> {
    let upstream = Upstream::start()?;
    for runtime in RUNTIMES {
        for (name, count, work) in WORK {
            let all = |count| count_all(runtime, &upstream, |target| work(target, count));
            let (once, twice) = thread::scope(|scope| {
                let once = scope.spawn(|| all(count));
                let twice = all(2 * count);
                (once.join(), twice)
            });
            let once = once.map_err(|_| io::Error::other("a client panicked"))??;
            let twice = twice?;
            println!("{runtime}-{name} {}", twice.saturating_sub(once) / count);
        }
    }
    Ok(())
}

/// What [`run`] counts: a listener in front of the IMAP server at `port`. Writes its own port to standard output and serves
/// until standard input ends.
///
/// # Errors
/// The runtime does not start.
pub fn serve(runtime: &str, port: &str, authorities: &Path) -> io::Result<()> {
    let trust = Trust::only(authorities);
    let mut listener = ListenerConfig::new(
        "IMAP",
        0,
        "localhost",
        port.parse().map_err(io::Error::other)?,
        SessionConfig::new(Protocol::Imap),
        trust.client_config(None).map_err(io::Error::other)?,
    );
    listener.address = "127.0.0.1".to_owned();
    let authenticate = Arc::new(OneToken(Secret::new(access_token())));
    let mut options = Options::default();
    // How work falls on several threads is chance.
    options.threads = 1;
    let grace = Duration::from_secs(5);
    match runtime {
        "std" => {
            let runtime = proxy_runtime_std::Runtime::start(authenticate, options)?;
            runtime.apply(vec![listener]).map_err(|_| no_listener())?;
            tell_and_wait(&runtime.listeners())?;
            runtime.shutdown(grace);
        }
        _ => {
            let runtime = proxy_runtime_smol::Runtime::start(authenticate, options)?;
            block_on(runtime.apply(vec![listener])).map_err(|_| no_listener())?;
            tell_and_wait(&runtime.listeners())?;
            block_on(runtime.shutdown(grace));
        }
    }
    Ok(())
}

fn no_listener() -> io::Error {
    io::Error::other("no port could be opened")
}

fn tell_and_wait(listeners: &[Bound]) -> io::Result<()> {
    let address = listeners.first().and_then(|bound| bound.addresses.first());
    println!("{}", address.ok_or_else(no_listener)?.port());
    for line in io::stdin().lines() {
        line?;
    }
    Ok(())
}

struct OneToken(Secret);

impl Authenticate for OneToken {
    fn authenticate(&self, request: LoginRequest) -> BoxFuture<Result<Bearer, Refusal>> {
        let answer = if request.login.password == Secret::new(PASSWORD) {
            Ok(Bearer {
                token: self.0.clone(),
                user: request.login.user,
                mechanism: None,
            })
        } else {
            Err(Refusal::Denied("a wrong password".to_owned()))
        };
        Box::pin(async { answer })
    }
}

/// All that a process does, from its start to its end.
fn count_all(
    runtime: &str,
    upstream: &Upstream,
    work: impl Fn(&Target) -> io::Result<()>,
) -> io::Result<u64> {
    let child = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(["--counted", runtime, &upstream.imap.to_string()])
        .arg(&upstream.authorities)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut counted = Counted(child);
    let mut port = String::new();
    if let Some(output) = counted.0.stdout.take() {
        BufReader::new(output).read_line(&mut port)?;
    }
    if let Ok(port) = port.trim().parse() {
        let target = Target {
            port,
            protocol: Protocol::Imap,
            tls: None,
        };
        Client::log_in(&target, 4096)?.log_out()?;
        work(&target)?;
    }
    drop(counted.0.stdin.take());
    let mut said = String::new();
    if let Some(mut errors) = counted.0.stderr.take() {
        errors.read_to_string(&mut said)?;
    }
    counted.0.wait()?;
    let count = said
        .lines()
        .find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    count.ok_or_else(|| io::Error::other(format!("callgrind did not count: {}", said.trim())))
}

/// Does not outlive a measurement that fails.
struct Counted(Child);

impl Drop for Counted {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
