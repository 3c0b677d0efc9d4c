//! `string.find`, `match`, `gmatch` and `gsub`.
//!
//! Each function returns an error's text first, or nil, and then its values: the sandbox raises it where the script stands.

use super::pattern::{Capture, Matcher, Trouble};
use crate::{budget::Budget, messages::libraries as messages};
use mlua::{Error, Function, IntoLua, Lua, LuaString, MultiValue, Result, Table, Value};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

pub(super) fn functions(lua: &Lua, budget: &Arc<Budget>) -> Result<Table> {
    let table = lua.create_table()?;
    let add = |name: &str, function: fn(&Lua, &Arc<Budget>, &Arguments) -> Answer| {
        let budget = budget.clone();
        let called = lua.create_function(move |lua, values: MultiValue| {
            answer(lua, function(lua, &budget, &Arguments(values)))
        })?;
        table.raw_set(name, called)
    };
    add("find", |lua, budget, arguments| {
        find(lua, budget, arguments, true)
    })?;
    add("match", |lua, budget, arguments| {
        find(lua, budget, arguments, false)
    })?;
    add("gmatch", gmatch)?;
    add("gsub", gsub)?;
    Ok(table)
}

/// Values, or what went wrong.
type Answer = std::result::Result<Vec<Value>, Failure>;

enum Failure {
    /// An error of the script's; the library's text.
    Text(String),
    /// One that is not to be touched.
    Lua(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Lua(error)
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Pattern(text) => Failure::Text(text),
            Trouble::Exhausted => Failure::Lua(Error::runtime(messages::LIMIT_WAS_HIT)),
        }
    }
}

fn answer(lua: &Lua, answer: Answer) -> Result<MultiValue> {
    match answer {
        Ok(mut values) => {
            values.insert(0, Value::Nil);
            Ok(values.into_iter().collect())
        }
        Err(Failure::Text(text)) => Ok([text.into_lua(lua)?].into_iter().collect()),
        Err(Failure::Lua(error)) => Err(error),
    }
}

struct Arguments(MultiValue);

impl Arguments {
    fn get(&self, index: usize) -> Value {
        self.0.get(index - 1).cloned().unwrap_or(Value::Nil)
    }

    /// Numbers are strings where strings are wanted.
    fn string(
        &self,
        lua: &Lua,
        index: usize,
        function: &str,
    ) -> std::result::Result<LuaString, Failure> {
        let value = self.get(index);
        match &value {
            Value::String(string) => Ok(string.clone()),
            Value::Integer(_) | Value::Number(_) => Ok(lua
                .coerce_string(value)?
                .ok_or_else(|| Failure::Text(messages::bad_argument(index, function)))?),
            _ => Err(self.wrong(index, function, "string")),
        }
    }

    fn integer(
        &self,
        lua: &Lua,
        index: usize,
        function: &str,
        default: i64,
    ) -> std::result::Result<i64, Failure> {
        let value = self.get(index);
        if value.is_nil() {
            return Ok(default);
        }
        if let Some(integer) = lua.coerce_integer(value.clone())? {
            return Ok(integer);
        }
        if lua.coerce_number(value)?.is_some() {
            return Err(Failure::Text(messages::no_integer(index, function)));
        }
        Err(self.wrong(index, function, "number"))
    }

    fn wrong(&self, index: usize, function: &str, expected: &str) -> Failure {
        let got = match self.0.get(index - 1) {
            None => messages::NO_VALUE,
            Some(value) => value.type_name(),
        };
        Failure::Text(messages::wrong_type(index, function, expected, got))
    }
}

/// Where a search begins, from 0; beyond the length where nothing can be found.
fn start(init: i64, length: usize) -> usize {
    let from_end = usize::try_from(init.unsigned_abs()).unwrap_or(usize::MAX);
    match init {
        1.. => from_end - 1,
        0 => 0,
        _ => length.saturating_sub(from_end),
    }
}

fn value(lua: &Lua, capture: Capture<'_>) -> Result<Value> {
    match capture {
        Capture::Text(text) => lua.create_string(text).map(Value::String),
        Capture::Position(at) => at.into_lua(lua),
    }
}

fn captures(
    lua: &Lua,
    matcher: &Matcher<'_>,
    (start, end): (usize, usize),
    whole: bool,
    values: &mut Vec<Value>,
) -> std::result::Result<(), Failure> {
    for index in 0..matcher.count(whole) {
        values.push(value(lua, matcher.capture(index, start, end)?)?);
    }
    Ok(())
}

