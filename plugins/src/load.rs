//! Scripts found, read and tried, when the configuration is read.

use crate::{
    deflate::{self, Deflate},
    framed::{self, Framed},
    list::{self, Entry},
    messages::loading as messages,
    raw::{self, Raw},
    vm::{Script, Vm},
};
use proxy_proto::{
    Protocol,
    filter::{self, Bounds, Chain, Failed, Filter, Filters, OUTPUT_LIMIT, Opened},
};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// Longest script.
const SOURCE: u64 = 1024 * 1024;

const MIB: usize = 1024 * 1024;

/// What of a server the scripts are told.
#[derive(Clone, Debug)]
pub struct Place {
    /// The server's protocol.
    pub protocol: Protocol,
    /// The heading of its section.
    pub listener: Arc<str>,
}

/// Why a server's plugins cannot be used: one line that says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LoadError(pub String);

/// A server's plugins as they were when they were read.
#[derive(Clone, Debug)]
pub struct Plugins(Arc<Set>);

#[derive(Debug)]
struct Set {
    plugins: Vec<Loaded>,
    place: Place,
    /// The largest that any of them asks for.
    limits: Limits,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// As it stands in the list.
    pub(crate) name: Arc<str>,
    pub(crate) source: Vec<u8>,
    pub(crate) params: BTreeMap<String, String>,
    pub(crate) limits: Limits,
}

/// What a plugin may use.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// A message that is collected, in bytes.
    pub(crate) message: usize,
    /// The state's memory, in bytes.
    pub(crate) memory: usize,
    /// Processor time of one call.
    pub(crate) call: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            message: 8 * MIB,
            memory: 64 * MIB,
            call: Duration::from_secs(1),
        }
    }
}

impl Limits {
    fn or_more(&self, other: &Limits) -> Limits {
        Limits {
            message: self.message.max(other.message),
            memory: self.memory.max(other.memory),
            call: self.call.max(other.call),
        }
    }

    /// What a plugin may put out for one piece of input, in bytes.
    pub(crate) fn output(&self) -> usize {
        OUTPUT_LIMIT.max(self.message.saturating_mul(4))
    }
}

impl Plugins {
    /// Reads a server's option `plugins`, finds the scripts in the first of these folders that has them, and tries each of
    /// them once. Blocks.
    ///
    /// # Errors
    /// When the list or a parameter cannot be read, a script is not there, or has a mistake that shows at once.
    pub fn load(list: &str, folders: &[PathBuf], place: &Place) -> Result<Self, LoadError> {
        let entries = list::parse(list).map_err(|error| LoadError(error.0))?;
        let mut plugins = Vec::new();
        let mut most: Option<Limits> = None;
        let last = entries.len() - 1;
        for (nth, entry) in entries.into_iter().enumerate() {
            if entry.file == deflate::NAME {
                compression(&entry, nth == last, place)?;
            }
            let limits = limits(&entry)?;
            if entry.file != deflate::NAME {
                most = Some(match most {
                    None => limits.clone(),
                    Some(most) => most.or_more(&limits),
                });
            }
            plugins.push(Loaded {
                source: match &*entry.file {
                    deflate::NAME => Vec::new(),
                    file => source(file, folders)?,
                },
                name: entry.file.into(),
                params: entry.params,
                limits,
            });
        }
        let plugins = Plugins(Arc::new(Set {
            plugins,
            place: place.clone(),
            limits: most.unwrap_or_default(),
        }));
        let nobody = Opened {
            login: "".into(),
            user: "".into(),
        };
        plugins
            .0
            .chain(&nobody)
            .map_err(|Failed(why)| LoadError(why))?;
        Ok(plugins)
    }

    /// What makes the chains of the server's sessions.
    pub fn filters(&self) -> Filters {
        let set = self.0.clone();
        Filters::new(move |opened| set.chain(opened))
    }

    /// The scripts' names, in the list's order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.plugins.iter().map(|plugin| &*plugin.name)
    }
}

