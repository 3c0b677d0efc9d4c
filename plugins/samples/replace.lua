-- replace.lua: replaces text in messages.
--
-- For all protocols. Pattern and replacement are regular expressions as those of Rust: https://docs.rs/regex
--
--   plugins = replace.lua pattern="(?i)colour" replacement="color" [direction=to_client|to_server|both]
--             [where=text|header|both] [type=text/plain|text/html] [max_message=16M]
--
-- direction: which messages: those that are read (default), those that are sent or stored, or both.
-- where:     in the text parts (default, decoded and encoded again), in the header, or in both.
-- type:      only in text parts of this type.
-- $1 or ${1} in the replacement is the first group; $$ is a dollar.

local pattern = params.pattern or error('say what to look for: pattern="..."')
local replacement = params.replacement or error('say what to put there: replacement="..." (may be empty)')
local direction = params.direction or "to_client"
if direction ~= "to_client" and direction ~= "to_server" and direction ~= "both" then
  error("direction=" .. direction .. " is not known: say to_client, to_server or both")
end
local where = params.where or "text"
if where ~= "text" and where ~= "header" and where ~= "both" then
  error("where=" .. where .. " is not known: say text, header or both")
end
-- A mistake in the pattern is found when the configuration is read, rather than by the first message.
regex.gsub("", pattern, replacement)

local function ours(message)
  return direction == "both" or message.direction == direction
end

if where ~= "text" then
  function on_header(header, message)
    if ours(message) then
      return (regex.gsub(header, pattern, replacement))
    end
  end
end

if where ~= "header" then
  function on_message(text, message)
    if not ours(message) then
      return
    end
    local changed, parts = mime.edit_text(text, function(part_text, part)
      if params.type and part.type ~= params.type then
        return part_text
      end
      return (regex.gsub(part_text, pattern, replacement))
    end)
    if parts > 0 then
      return changed
    end
  end
end
