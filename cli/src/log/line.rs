//! Lines for people: the time, or the priority where a journal keeps the time, the level, what the spans know, the message.

use std::fmt::{self, Write as _};
use time::{OffsetDateTime, UtcOffset};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    field::RecordFields,
    fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields, format::Writer},
    registry::LookupSpan,
};

/// The form of a line.
pub(super) struct Line {
    /// What a line begins with.
    pub(super) beginning: Beginning,
}

/// What a line begins with.
#[derive(Clone, Copy)]
pub(super) enum Beginning {
    /// Local time, at this offset.
    Time(UtcOffset),
    /// The priority as sd-daemon(3) and `logger --prio-prefix` read it: the reader keeps the time.
    Priority,
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
        let level = *event.metadata().level();
        match self.beginning {
            Beginning::Time(offset) => {
                time_stamp(&mut writer, OffsetDateTime::now_utc().to_offset(offset))?;
                write!(writer, " {level:<5}")?;
            }
            Beginning::Priority => write!(writer, "<{}>{level}", priority(level))?,
        }
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

/// The syslog severity of a level (RFC 5424 §6.2.1).
pub(super) fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

/// The parts of this program, whose messages need no target to be understood.
pub(super) fn own(target: &str) -> bool {
    let root = target.split("::").next().unwrap_or_default();
    matches!(
        root,
        "emailproxy"
            | "oauth"
            | "proxy_runtime"
            | "proxy_runtime_smol"
            | "proxy_runtime_std"
            | "sandbox"
    )
}

/// RFC 3339 with milliseconds.
pub(super) fn time_stamp(writer: &mut impl fmt::Write, now: OffsetDateTime) -> fmt::Result {
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
pub(super) struct Fields;

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
