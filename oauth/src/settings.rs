//! Servers, accounts and global options, read from the document.
//!
//! Two kinds of problems end the start: a file that cannot be read as INI, and `[emailproxy]` values that cannot be read
//! (a mistyped safety switch must not silently mean its default). Everything else leaves out one server or one account,
//! by name, while the rest serves.

use crate::{
    document::{DEFAULT, Document, Entry, Section},
    messages::{accounts, files, settings as messages},
    store::Saved,
};
use std::{
    collections::{HashMap, HashSet},
    path::Path,
    sync::Arc,
};

mod account;
mod login_name;
mod names;
mod options;
mod reader;
mod server;
mod types;

pub use login_name::{BadLoginName, MAX_LOGIN_NAME, check_login_name};
pub use names::{
    ACCOUNT as ACCOUNT_OPTIONS, GLOBAL as GLOBAL_OPTIONS, SAVED as SAVED_OPTIONS,
    SERVER as SERVER_OPTIONS,
};
pub use types::{
    Account, FlowKind, LocalCertificate, LocalStartTls, Options, Problem, Server, Severity,
    TokenFormat,
};

/// The whole configuration as read at one moment.
pub struct Settings {
    /// In the file's order; only those that can be served.
    pub servers: Vec<Server>,
    /// `[emailproxy]`.
    pub options: Options,
    accounts: Accounts,
    document: Document,
}

/// What became of reading a configuration.
pub struct Loaded {
    /// `None` where the configuration cannot be used at all.
    pub settings: Option<Settings>,
    /// Everything that the user should know, in the order of the lines.
    pub problems: Vec<Problem>,
}

impl Settings {
    /// Reads the file. It warns of one that everybody on this machine can read.
    pub fn load(path: &Path) -> Loaded {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => zeroize::Zeroizing::new(bytes),
            Err(error) => {
                let file = path.display();
                let text = match error.kind() {
                    std::io::ErrorKind::NotFound => messages::no_configuration(file, error),
                    std::io::ErrorKind::PermissionDenied => files::forbidden(file, error),
                    _ => files::unreadable(file, error),
                };
                return Loaded {
                    settings: None,
                    problems: vec![whole_file(Severity::Error, text)],
                };
            }
        };
        let mut loaded = Settings::read(&bytes);
        if let Some(mode) = open_to_others(path) {
            let text = messages::open_to_others(path.display(), format_args!("{mode:03o}"));
            loaded
                .problems
                .insert(0, whole_file(Severity::Warning, text));
        }
        loaded
    }

    /// Reads a file's bytes.
    pub fn read(bytes: &[u8]) -> Loaded {
        match Document::parse(bytes) {
            Ok(document) => read(document),
            Err(errors) => {
                let problem = |error: &crate::document::SyntaxError| Problem {
                    severity: Severity::Error,
                    line: Some(error.line),
                    column: Some(error.column),
                    section: None,
                    text: error.kind.to_string(),
                };
                Loaded {
                    settings: None,
                    problems: errors.iter().map(problem).collect(),
                }
            }
        }
    }

    /// The account for this login name: compared exactly first, then ignoring letter case, then the catch-alls where allowed.
    /// `None` for a login name that is impossible ([`check_login_name`]), unknown, or whose account is left out.
    pub fn account(&self, login: &str) -> Option<Arc<Account>> {
        check_login_name(login).ok()?;
        if let Some(own) = self.accounts.own(login) {
            return own.clone();
        }
        if !self.options.allow_catch_all_accounts {
            return None;
        }
        let chain = self.accounts.catch_alls(login);
        if chain.is_empty() {
            return None;
        }
        let mut headings = vec![login];
        headings.extend(chain);
        let mut reader = reader::Reader::new(&self.document, headings.clone());
        let account = account::read(&mut reader, &self.options, login, &headings, false)?;
        Some(Arc::new(account))
    }

    /// The accounts that have a section of their own and can be used, in the file's order.
    pub fn accounts(&self) -> impl Iterator<Item = &Arc<Account>> {
        self.accounts
            .in_order
            .iter()
            .filter_map(|name| self.accounts.exact.get(name)?.as_ref())
    }

    /// The section that this name means: compared exactly first, then ignoring letter case.
    pub(crate) fn heading(&self, name: &str) -> Option<&str> {
        if let Some(section) = self.document.section(name) {
            return Some(section.name());
        }
        let folded = name.to_lowercase();
        let mut names = self.document.sections().map(Section::name);
        names.find(|heading| is_account(heading) && heading.to_lowercase() == folded)
    }

    /// An option as it stands in the section itself.
    pub(crate) fn own_text(&self, heading: &str, option: &str) -> Option<&str> {
        let entry = self.document.own(heading, option)?;
        Some(entry.value()).filter(|value| !value.is_empty())
    }

    /// An option as it counts for the section: its own, else its catch-alls' (where allowed), else the default's.
    pub(crate) fn text_for(&self, heading: &str, option: &str) -> Option<String> {
        let mut headings = vec![heading];
        if self.options.allow_catch_all_accounts {
            headings.extend(self.accounts.catch_alls(heading));
        }
        reader::Reader::new(&self.document, headings).owned(option)
    }

    /// A problem of an option whose value others read (networks, the outgoing proxy), where that value stands: the section's
    /// own, or the default's. Where the option is missing it is the section's problem.
    pub fn problem(
        &self,
        severity: Severity,
        heading: &str,
        option: &str,
        text: impl Into<String>,
    ) -> Problem {
        let reader = reader::Reader::new(&self.document, vec![heading]);
        reader.located(severity, option, text.into())
    }

    /// What the configuration file holds of tokens in the section `heading`; nothing is inherited.
    pub fn saved(&self, heading: &str) -> Saved {
        Saved::from_document(&self.document, heading)
    }
}

