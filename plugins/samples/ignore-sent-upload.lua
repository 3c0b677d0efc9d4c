-- ignore-sent-upload.lua: mail programs may store what they sent, but nothing is stored.
--
-- For IMAP. Gmail, Office 365 and others put each message that is sent through their SMTP server into the sent mail by
-- themselves; a program that stores a copy as well makes a second one. If your program has an option for that, use the option.
--
--   plugins = ignore-sent-upload.lua [mailboxes="Sent, Sent Items, [Gmail]/Sent Mail"]
--
-- mailboxes: instead of the usual names below. Letter case does not matter.

local usual = "Sent, Sent Items, Sent Mail, Sent Messages, INBOX.Sent, INBOX/Sent, [Gmail]/Sent Mail, [Google Mail]/Sent Mail"
local mailboxes = {}
for name in ((params.mailboxes or usual) .. ","):gmatch("%s*(.-)%s*,") do
  if name ~= "" then
    mailboxes[name:lower()] = true
  end
end

function on_command(text, command)
  if command.name == "APPEND" and command.mailbox and mailboxes[command.mailbox:lower()] then
    log.info("a message for " .. command.mailbox .. " is not stored a second time")
    return false, "OK APPEND completed (the server stores it itself)"
  end
end
