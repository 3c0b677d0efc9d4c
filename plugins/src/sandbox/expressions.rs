//! `regex`: regular expressions, whose time is bounded by their nature.
//!
//! As with the functions of `string`, an error's text comes first.

use crate::{budget::Budget, messages::libraries as messages};
use mlua::{Error, Function, Lua, LuaString, MultiValue, Result, Table, Value};
use regex::bytes::{Captures, Regex, RegexBuilder};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// Bytes that one compiled expression may take.
const SIZE: usize = 1024 * 1024;

/// Compiled expressions that a session keeps.
const KEPT: usize = 32;

#[derive(Default)]
struct Compiled(Mutex<HashMap<Vec<u8>, Regex>>);

impl Compiled {
    fn get(&self, pattern: &LuaString) -> std::result::Result<Regex, String> {
        let key = pattern.as_bytes().to_vec();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(regex) = kept.get(&key) {
            return Ok(regex.clone());
        }
        let text =
            std::str::from_utf8(&key).map_err(|_| messages::EXPRESSION_NOT_UTF_8.to_owned())?;
        let regex = RegexBuilder::new(text)
            .size_limit(SIZE)
            .dfa_size_limit(SIZE)
            .build()
            .map_err(|error| {
                let text = error.to_string();
                let last = text.lines().last().unwrap_or_default().trim();
                messages::bad_expression(last.trim_start_matches("error: "))
            })?;
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(key, regex.clone());
        Ok(regex)
    }
}

pub(super) fn functions(lua: &Lua, budget: &Arc<Budget>) -> Result<Table> {
    let library = lua.create_table()?;
    let compiled = Arc::new(Compiled::default());
    let known = compiled.clone();
    let first = move |lua: &Lua, (text, pattern): (LuaString, LuaString)| {
        let regex = match known.get(&pattern) {
            Ok(regex) => regex,
            Err(wrong) => return wrong_first(lua, &wrong),
        };
        let text = text.as_bytes();
        match regex.captures(&text) {
            None => Ok([Value::Nil, Value::Nil].into_iter().collect()),
            Some(found) => {
                let skip = usize::from(found.len() > 1);
                let mut values = groups(lua, &found, skip)?;
                values.insert(0, Value::Nil);
                Ok(values.into_iter().collect())
            }
        }
    };
    library.raw_set("match", lua.create_function(first)?)?;
    let budget = budget.clone();
    let replace = move |lua: &Lua,
                        (text, pattern, replacement, most): (
        LuaString,
        LuaString,
        Value,
        Option<i64>,
    )| {
        let regex = match compiled.get(&pattern) {
            Ok(regex) => regex,
            Err(wrong) => return wrong_first(lua, &wrong),
        };
        let with = match replacement {
            Value::Function(function) => With::Function(function),
            Value::String(text) => With::Text(text.as_bytes().to_vec()),
            other => {
                let wrong = messages::bad_replacement(other.type_name());
                return wrong_first(lua, &wrong);
            }
        };
        let most = most.unwrap_or(i64::MAX);
        let (new, count) = gsub(lua, &regex, &text, &with, most, &budget)?;
        let text = match new {
            Some(new) => lua.create_string(new)?,
            None => text,
        };
        Ok([Value::Nil, Value::String(text), Value::Integer(count)]
            .into_iter()
            .collect())
    };
    library.raw_set("gsub", lua.create_function(replace)?)?;
    Ok(library)
}

fn wrong_first(lua: &Lua, wrong: &str) -> Result<MultiValue> {
    let text = lua.create_string(wrong)?;
    Ok([Value::String(text)].into_iter().collect())
}

enum With {
    /// With `$1` and `${name}`.
    Text(Vec<u8>),
    Function(Function),
}

/// The text with matches replaced, `None` where that changes nothing, and how many there were.
fn gsub(
    lua: &Lua,
    regex: &Regex,
    text: &LuaString,
    with: &With,
    most: i64,
    budget: &Budget,
) -> Result<(Option<Vec<u8>>, i64)> {
    let nested = budget.nest()?;
    let text = text.as_bytes();
    let (mut new, mut copied, mut count) = (Vec::new(), 0, 0);
    for found in regex.captures_iter(&text) {
        if count >= most {
            break;
        }
        let Some(whole) = found.get(0) else {
            continue;
        };
        count += 1;
        if count % 256 == 0 {
            budget.check().map_err(Error::external)?;
        }
        new.extend_from_slice(&text[copied..whole.start()]);
        copied = whole.end();
        match with {
            With::Text(replacement) => found.expand(replacement, &mut new),
            With::Function(function) => {
                let values: MultiValue = groups(lua, &found, 0)?.into_iter().collect();
                match function.call::<Value>(values)? {
                    Value::String(replacement) => new.extend_from_slice(&replacement.as_bytes()),
                    Value::Nil | Value::Boolean(false) => new.extend_from_slice(whole.as_bytes()),
                    other => {
                        let wrong = messages::bad_replacement_value(other.type_name());
                        return Err(Error::runtime(wrong));
                    }
                }
            }
        }
        nested.holds(new.len())?;
    }
    if count == 0 {
        return Ok((None, 0));
    }
    new.extend_from_slice(&text[copied..]);
    Ok((Some(new), count))
}

/// The groups from `skip` on; `false` for one that took no part.
fn groups(lua: &Lua, found: &Captures<'_>, skip: usize) -> Result<Vec<Value>> {
    found
        .iter()
        .skip(skip)
        .map(|group| match group {
            Some(group) => lua.create_string(group.as_bytes()).map(Value::String),
            None => Ok(Value::Boolean(false)),
        })
        .collect()
}
