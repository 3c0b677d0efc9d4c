//! All peers side by side: the same work, in turns, and a table of medians and ratios.

use crate::{
    client::Target,
    load::{Amount, Idle, Payer, Round, Subject},
    peers::{Peer, Running},
    upstream::{Upstream, trusting},
};
use proxy_proto::Protocol;
use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

/// What is compared, and how long.
pub struct Comparison {
    /// The program under test.
    pub emailproxy: PathBuf,
    /// Those that are not installed are left out, with a line that says so.
    pub peers: Vec<Peer>,
    /// Rounds of work; each peer has its turn in each of them.
    pub rounds: usize,
    /// Numbers of idle sessions, increasing; none: their memory is not measured.
    pub idle: Vec<usize>,
    /// Less work, for a first look.
    pub quick: bool,
}

impl Comparison {
    /// Measures, and writes the table to standard output; progress goes to standard error.
    ///
    /// # Errors
    /// The mail server cannot be started, or emailproxy has failed: the others are left out when they do.
    pub fn run(&self) -> io::Result<()> {
        let began = Instant::now();
        let say = |text: String| eprintln!("{:>4} s  {text}", began.elapsed().as_secs());
        let upstream = Upstream::start()?;
        let mut contenders = Vec::new();
        for &peer in &self.peers {
            match peer.program(&self.emailproxy) {
                Some(program) => contenders.push(Contender::new(peer, program)),
                None => say(format!("{} is not installed", peer.title())),
            }
        }

        for contender in &mut contenders {
            say(format!("{}: idle sessions", contender.peer.title()));
            contender.attempt(|this| this.measure_idle(&upstream, &self.idle))?;
        }
        let amount = match self.quick {
            true => Amount::QUICK,
            false => Amount::FULL,
        };
        for contender in &mut contenders {
            contender.attempt(|this| this.start(&upstream))?;
        }
        for round in 0..self.rounds {
            for at in 0..contenders.len() {
                // Whoever comes first is another one each time.
                let at = (at + round) % contenders.len();
                let contender = &mut contenders[at];
                say(format!("{}: round {}", contender.peer.title(), round + 1));
                contender.attempt(|this| this.measure_round(amount))?;
            }
        }
        for contender in &mut contenders {
            contender.end();
        }
        let took = began.elapsed().as_secs();
        contenders.retain(|contender| !contender.failed);
        print!("{}", table(&contenders, &self.idle));
        println!("\n{}", surroundings(&contenders, self.rounds, took));
        Ok(())
    }
}

/// A peer and what is known of it.
struct Contender {
    peer: Peer,
    program: PathBuf,
    /// While it runs; always, where there is nothing to be started.
    subject: Option<Subject>,
    running: Option<Running>,
    failed: bool,
    /// Milliseconds from its start until it listens.
    starts: Vec<f64>,
    /// MiB (RSS).
    at_start: Vec<f64>,
    idle: Vec<Idle>,
    fetched: Vec<Idle>,
    rounds: Vec<Round>,
}

impl Contender {
    fn new(peer: Peer, program: PathBuf) -> Contender {
        Contender {
            peer,
            program,
            subject: None,
            running: None,
            failed: false,
            starts: Vec::new(),
            at_start: Vec::new(),
            idle: Vec::new(),
            fetched: Vec::new(),
            rounds: Vec::new(),
        }
    }

    /// Does one step, unless an earlier one failed. A failure of ours ends it all.
    fn attempt(&mut self, step: impl FnOnce(&mut Contender) -> io::Result<()>) -> io::Result<()> {
        if self.failed {
            return Ok(());
        }
        let Err(error) = step(self) else {
            return Ok(());
        };
        self.failed = true;
        self.end();
        let error = io::Error::other(format!("{}: {error}", self.peer.title()));
        match self.peer {
            Peer::None | Peer::Smol | Peer::Std => Err(error),
            Peer::Haproxy | Peer::Nginx | Peer::Stunnel => {
                eprintln!("left out: {error}");
                Ok(())
            }
        }
    }

