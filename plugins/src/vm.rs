//! One Lua state for a session, and the scripts that live in it.

use crate::{
    api::{self, Sent},
    budget::Budget,
    load::{Limits, Loaded, Place},
    messages, sandbox,
};
use mlua::{
    Error, Function, HookTriggers, Lua, LuaOptions, MultiValue, StdLib, Table, Value, VmState,
    chunk::ChunkMode,
};
use proxy_proto::{
    Side,
    filter::{Failed, Opened},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// Instructions between two looks at memory.
const INSTRUCTIONS: u32 = 200;

/// Such looks between two at the processor's time, which is a call of the system's. Where much memory has moved, or the clock on
/// the wall says that instructions were slow ones, it is looked at at once.
const LOOKS: u32 = 5;

/// What counts as slow.
const SLOW: Duration = Duration::from_millis(2);

/// What counts as much: a few instructions can copy it many times.
const MOVED: usize = 256 * 1024;

/// Memory that may be in use between calls without being looked through, beyond twice what was in use last time.
const IDLE: usize = 1024 * 1024;

/// A session's Lua state. Clones are the same state.
#[derive(Clone)]
pub(crate) struct Vm {
    lua: Lua,
    budget: Arc<Budget>,
    environment: Function,
    /// Bytes in use after the last full collection.
    in_use: Arc<AtomicUsize>,
}

impl Vm {
    pub(crate) fn new(limits: &Limits) -> Result<Self, Failed> {
        let budget = Arc::new(Budget::new(limits.call, limits.memory));
        let made = || {
            let libraries = StdLib::STRING | StdLib::TABLE | StdLib::MATH | StdLib::UTF8;
            let lua = Lua::new_with(libraries, LuaOptions::default())?;
            let environment = sandbox::prepare(&lua, &budget)?;
            lua.set_memory_limit(limits.memory)?;
            let watched = budget.clone();
            let (looks, seen) = (AtomicU32::new(0), AtomicUsize::new(0));
            let (begin, last) = (Instant::now(), AtomicU64::new(0));
            let every = HookTriggers::new().every_nth_instruction(INSTRUCTIONS);
            lua.set_hook(every, move |lua, running| {
                let used = lua.used_memory();
                let look = looks.fetch_add(1, Ordering::Relaxed);
                let now = u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX);
                let gone = now.saturating_sub(last.swap(now, Ordering::Relaxed));
                if look % LOOKS != 0
                    && used.abs_diff(seen.load(Ordering::Relaxed)) < MOVED
                    && Duration::from_micros(gone) < SLOW
                {
                    return Ok(VmState::Continue);
                }
                seen.store(used, Ordering::Relaxed);
                let Err(exhausted) = watched.check() else {
                    return Ok(VmState::Continue);
                };
                let file = running.source().short_src.unwrap_or_default();
                if let Some(line) = running.current_line()
                    && file != "sandbox"
                {
                    watched.locate(&format!("{file}:{line}: "));
                }
                Err(Error::external(exhausted))
            })?;
            Ok(Vm {
                lua,
                budget,
                environment,
                in_use: Arc::default(),
            })
        };
        made().map_err(|error: Error| Failed(messages::running::no_lua(first_line(&error))))
    }

    /// Gives garbage back: an idle session should not keep what a large message has left.
    fn tidy(&self) {
        let used = self.lua.used_memory();
        if used > 2 * self.in_use.load(Ordering::Relaxed) + IDLE {
            // Nothing is lost when it fails: the next one finds the same.
            let _ = self.lua.gc_collect();
            self.in_use.store(self.lua.used_memory(), Ordering::Relaxed);
        }
    }
}

/// One script in a session's state.
pub(crate) struct Script {
    vm: Vm,
    name: Arc<str>,
    environment: Table,
    sent: Arc<Sent>,
}