fn find(lua: &Lua, budget: &Arc<Budget>, arguments: &Arguments, find: bool) -> Answer {
    let name = if find { "find" } else { "match" };
    let subject = arguments.string(lua, 1, name)?;
    let pattern = arguments.string(lua, 2, name)?;
    let init = arguments.integer(lua, 3, name, 1)?;
    let (subject, pattern) = (subject.as_bytes(), pattern.as_bytes());
    let from = start(init, subject.len());
    if from > subject.len() {
        return Ok(vec![Value::Nil]);
    }
    if find
        && (arguments.get(4).as_boolean() != Some(false) && !arguments.get(4).is_nil()
            || is_plain(&pattern))
    {
        let found = position(&subject[from..], &pattern, budget)?;
        return Ok(match found {
            Some(at) => vec![
                (from + at + 1).into_lua(lua)?,
                (from + at + pattern.len()).into_lua(lua)?,
            ],
            None => vec![Value::Nil],
        });
    }
    let (anchored, pattern) = unanchored(&pattern);
    let mut matcher = Matcher::new(&subject, pattern, budget);
    for at in from..=subject.len() {
        if let Some(end) = matcher.at(at)? {
            let mut values = Vec::new();
            if find {
                values.push((at + 1).into_lua(lua)?);
                values.push(end.into_lua(lua)?);
            }
            captures(lua, &matcher, (at, end), !find, &mut values)?;
            return Ok(values);
        }
        if anchored {
            break;
        }
    }
    Ok(vec![Value::Nil])
}

fn is_plain(pattern: &[u8]) -> bool {
    !pattern.iter().any(|byte| b"^$*+?.([%-".contains(byte))
}

fn unanchored(pattern: &[u8]) -> (bool, &[u8]) {
    match pattern.strip_prefix(b"^") {
        Some(rest) => (true, rest),
        None => (false, pattern),
    }
}

/// Where `needle` is first found.
fn position(
    hay: &[u8],
    needle: &[u8],
    budget: &Budget,
) -> std::result::Result<Option<usize>, Trouble> {
    let Some((&first, rest)) = needle.split_first() else {
        return Ok(Some(0));
    };
    let mut at = 0;
    let mut work = 0usize;
    while let Some(skip) = hay[at..].iter().position(|&byte| byte == first) {
        let behind = &hay[at + skip + 1..];
        if behind.len() < rest.len() {
            break;
        }
        let same = behind.iter().zip(rest).take_while(|(a, b)| a == b).count();
        if same == rest.len() {
            return Ok(Some(at + skip));
        }
        work += skip / 16 + same + 1;
        if work > 1 << 16 {
            work = 0;
            budget.check().map_err(|_| Trouble::Exhausted)?;
        }
        at += skip + 1;
    }
    Ok(None)
}

fn gmatch(lua: &Lua, budget: &Arc<Budget>, arguments: &Arguments) -> Answer {
    let subject = arguments.string(lua, 1, "gmatch")?;
    let pattern = arguments.string(lua, 2, "gmatch")?;
    let init = arguments.integer(lua, 3, "gmatch", 1)?;
    let length = subject.as_bytes().len();
    let next = AtomicUsize::new(start(init, length).min(length + 1));
    // No match ends beyond the subject.
    let last = AtomicUsize::new(usize::MAX);
    let budget = budget.clone();
    let iterator: Function = lua.create_function(move |lua, ()| {
        let (subject, pattern) = (subject.as_bytes(), pattern.as_bytes());
        let search = || -> Answer {
            let mut matcher = Matcher::new(&subject, &pattern, &budget);
            for at in next.load(Ordering::Relaxed)..=subject.len() {
                match matcher.at(at)? {
                    Some(end) if end != last.load(Ordering::Relaxed) => {
                        next.store(end, Ordering::Relaxed);
                        last.store(end, Ordering::Relaxed);
                        let mut values = Vec::new();
                        captures(lua, &matcher, (at, end), true, &mut values)?;
                        return Ok(values);
                    }
                    _ => {}
                }
            }
            next.store(subject.len() + 1, Ordering::Relaxed);
            Ok(vec![Value::Nil])
        };
        answer(lua, search())
    })?;
    Ok(vec![Value::Function(iterator)])
}

