//! Writes the transcripts and scripts as inputs of the fuzz targets into a folder per target:
//! `cargo run -p emailproxy-tests --no-default-features --example fuzz_seeds -- fuzz/corpus`.

use harness::fuzzing::{scripts, seeds};
use harness::transcript::all;
use proxy_proto::Protocol;
use std::collections::HashSet;
use std::error::Error;
use std::{env, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = env::args_os()
        .nth(1)
        .ok_or("which folder? for example fuzz/corpus")?;
    let mut inputs = Vec::new();
    for transcript in all()? {
        let name = transcript.name.replace('/', "-").replace(".txt", "");
        for (at, (target, data)) in seeds(&transcript).into_iter().enumerate() {
            inputs.push((target, format!("{name}-{at}"), data));
        }
    }
    for protocol in [Protocol::Imap, Protocol::Pop, Protocol::Smtp] {
        let name = protocol.name().to_ascii_lowercase();
        for (at, (target, data)) in scripts(protocol).into_iter().enumerate() {
            inputs.push((target, format!("{name}-script-{at}"), data));
        }
    }
    let mut written = HashSet::new();
    for (target, name, data) in &inputs {
        let folder = Path::new(&folder).join(target);
        fs::create_dir_all(&folder)?;
        if written.insert((target, data)) {
            fs::write(folder.join(name), data)?;
        }
    }
    println!("{} seeds", written.len());
    Ok(())
}
