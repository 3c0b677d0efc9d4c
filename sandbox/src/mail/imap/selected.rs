//! The selected folder: a session's own numbering of its messages, and the commands that use it.

use super::{
    Done, Session,
    command::{Arguments, Bad, Set},
    fetch::{self, Item},
    no, ok,
    search::{self, Place},
};
use crate::mail::{
    mailbox::{Folder, Message, Problem},
    wire::Wire,
};
use std::io;

/// Flags on one message.
const MAX_FLAGS: usize = 100;

/// A folder as this session has been told that it is.
pub(super) struct Selected {
    folder: String,
    validity: u32,
    read_only: bool,
    view: Vec<Seen>,
}

/// A message that the session knows of.
struct Seen {
    uid: u32,
    /// The change of flags that it was last told of.
    change: u64,
}

/// One STORE.
struct Store {
    flags: Vec<String>,
    mode: Mode,
    silent: bool,
}

#[derive(PartialEq)]
enum Mode {
    Replace,
    Add,
    Remove,
}

impl Selected {
    pub(super) fn new(name: String, folder: &Folder, read_only: bool) -> Selected {
        let view = folder.messages.iter().map(Seen::of).collect();
        Selected {
            folder: name,
            validity: folder.uid_validity,
            read_only,
            view,
        }
    }

    /// Tells of vanished messages (unless sequence numbers must not shift now), changed flags and new messages.
    pub(super) fn announce(&mut self, wire: &mut Wire, user: &str, shift: bool) {
        let shared = wire.shared.clone();
        let Some(mailbox) = shared.mail.mailbox(user) else {
            return;
        };
        let mut folders = mailbox.folders();
        let messages: &[Message] = match folders.get(&self.folder) {
            Some(folder) if folder.uid_validity == self.validity => &folder.messages,
            // Deleted by another session: everything in it has gone.
            _ => &[],
        };
        let find = |uid| {
            messages
                .binary_search_by_key(&uid, |message| message.uid)
                .ok()
                .map(|i| &messages[i])
        };
        if shift {
            let mut number = 1;
            self.view.retain(|seen| {
                let there = find(seen.uid).is_some();
                if there {
                    number += 1;
                } else {
                    wire.put_line(format!("* {number} EXPUNGE"));
                }
                there
            });
        }
        for (index, seen) in self.view.iter_mut().enumerate() {
            if let Some(message) = find(seen.uid).filter(|message| message.change > seen.change) {
                seen.change = message.change;
                let flags = message.flags.join(" ");
                wire.put_line(format!(
                    "* {} FETCH (FLAGS ({flags}) UID {})",
                    index + 1,
                    message.uid
                ));
            }
        }
        let known = self.view.last().map_or(0, |seen| seen.uid);
        let before = self.view.len();
        self.view.extend(
            messages
                .iter()
                .filter(|message| message.uid > known)
                .map(Seen::of),
        );
        if self.view.len() > before {
            wire.put_line(format!("* {} EXISTS", self.view.len()));
        }
    }

    /// Sequence number and UID of what a set names.
    fn chosen(&self, set: &Set, by_uid: bool) -> Vec<(u32, u32)> {
        let largest_uid = self.view.last().map_or(0, |seen| seen.uid);
        let count = self.view.len() as u32;
        (1..)
            .zip(&self.view)
            .map(|(number, seen)| (number, seen.uid))
            .filter(|(number, uid)| match by_uid {
                true => set.contains(*uid, largest_uid),
                false => set.contains(*number, count),
            })
            .collect()
    }

    /// Does something with a message that is still there.
    fn with<T>(
        &self,
        wire: &Wire,
        user: &str,
        uid: u32,
        act: impl FnOnce(&mut Message, u64) -> T,
    ) -> Option<T> {
        let mailbox = wire.shared.mail.mailbox(user)?;
        let mut folders = mailbox.folders();
        let change = folders.change();
        let folder = folders
            .get(&self.folder)
            .filter(|folder| folder.uid_validity == self.validity)?;
        Some(act(folder.message(uid)?, change))
    }

    /// Removes what is marked as deleted, of these UIDs.
    fn expunge(&self, wire: &Wire, user: &str, uids: Option<&Set>) {
        let Some(mailbox) = wire.shared.mail.mailbox(user) else {
            return;
        };
        let largest = self.view.last().map_or(0, |seen| seen.uid);
        if let Some(folder) = mailbox.folders().get(&self.folder) {
            folder.messages.retain(|message| {
                let meant = uids.is_none_or(|set| set.contains(message.uid, largest));
                !(meant && message.has("\\Deleted"))
            });
        }
        mailbox.announce();
    }
}

