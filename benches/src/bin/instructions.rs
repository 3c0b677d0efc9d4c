//! Does one thing so many times: `instructions PATH COUNT`. `.ci/instructions` runs it under callgrind with two counts; the
//! difference of instructions, divided by that of the counts, is what doing it once costs.
//!
//! `instructions` alone lists the paths.

#![forbid(unsafe_code)]

use emailproxy_benches::dialogue::{Lines, Login};
use oauth::{crypt::Kdf, settings::TokenFormat};
use proxy_proto::{Protocol, Secret};
use std::{env, hint::black_box, process::ExitCode};

/// A path, and what prepares it: the closure is what is counted.
type Path = (&'static str, fn() -> Box<dyn FnMut()>);

const PATHS: [Path; 13] = [
    ("line-imap", || line(Protocol::Imap, usize::MAX)),
    ("line-imap-by-octets", || line(Protocol::Imap, 1)),
    ("line-pop", || line(Protocol::Pop, usize::MAX)),
    ("line-smtp", || line(Protocol::Smtp, usize::MAX)),
    ("login-imap", || login(Protocol::Imap, usize::MAX)),
    ("login-imap-by-octets", || login(Protocol::Imap, 1)),
    ("login-pop", || login(Protocol::Pop, usize::MAX)),
    ("login-smtp", || login(Protocol::Smtp, usize::MAX)),
    ("seal-2000-octets", || seal(TokenFormat::AesGcm)),
    ("open-2000-octets", || open(TokenFormat::AesGcm)),
    ("seal-2000-octets-fernet", || seal(TokenFormat::Fernet)),
    ("open-2000-octets-fernet", || open(TokenFormat::Fernet)),
    ("derive-100-iterations", derive),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if arguments.is_empty() {
        PATHS.iter().for_each(|(name, _)| println!("{name}"));
        return ExitCode::SUCCESS;
    }
    let [name, count] = arguments.as_slice() else {
        eprintln!("usage: instructions PATH COUNT");
        return ExitCode::from(2);
    };
    let path = PATHS.iter().find(|(path, _)| path == name);
    let (Some((_, prepare)), Ok(count)) = (path, count.parse::<u32>()) else {
        eprintln!("there is no path {name}, or {count} is no number");
        return ExitCode::from(2);
    };
    let mut once = prepare();
    for _ in 0..count {
        once();
    }
    ExitCode::SUCCESS
}

fn line(protocol: Protocol, chunk: usize) -> Box<dyn FnMut()> {
    let mut lines = Lines::new(protocol);
    Box::new(move || lines.exchange(chunk))
}

fn login(protocol: Protocol, chunk: usize) -> Box<dyn FnMut()> {
    let login = Login::new(protocol);
    Box::new(move || {
        black_box(login.play(chunk));
    })
}

const ACCOUNT: &str = "user@example.com";
const OPTION: &str = "access_token";

fn kdf() -> Kdf {
    Kdf {
        salt: vec![7; 16],
        iterations: 100,
    }
}

fn token() -> Secret {
    Secret::new("t".repeat(2_000))
}

fn seal(format: TokenFormat) -> Box<dyn FnMut()> {
    let key = kdf().derive(&Secret::new("a-local-password"));
    let token = token();
    Box::new(move || {
        let sealed = key.seal(ACCOUNT, OPTION, black_box(&token), format);
        black_box(sealed.is_ok());
    })
}

fn open(format: TokenFormat) -> Box<dyn FnMut()> {
    let key = kdf().derive(&Secret::new("a-local-password"));
    let value = key.seal(ACCOUNT, OPTION, &token(), format);
    let value = value.expect("the system has randomness");
    Box::new(move || {
        let opened = key.open(ACCOUNT, OPTION, black_box(&value));
        assert!(opened.is_ok(), "what was sealed opens");
    })
}

fn derive() -> Box<dyn FnMut()> {
    let (kdf, password) = (kdf(), Secret::new("a-local-password"));
    Box::new(move || {
        black_box(kdf.derive(black_box(&password)));
    })
}
