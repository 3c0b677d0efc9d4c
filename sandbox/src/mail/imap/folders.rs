//! Commands about folders as a whole: LIST and kin, SELECT, STATUS, CREATE, APPEND.

use super::{
    Done, Session,
    command::{Arguments, Bad},
    done,
    fetch::{parse_date_time, string},
    no, ok,
    selected::Selected,
};
use crate::mail::{
    mailbox::{Folder, Folders, Problem},
    wire::Wire,
};
use time::OffsetDateTime;

impl Session {
    /// `None`: not one of these commands.
    pub(super) fn folder_command(
        &mut self,
        wire: &mut Wire,
        user: &str,
        name: &str,
        arguments: &mut Arguments<'_>,
    ) -> Option<Result<Done, Bad>> {
        let shared = wire.shared.clone();
        let mailbox = shared.mail.mailbox(user)?;
        let result = match name {
            "LIST" | "LSUB" => list(wire, &mailbox.folders(), name, arguments),
            "SELECT" | "EXAMINE" => {
                self.select(wire, &mut mailbox.folders(), name == "EXAMINE", arguments)
            }
            "STATUS" => status(wire, &mut mailbox.folders(), arguments),
            "NAMESPACE" => {
                wire.put_line("* NAMESPACE ((\"\" \"/\")) NIL NIL");
                ok("done")
            }
            "CREATE" => one(arguments).and_then(|folder| done(mailbox.folders().create(&folder))),
            "DELETE" => one(arguments).and_then(|folder| done(mailbox.folders().delete(&folder))),
            "RENAME" => {
                two(arguments).and_then(|(from, to)| done(mailbox.folders().rename(&from, &to)))
            }
            "SUBSCRIBE" | "UNSUBSCRIBE" => {
                one(arguments).and_then(|folder| match mailbox.folders().get(&folder) {
                    Some(folder) => {
                        folder.subscribed = name == "SUBSCRIBE";
                        ok("done")
                    }
                    None => no(Problem::NoSuchFolder.text()),
                })
            }
            "APPEND" => append(arguments).and_then(|(folder, flags, date, message)| {
                let result = mailbox.append(&folder, message.into(), flags, date);
                self.announce(wire);
                match result {
                    Ok((validity, uid)) => ok(&format!("[APPENDUID {validity} {uid}] added")),
                    Err(Problem::NoSuchFolder) => no("[TRYCREATE] no such folder"),
                    Err(problem) => no(problem.text()),
                }
            }),
            _ => return None,
        };
        Some(result)
    }

    fn select(
        &mut self,
        wire: &mut Wire,
        folders: &mut Folders,
        read_only: bool,
        arguments: &mut Arguments<'_>,
    ) -> Result<Done, Bad> {
        let name = one(arguments)?;
        self.selected = None;
        let Some(folder) = folders.get(&name) else {
            return no(Problem::NoSuchFolder.text());
        };
        wire.put_line(format!("* {} EXISTS", folder.messages.len()));
        wire.put_line("* 0 RECENT");
        wire.put_line("* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)");
        wire.put_line(if read_only {
            "* OK [PERMANENTFLAGS ()] read-only"
        } else {
            "* OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft \\*)] kept"
        });
        if let Some(first) = folder
            .messages
            .iter()
            .position(|message| !message.has("\\Seen"))
        {
            wire.put_line(format!("* OK [UNSEEN {}] the first unread one", first + 1));
        }
        wire.put_line(format!(
            "* OK [UIDVALIDITY {}] UIDs are valid",
            folder.uid_validity
        ));
        wire.put_line(format!("* OK [UIDNEXT {}] the next UID", folder.uid_next));
        self.selected = Some(Selected::new(name, folder, read_only));
        ok(if read_only {
            "[READ-ONLY] opened"
        } else {
            "[READ-WRITE] opened"
        })
    }
}

fn one(arguments: &mut Arguments<'_>) -> Result<String, Bad> {
    arguments.space()?;
    let one = arguments.astring()?;
    arguments.end()?;
    Ok(one)
}

fn two(arguments: &mut Arguments<'_>) -> Result<(String, String), Bad> {
    arguments.space()?;
    let one = arguments.astring()?;
    arguments.space()?;
    let two = arguments.astring()?;
    arguments.end()?;
    Ok((one, two))
}