impl Seen {
    fn of(message: &Message) -> Seen {
        Seen {
            uid: message.uid,
            change: message.change,
        }
    }
}

impl Session {
    pub(super) async fn selected_command(
        &mut self,
        wire: &mut Wire,
        user: &str,
        name: &str,
        arguments: &mut Arguments<'_>,
    ) -> io::Result<Result<Done, Bad>> {
        let Some(selected) = &mut self.selected else {
            return Ok(Err("unknown command, or no folder is selected"));
        };
        let (name, by_uid) = match name {
            "UID" => match arguments.space().and_then(|()| arguments.atom()) {
                Ok(name) => (name.to_ascii_uppercase(), true),
                Err(bad) => return Ok(Err(bad)),
            },
            name => (name.to_owned(), false),
        };
        let result = match name.as_str() {
            "FETCH" => fetch(selected, wire, user, by_uid, arguments).await?,
            "STORE" => store(selected, wire, user, by_uid, arguments),
            "SEARCH" => search(selected, wire, user, by_uid, arguments),
            "COPY" => copy(selected, wire, user, by_uid, arguments),
            "EXPUNGE" if selected.read_only => no("the folder is open for reading only"),
            "EXPUNGE" if by_uid => {
                arguments
                    .space()
                    .and_then(|()| arguments.set())
                    .and_then(|set| {
                        arguments.end()?;
                        selected.expunge(wire, user, Some(&set));
                        ok("done")
                    })
            }
            "EXPUNGE" => arguments.end().and_then(|()| {
                selected.expunge(wire, user, None);
                ok("done")
            }),
            "CLOSE" | "UNSELECT" if !by_uid => {
                if name == "CLOSE" && !selected.read_only {
                    selected.expunge(wire, user, None);
                }
                self.selected = None;
                return Ok(ok("closed"));
            }
            _ => Err("unknown command"),
        };
        // RFC 3501 §7.4.1: sequence numbers do not shift during FETCH, STORE and SEARCH by number.
        let shift = by_uid || !matches!(name.as_str(), "FETCH" | "STORE" | "SEARCH");
        selected.announce(wire, user, shift);
        Ok(result)
    }
}

async fn fetch(
    selected: &mut Selected,
    wire: &mut Wire,
    user: &str,
    by_uid: bool,
    arguments: &mut Arguments<'_>,
) -> io::Result<Result<Done, Bad>> {
    let parsed = (|| {
        arguments.space()?;
        let set = arguments.set()?;
        arguments.space()?;
        let items = fetch::items(arguments)?;
        arguments.end()?;
        Ok((set, items))
    })();
    let (set, mut items) = match parsed {
        Ok(parsed) => parsed,
        Err(bad) => return Ok(Err(bad)),
    };
    if by_uid && !items.contains(&Item::Uid) {
        items.insert(0, Item::Uid);
    }
    let reads = items
        .iter()
        .any(|item| matches!(item, Item::Section(section) if !section.peek));
    let marks = reads && !selected.read_only;
    let mut marked_items = items.clone();
    if !marked_items.contains(&Item::Flags) {
        marked_items.push(Item::Flags);
    }
    let mut marked = false;
    for (number, uid) in selected.chosen(&set, by_uid) {
        let found = selected.with(wire, user, uid, |message, change| {
            let new = marks && message.set("\\Seen");
            if new {
                message.change = change;
            }
            (message.clone(), new)
        });
        let Some((message, new)) = found else {
            continue;
        };
        marked |= new;
        if new && let Some(seen) = selected.view.get_mut(number as usize - 1) {
            seen.change = message.change;
        }
        wire.put(format!("* {number} FETCH "));
        wire.put(fetch::answer(
            if new { &marked_items } else { &items },
            &message,
        ));
        wire.put(b"\r\n");
        wire.relieve().await?;
    }
    if marked && let Some(mailbox) = wire.shared.mail.mailbox(user) {
        mailbox.announce();
    }
    Ok(ok("done"))
}

