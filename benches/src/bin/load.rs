//! The load generator's command line. `benches/run` builds what it needs and calls it.

#![forbid(unsafe_code)]

use clap::Parser;
use emailproxy_benches::{
    compare::Comparison,
    count,
    peers::Peer,
    soak::Soak,
    upstream::{self},
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::{io, path::PathBuf, process::ExitCode, time::Duration};

/// Puts load on emailproxy, and on other proxies beside it, and prints what that costs.
///
/// Without --soak: the same work for each of the peers, in turns; a table of medians, with ratios to HAProxy in parentheses.
#[derive(Parser)]
struct Args {
    /// Less work, in about a minute: for a first look
    #[arg(long)]
    quick: bool,

    /// Rounds of work [default: 3, with --quick: 1]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: Option<u16>,

    /// Numbers of idle sessions whose memory is measured; "" for none [default: 1000,5000,9500, with --quick: 300]
    #[arg(long, value_name = "N,N...")]
    idle: Option<String>,

    /// Which proxies
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "PEER,PEER...",
        default_value = "none,smol,std,haproxy,nginx,stunnel"
    )]
    peers: Vec<Peer>,

    /// The program under test [default: `emailproxy` beside this one]
    #[arg(long, value_name = "PATH")]
    emailproxy: Option<PathBuf>,

    /// Instead of comparing: mixed work for so long on one runtime, printing what it uses every half minute. Exit code 1 if a
    /// session failed that was not provoked to, or if descriptors or threads stay behind
    #[arg(long, value_name = "MINUTES", conflicts_with_all = ["quick", "rounds", "idle"])]
    soak: Option<f64>,

    /// Mail programs at a time in a soak
    #[arg(long, default_value_t = 1000, requires = "soak")]
    sessions: usize,

    /// Count instructions of the proxy under callgrind (for .ci/instructions)
    #[arg(long, hide = true)]
    instructions: bool,

    /// Be the proxy whose instructions are counted (for the program itself)
    #[arg(long, hide = true, num_args = 3, value_names = ["RUNTIME", "PORT", "FILE"])]
    counted: Option<Vec<String>>,

    /// Serve as mail server of a measurement (for the program itself)
    #[arg(long, hide = true, value_name = "FILE")]
    upstream: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> io::Result<()> {
    // Children inherit it.
    let most = getrlimit(Resource::Nofile).maximum;
    let raised = Rlimit {
        current: most,
        maximum: most,
    };
    setrlimit(Resource::Nofile, raised)?;
    if let Some(authorities) = args.upstream {
        return upstream::serve(&authorities);
    }
    if args.instructions {
        return count::run();
    }
    if let Some([runtime, port, authorities]) = args.counted.as_deref() {
        return count::serve(runtime, port, authorities.as_ref());
    }
    let emailproxy = match args.emailproxy {
        Some(path) => path,
        None => std::env::current_exe()?.with_file_name("emailproxy"),
    };
    if !emailproxy.is_file() {
        return Err(io::Error::other(format!(
            "{} is not there: build it (cargo build --release -p emailproxy) or name one with --emailproxy",
            emailproxy.display()
        )));
    }
    let emailproxy = emailproxy.canonicalize()?;
    if let Some(minutes) = args.soak {
        let duration = Duration::try_from_secs_f64(minutes * 60.0).map_err(io::Error::other)?;
        let ours = |peer: &&Peer| matches!(peer, Peer::Smol | Peer::Std);
        return Soak {
            emailproxy,
            peer: args.peers.iter().find(ours).copied().unwrap_or(Peer::Smol),
            sessions: args.sessions,
            duration,
        }
        .run();
    }
    let default_idle = match args.quick {
        true => "300",
        false => "1000,5000,9500",
    };
    let idle = args.idle.as_deref().unwrap_or(default_idle);
    let mut steps = Vec::new();
    for step in idle
        .split(',')
        .map(str::trim)
        .filter(|step| !step.is_empty())
    {
        let step = step.parse().ok().filter(|step| *step > 0);
        steps.push(step.ok_or_else(|| io::Error::other("--idle takes numbers of sessions"))?);
    }
    steps.sort_unstable();
    Comparison {
        emailproxy,
        peers: args.peers,
        rounds: args
            .rounds
            .map_or(if args.quick { 1 } else { 3 }, usize::from),
        idle: steps,
        quick: args.quick,
    }
    .run()
}
