//! A whole login through a session, from the greeting to the relay, and single lines before it, for each protocol.
//!
//! `login` hands over what a peer sends in one piece, `login_byte_by_byte` a byte at a time: the difference is what
//! framing costs when the network delivers fragments. A `line` is a command and its answer.

use divan::Bencher;
use emailproxy_benches::dialogue::{Lines, Login};
use proxy_proto::Protocol;

fn main() {
    divan::main();
}

const PROTOCOLS: [&str; 3] = ["IMAP", "POP", "SMTP"];

fn protocol(name: &str) -> Protocol {
    match name {
        "IMAP" => Protocol::Imap,
        "POP" => Protocol::Pop,
        _ => Protocol::Smtp,
    }
}

#[divan::bench(args = PROTOCOLS)]
fn login(bencher: Bencher<'_, '_>, name: &str) {
    let login = Login::new(protocol(name));
    bencher.bench(|| login.play(usize::MAX));
}

#[divan::bench(args = PROTOCOLS)]
fn login_byte_by_byte(bencher: Bencher<'_, '_>, name: &str) {
    let login = Login::new(protocol(name));
    bencher.bench(|| login.play(1));
}

#[divan::bench(args = PROTOCOLS)]
fn line(bencher: Bencher<'_, '_>, name: &str) {
    let mut lines = Lines::new(protocol(name));
    bencher.bench_local(|| lines.exchange(usize::MAX));
}

#[divan::bench(args = PROTOCOLS)]
fn line_byte_by_byte(bencher: Bencher<'_, '_>, name: &str) {
    let mut lines = Lines::new(protocol(name));
    bencher.bench_local(|| lines.exchange(1));
}
