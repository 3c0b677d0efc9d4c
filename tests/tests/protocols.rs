//! `docs/protocols.md` and the code agree: every cell of its transition tables is played on a session.
//!
//! A session is brought into the column's state as the page says, the row's input is applied, and all that comes of it
//! (bytes to either side, events) must be what the cell says, no more and no less. Then the state that the cell leads
//! to is tried out: every input of that state's columns, on a session of its own, must have the outcome that its cell
//! promises. What is `held` must come to life when the session is ready again. The page explains the cells' words.

use harness::{
    driver::{Driver, SIDES, Seen},
    transcript,
};
use proxy_proto::{
    Bearer, Limits, LocalTls, Protocol, Refusal, Secret, SessionConfig, Side, Time, UpstreamTls,
};
use std::{collections::BTreeMap, fs, path::Path};

/// A state without columns of its own behaves like this one; the page says so too.
const LIKE: [(&str, &str); 3] = [
    ("Refused", "Ready"),
    ("Second consent", "Consent"),
    ("After TLS", "Ready"),
];

/// States that the page names and has no columns for: what they do shows elsewhere.
const WITHOUT_COLUMNS: [&str; 10] = [
    "relay",
    "handshake",
    "literal",
    "name given",
    "plaintext",
    "reply",
    "challenged",
    "asked",
    "other mechanism",
    "secured",
];

/// The cell of an answer that nobody asks for, and of a server that is not there.
const IMPOSSIBLE: &str = "-";

/// A tag that nobody has used: `TAG` where no command is under way.
const NO_TAG: &str = "x1";

/// One protocol's tables.
struct Chapter {
    protocol: Protocol,
    states: BTreeMap<String, Vec<Action>>,
    tables: Vec<Table>,
}

struct Table {
    columns: Vec<String>,
    rows: Vec<(Action, Vec<Cell>)>,
}

