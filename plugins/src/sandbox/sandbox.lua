-- Runs once in each state, before any script, and returns a function that makes a script's environment.
-- What the host brings, and what is said of mistakes: see sandbox.rs.
local host, limit_was_hit, no_memory, no_finalizers, no_metatable, too_many_to_move = ...

local error, getmetatable, pcall, rawget, setmetatable, type =
  error, getmetatable, pcall, rawget, setmetatable, type
local concat, insert, move, remove, sort, unpack =
  table.concat, table.insert, table.move, table.remove, table.sort, table.unpack
local format = string.format
local huge = 10000000

-- Scripts cannot reach the table that all strings share.
getmetatable("").__metatable = false

-- A limit that was hit ends the call, whoever tries to catch it.
local function caught(ok, ...)
  if host.exhausted() then error(limit_was_hit, 0) end
  if not ok and ... == no_memory then error(no_memory, 0) end
  return ok, ...
end

local function protected(...) return caught(pcall(...)) end

-- The library calls the handler where the error is, and nothing counts the time of what runs where a limit was hit.
local function handled(handler, ok, ...)
  if ok then return true, ... end
  return false, handler(...)
end

local function protected_with_handler(f, handler, ...) return handled(handler, protected(f, ...)) end

-- Finalizers run where nothing counts their time.
local function guarded_setmetatable(t, meta)
  if type(meta) == "table" and rawget(meta, "__gc") ~= nil then
    error(no_finalizers, 2)
  end
  return setmetatable(t, meta)
end

-- Lua's library loops over what a metatable pretends to hold, for as long as that says.
local function plain(t, name)
  if type(t) == "table" and getmetatable(t) ~= nil then
    error(format(no_metatable, name), 3)
  end
end

-- The host's functions say first what is wrong, if anything: the error is raised where the script stands.
local function raised(wrong, ...)
  if wrong then error(wrong, 2) end
  return ...
end

local find, match, gmatch, gsub = host.find, host.match, host.gmatch, host.gsub
local rep = string.rep

string.dump = nil
function string.find(...) return raised(find(...)) end
function string.match(...) return raised(match(...)) end
function string.gmatch(...)
  local following = raised(gmatch(...))
  return function() return raised(following()) end
end
function string.gsub(...) return raised(gsub(...)) end

-- The library would put nothing together as often as it is told.
function string.rep(s, n, between)
  if s == "" and type(n) == "number" and (between == nil or between == "") then return "" end
  return rep(s, n, between)
end

local regex_match, regex_gsub = host.regex.match, host.regex.gsub
local regex = {
  match = function(...) return raised(regex_match(...)) end,
  gsub = function(...) return raised(regex_gsub(...)) end,
}

local tables = {
  concat = function(t, ...) plain(t, "concat") return concat(t, ...) end,
  insert = function(t, ...) plain(t, "insert") return insert(t, ...) end,
  move = function(t, first, last, to, other)
    plain(t, "move")
    plain(other, "move")
    if type(first) == "number" and type(last) == "number" and last - first > huge then
      error(too_many_to_move, 2)
    end
    if other == nil then return move(t, first, last, to) end
    return move(t, first, last, to, other)
  end,
  pack = table.pack,
  remove = function(t, ...) plain(t, "remove") return remove(t, ...) end,
  sort = function(t, less)
    plain(t, "sort")
    return sort(t, less or function(a, b) return a < b end)
  end,
  unpack = function(t, first, last)
    plain(t, "unpack")
    if last == nil then return unpack(t, first) end
    return unpack(t, first, last)
  end,
}

local base = {
  _VERSION = _VERSION,
  assert = assert,
  error = error,
  getmetatable = getmetatable,
  ipairs = ipairs,
  next = next,
  pairs = pairs,
  pcall = protected,
  rawequal = rawequal,
  rawget = rawget,
  rawlen = rawlen,
  rawset = rawset,
  select = select,
  setmetatable = guarded_setmetatable,
  tonumber = tonumber,
  tostring = tostring,
  type = type,
  xpcall = protected_with_handler,
}

local function copy(from)
  local to = {}
  for key, value in next, from do to[key] = value end
  return to
end

-- Each script has tables of its own: what it does to them, no other one sees.
return function(given)
  local environment = copy(base)
  environment._G = environment
  environment.string = copy(string)
  environment.table = copy(tables)
  environment.math = copy(math)
  environment.utf8 = copy(utf8)
  environment.mime = copy(host.mime)
  environment.regex = copy(regex)
  for key, value in next, given do environment[key] = value end
  return environment
end