fn gsub(lua: &Lua, budget: &Arc<Budget>, arguments: &Arguments) -> Answer {
    let nested = budget.nest()?;
    let subject_string = arguments.string(lua, 1, "gsub")?;
    let pattern = arguments.string(lua, 2, "gsub")?;
    let replacement = match arguments.get(3) {
        Value::Integer(_) | Value::Number(_) | Value::String(_) => {
            Replacement::String(arguments.string(lua, 3, "gsub")?)
        }
        Value::Function(function) => Replacement::Function(function),
        Value::Table(table) => Replacement::Table(table),
        _ => return Err(arguments.wrong(3, "gsub", "string/function/table")),
    };
    let subject = subject_string.as_bytes();
    let pattern = pattern.as_bytes();
    let most = i64::try_from(subject.len())
        .unwrap_or(i64::MAX)
        .saturating_add(1);
    let most = arguments.integer(lua, 4, "gsub", most)?;
    let (anchored, pattern) = unanchored(&pattern);
    let mut matcher = Matcher::new(&subject, pattern, budget);
    let mut result = Vec::new();
    let (mut at, mut last, mut copied, mut count, mut changed) = (0, None, 0, 0, false);
    while count < most {
        match matcher.at(at)? {
            Some(end) if last != Some(end) => {
                count += 1;
                result.extend_from_slice(&subject[copied..at]);
                changed |= replacement.append(lua, &matcher, (at, end), &mut result)?;
                // What is collected here counts as the script's memory does.
                nested.holds(result.len())?;
                at = end;
                copied = end;
                last = Some(end);
            }
            _ if at < subject.len() => at += 1,
            _ => break,
        }
        if anchored {
            break;
        }
    }
    let text = if changed {
        result.extend_from_slice(&subject[copied..]);
        Value::String(lua.create_string(&result)?)
    } else {
        arguments.get(1)
    };
    let text = match text {
        Value::String(text) => Value::String(text),
        _ => Value::String(subject_string.clone()),
    };
    Ok(vec![text, count.into_lua(lua)?])
}

enum Replacement {
    String(LuaString),
    Function(Function),
    Table(Table),
}

impl Replacement {
    /// Appends what stands for the match; `false` where that is the match itself.
    fn append(
        &self,
        lua: &Lua,
        matcher: &Matcher<'_>,
        (start, end): (usize, usize),
        result: &mut Vec<u8>,
    ) -> std::result::Result<bool, Failure> {
        let new = match self {
            Replacement::String(text) => {
                return expand(&text.as_bytes(), matcher, (start, end), result).map(|()| true);
            }
            Replacement::Function(function) => {
                let mut values = Vec::new();
                captures(lua, matcher, (start, end), true, &mut values)?;
                function.call::<Value>(values.into_iter().collect::<MultiValue>())?
            }
            Replacement::Table(table) => {
                table.get::<Value>(value(lua, matcher.capture(0, start, end)?)?)?
            }
        };
        match new {
            Value::Nil | Value::Boolean(false) => {
                result.extend_from_slice(matcher.whole(start, end));
                Ok(false)
            }
            Value::String(text) => {
                result.extend_from_slice(&text.as_bytes());
                Ok(true)
            }
            number @ (Value::Integer(_) | Value::Number(_)) => {
                if let Some(text) = lua.coerce_string(number)? {
                    result.extend_from_slice(&text.as_bytes());
                }
                Ok(true)
            }
            other => {
                let wrong = messages::bad_replacement_value(other.type_name());
                Err(Failure::Text(wrong))
            }
        }
    }
}

/// `%1` and its like.
fn expand(
    text: &[u8],
    matcher: &Matcher<'_>,
    (start, end): (usize, usize),
    result: &mut Vec<u8>,
) -> std::result::Result<(), Failure> {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|&byte| byte == b'%') {
        result.extend_from_slice(&rest[..at]);
        match rest.get(at + 1) {
            Some(b'%') => result.push(b'%'),
            Some(b'0') => result.extend_from_slice(matcher.whole(start, end)),
            Some(digit @ b'1'..=b'9') => {
                match matcher.capture(usize::from(digit - b'1'), start, end)? {
                    Capture::Text(text) => result.extend_from_slice(text),
                    Capture::Position(at) => result.extend_from_slice(at.to_string().as_bytes()),
                }
            }
            _ => {
                return Err(Failure::Text(messages::BAD_REPLACEMENT.to_owned()));
            }
        }
        rest = &rest[at + 2..];
    }
    result.extend_from_slice(rest);
    Ok(())
}
