//! What a plugin costs: processor time for each MiB that passes, and memory for each session.
//!
//! `cargo run --release -p plugins --example cost`

use plugins::{Place, Plugins};
use proxy_proto::{
    Protocol, Side,
    filter::{Chain, Opened},
};
use rustix::time::{ClockId, clock_gettime};
use std::{error::Error, fs, hint::black_box, path::Path};

const SCRIPTS: [(&str, &str); 5] = [
    ("raw.lua", "function from_server(bytes) end"),
    (
        "echo.lua",
        "function from_server(bytes) return bytes .. '' end",
    ),
    (
        "framed.lua",
        "function on_command() end function on_response() end",
    ),
    (
        "header.lua",
        "function on_header(text) return 'X-Seen: yes\\r\\n' .. text end",
    ),
    (
        "content.lua",
        "function on_message(text) return (text:gsub('https://[%w.]+/', 'https://example.com/')) end",
    ),
];

/// Messages that pass in each measurement.
const MESSAGES: usize = 256;

/// Octets of one.
const MESSAGE: usize = 64 * 1024;

/// Sessions that are open at once for the measurement of memory.
const SESSIONS: u32 = 500;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let response = response();
    let mebibytes = (response.len() * MESSAGES) as f64 / (1024.0 * 1024.0);
    println!("{:12} {:>12} {:>14}", "", "ms per MiB", "KiB a session");
    let mut none = Chain::new(Vec::new());
    let time = pass(&mut none, &response)?;
    println!("{:12} {:12.3}", "no filter", time / mebibytes);
    for (name, source) in SCRIPTS {
        fs::write(folder.path().join(name), source)?;
        let plugins = load(name, folder.path())?;
        let filters = plugins.filters();
        let mut chain = filters.chain(&nobody())?;
        let time = pass(&mut chain, &response)?;
        drop(chain);
        let before = resident();
        let chains = (0..SESSIONS)
            .map(|_| filters.chain(&nobody()))
            .collect::<Result<Vec<_>, _>>()?;
        let memory = resident().saturating_sub(before) / u64::from(SESSIONS);
        drop(chains);
        println!("{name:12} {:12.3} {memory:14}", time / mebibytes);
    }
    Ok(())
}

fn nobody() -> Opened {
    Opened {
        login: "me@example.com".into(),
        user: "me@example.com".into(),
    }
}

fn load(name: &str, folder: &Path) -> Result<Plugins, Box<dyn Error>> {
    let place = Place {
        protocol: Protocol::Imap,
        listener: "IMAP-1993".into(),
    };
    Ok(Plugins::load(name, &[folder.to_owned()], &place)?)
}

/// A message as FETCH answers it.
fn response() -> Vec<u8> {
    let line =
        "A line of text, and https://mail.example.org/ from time to time; nothing else to see.\r\n";
    let mut message = "Subject: cost\r\nFrom: me@example.com\r\n\r\n".to_owned();
    while message.len() < MESSAGE {
        message.push_str(line);
    }
    format!("* 1 FETCH (BODY[] {{{}}}\r\n{message})\r\n", message.len()).into_bytes()
}

/// Milliseconds of processor time.
fn pass(chain: &mut Chain, response: &[u8]) -> Result<f64, Box<dyn Error>> {
    let began = clock_gettime(ClockId::ThreadCPUTime);
    let mut out = Vec::new();
    for _ in 0..MESSAGES {
        // As the runtimes read: in pieces of what one read may bring.
        for piece in response.chunks(32 * 1024) {
            out.clear();
            chain.pass(Side::Server, piece, &mut |_, bytes| {
                out.extend_from_slice(bytes)
            })?;
            black_box(&out);
        }
    }
    let ended = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = (ended.tv_sec - began.tv_sec) as f64;
    let nanoseconds = (ended.tv_nsec - began.tv_nsec) as f64;
    Ok(seconds * 1e3 + nanoseconds / 1e6)
}

/// KiB of this process in memory; 0 where the system does not tell.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}
