-- capabilities.lua: takes capabilities out of the server's lists, or puts others in.
--
-- For IMAP and POP, after the login. For mail programs that stumble over something a server offers.
--
--   plugins = capabilities.lua remove="MOVE LITERAL+" [add="ID"]
--
-- Only what is announced changes. Whoever adds a capability that the server does not have gets its errors.

local function words(text)
  local list = {}
  for word in (text or ""):gmatch("%S+") do
    list[#list + 1] = word
  end
  return list
end

local removed, added = {}, words(params.add)
for _, word in ipairs(words(params.remove)) do
  removed[word:upper()] = true
end
if not next(removed) and #added == 0 then
  error('say what to change: capabilities.lua remove="MOVE LITERAL+" add="ID"')
end

-- Takes a list of words apart and puts it together again; the first `keep` of them are none of ours.
local function edit(list, keep)
  local kept, have = {}, {}
  for position, word in ipairs(words(list)) do
    if position <= keep or not removed[word:upper()] then
      kept[#kept + 1] = word
      have[word:upper()] = true
    end
  end
  for _, word in ipairs(added) do
    if not have[word:upper()] then
      kept[#kept + 1] = word
    end
  end
  return table.concat(kept, " ")
end

local function imap(text, response)
  if response.name == "CAPABILITY" then
    local list = text:match("^%* (.-)\r\n$")
    return list and "* " .. edit(list, 1) .. "\r\n"
  end
  -- In the answer to the login, for example: A1 OK [CAPABILITY IMAP4rev1 ...] welcome
  local before, list, behind = text:match("^(%S+ %u+ %[)([Cc][Aa][Pp][Aa][Bb][Ii][Ll][Ii][Tt][Yy] [^%]]*)(%].*)$")
  return list and before .. edit(list, 1) .. behind
end

local function pop(text, response)
  if response.command ~= "CAPA" or not response.ok then
    return
  end
  local lines = {}
  for line in text:gmatch("(.-)\r\n") do
    local name = line:match("^%S+") or ""
    if line == "." then
      for _, word in ipairs(added) do
        lines[#lines + 1] = word
      end
    end
    if #lines == 0 or line == "." or not removed[name:upper()] then
      lines[#lines + 1] = line
    end
  end
  return table.concat(lines, "\r\n") .. "\r\n"
end

function on_response(text, response)
  if session.protocol == "IMAP" then
    return imap(text, response)
  elseif session.protocol == "POP" then
    return pop(text, response)
  end
end
