-- echo.lua: writes to the log what passes, and changes nothing.
--
-- For any protocol. Lines go to the log at level `debug`, so run the proxy with --debug, or say level=info.
--
--   plugins = echo.lua [level=debug|info] [bytes=200]
--
-- bytes: how much of each piece is shown. Mail is private, and so is a log that has it.

local level = params.level or "debug"
local write = ({ debug = log.debug, info = log.info })[level]
  or error("level=" .. level .. " is not known: say debug or info")
local most = math.tointeger(tonumber(params.bytes or "200"))
if not most or most < 1 or most > 300 then
  error("bytes=" .. tostring(params.bytes) .. " is not a number from 1 to 300")
end

local function show(who, bytes)
  local text = bytes:sub(1, most):gsub("\r\n", "\\r\\n")
  if #bytes > most then
    text = text .. string.format("... (%d octets)", #bytes)
  end
  write(who .. " " .. text)
end

function from_client(bytes)
  show("C:", bytes)
end

function from_server(bytes)
  show("S:", bytes)
end
