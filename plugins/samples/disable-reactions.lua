-- disable-reactions.lua: recipients in Outlook cannot react to messages with a thumb or a heart.
--
-- For SMTP. Adds the header field that Outlook looks for, `x-ms-reactions: disallow`.
--
--   plugins = disable-reactions.lua [allow="example.com example.org"]
--
-- allow: where one of the recipients is in one of these domains, reactions stay allowed, for all recipients.

local allowed = {}
for domain in (params.allow or ""):gmatch("[^%s,]+") do
  allowed[domain:lower()] = true
end

function on_header(header, message)
  if message.direction ~= "to_server" or message.command == "APPEND" then
    return
  end
  if ("\n" .. header):lower():find("\nx%-ms%-reactions[ \t]*:") then
    return
  end
  for _, recipient in ipairs(message.recipients or {}) do
    local domain = recipient:match("@([^@]+)$")
    if domain and allowed[domain:lower()] then
      log.debug("reactions stay allowed: there is a recipient in " .. domain)
      return
    end
  end
  return "x-ms-reactions: disallow\r\n" .. header
end