/// `None`: the account has a section and is left out, so that no catch-all may answer for it.
type Left = Option<Arc<Account>>;

#[derive(Default)]
struct Accounts {
    exact: HashMap<String, Left>,
    /// Lower case to the first spelling of it in the file.
    folded: HashMap<String, String>,
    in_order: Vec<String>,
    /// Headings of catch-alls: exact, and lower case to exact.
    catch_alls: HashMap<String, String>,
}

impl Accounts {
    fn own(&self, login: &str) -> Option<&Left> {
        self.exact
            .get(login)
            .or_else(|| self.exact.get(self.folded.get(&login.to_lowercase())?))
    }

    fn insert(&mut self, name: &str, account: Left) {
        self.folded
            .entry(name.to_lowercase())
            .or_insert_with(|| name.to_owned());
        self.in_order.push(name.to_owned());
        self.exact.insert(name.to_owned(), account);
    }

    /// The catch-all headings that cover this login name, the domain's first.
    fn catch_alls(&self, login: &str) -> Vec<&str> {
        let domain = login.rfind('@').map_or("", |at| &login[at..]);
        let found = self
            .catch_alls
            .get(domain)
            .or_else(|| self.catch_alls.get(&domain.to_lowercase()));
        let global = self.catch_alls.get("@");
        let mut chain: Vec<&str> = found
            .into_iter()
            .chain(global)
            .map(String::as_str)
            .collect();
        chain.dedup();
        chain
    }
}

fn read(document: Document) -> Loaded {
    let mut problems = Vec::new();
    check_names(&document, &mut problems);
    let mut reader = reader::Reader::new(&document, vec![options::SECTION]);
    let options = options::read(&mut reader);
    let fatal = !reader.usable();
    problems.append(&mut reader.problems);
    let servers = read_servers(&document, &mut problems);
    let exposed = servers.iter().any(|server| !server.loopback_only());
    let accounts = read_accounts(&document, &options, exposed, &mut problems);
    if servers.is_empty() {
        problems.push(whole_file(Severity::Error, messages::NO_SERVER.to_owned()));
    }
    let no_catch_all = !options.allow_catch_all_accounts || accounts.catch_alls.is_empty();
    if accounts.exact.is_empty() && no_catch_all {
        problems.push(whole_file(
            Severity::Warning,
            messages::NO_ACCOUNT.to_owned(),
        ));
    }
    // An option of a catch-all is read for every account that it covers.
    let mut told = HashSet::new();
    problems.retain(|p| {
        told.insert((
            p.line,
            p.column,
            p.severity as u8,
            p.section.clone(),
            p.text.clone(),
        ))
    });
    problems.sort_by_key(|problem| (problem.line.unwrap_or(usize::MAX), problem.column));
    let settings = Settings {
        servers,
        options,
        accounts,
        document,
    };
    Loaded {
        settings: (!fatal).then_some(settings),
        problems,
    }
}

