//! Scripts that take commands, responses and messages.

use crate::{messages::running as messages, raw, vm::Script};
use mlua::{Function, Lua, MultiValue, Table, Value};
use proxy_proto::{
    Protocol, Side,
    filter::{Change, Command, Failed, Message, Response, Units, Wants},
};
use tracing::{info, warn};

/// Functions of this level.
pub(crate) const HOOKS: [&str; 5] = [
    "on_command",
    "on_response",
    "on_header",
    "on_message",
    "on_part",
];

pub(crate) struct Framed {
    script: Script,
    protocol: Protocol,
    hooks: [Option<Function>; 5],
    sent: Vec<(Side, Vec<u8>)>,
    unseen: u32,
}

/// Lines about what was too long, in one session.
const UNSEEN: u32 = 20;

impl Framed {
    pub(crate) fn new(script: Script, protocol: Protocol) -> Result<Self, Failed> {
        let mut hooks = [const { None }; 5];
        for (hook, name) in hooks.iter_mut().zip(HOOKS) {
            *hook = script.function(name)?;
        }
        Ok(Framed {
            script,
            protocol,
            hooks,
            sent: Vec::new(),
            unseen: 0,
        })
    }

    /// Calls a hook with a text and what is known about it.
    fn call(
        &mut self,
        hook: usize,
        text: &[u8],
        about: impl FnOnce(&Lua, &Table) -> mlua::Result<()>,
    ) -> Result<MultiValue, Failed> {
        let Some(function) = &self.hooks[hook] else {
            return Ok(MultiValue::new());
        };
        let result = self.script.call(function, text.len(), |lua| {
            let table = lua.create_table()?;
            about(lua, &table)?;
            let text = Value::String(lua.create_string(text)?);
            Ok([text, Value::Table(table)].into_iter().collect())
        });
        self.sent.extend(self.script.sent());
        result
    }

    /// What a hook has returned.
    fn change(&self, hook: usize, given: &[u8], values: MultiValue) -> Result<Change, Failed> {
        let reply = match values.get(1) {
            None | Some(Value::Nil) => None,
            Some(Value::String(reply)) => {
                let reply = reply.as_bytes();
                let reply = reply.strip_suffix(b"\r\n").unwrap_or(&reply);
                if reply.iter().any(|byte| b"\r\n\0".contains(byte)) {
                    return Err(self.script.wrong(messages::long_answer(HOOKS[hook])));
                }
                Some(reply.to_vec())
            }
            Some(other) => {
                let why = messages::wrong_answer(HOOKS[hook], other.type_name());
                return Err(self.script.wrong(why));
            }
        };
        match values.front() {
            None | Some(Value::Nil | Value::Boolean(true)) => Ok(Change::Keep),
            Some(Value::Boolean(false)) => Ok(Change::Drop(reply)),
            Some(Value::String(text)) => {
                let text = text.as_bytes();
                if *text == *given {
                    Ok(Change::Keep)
                } else if text.is_empty() {
                    Ok(Change::Drop(reply))
                } else {
                    Ok(Change::Replace(text.to_vec()))
                }
            }
            Some(other) => {
                let why = messages::wrong_text(HOOKS[hook], other.type_name());
                Err(self.script.wrong(why))
            }
        }
    }

    /// As [`change`](Self::change), where nothing can be dropped; an empty text is one.
    fn replacement(
        &self,
        hook: usize,
        given: &[u8],
        values: MultiValue,
    ) -> Result<Option<Vec<u8>>, Failed> {
        if let Some(Value::String(text)) = values.front()
            && text.as_bytes().is_empty()
        {
            return Ok(Some(Vec::new()));
        }
        match self.change(hook, given, values)? {
            Change::Keep => Ok(None),
            Change::Replace(text) => Ok(Some(text)),
            Change::Drop(_) => Err(self.script.wrong(messages::cannot_drop(HOOKS[hook]))),
        }
    }
}

fn bytes(lua: &Lua, bytes: &[u8]) -> mlua::Result<Value> {
    lua.create_string(bytes).map(Value::String)
}