    fn start(&mut self, upstream: &Upstream) -> io::Result<()> {
        if self.peer == Peer::None {
            let target = Target {
                port: upstream.imap,
                protocol: Protocol::Imap,
                tls: Some(trusting(&upstream.authorities)?),
            };
            self.subject = Some(Subject {
                target,
                payer: Payer::Ourselves,
            });
            return Ok(());
        }
        self.end();
        let running = Running::start(self.peer, &self.program, upstream)?;
        self.starts.push(running.started_in.as_secs_f64() * 1e3);
        self.at_start.push(running.at_start.rss as f64 / 1024.0);
        self.subject = Some(running.subject());
        self.running = Some(running);
        Ok(())
    }

    fn end(&mut self) {
        self.subject = None;
        self.running = None;
    }

    /// Each ladder in a process that has done nothing else.
    fn measure_idle(&mut self, upstream: &Upstream, steps: &[usize]) -> io::Result<()> {
        let Some(first) = steps.get(..1).filter(|_| self.peer != Peer::None) else {
            return Ok(());
        };
        self.start(upstream)?;
        if let Some(subject) = &self.subject {
            self.idle = subject.idle(steps, false)?;
        }
        self.start(upstream)?;
        if let Some(subject) = &self.subject {
            self.fetched = subject.idle(first, true)?;
        }
        self.end();
        Ok(())
    }

    fn measure_round(&mut self, amount: Amount) -> io::Result<()> {
        if let Some(subject) = &self.subject {
            self.rounds.push(subject.round(amount)?);
        }
        Ok(())
    }

    fn median(&self, figure: impl Fn(&Round) -> f64) -> Option<f64> {
        median(self.rounds.iter().map(figure).collect())
    }
}

fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied()
}

/// What a cell of the table shows, where it was measured.
type Figure = Box<dyn Fn(&Contender) -> Option<f64>>;

/// A line of the table.
struct Row {
    label: String,
    digits: usize,
    figure: Figure,
}

impl Row {
    fn new(
        label: impl Into<String>,
        digits: usize,
        figure: impl Fn(&Contender) -> Option<f64> + 'static,
    ) -> Row {
        Row {
            label: label.into(),
            digits,
            figure: Box::new(figure),
        }
    }

    fn of_rounds(label: &str, digits: usize, figure: fn(&Round) -> f64) -> Row {
        Row::new(label, digits, move |contender| contender.median(figure))
    }
}

fn rows(idle: &[usize]) -> Vec<Row> {
    let mut rows = vec![
        Row::of_rounds("download, CPU-s/GiB", 2, |round| round.down),
        Row::of_rounds("upload, CPU-s/GiB", 2, |round| round.up),
        Row::of_rounds("message of 16 KiB, CPU µs", 1, |round| round.message),
    ];
    for &step in idle {
        let label = format!("idle session, KiB, of {step}");
        rows.push(Row::new(label, 1, move |contender| {
            let at = contender.idle.iter().find(|idle| idle.sessions == step);
            at.map(|idle| idle.kib)
        }));
    }
    if !idle.is_empty() {
        rows.push(Row::new("after fetching 256 KiB each", 1, |contender| {
            contender.fetched.last().map(|idle| idle.kib)
        }));
    }
    rows.extend([
        Row::of_rounds("logins per second", 0, |round| round.logins),
        Row::of_rounds("login, CPU ms", 3, |round| round.login),
        Row::of_rounds("NOOP, p50 µs", 0, |round| round.alone.p50),
        Row::of_rounds("NOOP, p99 µs", 0, |round| round.alone.p99),
        Row::of_rounds("NOOP beside bulk, p50 µs", 0, |round| round.beside.p50),
        Row::of_rounds("NOOP beside bulk, p99 µs", 0, |round| round.beside.p99),
        Row::new("start to listening, ms", 0, |contender| {
            median(contender.starts.clone())
        }),
        Row::new("resident at start, MiB", 1, |contender| {
            median(contender.at_start.clone())
        }),
    ]);
    if let Some(&step) = idle.first() {
        let label = format!("CPU of {step} idle sessions, %");
        rows.push(Row::new(label, 1, move |contender| {
            contender.idle.first().map(|idle| idle.cpu)
        }));
    }
    rows.extend([
        Row::of_rounds("download, MiB/s", 0, |round| round.down_rate),
        Row::of_rounds("upload, MiB/s", 0, |round| round.up_rate),
    ]);
    rows
}

