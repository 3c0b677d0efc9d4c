//! The mailboxes: in memory, one set of folders per account.

use super::samples;
use crate::Options;
use event_listener::{Event, EventListener};
use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use time::OffsetDateTime;

/// Octets of mail in one account.
pub(crate) const MAX_MAILBOX: usize = 1 << 29;
/// Octets in one message.
pub(crate) const MAX_MESSAGE: usize = 64 << 20;
/// Messages in one account.
const MAX_MESSAGES: usize = 20_000;
/// Folders in one account.
const MAX_FOLDERS: usize = 200;

/// All accounts' mail.
pub(crate) struct Store {
    mailboxes: HashMap<String, Mailbox>,
}

/// One account's mail.
pub(crate) struct Mailbox {
    folders: Mutex<Folders>,
    /// Something in it has changed.
    changed: Event,
}

/// Folders by name; `INBOX` in capitals is always there.
pub(crate) struct Folders {
    folders: BTreeMap<String, Folder>,
    next_validity: u32,
    next_change: u64,
}

/// One folder.
pub(crate) struct Folder {
    pub(crate) uid_validity: u32,
    pub(crate) uid_next: u32,
    /// In ascending order of UIDs.
    pub(crate) messages: Vec<Message>,
    pub(crate) subscribed: bool,
}

/// One message.
#[derive(Clone)]
pub(crate) struct Message {
    pub(crate) uid: u32,
    /// System flags as `\Seen`, keywords as they are.
    pub(crate) flags: Vec<String>,
    pub(crate) date: OffsetDateTime,
    pub(crate) bytes: Arc<[u8]>,
    /// Grows with every change of flags, so that other sessions see it.
    pub(crate) change: u64,
}

/// Why something cannot be done to a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    NoSuchFolder,
    Exists,
    Full,
    Forbidden,
}

impl Store {
    pub(crate) fn new(options: &Options) -> io::Result<Store> {
        let mut mailboxes = HashMap::new();
        for (index, account) in options.accounts.iter().enumerate() {
            let mailbox = Mailbox::new();
            if options.samples {
                for (date, message) in samples::messages(&account.address) {
                    mailbox
                        .append("INBOX", message.into(), Vec::new(), date)
                        .map_err(Problem::into_io)?;
                }
            }
            if options.large_message && index == 0 {
                let (date, message) = samples::large_message(&account.address);
                mailbox
                    .append("INBOX", message.into(), Vec::new(), date)
                    .map_err(Problem::into_io)?;
            }
            if mailboxes
                .insert(account.address.to_ascii_lowercase(), mailbox)
                .is_some()
            {
                let text = format!("the account {} is there twice", account.address);
                return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
            }
        }
        let store = Store { mailboxes };
        for mail in &options.mail {
            store.deliver(&mail.account, &mail.folder, &mail.message)?;
        }
        Ok(store)
    }

    pub(crate) fn mailbox(&self, account: &str) -> Option<&Mailbox> {
        self.mailboxes.get(&account.to_ascii_lowercase())
    }

    pub(crate) fn deliver(&self, account: &str, folder: &str, message: &[u8]) -> io::Result<()> {
        let mailbox = self.mailbox(account).ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("no account {account}"))
        })?;
        match mailbox.folders().create(folder) {
            Ok(()) | Err(Problem::Exists) => {}
            Err(problem) => return Err(problem.into_io()),
        }
        mailbox
            .append(
                folder,
                message.into(),
                Vec::new(),
                OffsetDateTime::now_utc(),
            )
            .map(drop)
            .map_err(Problem::into_io)
    }

    pub(crate) fn messages(&self, account: &str, folder: &str) -> Vec<Arc<[u8]>> {
        let Some(mailbox) = self.mailbox(account) else {
            return Vec::new();
        };
        let mut folders = mailbox.folders();
        folders
            .get(folder)
            .map(|folder| {
                folder
                    .messages
                    .iter()
                    .map(|message| message.bytes.clone())
                    .collect()
            })
            .unwrap_or_default()
    }
}

impl Mailbox {
    fn new() -> Mailbox {
        let mut folders = Folders {
            folders: BTreeMap::new(),
            next_validity: 1,
            next_change: 1,
        };
        for name in ["INBOX", "Archive", "Drafts", "Sent", "Trash"] {
            folders.insert(name.into());
        }
        Mailbox {
            folders: Mutex::new(folders),
            changed: Event::new(),
        }
    }

    pub(crate) fn folders(&self) -> MutexGuard<'_, Folders> {
        self.folders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves at the next change of anything in it.
    pub(crate) fn next_change(&self) -> EventListener {
        self.changed.listen()
    }

    /// Tells everybody who waits that something changed.
    pub(crate) fn announce(&self) {
        self.changed.notify(usize::MAX);
    }

