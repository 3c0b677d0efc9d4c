//! What a state's scripts may use: Lua's harmless libraries, with what could run on without end replaced.

mod expressions;
mod mime;
mod pattern;
mod strings;

use crate::{budget::Budget, messages::libraries as messages};
use mlua::{Function, Lua, Result, chunk::ChunkMode};
use std::sync::Arc;

/// Runs what makes the state safe. The function that it returns makes a script's environment from what the host adds to it.
pub(crate) fn prepare(lua: &Lua, budget: &Arc<Budget>) -> Result<Function> {
    let host = strings::functions(lua, budget)?;
    let asked = budget.clone();
    host.raw_set(
        "exhausted",
        lua.create_function(move |_, ()| Ok(asked.is_exhausted()))?,
    )?;
    host.raw_set("mime", mime::library(lua, budget)?)?;
    host.raw_set("regex", expressions::functions(lua, budget)?)?;
    lua.load(include_str!("sandbox/sandbox.lua"))
        .set_name("=sandbox")
        .set_mode(ChunkMode::Text)
        .call((
            host,
            messages::LIMIT_WAS_HIT,
            messages::NO_MEMORY,
            messages::NO_FINALIZERS,
            // The library fills the name in.
            messages::no_metatable("%s"),
            messages::TOO_MANY_TO_MOVE,
        ))
}
