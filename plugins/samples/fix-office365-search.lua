-- fix-office365-search.lua: searches that Office 365 refuses, or answers with nothing, find something.
--
-- For IMAP. Office 365 and Exchange
--   - refuse every search that names a character set other than US-ASCII, with NO [BADCHARSET (US-ASCII)], even one whose
--     words are all ASCII;
--   - find nothing for words with capital letters in BODY and TEXT;
--   - leave messages out of BODY's results that TEXT finds.
-- So the character set is taken out where all words are ASCII, words behind BODY and TEXT become lower case, and BODY
-- becomes TEXT. A search for several words in one string finds nothing there either way: the log says so, once.
--
--   plugins = fix-office365-search.lua [text=no]
--
-- text=no leaves BODY as it is.

local warned = false

-- Takes the string at `from` (quoted, literal or atom): how it is written, what it says, and where it ends.
local function string_at(text, from)
  local length = text:match("^{(%d+)%+?}\r\n", from)
  if length then
    local head = text:match("^{%d+%+?}\r\n", from)
    local first = from + #head
    local last = first + math.tointeger(tonumber(length)) - 1
    return text:sub(first, last), last + 1, function(word) return head .. word end
  end
  if text:sub(from, from) == '"' then
    local at = from + 1
    while at <= #text do
      local byte = text:sub(at, at)
      if byte == "\\" then
        at = at + 2
      elseif byte == '"' then
        return text:sub(from + 1, at - 1), at + 1, function(word) return '"' .. word .. '"' end
      else
        at = at + 1
      end
    end
    return nil
  end
  local word = text:match("^[^%s(){%%*\"\\]+", from)
  if word then
    return word, from + #word, function(changed) return changed end
  end
end

local function is_ascii(text)
  return not text:find("[\x80-\xff]")
end

function on_command(text, command)
  if command.name ~= "SEARCH" and command.name ~= "UID SEARCH" then
    return
  end
  local result, from = {}, 1
  while from <= #text do
    -- A string is taken as a whole: what stands in it is no key.
    local byte = text:sub(from, from)
    if byte == '"' or byte == "{" then
      local _, behind = string_at(text, from)
      if not behind then
        return
      end
      result[#result + 1] = text:sub(from, behind - 1)
      from = behind
    else
      local key = text:match("^%a+", from)
      local upper = key and key:upper()
      local begins = from == 1 or text:sub(from - 1, from - 1):find("[ (]")
      if begins and (upper == "BODY" or upper == "TEXT") and text:sub(from + #key, from + #key) == " " then
        local word, behind, write = string_at(text, from + #key + 1)
        if not word then
          return
        end
        if word:find(" ", 1, true) and not warned then
          warned = true
          log.info("Office 365 finds nothing for several words in one string; search for them one by one")
        end
        local name = params.text == "no" and key or "TEXT"
        -- Only ASCII letters: others are several octets each.
        result[#result + 1] = name .. " " .. write((word:gsub("%u", string.lower)))
        from = behind
      else
        local piece = key or byte
        result[#result + 1] = piece
        from = from + #piece
      end
    end
  end
  local changed = table.concat(result)
  if is_ascii(changed) then
    -- RFC 3501 §6.4.4: it stands before the first key; before it stand options of RFC 4731.
    local tag, name, rest = changed:match("^(%S+) ([Uu][Ii][Dd] %a+) (.*)$")
    if not tag then
      tag, name, rest = changed:match("^(%S+) (%a+) (.*)$")
    end
    local options, behind = rest:match("^([Rr][Ee][Tt][Uu][Rr][Nn] %b() )(.*)$")
    local keys = (behind or rest):match("^[Cc][Hh][Aa][Rr][Ss][Ee][Tt] \"?[%w_.:-]+\"? (.*)$")
    if keys then
      return tag .. " " .. name .. " " .. (options or "") .. keys
    end
  end
  return changed
end
