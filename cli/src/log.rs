//! Log lines: to standard error, or to a file that is rotated before it grows past 32 MiB.
//!
//! A line is `2026-01-31T09:15:04.123+01:00 INFO  IMAP-1993 192.0.2.7:40112 user@example.org message key=value`: local time, level,
//! then what the surrounding spans know (server heading, client, account), then the message. It is one line whatever bytes are in
//! it: control characters are shown escaped.

mod rolling;

pub use rolling::RollingFile;

use std::{
    fmt::{self, Write as _},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};
use time::{OffsetDateTime, UtcOffset};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
};
use tracing_subscriber::{
    Registry,
    field::RecordFields,
    filter::Targets,
    fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields, MakeWriter, format::Writer},
    layer::SubscriberExt,
    registry::LookupSpan,
    reload,
    util::SubscriberInitExt,
};

/// The running log; see [`start`].
pub struct Log {
    filter: reload::Handle<Targets, Registry>,
    debug: AtomicBool,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The log file cannot be opened.
    #[error("cannot write the log file {path}: {source}; choose another with --log-file")]
    File {
        /// As given on the command line.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There is a global subscriber already.
    #[error("logging has been started before in this process")]
    Started,
}

/// Starts logging for the whole process. Call it before other threads start: the offset of local time is only known until then.
///
/// # Errors
///
/// When `file` cannot be opened for appending, or a subscriber has been set before.
pub fn start(file: Option<&Path>, debug: bool) -> Result<Log, LogError> {
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
    tracing_subscriber::registry()
        .with(filter)
        .with(
            tracing_subscriber::fmt::layer()
                .fmt_fields(Fields)
                .event_format(Line { offset })
                .with_writer(output),
        )
        .try_init()
        .map_err(|_| LogError::Started)?;
    Ok(Log {
        filter: handle,
        debug: AtomicBool::new(debug),
    })
}

impl Log {
    /// Switches debug logging on or off and returns whether it is on now.
    pub fn toggle_debug(&self) -> bool {
        let debug = !self.debug.fetch_xor(true, Ordering::SeqCst);
        // It fails only once the subscriber is gone, and then nobody is left to be told.
        let _ = self.filter.reload(targets(debug));
        debug
    }
}

/// What is logged. Libraries speak up from warnings on; the HTTP client never does, because it logs bodies (tokens) at `isahc::wire`
/// and header lines at its debug level.
fn targets(debug: bool) -> Targets {
    let own = if debug {
        LevelFilter::DEBUG
    } else {
        LevelFilter::INFO
    };
    [
        "emailproxy",
        "oauth",
        "proxy_proto",
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
            Output::Stderr => Box::new(io::stderr()),
            Output::File(file) => Box::new(Shared(Arc::clone(file))),
        }
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

/// The form of a line.
struct Line {
    offset: UtcOffset,
}

impl<S> FormatEvent<S, Fields> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, Fields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        time_stamp(
            &mut writer,
            OffsetDateTime::now_utc().to_offset(self.offset),
        )?;
        let level = *event.metadata().level();
        write!(writer, " {level:<5}")?;
        if !own(event.metadata().target()) || level == Level::TRACE {
            write!(writer, " {}:", event.metadata().target())?;
        }
        let mut rest = String::new();
        if let Some(scope) = context.event_scope() {
            for span in scope.from_root() {
                if let Some(fields) = span.extensions().get::<FormattedFields<Fields>>()
                    && !fields.is_empty()
                {
                    write!(rest, " {fields}")?;
                }
            }
        }
        rest.push(' ');
        context.format_fields(Writer::new(&mut rest), event)?;
        for character in rest.chars() {
            match character {
                c if c.is_control() => write!(writer, "{}", c.escape_default())?,
                c => writer.write_char(c)?,
            }
        }
        writeln!(writer)
    }
}

/// The parts of this program, whose messages need no target to be understood.
fn own(target: &str) -> bool {
    let root = target.split("::").next().unwrap_or_default();
    matches!(
        root,
        "emailproxy" | "oauth" | "proxy_runtime_smol" | "proxy_runtime_std" | "sandbox"
    )
}

/// RFC 3339 with milliseconds.
fn time_stamp(writer: &mut impl fmt::Write, now: OffsetDateTime) -> fmt::Result {
    let (hours, minutes, _) = now.offset().as_hms();
    let sign = if hours < 0 || minutes < 0 { '-' } else { '+' };
    write!(
        writer,
        "{}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}{sign}{:02}:{:02}",
        now.year(),
        u8::from(now.month()),
        now.day(),
        now.hour(),
        now.minute(),
        now.second(),
        now.millisecond(),
        hours.unsigned_abs(),
        minutes.unsigned_abs(),
    )
}

/// Message and fields: values that everybody knows by their looks stand alone, the others behind their name.
struct Fields;

impl<'w> FormatFields<'w> for Fields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut visitor = Visitor {
            writer,
            first: true,
            result: Ok(()),
        };
        fields.record(&mut visitor);
        visitor.result
    }
}

struct Visitor<'w> {
    writer: Writer<'w>,
    first: bool,
    result: fmt::Result,
}

impl Visitor<'_> {
    fn write(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        if self.result.is_err() {
            return;
        }
        let space = if std::mem::take(&mut self.first) {
            ""
        } else {
            " "
        };
        self.result = match field.name() {
            "message" | "server" | "client" | "account" => write!(self.writer, "{space}{value}"),
            "id" => write!(self.writer, "{space}#{value}"),
            name => write!(self.writer, "{space}{name}={value}"),
        };
    }
}

impl Visit for Visitor<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.write(field, format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.write(field, format_args!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::{debug, info, info_span, trace, warn};

    /// What is logged by `say`, at the given level.
    fn logged(with_debug: bool, say: impl FnOnce()) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let file = Arc::new(Mutex::new(RollingFile::open(&path).unwrap()));
        let subscriber = tracing_subscriber::registry()
            .with(targets(with_debug))
            .with(
                tracing_subscriber::fmt::layer()
                    .fmt_fields(Fields)
                    .event_format(Line {
                        offset: UtcOffset::from_hms(-3, -30, 0).unwrap(),
                    })
                    .with_writer(Output::File(file)),
            );
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
    fn debug_lines_come_only_when_asked_for() {
        assert_eq!(logged(false, || debug!("x")), "");
        assert!(logged(true, || debug!("x")).contains("DEBUG x"));
        assert_eq!(logged(true, || trace!("x")), "");
    }
}
