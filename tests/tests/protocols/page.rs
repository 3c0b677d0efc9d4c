//! The page's tables, read.

use proxy_proto::{Protocol, Side};
use std::{collections::BTreeMap, fs, path::Path};

/// One protocol's tables.
pub(super) struct Chapter {
    pub(super) protocol: Protocol,
    pub(super) states: BTreeMap<String, Vec<Action>>,
    pub(super) tables: Vec<Table>,
}

pub(super) struct Table {
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<(Action, Vec<Cell>)>,
}

/// How a state is reached, and what is done in it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Action {
    From(String),
    Option(String),
    Line(Side, String),
    Close(Side),
    TlsDone(Side),
    Bearer,
    Denied,
    Temporary,
    Wait,
}

pub(super) struct Cell {
    pub(super) line: usize,
    pub(super) effects: Vec<Effect>,
    pub(super) next: Option<String>,
}

/// A cell's word.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Effect {
    /// Not acted upon yet.
    Held,
    /// Taken, without anybody noticing.
    Swallowed,
    /// Kept for the client until the login has succeeded.
    Withheld,
    /// The other side gets the line as it is.
    Passed,
    /// A line for the client, or for the server; it only begins so when there is a `…` at its end.
    Told(String),
    Sent(String),
    Event(String),
}

pub(super) fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/protocols.md");
    fs::read_to_string(path).unwrap()
}

/// A row as it stands: its line's number, and its cells.
pub(super) type Row = (usize, Vec<String>);

/// Every table's rows, its header first, and the heading above it.
pub(super) fn tables(text: &str) -> Vec<(String, Vec<Row>)> {
    let mut chapter = String::new();
    let mut found: Vec<(String, Vec<Row>)> = Vec::new();
    let mut inside = false;
    for (number, line) in text.lines().enumerate() {
        if let Some(title) = line.strip_prefix("## ") {
            chapter = title.to_owned();
        }
        let Some(row) = line.strip_prefix('|') else {
            inside = false;
            continue;
        };
        if !inside {
            found.push((chapter.clone(), Vec::new()));
            inside = true;
        }
        let cells: Vec<String> = row
            .trim_end()
            .trim_end_matches('|')
            .split('|')
            .map(|cell| cell.trim().to_owned())
            .collect();
        if !cells.iter().all(|cell| cell.starts_with("---")) {
            found.last_mut().unwrap().1.push((number + 1, cells));
        }
    }
    found
}

pub(super) fn chapters() -> Vec<Chapter> {
    let mut chapters: Vec<Chapter> = Vec::new();
    for (title, rows) in tables(&page()) {
        let protocol = match title.as_str() {
            "IMAP" => Protocol::Imap,
            "POP" => Protocol::Pop,
            "SMTP" => Protocol::Smtp,
            _ => continue,
        };
        if chapters.last().is_none_or(|c| c.protocol != protocol) {
            chapters.push(Chapter {
                protocol,
                states: BTreeMap::new(),
                tables: Vec::new(),
            });
        }
        let chapter = chapters.last_mut().unwrap();
        let (header, rows) = rows.split_first().unwrap();
        match header.1[0].as_str() {
            "State" => {
                for (line, cells) in rows {
                    let path = cells[2].split(", ").filter(|a| *a != "-");
                    let path = path.map(|a| action(a, *line)).collect();
                    chapter.states.insert(cells[0].clone(), path);
                }
            }
            "Input" => {
                let columns = header.1[1..].to_vec();
                let rows = rows.iter().map(|(line, cells)| {
                    assert_eq!(cells.len(), columns.len() + 1, "line {line}: cells");
                    let outcomes = cells[1..].iter().map(|text| cell(text, *line));
                    (action(&cells[0], *line), outcomes.collect())
                });
                chapter.tables.push(Table {
                    rows: rows.collect(),
                    columns,
                });
            }
            other => panic!("line {}: a table of {other}?", header.0),
        }
    }
    chapters
}

/// The text between backticks.
pub(super) fn code(text: &str) -> Option<&str> {
    text.strip_prefix('`')?.strip_suffix('`')
}

fn action(text: &str, line: usize) -> Action {
    let Some(inner) = code(text) else {
        return match text {
            "client closes" => Action::Close(Side::Client),
            "server closes" => Action::Close(Side::Server),
            "bearer" => Action::Bearer,
            "denied" => Action::Denied,
            "temporary" => Action::Temporary,
            "20 seconds" => Action::Wait,
            "TLS with the client" => Action::TlsDone(Side::Client),
            "TLS with the server" => Action::TlsDone(Side::Server),
            state => Action::From(state.to_owned()),
        };
    };
    if let Some(line) = inner.strip_prefix("C: ") {
        Action::Line(Side::Client, line.to_owned())
    } else if let Some(line) = inner.strip_prefix("S: ") {
        Action::Line(Side::Server, line.to_owned())
    } else if let Some(option) = inner.strip_prefix("@ ") {
        Action::Option(option.to_owned())
    } else {
        panic!("line {line}: {text} is no input")
    }
}

fn cell(text: &str, line: usize) -> Cell {
    let (effects, next) = match text.split_once('→') {
        Some((effects, next)) => (effects.trim(), Some(next.trim().to_owned())),
        None => (text, None),
    };
    let effect = |word: &str| match word.split_once(' ') {
        Some(("told", line)) => Effect::Told(code(line).unwrap_or_else(|| panic!("{line}")).into()),
        Some(("sent", line)) if line != "an empty line" => {
            Effect::Sent(code(line).unwrap_or_else(|| panic!("{line}")).into())
        }
        _ if word == "held" => Effect::Held,
        _ if word == "swallowed" => Effect::Swallowed,
        _ if word == "withheld" => Effect::Withheld,
        _ if word == "sent an empty line" => Effect::Sent(String::new()),
        _ if word == "passed" => Effect::Passed,
        _ => Effect::Event(word.to_owned()),
    };
    Cell {
        line,
        effects: effects.split(", ").map(effect).collect(),
        next,
    }
}
