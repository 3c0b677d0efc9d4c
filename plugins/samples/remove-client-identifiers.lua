-- remove-client-identifiers.lua: messages that are sent no longer say with which program, and from where.
--
-- For SMTP, and for IMAP, where it works on messages that are stored (APPEND) and on what the program says of itself (ID).
--
--   plugins = remove-client-identifiers.lua [headers="X-Extra-Header Another"]
--
-- headers: further header fields to take out, beside those below. The message's text stays as it is, and so do DKIM
-- signatures, which the provider makes afterwards.

local names = {
  ["user-agent"] = true,
  ["x-mailer"] = true,
  ["x-newsreader"] = true,
  ["x-mimeole"] = true,
  ["x-originating-ip"] = true,
  ["x-originating-client"] = true,
  ["x-originating-email"] = true,
  ["x-apple-mail-remote-attachments"] = true,
  ["x-uniform-type-identifier"] = true,
  ["x-universally-unique-identifier"] = true,
}
for name in (params.headers or ""):gmatch("[^%s,:]+") do
  names[name:lower()] = true
end

function on_header(header, message)
  if message.direction ~= "to_server" then
    return
  end
  local kept, dropped, dropping = {}, 0, false
  for line in header:gmatch("[^\n]*\n") do
    -- A line that begins with a blank belongs to the field above.
    if not line:find("^[ \t]") then
      local name = line:match("^([^:%s]+)%s*:")
      dropping = name ~= nil and names[name:lower()] or false
    end
    if dropping then
      dropped = dropped + 1
    else
      -- Apple's programs put their version into a comment here.
      kept[#kept + 1] = line:gsub("^([Mm][Ii][Mm][Ee]%-[Vv]ersion:%s*1%.0)%s*%(.-%)(\r?\n)$", "%1%2")
    end
  end
  local result = table.concat(kept)
  if result ~= header then
    log.debug("took out " .. dropped .. " lines that tell of the mail program")
    return result
  end
end

function on_command(_, command)
  if command.name == "ID" then
    -- RFC 2971 §3.1: NIL says nothing.
    return command.tag .. " ID NIL\r\n"
  end
end