impl Script {
    /// Runs the file from top to bottom.
    pub(crate) fn start(
        vm: &Vm,
        plugin: &Loaded,
        place: &Place,
        opened: &Opened,
    ) -> Result<Self, Failed> {
        let sent = Sent::new(plugin.limits.output());
        let prepared = || {
            let given = api::given(&vm.lua, plugin, place, opened, &sent, &vm.budget)?;
            let environment: Table = vm.environment.call(given)?;
            let whole = vm
                .lua
                .load(&*plugin.source)
                .set_name(format!("@{}", plugin.name))
                .set_mode(ChunkMode::Text)
                .set_environment(environment.clone())
                .into_function()?;
            Ok((environment, whole))
        };
        // Making the environment takes memory too.
        let (environment, whole) =
            prepared().map_err(|error: Error| failed(&plugin.name, vm, &error))?;
        let script = Script {
            vm: vm.clone(),
            name: plugin.name.clone(),
            environment,
            sent,
        };
        script.call(&whole, plugin.source.len(), |_| Ok(MultiValue::new()))?;
        Ok(script)
    }

    /// The function of this name that the script has defined.
    pub(crate) fn function(&self, name: &str) -> Result<Option<Function>, Failed> {
        let value = self.environment.raw_get::<Value>(name);
        match value.map_err(|error| self.failed(&error))? {
            Value::Nil => Ok(None),
            Value::Function(function) => Ok(Some(function)),
            other => {
                let why = messages::running::not_a_function(name, other.type_name());
                Err(self.wrong(why))
            }
        }
    }

    /// Calls one of its functions; `bytes` is how much it is given to look at.
    pub(crate) fn call(
        &self,
        function: &Function,
        bytes: usize,
        arguments: impl FnOnce(&Lua) -> mlua::Result<MultiValue>,
    ) -> Result<MultiValue, Failed> {
        self.vm.budget.begin(bytes);
        let result = arguments(&self.vm.lua).and_then(|values| function.call(values));
        self.vm.budget.end();
        let result = result.map_err(|error| self.failed(&error));
        self.vm.tidy();
        result
    }

    /// What it has sent during calls, in order.
    pub(crate) fn sent(&self) -> Vec<(Side, Vec<u8>)> {
        self.sent.take()
    }

    /// What a hook has done wrong.
    pub(crate) fn wrong(&self, text: impl AsRef<str>) -> Failed {
        let text = messages::running::failed(&self.name, text.as_ref());
        Failed(api::one_line(&text))
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    fn failed(&self, error: &Error) -> Failed {
        failed(&self.name, &self.vm, error)
    }
}

fn failed(name: &str, vm: &Vm, error: &Error) -> Failed {
    let text = match vm.budget.exhaustion() {
        Some(text) => text,
        None if is_memory(error) => {
            messages::running::out_of_memory(vm.budget.memory() / (1024 * 1024))
        }
        None => first_line(error),
    };
    Failed(api::one_line(&messages::running::failed(name, text)))
}

fn is_memory(error: &Error) -> bool {
    match error {
        Error::MemoryError(_) => true,
        Error::CallbackError { cause, .. } => is_memory(cause),
        Error::RuntimeError(text) => text.contains(messages::libraries::NO_MEMORY),
        _ => false,
    }
}

/// The error without its traceback: file, line, text.
pub(crate) fn first_line(error: &Error) -> String {
    match error {
        Error::CallbackError { cause, traceback } => {
            let text = first_line(cause);
            // What the host raises does not know where the script stands; the traceback does.
            let place = traceback.lines().map(str::trim).find(|line| {
                !line.starts_with("[C]")
                    && !line.starts_with("stack traceback")
                    && !line.starts_with("sandbox:")
            });
            match place.and_then(|line| line.split(": in ").next()) {
                Some(place) if !place.is_empty() => format!("{place}: {text}"),
                _ => text,
            }
        }
        Error::SyntaxError { message, .. } | Error::RuntimeError(message) => {
            message.lines().next().unwrap_or_default().to_owned()
        }
        error => error
            .to_string()
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned(),
    }
}