/// Markdown. Behind each figure stands its ratio to HAProxy's, where that was measured.
fn table(contenders: &[Contender], idle: &[usize]) -> String {
    let reference = contenders
        .iter()
        .find(|contender| contender.peer == Peer::Haproxy);
    let mut text = String::from("| |");
    for contender in contenders {
        text += &format!(" {} |", contender.peer.title());
    }
    text += &format!("\n|---|{}\n", "--:|".repeat(contenders.len()));
    for row in rows(idle) {
        text += &format!("| {} |", row.label);
        let reference = reference.and_then(|contender| (row.figure)(contender));
        for contender in contenders {
            let figure = (row.figure)(contender);
            text += &match (figure, reference.filter(|reference| *reference > 0.0)) {
                (None, _) => " |".to_owned(),
                (Some(figure), Some(reference)) if contender.peer != Peer::Haproxy => {
                    format!(" {figure:.*} ({:.2}) |", row.digits, figure / reference)
                }
                (Some(figure), _) => format!(" {figure:.*} |", row.digits),
            };
        }
        text += "\n";
    }
    text
}

/// On what, and of which versions.
fn surroundings(contenders: &[Contender], rounds: usize, took: u64) -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, model)| model.trim());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let versions: Vec<String> = contenders
        .iter()
        .filter(|contender| !matches!(contender.peer, Peer::None | Peer::Std))
        .map(|contender| version(contender.peer, &contender.program))
        .collect();
    format!(
        "{cores} × {model}, Linux {}; {}. Medians of {rounds} rounds; {took} s in all.",
        // What a distribution adds to the number says nothing here.
        kernel.split(['-', '+']).next().unwrap_or_default().trim(),
        versions.join(", ")
    )
}

/// The line in which a program says which version it is of.
fn version(peer: Peer, program: &Path) -> String {
    let option = match peer {
        Peer::None | Peer::Smol | Peer::Std => "--version",
        Peer::Haproxy | Peer::Nginx => "-v",
        Peer::Stunnel => "-version",
    };
    let output = Command::new(program).arg(option).output();
    let said = output.map(|output| [output.stdout, output.stderr].concat());
    let said = String::from_utf8_lossy(&said.unwrap_or_default()).into_owned();
    let words = said.split_whitespace();
    let number = words
        .map(|word| word.trim_start_matches("nginx/"))
        .find(|word| word.starts_with(|first: char| first.is_ascii_digit()));
    let name = peer.title().split([',', ' ']).next().unwrap_or_default();
    format!("{name} {}", number.unwrap_or("of an unknown version"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::RoundTrips;

    fn contender(peer: Peer, downs: &[f64]) -> Contender {
        let mut contender = Contender::new(peer, PathBuf::new());
        let times = || RoundTrips { p50: 1.0, p99: 2.0 };
        contender.rounds = downs
            .iter()
            .map(|&down| Round {
                down,
                down_rate: 1.0,
                up: 1.0,
                up_rate: 1.0,
                message: 1.0,
                logins: 1.0,
                login: 1.0,
                alone: times(),
                beside: times(),
            })
            .collect();
        contender
    }

    fn cells<'a>(table: &'a str, label: &str) -> Vec<&'a str> {
        let line = table.lines().find(|line| line.contains(label)).unwrap();
        line.split('|').map(str::trim).skip(2).collect()
    }

    #[test]
    fn figures_are_medians_with_their_ratio_to_haproxy() {
        let mut ours = contender(Peer::Smol, &[0.9, 0.5, 0.1]);
        ours.idle = vec![Idle {
            sessions: 10,
            kib: 7.0,
            cpu: 0.0,
        }];
        let all = [ours, contender(Peer::Haproxy, &[2.0])];
        let table = table(&all, &[10]);
        assert_eq!(cells(&table, "download, CPU"), ["0.50 (0.25)", "2.00", ""]);
        // What was not measured is empty, and gives no ratio.
        assert_eq!(cells(&table, "KiB, of 10"), ["7.0", "", ""]);
        assert!(table.lines().all(|line| line.matches('|').count() == 4));
    }

    #[test]
    fn without_haproxy_there_are_no_ratios() {
        let table = table(&[contender(Peer::Std, &[0.5])], &[]);
        assert_eq!(cells(&table, "download, CPU"), ["0.50", ""]);
        assert!(!table.contains('('));
    }
}