impl Set {
    fn chain(&self, opened: &Opened) -> Result<Chain, Failed> {
        let vm = Vm::new(&self.limits)?;
        let mut filters: Vec<Box<dyn Filter>> = Vec::new();
        for plugin in &self.plugins {
            if *plugin.name == *deflate::NAME {
                filters.push(Box::new(Deflate::new()));
                continue;
            }
            let script = Script::start(&vm, plugin, &self.place, opened)?;
            filters.push(filter(script, plugin, &self.place)?);
        }
        Ok(Chain::new(filters).limit_output(self.limits.output()))
    }
}

fn filter(script: Script, plugin: &Loaded, place: &Place) -> Result<Box<dyn Filter>, Failed> {
    let first = |hooks: &[&'static str]| -> Result<Option<&'static str>, Failed> {
        for name in hooks {
            if script.function(name)?.is_some() {
                return Ok(Some(name));
            }
        }
        Ok(None)
    };
    match (first(&raw::HOOKS)?, first(&framed::HOOKS)?) {
        (Some(raw), Some(framed)) => Err(script.wrong(messages::both_levels(raw, framed))),
        (None, Some(_)) => {
            let bounds = Bounds {
                message: plugin.limits.message,
                ..Bounds::default()
            };
            let framed = Framed::new(script, place.protocol)?;
            Ok(filter::framed(place.protocol, Box::new(framed), bounds))
        }
        (_, None) => Ok(Box::new(Raw::new(script)?)),
    }
}

/// Whether compression may stand where it does.
fn compression(entry: &Entry, last: bool, place: &Place) -> Result<(), LoadError> {
    let name = deflate::NAME;
    if place.protocol != Protocol::Imap {
        let protocol = place.protocol.name();
        return Err(LoadError(messages::no_compression(name, protocol)));
    }
    if !last {
        return Err(LoadError(messages::not_last(name)));
    }
    match entry.params.keys().next() {
        Some(key) => Err(LoadError(messages::unknown_parameter(name, key))),
        None => Ok(()),
    }
}

fn source(name: &str, folders: &[PathBuf]) -> Result<Vec<u8>, LoadError> {
    if Path::new(name).extension().is_none_or(|e| e != "lua") {
        return Err(LoadError(messages::not_lua(name)));
    }
    // An absolute name replaces the folder.
    for path in folders.iter().map(|folder| folder.join(name)) {
        let unreadable =
            |error: io::Error| LoadError(messages::script_unreadable(path.display(), error));
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(unreadable(error)),
        };
        if fs::metadata(&path).is_ok_and(|found| !found.is_file()) {
            return Err(LoadError(messages::no_file(path.display())));
        }
        let mut source = Vec::new();
        file.take(SOURCE + 1)
            .read_to_end(&mut source)
            .map_err(unreadable)?;
        if source.len() as u64 > SOURCE {
            return Err(LoadError(messages::script_too_long(path.display())));
        }
        return Ok(source);
    }
    let folders: Vec<_> = folders
        .iter()
        .map(|folder| folder.display().to_string())
        .collect();
    Err(LoadError(messages::no_script(name, folders.join(" or "))))
}

/// The parameters that are limits.
fn limits(entry: &Entry) -> Result<Limits, LoadError> {
    let mut limits = Limits::default();
    let file = &entry.file;
    for (key, value) in &entry.params {
        let bytes = || {
            bytes(value)
                .filter(|bytes| (64 * 1024..=1024 * MIB).contains(bytes))
                .ok_or_else(|| LoadError(messages::bad_size(file, key, value)))
        };
        match &**key {
            "max_message" => limits.message = bytes()?,
            "max_memory" => limits.memory = bytes()?.max(MIB),
            "max_time" => {
                let milliseconds = value
                    .parse()
                    .ok()
                    .filter(|time| (1..=600_000).contains(time))
                    .ok_or_else(|| LoadError(messages::bad_time(file, value)))?;
                limits.call = Duration::from_millis(milliseconds);
            }
            _ => {}
        }
    }
    Ok(limits)
}

fn bytes(text: &str) -> Option<usize> {
    let digits = text.trim_end_matches(['K', 'k', 'M', 'm']);
    let unit = match &text[digits.len()..] {
        "" => 1,
        "K" | "k" => 1024,
        "M" | "m" => MIB,
        _ => return None,
    };
    digits.parse::<usize>().ok()?.checked_mul(unit)
}
