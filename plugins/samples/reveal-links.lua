-- reveal-links.lua: behind each link in a message stands where it leads.
--
-- For IMAP and POP. `<a href="https://evil.example/x">your bank</a>` is shown as `your bank [evil.example]`, whatever the
-- text says. Links whose text names their host already stay as they are.
--
--   plugins = reveal-links.lua [show=host|address] [max_message=16M]
--
-- show: the host (default), or the whole address. Signed and encrypted parts stay as they are; so do parts that a mail program
-- fetches by themselves.

local whole = params.show == "address"
if params.show and params.show ~= "address" and params.show ~= "host" then
  error("show=" .. params.show .. " is not known: say host or address")
end

local anchor = [[(?is)(<a\s[^>]*?href\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>"']+))[^>]*>)(.*?)(</a\s*>)]]

local escapes = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }

local function reveal(all, tag, quoted, single, bare, text, close)
  local address = (quoted or "") .. (single or "") .. (bare or "")
  address = address:gsub("&amp;", "&"):match("^%s*(.-)%s*$")
  -- https://user@host:port/…: what stands before an @ is no part of the host, but made to look like one.
  local authority = address:match("^[Hh][Tt][Tt][Pp][Ss]?://([^/?#\\]*)")
  if not authority then
    return all
  end
  local host = authority:gsub("^.*@", ""):gsub(":%d*$", ""):lower()
  local shown = whole and address or host
  if text:lower():find(host, 1, true) and not whole then
    local plain = text:gsub("<[^>]*>", ""):lower()
    -- "bank.example" within "bank.example.evil.test" is another host.
    local first, last = plain:find(host, 1, true)
    if first and not plain:sub(first - 1, first - 1):find("[%w.-]") and not plain:sub(last + 1, last + 1):find("[%w.-]") then
      return all
    end
  end
  return tag .. text .. close .. " [" .. shown:gsub('[&<>"]', escapes) .. "]"
end

function on_message(text, message)
  if message.direction ~= "to_client" then
    return
  end
  local changed, parts = mime.edit_text(text, function(part_text, part)
    if part.type == "text/html" then
      return (regex.gsub(part_text, anchor, reveal))
    end
    return part_text
  end)
  if parts > 0 then
    return changed
  end
end