fn store(
    selected: &mut Selected,
    wire: &mut Wire,
    user: &str,
    by_uid: bool,
    arguments: &mut Arguments<'_>,
) -> Result<Done, Bad> {
    arguments.space()?;
    let set = arguments.set()?;
    arguments.space()?;
    let name = arguments.atom()?.to_ascii_uppercase();
    let (name, silent) = match name.strip_suffix(".SILENT") {
        Some(name) => (name, true),
        None => (name.as_str(), false),
    };
    let mode = match name {
        "FLAGS" => Mode::Replace,
        "+FLAGS" => Mode::Add,
        "-FLAGS" => Mode::Remove,
        _ => return Err("FLAGS, +FLAGS or -FLAGS was expected"),
    };
    arguments.space()?;
    let mut flags = arguments.flags()?;
    arguments.end()?;
    flags.retain(|flag| !flag.eq_ignore_ascii_case("\\Recent"));
    if selected.read_only {
        return no("the folder is open for reading only");
    }
    let store = Store {
        flags,
        mode,
        silent,
    };
    for (number, uid) in selected.chosen(&set, by_uid) {
        let changed = selected.with(wire, user, uid, |message, change| {
            store.apply(message);
            message.change = change;
            (message.flags.join(" "), change)
        });
        let Some((flags, change)) = changed else {
            continue;
        };
        if let Some(seen) = selected.view.get_mut(number as usize - 1) {
            seen.change = change;
        }
        if !store.silent {
            let uid = if by_uid {
                format!(" UID {uid}")
            } else {
                String::new()
            };
            wire.put_line(format!("* {number} FETCH (FLAGS ({flags}){uid})"));
        }
    }
    if let Some(mailbox) = wire.shared.mail.mailbox(user) {
        mailbox.announce();
    }
    ok("done")
}

impl Store {
    fn apply(&self, message: &mut Message) {
        if self.mode == Mode::Replace {
            message.flags.clear();
        }
        for flag in &self.flags {
            if self.mode == Mode::Remove {
                message.flags.retain(|own| !own.eq_ignore_ascii_case(flag));
            } else if message.flags.len() < MAX_FLAGS {
                message.set(flag);
            }
        }
    }
}

fn search(
    selected: &mut Selected,
    wire: &mut Wire,
    user: &str,
    by_uid: bool,
    arguments: &mut Arguments<'_>,
) -> Result<Done, Bad> {
    arguments.space()?;
    let key = match search::keys(arguments) {
        Err(bad) if bad.starts_with('[') => return no(bad),
        key => key?,
    };
    let largest_sequence = selected.view.len() as u32;
    let largest_uid = selected.view.last().map_or(0, |seen| seen.uid);
    let mut line = String::from("* SEARCH");
    for (sequence, seen) in (1..).zip(&selected.view) {
        let place = Place {
            sequence,
            largest_sequence,
            largest_uid,
        };
        // A copy is cheap: the bytes are shared.
        let message = selected.with(wire, user, seen.uid, |message, _| message.clone());
        if message.is_some_and(|message| key.fits(&message, place)) {
            line += &format!(" {}", if by_uid { seen.uid } else { sequence });
        }
    }
    wire.put_line(line);
    ok("done")
}

fn copy(
    selected: &mut Selected,
    wire: &mut Wire,
    user: &str,
    by_uid: bool,
    arguments: &mut Arguments<'_>,
) -> Result<Done, Bad> {
    arguments.space()?;
    let set = arguments.set()?;
    arguments.space()?;
    let target = arguments.astring()?;
    arguments.end()?;
    let Some(mailbox) = wire.shared.mail.mailbox(user) else {
        return no("no mailbox");
    };
    if mailbox.folders().get(&target).is_none() {
        return no("[TRYCREATE] no such folder");
    }
    let (mut from, mut to, mut validity) = (Vec::new(), Vec::new(), 0);
    for (_, uid) in selected.chosen(&set, by_uid) {
        let Some(message) = selected.with(wire, user, uid, |message, _| message.clone()) else {
            continue;
        };
        match mailbox.append(&target, message.bytes, message.flags, message.date) {
            Ok((own, new)) => {
                validity = own;
                from.push(uid.to_string());
                to.push(new.to_string());
            }
            Err(Problem::NoSuchFolder) => return no("[TRYCREATE] no such folder"),
            Err(problem) => return no(problem.text()),
        }
    }
    if from.is_empty() {
        return ok("nothing to copy");
    }
    ok(&format!(
        "[COPYUID {validity} {} {}] done",
        from.join(","),
        to.join(",")
    ))
}