fn read_servers(document: &Document, problems: &mut Vec<Problem>) -> Vec<Server> {
    let mut servers: Vec<Server> = Vec::new();
    let mut ports: HashMap<u16, (String, usize)> = HashMap::new();
    for section in document.sections() {
        let name = section.name();
        let (protocol, port) = match server::heading(name) {
            server::Heading::Server(protocol, port) => (protocol, port),
            server::Heading::Misspelt(text) => {
                problems.push(of_section(Severity::Error, section, text));
                continue;
            }
            server::Heading::Other => continue,
        };
        let mut reader = reader::Reader::new(document, vec![name]);
        let mut server = server::read(&mut reader, name, protocol, port, section.line());
        if let Some((first, line)) = ports.get(&port) {
            let text = messages::port_taken(port, first, line);
            reader.section_problem(Severity::Error, text);
            server = None;
        } else {
            ports.insert(port, (name.to_owned(), section.line()));
        }
        problems.append(&mut reader.problems);
        servers.extend(server);
    }
    servers
}

fn read_accounts(
    document: &Document,
    options: &Options,
    exposed: bool,
    problems: &mut Vec<Problem>,
) -> Accounts {
    let mut accounts = Accounts::default();
    let names = document
        .sections()
        .filter(|section| is_account(section.name()));
    let (catch_alls, own): (Vec<&Section>, Vec<&Section>) =
        names.partition(|section| section.name().starts_with('@'));
    for section in &catch_alls {
        let name = section.name().to_owned();
        accounts
            .catch_alls
            .entry(name.to_lowercase())
            .or_insert_with(|| name.clone());
        accounts.catch_alls.insert(name.clone(), name);
    }
    for section in own {
        let name = section.name();
        let mut headings = vec![name];
        if options.allow_catch_all_accounts {
            headings.extend(accounts.catch_alls(name));
        }
        let mut reader = reader::Reader::new(document, headings.clone());
        if let Err(why) = check_login_name(name) {
            let text = accounts::impossible_name(why);
            reader.section_problem(Severity::Error, text);
        }
        let account = account::read(
            &mut reader,
            options,
            name,
            &headings,
            has_own_options(section),
        );
        if let Some(account) = &account {
            warn_of_open_doors(&mut reader, options, account, exposed, false);
        }
        if let Some(other) = accounts.folded.get(&name.to_lowercase()) {
            let text = accounts::same_but_for_case(other);
            reader.section_problem(Severity::Warning, text);
        }
        problems.append(&mut reader.problems);
        accounts.insert(name, account.map(Arc::new));
    }
    read_catch_alls(document, options, exposed, &catch_alls, problems);
    accounts
}

/// Catch-alls are completed by each other and by accounts' own sections, so that only what stands in them is judged.
fn read_catch_alls(
    document: &Document,
    options: &Options,
    exposed: bool,
    sections: &[&Section],
    problems: &mut Vec<Problem>,
) {
    let global = sections.iter().find(|section| section.name() == "@");
    for section in sections {
        let name = section.name();
        if !options.allow_catch_all_accounts {
            let text = accounts::CATCH_ALL_IGNORED.to_owned();
            problems.push(of_section(Severity::Warning, section, text));
            continue;
        }
        let mut headings = vec![name];
        headings.extend(global.filter(|_| name != "@").map(|global| global.name()));
        let mut reader = reader::Reader::new(document, headings.clone());
        let account = account::read(&mut reader, options, name, &headings, false);
        if let Some(account) = &account {
            warn_of_open_doors(&mut reader, options, account, exposed, true);
            if options.encrypt_client_secret_on_first_use && account.client_secret.is_some() {
                reader.warn("client_secret", accounts::CATCH_ALL_SECRET);
            }
        }
        // What is missing is no fault of `[@]` while there are domains to complete it.
        let completed = name == "@" && sections.len() > 1;
        for mut problem in reader.problems {
            let missing = problem.column.is_none();
            if missing && completed {
                continue;
            }
            if missing && problem.severity == Severity::Error {
                problem.severity = Severity::Warning;
                problem.text = accounts::incomplete_catch_all(problem.text);
            }
            problems.push(problem);
        }
    }
}

