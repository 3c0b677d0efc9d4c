//! What a process and its descendants use, as Linux tells it in `/proc`.

use std::{
    collections::HashMap,
    fs, io,
    ops::{Add, Sub},
    time::Duration,
};

/// Of a whole process tree.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// User and system time so far, of threads and children that have ended, too.
    pub cpu: Duration,
    /// Proportional set size in KiB: a page that processes share counts as a part for each of them.
    pub pss: u64,
    /// Resident set size in KiB.
    pub rss: u64,
    /// Open descriptors.
    pub descriptors: usize,
    /// Threads.
    pub threads: usize,
}

impl Add for Usage {
    type Output = Usage;

    fn add(self, other: Usage) -> Usage {
        Usage {
            cpu: self.cpu + other.cpu,
            pss: self.pss + other.pss,
            rss: self.rss + other.rss,
            descriptors: self.descriptors + other.descriptors,
            threads: self.threads + other.threads,
        }
    }
}

/// Everything that the tree under `pid` uses now.
///
/// # Errors
/// There is no such process, or it is not ours to look at.
pub fn usage(pid: u32) -> io::Result<Usage> {
    let mut sum = Usage::default();
    for pid in tree(pid)? {
        match of_one(pid) {
            Ok(usage) => sum = sum + usage,
            // It has ended since it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sum)
}

/// CPU time alone, which costs less to find out.
///
/// # Errors
/// As [`usage`].
pub fn cpu(pid: u32) -> io::Result<Duration> {
    let mut ticks = 0;
    for pid in tree(pid)? {
        ticks += Stat::read(pid).map_or(0, |stat| stat.ticks);
    }
    Ok(ticks_to_time(ticks))
}

/// CPU time of this process without its children.
///
/// # Errors
/// There is no `/proc`.
pub fn own_cpu() -> io::Result<Duration> {
    Ok(ticks_to_time(Stat::read(std::process::id())?.own_ticks))
}

fn of_one(pid: u32) -> io::Result<Usage> {
    let stat = Stat::read(pid)?;
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let kib = |name: &str| {
        let line = rollup.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.split_whitespace().next());
        number.and_then(|number| number.parse().ok()).unwrap_or(0)
    };
    Ok(Usage {
        cpu: ticks_to_time(stat.ticks),
        pss: kib("Pss:"),
        rss: kib("Rss:"),
        descriptors: fs::read_dir(format!("/proc/{pid}/fd"))?.count(),
        threads: stat.threads,
    })
}

/// The process and all its descendants.
fn tree(root: u32) -> io::Result<Vec<u32>> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    let mut found = false;
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if let Ok(stat) = Stat::read(pid) {
            children.entry(stat.parent).or_default().push(pid);
            found |= pid == root;
        }
    }
    if !found {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!("process {root} has ended"),
        ));
    }
    let mut tree = vec![root];
    let mut at = 0;
    while let Some(pid) = tree.get(at) {
        tree.extend(children.remove(pid).unwrap_or_default());
        at += 1;
    }
    Ok(tree)
}

/// `/proc/PID/stat` (proc(5)).
struct Stat {
    parent: u32,
    /// User and system time of the process itself.
    own_ticks: u64,
    /// And of children that have been waited for.
    ticks: u64,
    threads: usize,
}

impl Stat {
    fn read(pid: u32) -> io::Result<Stat> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // A program's name may hold anything, also blanks and parentheses: fields are counted behind the last one.
        let fields = text.rsplit_once(')').map_or("", |(_, fields)| fields);
        let fields: Vec<&str> = fields.split_whitespace().collect();
        // Field 3, the state, is the first one here.
        let field = |number: usize| -> u64 {
            let field = fields.get(number - 3).copied();
            field.and_then(|field| field.parse().ok()).unwrap_or(0)
        };
        Ok(Stat {
            parent: field(4) as u32,
            own_ticks: field(14) + field(15),
            ticks: field(14) + field(15) + field(16) + field(17),
            threads: field(20) as usize,
        })
    }
}

fn ticks_to_time(ticks: u64) -> Duration {
    Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second().max(1))
}

impl Sub for Usage {
    type Output = Usage;

    /// What has been added since; memory and the like count as 0 where they have shrunk.
    fn sub(self, earlier: Usage) -> Usage {
        Usage {
            cpu: self.cpu.saturating_sub(earlier.cpu),
            pss: self.pss.saturating_sub(earlier.pss),
            rss: self.rss.saturating_sub(earlier.rss),
            descriptors: self.descriptors.saturating_sub(earlier.descriptors),
            threads: self.threads.saturating_sub(earlier.threads),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        hint::black_box,
        process::{Command, Stdio},
        thread,
    };

    #[test]
    fn a_thread_that_has_ended_has_used_its_time() {
        let before = usage(std::process::id()).unwrap();
        thread::spawn(|| {
            let began = std::time::Instant::now();
            // Ticks are 10 ms long mostly; elapsed time may be the machine's, so that it goes on until one is counted.
            let start = cpu(std::process::id()).unwrap();
            while cpu(std::process::id()).unwrap() <= start + Duration::from_millis(30) {
                black_box(began.elapsed());
            }
        })
        .join()
        .unwrap();
        let after = usage(std::process::id()).unwrap();
        assert!((after - before).cpu >= Duration::from_millis(30));
        assert!(after.rss >= after.pss && after.pss > 0);
    }

    #[test]
    fn children_count_and_whoever_has_ended_is_an_error() {
        let alone = usage(std::process::id()).unwrap();
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let with_child = tree(std::process::id()).unwrap();
        assert!(with_child.contains(&child.id()));
        assert!(usage(std::process::id()).unwrap().descriptors > alone.descriptors);
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(
            usage(child.id()).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }
}
