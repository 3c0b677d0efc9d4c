//! Scripts that take bytes as they arrive.

use crate::{messages::running as messages, vm::Script};
use mlua::{Function, MultiValue, Value};
use proxy_proto::{
    Side,
    filter::{Failed, Filter, Output, Verdict},
};
use tracing::warn;

/// Functions of this level.
pub(crate) const HOOKS: [&str; 2] = ["from_client", "from_server"];

pub(crate) struct Raw {
    script: Script,
    from_client: Option<Function>,
    from_server: Option<Function>,
}

impl Raw {
    pub(crate) fn new(script: Script) -> Result<Self, Failed> {
        let [client, server] = HOOKS;
        Ok(Raw {
            from_client: script.function(client)?,
            from_server: script.function(server)?,
            script,
        })
    }
}

impl Filter for Raw {
    fn open(&mut self, out: &mut Output) -> Result<(), Failed> {
        open(&self.script)?;
        for (to, bytes) in self.script.sent() {
            out.send_owned(to, bytes);
        }
        Ok(())
    }

    fn bytes(&mut self, from: Side, bytes: &[u8], out: &mut Output) -> Result<Verdict, Failed> {
        let hook = match from {
            Side::Client => &self.from_client,
            Side::Server => &self.from_server,
        };
        let Some(function) = hook else {
            return Ok(Verdict::Keep);
        };
        let values = self.script.call(function, bytes.len(), |lua| {
            Ok([Value::String(lua.create_string(bytes)?)]
                .into_iter()
                .collect())
        })?;
        for (to, bytes) in self.script.sent() {
            out.send_owned(to, bytes);
        }
        match values.front() {
            None | Some(Value::Nil | Value::Boolean(true)) => Ok(Verdict::Keep),
            Some(Value::Boolean(false)) => Ok(Verdict::Taken),
            Some(Value::String(text)) if *text.as_bytes() == *bytes => Ok(Verdict::Keep),
            Some(Value::String(text)) => {
                out.send(from.other(), &text.as_bytes());
                Ok(Verdict::Taken)
            }
            Some(other) => {
                let [client, server] = HOOKS;
                let hook = match from {
                    Side::Client => client,
                    Side::Server => server,
                };
                let why = messages::wrong_bytes(hook, other.type_name());
                Err(self.script.wrong(why))
            }
        }
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        close(&self.script);
    }
}

/// Calls `on_open`.
pub(crate) fn open(script: &Script) -> Result<(), Failed> {
    match script.function("on_open")? {
        Some(function) => script
            .call(&function, 0, |_| Ok(MultiValue::new()))
            .map(drop),
        None => Ok(()),
    }
}

/// Calls `on_close`: nothing can go wrong for the session any more, which is over.
pub(crate) fn close(script: &Script) {
    let called = script
        .function("on_close")
        .and_then(|function| match function {
            Some(function) => script
                .call(&function, 0, |_| Ok(MultiValue::new()))
                .map(drop),
            None => Ok(()),
        });
    if let Err(Failed(why)) = called {
        warn!("{why}");
    }
}