fn list(
    wire: &mut Wire,
    folders: &Folders,
    command: &str,
    arguments: &mut Arguments<'_>,
) -> Result<Done, Bad> {
    arguments.space()?;
    let reference = arguments.astring()?;
    arguments.space()?;
    let pattern = arguments.pattern()?;
    arguments.end()?;
    if pattern.is_empty() {
        wire.put_line(format!("* {command} (\\Noselect) \"/\" \"\""));
        return ok("done");
    }
    let pattern = reference + &pattern;
    if pattern.len() > 1_000 {
        return Err("this pattern is too long");
    }
    for (name, folder) in folders.names() {
        if (command == "LSUB" && !folder.subscribed) || !matches(&pattern, name) {
            continue;
        }
        let below = format!("{name}/");
        let children = folders.names().any(|(name, _)| name.starts_with(&below));
        let mut attributes = vec![if children {
            "\\HasChildren"
        } else {
            "\\HasNoChildren"
        }];
        match name {
            "Archive" => attributes.push("\\Archive"),
            "Drafts" => attributes.push("\\Drafts"),
            "Sent" => attributes.push("\\Sent"),
            "Trash" => attributes.push("\\Trash"),
            _ => {}
        }
        let mut line = format!("* {command} ({}) \"/\" ", attributes.join(" ")).into_bytes();
        string(&mut line, name);
        wire.put_line(line);
    }
    ok("done")
}

/// Wildcards of LIST: `*` for anything, `%` for anything but the delimiter. INBOX is found in any letter case.
fn matches(pattern: &str, name: &str) -> bool {
    if name == "INBOX" && pattern.eq_ignore_ascii_case("INBOX") {
        return true;
    }
    // reached[i]: the pattern read so far fits the first i bytes of the name.
    let mut reached = vec![false; name.len() + 1];
    reached[0] = true;
    for wanted in pattern.bytes() {
        let mut next = vec![false; name.len() + 1];
        match wanted {
            b'*' | b'%' => {
                let mut fits = false;
                for (index, before) in reached.iter().enumerate() {
                    if index > 0 && wanted == b'%' && name.as_bytes()[index - 1] == b'/' {
                        fits = false;
                    }
                    fits |= before;
                    next[index] = fits;
                }
            }
            wanted => {
                for (index, own) in name.bytes().enumerate() {
                    next[index + 1] = reached[index] && own == wanted;
                }
            }
        }
        reached = next;
    }
    reached[name.len()]
}

fn status(
    wire: &mut Wire,
    folders: &mut Folders,
    arguments: &mut Arguments<'_>,
) -> Result<Done, Bad> {
    arguments.space()?;
    let name = arguments.astring()?;
    arguments.expect(b" (")?;
    let mut items = Vec::new();
    loop {
        items.push(arguments.atom()?.to_ascii_uppercase());
        if arguments.take(b")") {
            break;
        }
        arguments.space()?;
    }
    arguments.end()?;
    let Some(folder) = folders.get(&name) else {
        return no(Problem::NoSuchFolder.text());
    };
    let mut values = Vec::new();
    for item in items {
        let value = match item.as_str() {
            "MESSAGES" => folder.messages.len(),
            "RECENT" => 0,
            "UIDNEXT" => folder.uid_next as usize,
            "UIDVALIDITY" => folder.uid_validity as usize,
            "UNSEEN" => unseen(folder),
            _ => return Err("this item is unknown"),
        };
        values.push(format!("{item} {value}"));
    }
    let mut line = b"* STATUS ".to_vec();
    string(&mut line, &name);
    line.extend(format!(" ({})", values.join(" ")).bytes());
    wire.put_line(line);
    ok("done")
}

fn unseen(folder: &Folder) -> usize {
    folder
        .messages
        .iter()
        .filter(|message| !message.has("\\Seen"))
        .count()
}

type Appended = (String, Vec<String>, OffsetDateTime, Vec<u8>);

/// `mailbox [(flags)] ["date"] {literal}`.
fn append(arguments: &mut Arguments<'_>) -> Result<Appended, Bad> {
    arguments.space()?;
    let folder = arguments.astring()?;
    arguments.space()?;
    let mut flags = Vec::new();
    if arguments.peek() == Some(b'(') {
        flags = arguments.flags()?;
        flags.retain(|flag| !flag.eq_ignore_ascii_case("\\Recent"));
        arguments.space()?;
    }
    let mut date = OffsetDateTime::now_utc();
    if arguments.peek() == Some(b'"') {
        let text = arguments.string()?;
        date = parse_date_time(&String::from_utf8_lossy(&text))?;
        arguments.space()?;
    }
    if arguments.peek() != Some(b'{') {
        return Err("a literal was expected");
    }
    let message = arguments.string()?;
    arguments.end()?;
    if message.is_empty() {
        return Err("the message is empty");
    }
    Ok((folder, flags, date, message))
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn wildcards() {
        for (pattern, name) in [
            ("*", "a/b"),
            ("%", "INBOX"),
            ("inbox", "INBOX"),
            ("a/%", "a/b"),
            ("*b", "a/b"),
            ("a*", "a"),
            ("%/%", "a/b"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("%", "a/b"),
            ("a", "a/b"),
            ("a/%", "a/b/c"),
            ("", "a"),
            ("sent", "Sent"),
            ("*c", "ab"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }
}