fn about_message(lua: &Lua, table: &Table, about: &Message) -> mlua::Result<()> {
    let direction = match about.to {
        Side::Server => "to_server",
        Side::Client => "to_client",
    };
    table.raw_set("direction", direction)?;
    table.raw_set("command", about.command)?;
    table.raw_set("size", about.size)?;
    table.raw_set("number", about.number)?;
    table.raw_set("section", about.section.as_deref())?;
    if let Some(mailbox) = &about.mailbox {
        table.raw_set("mailbox", bytes(lua, mailbox)?)?;
    }
    if let Some(sender) = &about.sender {
        table.raw_set("sender", bytes(lua, sender)?)?;
        let list = lua.create_table()?;
        for recipient in &about.recipients {
            list.raw_push(bytes(lua, recipient)?)?;
        }
        table.raw_set("recipients", list)?;
    }
    Ok(())
}

impl Units for Framed {
    fn wants(&self) -> Wants {
        let [command, response, header, message, part] = self.hooks.each_ref().map(Option::is_some);
        Wants {
            command,
            response,
            header,
            message,
            part,
        }
    }

    fn open(&mut self) -> Result<(), Failed> {
        raw::open(&self.script)?;
        self.sent.extend(self.script.sent());
        Ok(())
    }

    fn command(&mut self, text: &[u8], about: &Command) -> Result<Change, Failed> {
        let imap = self.protocol == Protocol::Imap;
        let values = self.call(0, text, |lua, table| {
            table.raw_set("name", &*about.name)?;
            table.raw_set("arguments", bytes(lua, &about.arguments)?)?;
            if imap {
                table.raw_set("tag", bytes(lua, &about.tag)?)?;
            }
            if let Some(mailbox) = &about.mailbox {
                table.raw_set("mailbox", bytes(lua, mailbox)?)?;
            }
            table.raw_set("literal", about.literal)
        })?;
        self.change(0, text, values)
    }

    fn response(&mut self, text: &[u8], about: &Response) -> Result<Change, Failed> {
        let protocol = self.protocol;
        let values = self.call(1, text, |lua, table| {
            table.raw_set("command", about.command.as_deref())?;
            table.raw_set("own", about.own)?;
            match protocol {
                Protocol::Imap => {
                    table.raw_set("tag", bytes(lua, &about.tag)?)?;
                    table.raw_set("name", about.name.as_deref())?;
                    table.raw_set("number", about.number)
                }
                Protocol::Pop => table.raw_set("ok", about.ok),
                Protocol::Smtp => table.raw_set("code", about.code),
            }
        })?;
        self.change(1, text, values)
    }

    fn header(&mut self, text: &[u8], about: &Message) -> Result<Option<Vec<u8>>, Failed> {
        let values = self.call(2, text, |lua, table| about_message(lua, table, about))?;
        self.replacement(2, text, values)
    }

    fn message(&mut self, text: &[u8], about: &Message) -> Result<Change, Failed> {
        let values = self.call(3, text, |lua, table| about_message(lua, table, about))?;
        match about.to {
            Side::Server => self.change(3, text, values),
            Side::Client => Ok(match self.replacement(3, text, values)? {
                None => Change::Keep,
                Some(text) => Change::Replace(text),
            }),
        }
    }

    fn part(&mut self, text: &[u8], about: &Message) -> Result<Option<Vec<u8>>, Failed> {
        let values = self.call(4, text, |lua, table| about_message(lua, table, about))?;
        self.replacement(4, text, values)
    }

    fn passes_unseen(&mut self, what: &str, about: &Message) {
        self.unseen = self.unseen.saturating_add(1);
        let name = self.script.name();
        match self.unseen {
            ..UNSEEN => info!(
                size = about.size,
                "{}",
                messages::passes_unseen(name, what, about.command)
            ),
            UNSEEN => warn!("{}", messages::more_passes_unseen(name)),
            _ => {}
        }
    }

    fn sent(&mut self) -> Vec<(Side, Vec<u8>)> {
        std::mem::take(&mut self.sent)
    }
}

impl Drop for Framed {
    fn drop(&mut self) {
        raw::close(&self.script);
    }
}
