-- restore-safe-links.lua: links that Microsoft Defender has rewritten lead where they led before.
--
-- For IMAP and POP. Defender ("Safe Links") replaces links in messages by such to its own server, which checks them when
-- they are followed. This gives back what the sender wrote; the check is lost with it.
--
--   plugins = restore-safe-links.lua [max_message=16M]
--
-- Only texts in which there are such links are changed. Signed and encrypted parts stay as they are.

-- https://eur01.safelinks.protection.outlook.com/?url=https%3A%2F%2Fexample.com&data=...&reserved=0
local link = [[https?://[0-9A-Za-z.-]*safelinks\.protection\.outlook\.com/(?:ap/[a-z0-9-]+/)?\?url=([^&\s"'<>]+)(?:&(?:amp;)?[0-9A-Za-z]+=[^&\s"'<>]*)*]]

local function unescape(text)
  return (text:gsub("%%(%x%x)", function(digits)
    return string.char(tonumber(digits, 16))
  end))
end

-- Only what can be a link, and cannot end the attribute that it stands in.
local function restore(whole, target)
  local address = unescape(target)
  if not address:find("^[%w+.-]+:") or address:find("[%c\"'<> ]") then
    return whole
  end
  return address
end

local function edit(html)
  return function(text)
    local changed, count = regex.gsub(text, link, function(whole, target)
      local address = restore(whole, target)
      -- Within HTML an ampersand is written out.
      return html and address ~= whole and address:gsub("&", "&amp;") or address
    end)
    return count > 0 and changed or text
  end
end

function on_message(text, message)
  if message.direction ~= "to_client" then
    return
  end
  local changed, parts = mime.edit_text(text, function(part_text, part)
    return edit(part.type == "text/html")(part_text)
  end)
  if parts > 0 then
    return changed
  end
end

-- A part that is fetched by itself comes without its header: how it is encoded has to be seen from its text.
function on_part(text, part)
  -- A piece, as in BODY[1]<0>: one that is shorter than it should be looks like the last one, and the rest would be missing.
  if part.section:find("<", 1, true) then
    return
  end
  local function with(decode, encode)
    local plain = decode(text)
    local changed = edit(plain:find("<[%a!/]") ~= nil)(plain)
    return changed ~= plain and encode(changed) or nil
  end
  if #text > 0 and not text:find("[^%w+/=\r\n]") then
    return with(mime.decode_base64, mime.encode_base64)
  end
  local escapes = select(2, text:gsub("=[%dA-F][%dA-F]", "")) + select(2, text:gsub("=\r\n", ""))
  local equals = select(2, text:gsub("=", ""))
  if equals > 0 and escapes == equals and (text:find("=3D", 1, true) or text:find("=\r\n", 1, true)) then
    return with(mime.decode_quoted_printable, mime.encode_quoted_printable)
  end
  local same = function(bytes) return bytes end
  return with(same, same)
end