/// How a state is reached, and what is done in it.
#[derive(Clone, Debug, PartialEq)]
enum Action {
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

struct Cell {
    line: usize,
    effects: Vec<Effect>,
    next: Option<String>,
}

/// A cell's word.
#[derive(Clone, Debug, PartialEq)]
enum Effect {
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

/// What came of an action.
#[derive(Debug, PartialEq)]
struct Outcome {
    lines: [Vec<String>; 2],
    events: Vec<String>,
}

// ---- reading the page

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/protocols.md");
    fs::read_to_string(path).unwrap()
}

/// A row as it stands: its line's number, and its cells.
type Row = (usize, Vec<String>);

/// Every table's rows, its header first, and the heading above it.
fn tables(text: &str) -> Vec<(String, Vec<Row>)> {
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

fn chapters() -> Vec<Chapter> {
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
fn code(text: &str) -> Option<&str> {
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

// ---- playing

fn config(protocol: Protocol, path: &[Action]) -> SessionConfig {
    let mut config = SessionConfig::new(protocol);
    for action in path {
        if let Action::Option(option) = action {
            match option.as_str() {
                "server_starttls" => config.upstream_tls = UpstreamTls::StartTls,
                "local_starttls" => config.local_tls = LocalTls::StartTlsRequired,
                other => panic!("@ {other}?"),
            }
        }
    }
    config
}

impl Chapter {
    /// The whole path to a state, from a new session on.
    fn path(&self, state: &str) -> Vec<Action> {
        let path = self.states.get(state);
        let path = path.unwrap_or_else(|| panic!("{} has no state {state}", self.protocol.name()));
        let whole = path.iter().flat_map(|action| match action {
            Action::From(state) => self.path(state),
            other => vec![other.clone()],
        });
        whole.collect()
    }

    /// A session in this state.
    fn reach(&self, path: &[Action]) -> Driver {
        let mut driver = Driver::new(config(self.protocol, path), usize::MAX);
        driver.connect("mail.example", 993);
        let mut tag = NO_TAG.to_owned();
        for action in path {
            let outcome = perform(&mut driver, action, &mut tag);
            assert!(
                driver.closed().is_none(),
                "{action:?} ends the session: {outcome:?}"
            );
        }
        driver
    }

    /// What comes of the last of these actions.
    fn outcome(&self, path: &[Action], action: &Action) -> Outcome {
        let mut driver = self.reach(path);
        let mut tag = self.tag(path);
        let outcome = perform(&mut driver, action, &mut tag);
        assert_eq!(driver.faults, Vec::<String>::new(), "{path:?} {action:?}");
        assert_eq!(driver.leaks(), Vec::<String>::new(), "{path:?} {action:?}");
        assert_eq!(driver.malformed_lines(), None, "{path:?} {action:?}");
        outcome
    }

    /// The tag of the command that was last sent to the server on this path.
    fn tag(&self, path: &[Action]) -> String {
        let mut driver = Driver::new(config(self.protocol, path), usize::MAX);
        driver.connect("mail.example", 993);
        let mut tag = NO_TAG.to_owned();
        for action in path {
            perform(&mut driver, action, &mut tag);
        }
        tag
    }

    /// The cells of a state, in every table that has it as a column; a state without one is like another.
    fn column(&self, state: &str) -> Vec<(&Action, &Cell)> {
        let mut found = Vec::new();
        for table in &self.tables {
            let like = LIKE
                .iter()
                .find(|(it, _)| *it == state)
                .map(|(_, as_)| *as_);
            let at = |name: &str| table.columns.iter().position(|column| column == name);
            if let Some(at) = at(state).or_else(|| at(like?)) {
                let cells = table
                    .rows
                    .iter()
                    .map(|(action, cells)| (action, &cells[at]));
                found.extend(cells);
            }
        }
        found
    }
}

fn perform(driver: &mut Driver, action: &Action, tag: &mut String) -> Outcome {
    let impossible = match action {
        Action::Bearer | Action::Denied | Action::Temporary => !driver.asks_for_credentials(),
        Action::Line(Side::Server, _) | Action::Close(Side::Server) => {
            driver.read_budget(Side::Server) == 0
        }
        _ => false,
    };
    if impossible {
        return Outcome {
            lines: Default::default(),
            events: vec![IMPOSSIBLE.into()],
        };
    }
    match action {
        Action::Line(side, line) => {
            let line = line.replace("TAG", tag);
            driver.input(*side, format!("{line}\r\n").as_bytes());
        }
        Action::Close(side) => driver.eof(*side),
        Action::TlsDone(side) => driver.tls_established(*side).unwrap(),
        Action::Bearer => {
            let bearer = Bearer {
                token: Secret::new("a-token-of-some-length"),
                user: "me@example.com".into(),
                mechanism: None,
            };
            assert!(driver.credentials(Ok(bearer)));
        }
        Action::Denied => assert!(driver.credentials(Err(Refusal::Denied("no".into())))),
        Action::Temporary => assert!(driver.credentials(Err(Refusal::Temporary("no".into())))),
        Action::Wait => driver.pass(Time::from_secs(20)),
        Action::From(_) | Action::Option(_) => {}
    }
    if driver.events_so_far().contains(&Seen::Reconnect) {
        driver.connect("mail.example", 993);
    }
    let lines = SIDES.map(|side| {
        let sent = String::from_utf8(driver.take_sent(side)).unwrap();
        sent.split_terminator("\r\n")
            .map(str::to_owned)
            .collect::<Vec<_>>()
    });
    if let Some(command) = lines[1].iter().rfind(|line| line.contains(' ')) {
        *tag = command.split(' ').next().unwrap_or_default().to_owned();
    }
    let events = driver.take_events().iter().map(word).collect();
    Outcome { lines, events }
}

/// The page's word for an event.
fn word(event: &Seen) -> String {
    match event {
        Seen::UpgradeTls(side) => format!("TLS with the {side}"),
        Seen::Reconnect => "reconnect".into(),
        Seen::NeedCredentials { after: None, .. } => "login".into(),
        Seen::NeedCredentials { .. } => "once more".into(),
        Seen::Abandoned => "abandoned".into(),
        Seen::Authenticated { .. } => "accepted".into(),
        Seen::Refused { .. } => "refused".into(),
        Seen::Relay => "relay".into(),
        Seen::Closed(_) => event.canonical().replace("Closed", "closed"),
        other => other.canonical(),
    }
}

// ---- comparing

/// Whether these effects, one after the other, are what has come of these actions.
fn agrees(expected: &[(&Action, &[Effect])], outcome: &Outcome, tag: &str) -> bool {
    let mut lines = outcome.lines.each_ref().map(|lines| lines.iter());
    let mut events = outcome.events.iter();
    let all = expected.iter().all(|(action, effects)| {
        effects.iter().all(|effect| match effect {
            Effect::Held | Effect::Swallowed | Effect::Withheld => true,
            Effect::Passed => {
                let Action::Line(side, line) = action else {
                    return false;
                };
                lines[side.other() as usize].next() == Some(&line.replace("TAG", tag))
            }
            Effect::Told(start) => lines[0].next().is_some_and(|line| reads(line, start)),
            Effect::Sent(start) => lines[1].next().is_some_and(|line| reads(line, start)),
            Effect::Event(word) => events.next() == Some(word),
        })
    });
    all && lines.iter().all(|rest| rest.as_slice().is_empty()) && events.as_slice().is_empty()
}

/// Whether a line is this one, or begins so.
fn reads(line: &str, expected: &str) -> bool {
    match expected.strip_suffix('…') {
        Some(start) => line.starts_with(start),
        None => line == expected,
    }
}

/// All that is wrong with one cell.
fn check(chapter: &Chapter, state: &str, action: &Action, cell: &Cell) -> Vec<String> {
    let place = format!(
        "docs/protocols.md:{}: {} in state {state}, {action:?}",
        cell.line,
        chapter.protocol.name()
    );
    let path = chapter.path(state);
    let outcome = chapter.outcome(&path, action);
    let tag = chapter.tag(&path);
    if !agrees(&[(action, &cell.effects)], &outcome, &tag) {
        let expected = &cell.effects;
        return vec![format!(
            "{place}: expected {expected:?}, happened {outcome:?}"
        )];
    }
    let mut wrong = Vec::new();
    let ends = outcome
        .events
        .iter()
        .any(|event| event.starts_with("closed"));
    let mut beyond = path.clone();
    beyond.push(action.clone());
    if cell.effects == [Effect::Held] {
        wrong
            .extend(check_held(chapter, state, action, &path).map(|why| format!("{place}: {why}")));
    } else if !ends {
        let next = cell.next.as_deref().unwrap_or(state);
        if WITHOUT_COLUMNS.contains(&next) {
            return wrong;
        }
        let column = chapter.column(next);
        assert!(!column.is_empty(), "{place}: there is no state {next}");
        for (then, promised) in column {
            let outcome = chapter.outcome(&beyond, then);
            let tag = chapter.tag(&beyond);
            let mut expected = vec![(then, &promised.effects[..])];
            let succeeds = promised.effects.contains(&Effect::Event("accepted".into()));
            if cell.effects == [Effect::Withheld] && succeeds {
                expected.insert(0, (action, &[Effect::Passed]));
            }
            if !agrees(&expected, &outcome, &tag) {
                wrong.push(format!(
                    "{place}: does not lead to {next}: on {then:?} expected {expected:?}, happened {outcome:?}"
                ));
            }
        }
    }
    wrong
}

/// A held line counts as soon as the session is ready: this state's cells tell what makes it so, `Ready`'s what then
/// comes of the line.
fn check_held(chapter: &Chapter, state: &str, held: &Action, path: &[Action]) -> Option<String> {
    let column = chapter.column(state);
    let (release, first) = column.into_iter().find(|(release, cell)| {
        matches!(release, Action::Line(Side::Server, _) | Action::Denied)
            && matches!(cell.next.as_deref(), Some("Ready" | "Refused"))
    })?;
    let ready = chapter.column("Ready");
    let (_, then) = ready.into_iter().find(|(action, _)| *action == held)?;
    let mut beyond = path.to_vec();
    beyond.push(held.clone());
    let outcome = chapter.outcome(&beyond, release);
    let tag = chapter.tag(path);
    let expected = [(release, &first.effects[..]), (held, &then.effects[..])];
    (!agrees(&expected, &outcome, &tag))
        .then(|| format!("after {release:?} expected {expected:?}, happened {outcome:?}"))
}

fn check_all(protocol: Protocol) {
    let chapters = chapters();
    let chapter = chapters.iter().find(|c| c.protocol == protocol).unwrap();
    let mut wrong = Vec::new();
    let mut cells = 0;
    for table in &chapter.tables {
        for (action, row) in &table.rows {
            for (state, cell) in table.columns.iter().zip(row) {
                cells += 1;
                wrong.extend(check(chapter, state, action, cell));
            }
        }
    }
    for (state, like) in LIKE {
        if !chapter.states.contains_key(state) {
            continue;
        }
        let path = chapter.path(state);
        for (action, cell) in chapter.column(state) {
            let (outcome, tag) = (chapter.outcome(&path, action), chapter.tag(&path));
            if !agrees(&[(action, &cell.effects)], &outcome, &tag) {
                let expected = &cell.effects;
                wrong.push(format!(
                    "{state} is not like {like}: on {action:?} expected {expected:?}, happened {outcome:?}"
                ));
            }
        }
    }
    println!("{}: {cells} cells", protocol.name());
    assert!(cells > 100, "where are the tables?");
    assert!(
        wrong.is_empty(),
        "{} faults\n{}\n",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn imap() {
    check_all(Protocol::Imap);
}

#[test]
fn pop() {
    check_all(Protocol::Pop);
}

#[test]
fn smtp() {
    check_all(Protocol::Smtp);
}

/// The rows of the tables whose first column has this name.
fn rows_of(column: &str) -> Vec<Row> {
    let tables = tables(&page()).into_iter();
    let wanted = tables.filter(|(_, rows)| rows[0].1[0] == column);
    wanted
        .flat_map(|(_, rows)| rows.into_iter().skip(1))
        .collect()
}

/// What a cell names as a proof: transcripts, or files of the repository. All of them are there.
fn proofs(line: usize, cell: &str) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let names = cell.split(", ").map(|name| code(name).unwrap().to_owned());
    let names: Vec<String> = names.collect();
    for name in &names {
        let file = match name.ends_with(".rs") {
            true => root.join(name),
            false => root.join(format!("tests/transcripts/{name}.txt")),
        };
        assert!(
            file.is_file(),
            "line {line}: there is no {}",
            file.display()
        );
    }
    names
}

/// Every rule is proved by transcripts that are there, or it says who keeps it; every limit is hit by some. No transcript
/// that was written for a rule is left out.
#[test]
fn rules_have_their_transcripts() {
    const LIMITS: &str = "see the limits below";
    let rules = rows_of("Rule");
    let limits = rows_of("Limit");
    let mut named = Vec::new();
    for (line, cells) in &rules {
        if cells[2] != LIMITS {
            named.extend(proofs(*line, &cells[2]));
        }
    }
    for (line, cells) in &limits {
        named.extend(proofs(*line, &cells[1]));
    }

    let page = page();
    for rule in 1..=9 {
        let proved = rules.iter().any(|(_, cells)| cells[0] == rule.to_string());
        assert!(proved || page.contains(&format!("({rule})")), "rule {rule}");
    }
    let shown = format!("{:?}", Limits::default());
    let fields = shown.split(['{', ',', '}']).skip(1).filter_map(|field| {
        let (name, _) = field.split_once(':')?;
        Some(name.trim().to_owned())
    });
    let listed: Vec<String> = limits
        .iter()
        .map(|(_, cells)| code(&cells[0]).unwrap().to_owned())
        .collect();
    assert_eq!(listed, fields.collect::<Vec<_>>());

    let marks = [
        "limit_",
        "timeout_",
        "injection",
        "preauth",
        "not_offered",
        "tls_refused",
        "stls_refused",
        "bare_newline",
        "control_characters",
        "dialogue",
        "during_handshake",
    ];
    for transcript in transcript::all().unwrap() {
        let name = transcript.name.trim_end_matches(".txt");
        let written_for_a_rule = marks.iter().any(|mark| name.contains(mark));
        assert!(
            !written_for_a_rule || named.iter().any(|proof| proof == name),
            "{name} proves no rule of docs/protocols.md"
        );
    }
}
