//! Log lines: to standard error, or to a file that is rotated before it grows past 32 MiB; for people, for a journal, or as JSON.
//!
//! A line is `2026-01-31T09:15:04.123+01:00 INFO  IMAP-1993 192.0.2.7:40112 user@example.org message key=value`: local time, level,
//! then what the surrounding spans know (server heading, client, account), then the message. It is one line whatever bytes are in
//! it: control characters are shown escaped.

mod json;
mod line;
pub(crate) mod recent;
mod rolling;

pub use rolling::RollingFile;

use crate::{board, messages::serve as texts};
use line::{Beginning, Fields, Line};
use recent::Recent;
use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};
use time::UtcOffset;
use tracing::{Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    Layer, Registry, filter::Targets, fmt::MakeWriter, fmt::format::JsonFields,
    layer::SubscriberExt, registry::LookupSpan, reload, util::SubscriberInitExt,
};

/// `--log-format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A line for people, with local time
    Text,
    /// The same without the time and with a priority, for journald and `logger --prio-prefix`
    Journal,
    /// An object for each line, for programs
    Json,
}

impl Format {
    /// What suits the reader where nobody has chosen: a journal at the other end of standard error, else people.
    fn suitable(file: Option<&Path>) -> Format {
        match file.is_none() && is_journal(std::env::var("JOURNAL_STREAM").ok().as_deref()) {
            true => Format::Journal,
            false => Format::Text,
        }
    }
}

/// Whether standard error is the stream that `JOURNAL_STREAM` names (systemd.exec(5)): the variable alone is inherited by
/// children whose standard error is another one.
#[cfg(unix)]
fn is_journal(stream: Option<&str>) -> bool {
    let Some((device, inode)) = stream.and_then(|stream| stream.split_once(':')) else {
        return false;
    };
    let Ok(stat) = rustix::fs::fstat(io::stderr()) else {
        return false;
    };
    device.parse() == Ok(stat.st_dev) && inode.parse() == Ok(stat.st_ino)
}

#[cfg(not(unix))]
fn is_journal(_: Option<&str>) -> bool {
    false
}

/// The running log; see [`start`]. Clones are the same.
#[derive(Clone)]
pub struct Log {
    filter: reload::Handle<Targets, Registry>,
    debug: Arc<AtomicBool>,
    recent: Recent,
    offset: UtcOffset,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The log file cannot be opened.
    #[error("{}", texts::cannot_log(.path.display(), .source))]
    File {
        /// As given on the command line.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There is a global subscriber already.
    #[error("{}", texts::LOGGING_ALREADY)]
    Started,
}

/// Starts logging for the whole process. Call it before other threads start: the offset of local time is only known until then.
///
/// # Errors
///
/// When `file` cannot be opened for appending, or a subscriber has been set before.
pub fn start(file: Option<&Path>, format: Option<Format>, debug: bool) -> Result<Log, LogError> {
    let format = format.unwrap_or_else(|| Format::suitable(file));
    let offset = UtcOffset::current_local_offset().unwrap_or(UtcOffset::UTC);
    let output = match file {
        None => Output::Stderr,
        Some(path) => RollingFile::open(path)
            .map(|file| Output::File(Arc::new(Mutex::new(file))))
            .map_err(|source| LogError::File {
                path: path.to_owned(),
                source,
            })?,
    };
    let (filter, handle) = reload::Layer::new(targets(debug));
    let recent = Recent::default();
    tracing_subscriber::registry()
        .with(filter)
        .with(written(format, offset, output))
        .with(recent.clone())
        .try_init()
        .map_err(|_| LogError::Started)?;
    Ok(Log {
        filter: handle,
        debug: Arc::new(AtomicBool::new(debug)),
        recent,
        offset,
    })
}

/// Writes lines of this format.
fn written<S>(format: Format, offset: UtcOffset, output: Output) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let beginning = match format {
        Format::Json => {
            let layer = tracing_subscriber::fmt::layer()
                .fmt_fields(JsonFields::new())
                .event_format(json::Object { offset });
            return layer.with_writer(output).boxed();
        }
        Format::Text => Beginning::Time(offset),
        Format::Journal => Beginning::Priority,
    };
    let layer = tracing_subscriber::fmt::layer()
        .fmt_fields(Fields)
        .event_format(Line { beginning });
    layer.with_writer(output).boxed()
}

