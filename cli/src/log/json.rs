//! Lines for programs: one JSON object each.

use super::line::{own, time_stamp};
use serde_json::{Map, Value};
use std::fmt;
use time::{OffsetDateTime, UtcOffset};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormattedFields,
        format::{JsonFields, Writer},
    },
    registry::LookupSpan,
};

/// `{"time":…,"level":"info","message":…}`, with `server`, `client`, `account` and session `id` where they are known, and whatever
/// else an event has.
pub(super) struct Object {
    /// Of local time.
    pub(super) offset: UtcOffset,
}

/// What comes behind time and level, in this order; the rest follows in alphabetical order.
const FIRST: [&str; 6] = ["target", "id", "server", "client", "account", "message"];

impl<S> FormatEvent<S, JsonFields> for Object
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Map::new();
        for span in context.event_scope().into_iter().flatten() {
            let extensions = span.extensions();
            let Some(recorded) = extensions.get::<FormattedFields<JsonFields>>() else {
                continue;
            };
            if let Ok(Value::Object(recorded)) = serde_json::from_str(&recorded.fields) {
                // The innermost span comes first, and counts.
                for (name, value) in recorded {
                    fields.entry(name).or_insert(value);
                }
            }
        }
        event.record(&mut Collect(&mut fields));
        // A session ends with the login name of its account.
        if let Some(login) = fields.remove("login") {
            fields.entry("account").or_insert(login);
        }
        let metadata = event.metadata();
        if !own(metadata.target()) {
            fields.insert("target".to_owned(), metadata.target().into());
        }
        let mut time = String::new();
        time_stamp(&mut time, OffsetDateTime::now_utc().to_offset(self.offset))?;
        let level = metadata.level().as_str().to_ascii_lowercase();
        write!(writer, "{{\"time\":\"{time}\",\"level\":\"{level}\"")?;
        for name in FIRST {
            if let Some(value) = fields.remove(name) {
                pair(&mut writer, name, &value)?;
            }
        }
        for (name, value) in &fields {
            pair(&mut writer, name, value)?;
        }
        writeln!(writer, "}}")
    }
}

fn pair(writer: &mut Writer<'_>, name: &str, value: &Value) -> fmt::Result {
    write!(writer, ",{}:{value}", Value::from(name))
}

/// The fields of an event.
struct Collect<'a>(&'a mut Map<String, Value>);

impl Collect<'_> {
    fn insert(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Collect<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.insert(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.insert(field, format!("{value:?}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.insert(field, value);
    }
}
