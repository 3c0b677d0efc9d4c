//! A chain of scripts and what comes out of it.

#![allow(dead_code, reason = "not every test uses all of it")]

use plugins::{LoadError, Place, Plugins};
use proxy_proto::{
    Protocol, Side,
    filter::{Chain, Failed, Opened},
};
use std::{
    fs,
    io::Write,
    sync::{Arc, Mutex},
};
use tracing::subscriber;

pub(crate) struct World {
    pub(crate) chain: Chain,
}

impl World {
    /// One script for IMAP.
    pub(crate) fn new(source: &str) -> Self {
        World::with(&[("test.lua", source)])
    }

    /// Lines of the list, and the scripts that they name.
    pub(crate) fn with(scripts: &[(&str, &str)]) -> Self {
        World::of(Protocol::Imap, scripts)
    }

    pub(crate) fn of(protocol: Protocol, scripts: &[(&str, &str)]) -> Self {
        let plugins = load_all(protocol, scripts).unwrap();
        let who = Opened {
            login: "me@example.com".into(),
            user: "boss@example.com".into(),
        };
        let chain = plugins.filters().chain(&who).unwrap();
        World { chain }
    }

    pub(crate) fn open(&mut self) -> (String, String) {
        let mut out = [Vec::new(), Vec::new()];
        self.chain
            .open(&mut |to, bytes| out[usize::from(to == Side::Server)].extend_from_slice(bytes))
            .unwrap();
        let [client, server] = out.map(|bytes| String::from_utf8(bytes).unwrap());
        (client, server)
    }

    /// What the client and the server get.
    pub(crate) fn pass_bytes(
        &mut self,
        from: Side,
        bytes: &[u8],
    ) -> Result<(Vec<u8>, Vec<u8>), Failed> {
        let mut out = [Vec::new(), Vec::new()];
        self.chain.pass(from, bytes, &mut |to, bytes| {
            out[usize::from(to == Side::Server)].extend_from_slice(bytes)
        })?;
        let [client, server] = out;
        Ok((client, server))
    }

    pub(crate) fn pass(&mut self, from: Side, text: &str) -> (String, String) {
        let (client, server) = self.pass_bytes(from, text.as_bytes()).unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (text(client), text(server))
    }
}

pub(crate) fn load_all(protocol: Protocol, scripts: &[(&str, &str)]) -> Result<Plugins, LoadError> {
    let folder = tempfile::tempdir().unwrap();
    let mut list = String::new();
    for (line, source) in scripts {
        list.push_str(&format!("\n{line}"));
        let name = line.split_whitespace().next().unwrap();
        fs::write(folder.path().join(name), source).unwrap();
    }
    let place = Place {
        protocol,
        listener: "IMAP-1993".into(),
    };
    Plugins::load(&list, &[folder.path().to_owned()], &place)
}

/// Loads this list, where `a.lua` is what it names.
pub(crate) fn load(list: &str, source: &str) -> Result<Plugins, LoadError> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.lua"), source).unwrap();
    let place = Place {
        protocol: Protocol::Imap,
        listener: "IMAP-1993".into(),
    };
    Plugins::load(list, &[folder.path().to_owned()], &place)
}

pub(crate) fn load_error(list: &str, source: &str) -> String {
    load(list, source).unwrap_err().to_string()
}

/// What was logged meanwhile.
pub(crate) fn logged(work: impl FnOnce()) -> String {
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);
    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let lines = Lines::default();
    let writer = lines.clone();
    let collector = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing::Level::DEBUG)
        .with_writer(move || writer.clone())
        .finish();
    subscriber::with_default(collector, work);
    let bytes = lines.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}