    /// Adds a message and announces it; its folder's UIDVALIDITY and its UID.
    pub(crate) fn append(
        &self,
        folder: &str,
        bytes: Arc<[u8]>,
        flags: Vec<String>,
        date: OffsetDateTime,
    ) -> Result<(u32, u32), Problem> {
        let result = self.folders().append(folder, bytes, flags, date);
        self.announce();
        result
    }
}

impl Folders {
    /// A folder by name; `INBOX` in any letter case.
    pub(crate) fn get(&mut self, name: &str) -> Option<&mut Folder> {
        self.folders.get_mut(canonical(name))
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = (&str, &Folder)> {
        self.folders
            .iter()
            .map(|(name, folder)| (name.as_str(), folder))
    }

    pub(crate) fn create(&mut self, name: &str) -> Result<(), Problem> {
        let name = canonical(name).trim_end_matches('/');
        if self.folders.contains_key(name) {
            return Err(Problem::Exists);
        }
        if self.folders.len() >= MAX_FOLDERS {
            return Err(Problem::Full);
        }
        if name.is_empty()
            || name.len() > 255
            || name
                .bytes()
                .any(|b| b.is_ascii_control() || b"*%".contains(&b))
        {
            return Err(Problem::Forbidden);
        }
        self.insert(name.into());
        Ok(())
    }

    pub(crate) fn delete(&mut self, name: &str) -> Result<(), Problem> {
        match canonical(name) {
            "INBOX" => Err(Problem::Forbidden),
            name => self
                .folders
                .remove(name)
                .map(drop)
                .ok_or(Problem::NoSuchFolder),
        }
    }

    /// RFC 3501 §6.3.5 without its special case: INBOX cannot be renamed here. What lies below goes along.
    pub(crate) fn rename(&mut self, from: &str, to: &str) -> Result<(), Problem> {
        let (from, to) = (canonical(from).to_owned(), canonical(to).to_owned());
        if from == "INBOX" {
            return Err(Problem::Forbidden);
        }
        if !self.folders.contains_key(&from) {
            return Err(Problem::NoSuchFolder);
        }
        self.create(&to)?;
        self.folders.remove(&to);
        let below = format!("{from}/");
        let names: Vec<String> = self
            .folders
            .keys()
            .filter(|name| **name == from || name.starts_with(&below))
            .cloned()
            .collect();
        for name in names {
            if let Some(folder) = self.folders.remove(&name) {
                self.folders
                    .insert(format!("{to}{}", &name[from.len()..]), folder);
            }
        }
        Ok(())
    }

    pub(crate) fn append(
        &mut self,
        name: &str,
        bytes: Arc<[u8]>,
        flags: Vec<String>,
        date: OffsetDateTime,
    ) -> Result<(u32, u32), Problem> {
        let (count, octets) = self
            .folders
            .values()
            .flat_map(|folder| &folder.messages)
            .fold((0, 0), |(count, octets), message| {
                (count + 1, octets + message.bytes.len())
            });
        if count >= MAX_MESSAGES || bytes.len() > MAX_MESSAGE || octets + bytes.len() > MAX_MAILBOX
        {
            return Err(Problem::Full);
        }
        let change = self.change();
        let folder = self.get(name).ok_or(Problem::NoSuchFolder)?;
        let uid = folder.uid_next;
        folder.uid_next += 1;
        folder.messages.push(Message {
            uid,
            flags,
            date,
            bytes,
            change,
        });
        Ok((folder.uid_validity, uid))
    }

    /// A number for a change of flags.
    pub(crate) fn change(&mut self) -> u64 {
        self.next_change += 1;
        self.next_change
    }

    fn insert(&mut self, name: String) {
        let uid_validity = self.next_validity;
        self.next_validity += 1;
        let folder = Folder {
            uid_validity,
            uid_next: 1,
            messages: Vec::new(),
            subscribed: true,
        };
        self.folders.insert(name, folder);
    }
}

impl Folder {
    /// The message of this UID.
    pub(crate) fn message(&mut self, uid: u32) -> Option<&mut Message> {
        let index = self
            .messages
            .binary_search_by_key(&uid, |message| message.uid)
            .ok()?;
        self.messages.get_mut(index)
    }

    pub(crate) fn remove(&mut self, uid: u32) {
        self.messages.retain(|message| message.uid != uid);
    }
}

impl Message {
    pub(crate) fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|own| own.eq_ignore_ascii_case(flag))
    }

    /// Sets a flag; whether that changed anything.
    pub(crate) fn set(&mut self, flag: &str) -> bool {
        let new = !self.has(flag);
        if new {
            self.flags.push(flag.into());
        }
        new
    }
}

impl Problem {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Problem::NoSuchFolder => "no such folder",
            Problem::Exists => "it exists already",
            Problem::Full => "the mailbox is full",
            Problem::Forbidden => "that is not possible",
        }
    }

    fn into_io(self) -> io::Error {
        io::Error::other(self.text())
    }
}

fn canonical(name: &str) -> &str {
    if name.eq_ignore_ascii_case("INBOX") {
        "INBOX"
    } else {
        name
    }
}
