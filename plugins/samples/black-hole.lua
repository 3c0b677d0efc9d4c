-- black-hole.lua: accepts messages, and sends none.
--
-- For SMTP. For trying out programs that send mail: they see a server that takes everything, and no recipient sees anything.
--
--   plugins = black-hole.lua [log=yes]
--
-- log=yes writes sender and recipients of each message to the log. The login is real; sender and recipients are looked at by
-- nobody.

-- The server never hears of them, so they are remembered here.
local sender, recipients

function on_command(text, command)
  if command.name == "MAIL" then
    sender, recipients = command.arguments:match("<([^>]*)>"), {}
    return false, "250 2.1.0 Ok"
  elseif command.name == "RCPT" then
    recipients = recipients or {}
    recipients[#recipients + 1] = command.arguments:match("<([^>]*)>")
    return false, "250 2.1.5 Ok"
  elseif command.name == "DATA" then
    return false, "354 End data with <CR><LF>.<CR><LF>"
  elseif command.name == "RSET" then
    return false, "250 2.0.0 Ok"
  end
end

function on_message(text, message)
  if message.direction == "to_server" then
    if params.log == "yes" then
      log.info(string.format("swallowed a message of %d octets from %s to %s", #text, sender or "?",
        table.concat(recipients or {}, ", ")))
    end
    return false, "250 2.0.0 Ok: swallowed"
  end
end
