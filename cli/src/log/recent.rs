//! The last lines of the log, for people who look at the console.
//!
//! They are kept in memory: information, warnings and errors, whatever the log's own level is. What is in them went into the log as
//! well, so there is no secret among them.

use super::Fields;
use std::{
    collections::VecDeque,
    fmt::Write,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};
use tracing::{Event, Level, Subscriber, span};
use tracing_subscriber::{
    Layer,
    field::RecordFields,
    fmt::{FormatFields, format::Writer},
    layer::Context,
    registry::LookupSpan,
};

/// Lines that are kept.
const LINES: usize = 300;
/// Longest text of a line, in octets.
const LONGEST: usize = 2048;

/// The last lines; clones are the same.
#[derive(Clone)]
pub(crate) struct Recent {
    shared: Arc<Shared>,
}

struct Shared {
    /// Nobody will look: lines and the contexts of spans are not worth their memory.
    off: AtomicBool,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    lines: VecDeque<Line>,
    next: u64,
}

/// A line of the log.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// Counts up from 0.
    pub(crate) number: u64,
    pub(crate) time: SystemTime,
    pub(crate) level: Level,
    /// What the surrounding spans know: server, client, account.
    pub(crate) context: String,
    pub(crate) text: String,
}

impl Default for Recent {
    fn default() -> Self {
        Recent {
            shared: Arc::new(Shared {
                off: AtomicBool::new(false),
                kept: Mutex::default(),
            }),
        }
    }
}

impl Recent {
    /// Keeps lines, or forgets them and keeps none. On at first, so that the start is there to be read.
    pub(crate) fn keep(&self, on: bool) {
        self.shared.off.store(!on, Ordering::Relaxed);
        if !on {
            *self.kept() = Kept::default();
        }
    }

    /// The newest first, `most` of them.
    pub(crate) fn newest(&self, most: usize) -> Vec<Line> {
        self.kept().lines.iter().rev().take(most).cloned().collect()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.shared
            .kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn is_off(&self) -> bool {
        self.shared.off.load(Ordering::Relaxed)
    }
}

/// What a span knows, as text.
struct Known(String);

impl<S> Layer<S> for Recent
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(
        &self,
        attributes: &span::Attributes<'_>,
        id: &span::Id,
        context: Context<'_, S>,
    ) {
        if self.is_off() {
            return;
        }
        if let Some(span) = context.span(id) {
            let known = Known(formatted(attributes));
            span.extensions_mut().replace(known);
        }
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut extensions = span.extensions_mut();
        if let Some(Known(text)) = extensions.get_mut::<Known>() {
            let more = formatted(values);
            if !text.is_empty() && !more.is_empty() {
                text.push(' ');
            }
            text.push_str(&more);
            cut(text);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let level = *event.metadata().level();
        if level > Level::INFO || self.is_off() {
            return;
        }
        let mut known = String::new();
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(Known(text)) = span.extensions().get::<Known>() {
                let space = if known.is_empty() || text.is_empty() {
                    ""
                } else {
                    " "
                };
                // Outer spans come last here, and stand first in a line.
                known.insert_str(0, &format!("{text}{space}"));
            }
        }
        cut(&mut known);
        let line = Line {
            number: 0,
            time: SystemTime::now(),
            level,
            context: known,
            text: formatted(event),
        };
        let mut kept = self.kept();
        let number = kept.next;
        kept.next += 1;
        if kept.lines.len() >= LINES {
            kept.lines.pop_front();
        }
        kept.lines.push_back(Line { number, ..line });
    }
}

/// Message and fields as they stand in the log; one line, and not longer than is kept.
fn formatted(fields: impl RecordFields) -> String {
    let mut raw = String::new();
    // What could be written until then is kept.
    let _ = Fields.format_fields(Writer::new(&mut raw), fields);
    cut(&mut raw);
    if !raw.contains(char::is_control) {
        return raw;
    }
    let mut text = String::with_capacity(raw.len());
    for character in raw.chars() {
        let _ = match character {
            c if c.is_control() => write!(text, "{}", c.escape_default()),
            c => text.write_char(c),
        };
    }
    text
}

fn cut(text: &mut String) {
    if text.len() > LONGEST {
        let end = (0..=LONGEST).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or_default());
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::{debug, error, info, info_span, warn};
    use tracing_subscriber::layer::SubscriberExt;

    fn kept(say: impl FnOnce(&Recent)) -> Vec<Line> {
        let recent = Recent::default();
        let subscriber = tracing_subscriber::registry().with(recent.clone());
        tracing::subscriber::with_default(subscriber, || say(&recent));
        recent.newest(usize::MAX)
    }

    #[test]
    fn the_newest_come_first_with_what_their_spans_know() {
        let lines = kept(|_| {
            let _outer = info_span!("session", server = "IMAP-1993", client = %"[::1]:5").entered();
            info!(account = %"a@b.c", "logged in");
            let inner = info_span!("inner", account = tracing::field::Empty).entered();
            inner.record("account", "d@e.f");
            warn!("slow");
            debug!("not worth keeping");
        });
        let shown: Vec<_> = lines
            .iter()
            .map(|line| {
                (
                    line.number,
                    line.level,
                    line.context.as_str(),
                    line.text.as_str(),
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                (1, Level::WARN, "IMAP-1993 [::1]:5 d@e.f", "slow"),
                (0, Level::INFO, "IMAP-1993 [::1]:5", "logged in a@b.c"),
            ]
        );
    }

    #[test]
    fn memory_is_bounded_whatever_is_said() {
        let lines = kept(|_| {
            for n in 0..LINES + 5 {
                error!("{n} {}", "ä".repeat(LONGEST));
            }
        });
        assert_eq!(lines.len(), LINES);
        assert_eq!(lines[0].number as usize, LINES + 4);
        assert!(
            lines
                .iter()
                .all(|line| line.text.len() <= LONGEST + '…'.len_utf8())
        );
    }

    #[test]
    fn control_characters_are_shown_escaped() {
        let lines = kept(|_| info!("one\r\ntwo{}", "\u{1b}[2J"));
        assert_eq!(lines[0].text, "one\\r\\ntwo\\u{1b}[2J");
    }

    #[test]
    fn nothing_is_kept_while_nobody_looks() {
        let lines = kept(|recent| {
            info!("before");
            recent.keep(false);
            info!("meanwhile");
            recent.keep(true);
            info!("after");
        });
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].text, "after");
    }
}
