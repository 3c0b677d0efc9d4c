//! What a script finds in its environment beside Lua's libraries: `params`, `session`, `proxy`, `log`.

use crate::{
    budget::Budget,
    load::{Loaded, Place},
    messages,
};
use mlua::{Error, Lua, LuaString, MultiValue, Result, Table, Value};
use proxy_proto::{Side, filter::Opened};
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};
use tracing::{debug, error, info, warn};

/// Lines that a script may log in one session.
const LINES: u32 = 1_000;

/// Characters of one such line.
const LINE: usize = 400;

/// What a script has sent during a call.
#[derive(Debug)]
pub(crate) struct Sent {
    pieces: Mutex<Vec<(Side, Vec<u8>)>>,
    limit: usize,
}

impl Sent {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Sent {
            pieces: Mutex::default(),
            limit,
        })
    }

    pub(crate) fn take(&self) -> Vec<(Side, Vec<u8>)> {
        std::mem::take(&mut *self.pieces.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn add(&self, to: Side, bytes: &[u8]) -> Result<()> {
        let mut pieces = self.pieces.lock().unwrap_or_else(PoisonError::into_inner);
        // Each piece counts a little more than its bytes.
        let held: usize = pieces.iter().map(|(_, bytes)| bytes.len() + 64).sum();
        if held + bytes.len() > self.limit || pieces.len() >= 10_000 {
            return Err(Error::runtime(messages::libraries::TOO_MUCH_SENT));
        }
        pieces.push((to, bytes.to_vec()));
        Ok(())
    }
}

/// The host's part of a script's environment.
pub(crate) fn given(
    lua: &Lua,
    plugin: &Loaded,
    place: &Place,
    opened: &Opened,
    sent: &Arc<Sent>,
    budget: &Arc<Budget>,
) -> Result<Table> {
    let given = lua.create_table()?;
    given.raw_set("params", lua.create_table_from(plugin.params.clone())?)?;
    let session = lua.create_table()?;
    session.raw_set("protocol", place.protocol.name())?;
    session.raw_set("listener", &*place.listener)?;
    session.raw_set("login", &*opened.login)?;
    session.raw_set("user", &*opened.user)?;
    given.raw_set("session", session)?;

    let proxy = lua.create_table()?;
    for (name, to) in [
        ("send_to_client", Side::Client),
        ("send_to_server", Side::Server),
    ] {
        let sent = sent.clone();
        let send = move |_: &Lua, bytes: LuaString| sent.add(to, &bytes.as_bytes());
        proxy.raw_set(name, lua.create_function(send)?)?;
    }
    let time = |_: &Lua, ()| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Ok(now.map_or(0, |now| now.as_secs()))
    };
    proxy.raw_set("time", lua.create_function(time)?)?;
    given.raw_set("proxy", proxy)?;

    let log = lua.create_table()?;
    let lines = Arc::new(AtomicU32::new(0));
    for (name, line) in LEVELS {
        let (script, lines, budget) = (plugin.name.clone(), lines.clone(), budget.clone());
        let write = move |lua: &Lua, values: MultiValue| {
            // `tostring` may call the script, and that may log.
            let _nested = budget.nest()?;
            match lines.load(Ordering::Relaxed) {
                ..LINES => {
                    let text = joined(lua, values)?;
                    lines.fetch_add(1, Ordering::Relaxed);
                    line(&messages::running::script_says(&script, text));
                }
                LINES => {
                    lines.fetch_add(1, Ordering::Relaxed);
                    warn!("{}", messages::running::script_is_muted(&script));
                }
                _ => {}
            }
            Ok(())
        };
        let write = lua.create_function(write)?;
        if name == "info" {
            given.raw_set("print", &write)?;
        }
        log.raw_set(name, write)?;
    }
    given.raw_set("log", log)?;
    Ok(given)
}

/// Writes a line.
type Write = fn(&str);

const LEVELS: [(&str, Write); 4] = [
    ("debug", |line| debug!("{line}")),
    ("info", |line| info!("{line}")),
    ("warn", |line| warn!("{line}")),
    ("error", |line| error!("{line}")),
];

/// The values as `tostring` shows them, on one line.
fn joined(lua: &Lua, values: MultiValue) -> Result<String> {
    let mut text = String::new();
    for value in values {
        if !text.is_empty() {
            text.push(' ');
        }
        let shown = match value {
            Value::String(string) => string,
            value => {
                let tostring: mlua::Function = lua.globals().raw_get("tostring")?;
                tostring.call(value)?
            }
        };
        // No more of it than a line can show: four bytes for each character.
        let bytes = shown.as_bytes();
        let most = bytes.len().min(4 * LINE + 4);
        text.push_str(&String::from_utf8_lossy(&bytes[..most]));
        if text.len() > 4 * LINE {
            break;
        }
    }
    Ok(one_line(&text))
}

/// Without control characters, and of bounded length.
pub(crate) fn one_line(text: &str) -> String {
    let mut line: String = text
        .trim_end()
        .chars()
        .take(LINE)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    if text.trim_end().chars().count() > LINE {
        line.push('…');
    }
    line
}
