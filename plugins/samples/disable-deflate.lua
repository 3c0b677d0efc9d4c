-- disable-deflate.lua: nobody compresses the connection.
--
-- For IMAP. A compressed connection (RFC 4978) is closed to plugins that look at bytes. Framed plugins see to that by
-- themselves; this one is for raw plugins, and for networks in which somebody has to be able to look.
--
--   plugins = disable-deflate.lua

function on_response(text, response)
  if response.name == "CAPABILITY" or text:find("[CAPABILITY ", 1, true) then
    return (text:gsub(" COMPRESS=DEFLATE%f[%s%]]", ""))
  end
end

function on_command(text, command)
  if command.name == "COMPRESS" then
    return false, "NO [CANNOT] compression is switched off"
  end
end