impl Log {
    /// For commands that tell by themselves what they do: only warnings are logged, unless `debug`.
    pub fn hush(&self, debug: bool) {
        if !debug {
            // As below.
            let _ = self.filter.reload(targets_from(LevelFilter::WARN));
        }
    }

    /// Switches debug logging on or off and returns whether it is on now.
    pub fn toggle_debug(&self) -> bool {
        let debug = !self.debug.fetch_xor(true, Ordering::SeqCst);
        self.filter(debug);
        debug
    }

    /// Switches debug logging; `false` where it was so before.
    pub(crate) fn set_debug(&self, debug: bool) -> bool {
        let changed = self.debug.swap(debug, Ordering::SeqCst) != debug;
        if changed {
            self.filter(debug);
        }
        changed
    }

    /// Whether debug logging is on.
    pub(crate) fn is_debug(&self) -> bool {
        self.debug.load(Ordering::SeqCst)
    }

    /// What local time is ahead of UTC.
    pub(crate) fn offset(&self) -> UtcOffset {
        self.offset
    }

    /// The last lines of the log.
    pub(crate) fn recent(&self) -> &Recent {
        &self.recent
    }

    fn filter(&self, debug: bool) {
        // It fails only once the subscriber is gone, and then nobody is left to be told.
        let _ = self.filter.reload(targets(debug));
    }
}

/// What is logged. Libraries speak up from warnings on; the HTTP client never does, because it logs bodies (tokens) at `isahc::wire`
/// and header lines at its debug level.
fn targets(debug: bool) -> Targets {
    targets_from(if debug {
        LevelFilter::DEBUG
    } else {
        LevelFilter::INFO
    })
}

/// The same with this level of our own messages.
fn targets_from(own: LevelFilter) -> Targets {
    [
        "emailproxy",
        "oauth",
        "plugins",
        "proxy_proto",
        "proxy_runtime",
        "proxy_runtime_smol",
        "proxy_runtime_std",
        "sandbox",
    ]
    .into_iter()
    .map(|target| (target, own))
    .chain([
        ("isahc", LevelFilter::OFF),
        ("isahc::wire", LevelFilter::OFF),
        ("curl", LevelFilter::OFF),
    ])
    .collect::<Targets>()
    .with_default(LevelFilter::WARN)
}

/// Where lines go.
enum Output {
    Stderr,
    File(Arc<Mutex<RollingFile>>),
}

impl<'a> MakeWriter<'a> for Output {
    type Writer = Box<dyn Write>;

    fn make_writer(&'a self) -> Self::Writer {
        match self {
            Output::Stderr => Box::new(Board(board::stderr())),
            Output::File(file) => Box::new(Shared(Arc::clone(file))),
        }
    }
}

/// A line's way to standard error, past what is shown below it.
struct Board(board::Board);

impl Write for Board {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write(line)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One line's way into the file: a line is handed over in one piece, so lines of several threads do not mix.
struct Shared(Arc<Mutex<RollingFile>>);

impl Write for Shared {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .write_all(line)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::{debug, info, info_span, trace, warn};

    /// What is logged by `say`, at the given level.
    fn logged(with_debug: bool, say: impl FnOnce()) -> String {
        formatted(Format::Text, with_debug, say)
    }

    fn formatted(format: Format, with_debug: bool, say: impl FnOnce()) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let file = Arc::new(Mutex::new(RollingFile::open(&path).unwrap()));
        let subscriber = tracing_subscriber::registry()
            .with(targets(with_debug))
            .with(written(
                format,
                UtcOffset::from_hms(-3, -30, 0).unwrap(),
                Output::File(file),
            ));
        tracing::subscriber::with_default(subscriber, say);
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn a_line_names_time_level_span_fields_and_message() {
        let text = logged(false, || {
            let _span = info_span!("session", server = "IMAP-1993", client = %"[::1]:5").entered();
            info!(account = %"a@b.c", "logged in");
        });
        let (time, rest) = text.split_once(' ').unwrap();
        assert_eq!(time.len(), "2026-01-31T09:15:04.123-03:30".len());
        assert!(time.ends_with("-03:30"), "{time}");
        assert_eq!(rest, "INFO  IMAP-1993 [::1]:5 logged in a@b.c\n");
    }

