//! `docs/protocols.md` and the code agree: every cell of its transition tables is played on a session.
//!
//! A session is brought into the column's state as the page says, the row's input is applied, and all that comes of it
//! (bytes to either side, events) must be what the cell says, no more and no less. Then the state that the cell leads
//! to is tried out: every input of that state's columns, on a session of its own, must have the outcome that its cell
//! promises. What is `held` must come to life when the session is ready again. The page explains the cells' words.

mod page;
mod play;
mod rules;

use page::{Action, Cell, Chapter, Effect, chapters};
use play::Outcome;
use proxy_proto::{Protocol, Side};

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
