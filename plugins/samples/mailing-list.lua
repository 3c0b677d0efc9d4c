-- mailing-list.lua: a message to one address goes to several.
--
-- For SMTP. Recipients see the addresses that stand in the message's header, as always; who really gets it is decided here.
--
--   plugins =
--       mailing-list.lua list=team@example.com members="ann@example.com, bob@example.net" [header=yes]
--       mailing-list.lua list=board@example.com members="..."
--
-- header=yes replaces the list's address in To and Cc by those of its members, so that answers reach people and nobody
-- writes to an address that does not exist.

local list = (params.list or error("say which address: list=team@example.com")):lower()
local members = {}
for address in (params.members or ""):gmatch("[^%s,]+") do
  if not address:find("^[^@<>]+@[^@<>]+$") then
    error("members: `" .. address .. "` is no address")
  end
  members[#members + 1] = address
end
if #members == 0 then
  error('say who is on the list: members="ann@example.com, bob@example.net"')
end

function on_command(text, command)
  if command.name ~= "RCPT" then
    return
  end
  -- RCPT TO:<address> and what SMTP extensions put behind it
  local address, options = command.arguments:match("^[Tt][Oo]:%s*<([^>]*)>(.*)$")
  if not address or address:lower() ~= list then
    return
  end
  local commands = {}
  for position, member in ipairs(members) do
    -- The original recipient (RFC 3461 §4.2) is not any of the members.
    local behind = options:gsub("%s+[Oo][Rr][Cc][Pp][Tt]=%S*", "")
    commands[position] = "RCPT TO:<" .. member .. ">" .. behind .. "\r\n"
  end
  return table.concat(commands)
end

function on_response(text, response)
  -- The mail program sees the answer for the last member; the others are told here.
  if response.own and response.command == "RCPT" and response.code >= 400 then
    log.warn("a member of " .. list .. " was refused: " .. text)
  end
end

function on_header(header, message)
  if params.header ~= "yes" or message.direction ~= "to_server" then
    return
  end
  -- The address as it is, or in angle brackets behind a name, in a field that may go on over several lines.
  local address = list:gsub("%p", "%%%0"):gsub("%a", function(letter)
    return "[" .. letter:upper() .. letter:lower() .. "]"
  end)
  local all = table.concat(members, ",\r\n ")
  local field, result = "", {}
  for line in header:gmatch("[^\n]*\n") do
    if not line:find("^[ \t]") then
      field = (line:match("^([^:%s]+)%s*:") or ""):lower()
    end
    if field == "to" or field == "cc" then
      -- A name in front of the brackets was the list's.
      line = line:gsub('"[^"]*"%s*<' .. address .. ">", all)
      line = line:gsub("[^,:<>\"\r\n]*<" .. address .. ">", " " .. all)
      line = line:gsub("%f[%w]" .. address .. "%f[^%w.-]", all)
    end
    result[#result + 1] = line
  end
  return table.concat(result)
end