    #[test]
    fn whatever_is_in_a_message_it_stays_one_line() {
        let text = logged(false, || info!("begin\r\n2026 forged\u{1b}[2J{}", "\u{85}"));
        assert_eq!(text.lines().count(), 1, "{text:?}");
        assert!(!text.trim_end().chars().any(char::is_control), "{text:?}");
    }

    #[test]
    fn the_http_client_is_never_heard() {
        for with_debug in [false, true] {
            let text = logged(with_debug, || {
                trace!(target: "isahc::wire", "body");
                warn!(target: "isahc::wire", "body");
                debug!(target: "isahc::handler", "header");
                debug!(target: "hyper::proto", "noise");
                warn!(target: "hyper::proto", "worth reading");
            });
            assert!(text.contains("hyper::proto: worth reading"), "{text}");
            assert_eq!(text.lines().count(), 1, "{text}");
        }
    }

    #[test]
    fn every_part_of_the_program_is_heard_and_needs_no_target() {
        let text = logged(false, || {
            info!(target: "emailproxy::serve", "one");
            info!(target: "oauth::store", "two");
            info!(target: "proxy_runtime::driver", "three");
            info!(target: "proxy_runtime_smol::relay", "four");
            info!(target: "proxy_runtime_std::relay", "five");
        });
        let said: Vec<_> = text
            .lines()
            .filter_map(|line| line.split("INFO  ").nth(1))
            .collect();
        assert_eq!(said, ["one", "two", "three", "four", "five"]);
    }

    #[test]
    fn debug_lines_come_only_when_asked_for() {
        assert_eq!(logged(false, || debug!("x")), "");
        assert!(logged(true, || debug!("x")).contains("DEBUG x"));
        assert_eq!(logged(true, || trace!("x")), "");
    }

    #[test]
    fn a_journal_gets_priorities_and_keeps_the_time_itself() {
        let text = formatted(Format::Journal, true, || {
            let _span = info_span!("session", server = "IMAP-1993").entered();
            warn!(account = %"a@b.c", "beware");
            info!("so\n<0>forged");
            debug!("detail");
        });
        assert_eq!(
            text,
            "<4>WARN IMAP-1993 beware a@b.c\n<6>INFO IMAP-1993 so\\n<0>forged\n<7>DEBUG IMAP-1993 detail\n"
        );
    }

    #[test]
    fn json_has_one_object_a_line_with_what_the_spans_know() {
        let text = formatted(Format::Json, false, || {
            let span = info_span!(
                "session",
                id = 7,
                server = "IMAP-1993",
                client = tracing::field::Empty
            );
            span.record("client", tracing::field::display("[::1]:5"));
            let _entered = span.entered();
            info!(login = "a@b.c", up = 12_u64, "finished \"now\"\r\n");
            warn!(target: "hyper::proto", account = %"x@y.z", ok = true, "noise");
        });
        let objects: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(objects.len(), 2, "{text}");
        let first = &objects[0];
        assert!(first["time"].as_str().unwrap().ends_with("-03:30"));
        for (name, value) in [
            ("level", "info"),
            ("server", "IMAP-1993"),
            ("client", "[::1]:5"),
            ("account", "a@b.c"),
            ("message", "finished \"now\"\r\n"),
        ] {
            assert_eq!(first[name], value, "{text}");
        }
        assert_eq!((&first["id"], &first["up"]), (&7.into(), &12.into()));
        assert_eq!(objects[1]["target"], "hyper::proto");
        assert_eq!(objects[1]["account"], "x@y.z");
        assert_eq!(objects[1]["ok"], true);
    }

    #[test]
    fn a_journal_is_recognised_by_device_and_inode() {
        for stream in [None, Some(""), Some("1"), Some("1:2:3"), Some("0:0")] {
            assert!(!is_journal(stream), "{stream:?}");
        }
        #[cfg(unix)]
        {
            let stat = rustix::fs::fstat(io::stderr()).unwrap();
            assert!(is_journal(Some(&format!(
                "{}:{}",
                stat.st_dev, stat.st_ino
            ))));
        }
    }
}
