//! Facts of the build for `--version`. The commit comes from the environment (`EMAILPROXY_COMMIT`), because neither git nor its
//! folder need be there, and the same sources shall make the same program.

use std::{env, fs, process::Command};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=EMAILPROXY_COMMIT");
    fact(
        "COMMIT",
        env::var("EMAILPROXY_COMMIT")
            .ok()
            .filter(|name| plain(name)),
    );
    fact("TARGET", env::var("TARGET").ok());
    fact("RUSTC", rustc());
    let features = ["plugins", "aws"].into_iter().filter(|feature| {
        env::var_os(format!("CARGO_FEATURE_{}", feature.to_ascii_uppercase())).is_some()
    });
    let features = features.collect::<Vec<_>>().join(", ");
    let none = features.is_empty().then(|| "none".to_owned());
    fact("FEATURES", Some(none.unwrap_or(features)));
    fact("RUSTLS", locked("rustls"));
    fact("AWS_LC", locked("aws-lc-rs"));
}

/// Hands a fact to the compiler.
fn fact(name: &str, value: Option<String>) {
    let value = value.as_deref().unwrap_or("unknown");
    println!("cargo:rustc-env=EMAILPROXY_BUILD_{name}={value}");
}

/// What may be a commit's or a release's name.
fn plain(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '+' | '_');
    (1..=64).contains(&name.len()) && name.chars().all(fits)
}

fn rustc() -> Option<String> {
    let output = Command::new(env::var_os("RUSTC")?)
        .arg("--version")
        .output();
    let text = String::from_utf8(output.ok()?.stdout).ok()?;
    Some(text.lines().next()?.to_owned())
}

/// The version of a dependency that the workspace's lock file names, where there is one.
fn locked(package: &str) -> Option<String> {
    let path = "../Cargo.lock";
    let text = fs::read_to_string(path).ok()?;
    println!("cargo:rerun-if-changed={path}");
    let name = format!("name = \"{package}\"");
    let mut lines = text.lines().skip_while(|line| *line != name).skip(1);
    let version = lines.next()?.strip_prefix("version = \"")?;
    Some(version.strip_suffix('"')?.to_owned())
}