/// Accounts that need no user: whoever can reach the port can open them before their first login.
fn warn_of_open_doors(
    reader: &mut reader::Reader<'_>,
    options: &Options,
    account: &Account,
    exposed: bool,
    catch_all: bool,
) {
    if !account.flow.needs_no_user() {
        return;
    }
    let plain = account.client_secret.is_some();
    let encrypted = reader.entry("client_secret_encrypted").is_some();
    let certificate = account.jwt_certificate_path.is_some();
    let password_is_secret = account.flow == FlowKind::ClientCredentials
        && options.use_login_password_as_client_credentials_secret
        && !certificate;
    let closed = !plain && (encrypted || password_is_secret);
    if closed && !catch_all {
        return;
    }
    let what = if catch_all {
        accounts::COVERED_MAILBOXES
    } else {
        accounts::THIS_ACCOUNT
    };
    let advice = if catch_all {
        accounts::CLOSE_CATCH_ALL
    } else if account.flow == FlowKind::ClientCredentials {
        accounts::CLOSE_THE_DOOR_OR_USE_PASSWORD
    } else {
        accounts::CLOSE_THE_DOOR
    };
    let flow = account.flow.name();
    let text = if exposed {
        accounts::open_to_everybody(what, flow, advice)
    } else {
        accounts::open_to_this_machine(what, flow, advice)
    };
    reader.section_problem(Severity::Warning, text);
}

/// Unknown sections, unknown options and forgotten placeholders.
fn check_names(document: &Document, problems: &mut Vec<Problem>) {
    for section in document.sections() {
        let name = section.name();
        let server = matches!(server::heading(name), server::Heading::Server(..));
        let tables: &[&[&str]] = if name == DEFAULT {
            &[names::SERVER, names::ACCOUNT, names::SAVED, names::GLOBAL]
        } else if server {
            &[names::SERVER]
        } else if is_account(name) {
            &[names::ACCOUNT, names::SAVED]
        } else if name == options::SECTION {
            &[names::GLOBAL]
        } else {
            check_other_section(section, problems);
            continue;
        };
        let old = server && name.starts_with("SMTP");
        for entry in section.entries() {
            let option = entry.name();
            let known = tables.iter().copied().flatten().copied();
            let skip = option == names::DOCUMENTATION || (old && option == names::OLD_STARTTLS);
            if skip {
                continue;
            }
            if !known.clone().any(|known| known == option) {
                let text = unknown_option(option, known);
                problems.push(of_entry(Severity::Warning, section, entry, text));
            } else if is_placeholder(entry.value()) {
                let text = messages::placeholder(option);
                problems.push(of_entry(Severity::Warning, section, entry, text));
            }
        }
    }
}

fn unknown_option<'a>(option: &str, known: impl Iterator<Item = &'a str>) -> String {
    if let Some(nearest) = names::nearest(option, known) {
        // What is that near to a known name is no part of a secret.
        return messages::option_meant(option, nearest);
    }
    if names::presentable(option) {
        return messages::unknown_option(option);
    }
    // It may be a part of a secret.
    messages::UNKNOWN_LINE.to_owned()
}

fn check_other_section(section: &Section, problems: &mut Vec<Problem>) {
    const DOCUMENTATION: [&str; 4] = [
        "Server setup",
        "Account setup",
        "Advanced proxy configuration",
        "Email OAuth 2.0 Proxy configuration file",
    ];
    let name = section.name();
    let silent = DOCUMENTATION.contains(&name)
        || matches!(server::heading(name), server::Heading::Misspelt(_))
        || section
            .entries()
            .all(|e| matches!(e.name(), names::DOCUMENTATION | "format" | "warning"));
    if silent {
        return;
    }
    let near = names::nearest(&name.to_lowercase(), [options::SECTION].into_iter());
    let text = match near {
        Some(near) => messages::section_meant(near),
        None => messages::UNKNOWN_SECTION.to_owned(),
    };
    problems.push(of_section(Severity::Warning, section, text));
}

fn is_account(name: &str) -> bool {
    name.contains('@')
}

fn has_own_options(section: &Section) -> bool {
    section
        .entries()
        .any(|entry| names::ACCOUNT.contains(&entry.name()))
}

fn is_placeholder(value: &str) -> bool {
    value.contains("*** your")
}

fn of_section(severity: Severity, section: &Section, text: String) -> Problem {
    let name = Some(section.name().to_owned());
    Problem {
        severity,
        line: Some(section.line()),
        column: None,
        section: name,
        text,
    }
}

fn of_entry(severity: Severity, section: &Section, entry: &Entry, text: String) -> Problem {
    let (line, column) = (Some(entry.line()), Some(entry.column()));
    Problem {
        severity,
        line,
        column,
        section: Some(section.name().to_owned()),
        text,
    }
}

fn whole_file(severity: Severity, text: String) -> Problem {
    Problem {
        severity,
        line: None,
        column: None,
        section: None,
        text,
    }
}

/// The file's mode where everybody may read it.
#[cfg(unix)]
fn open_to_others(path: &Path) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & 0o004 != 0).then_some(mode)
}

#[cfg(not(unix))]
fn open_to_others(_: &Path) -> Option<u32> {
    None
}
