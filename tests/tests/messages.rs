//! What people read: each room defines it in its `messages`, which this test renders; and `docs/messages.md` explains it.

#![allow(
    unreachable_pub,
    reason = "the rooms' own files, here in private modules"
)]

use proxy_proto::texts;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Rooms with the files in which they define their texts. These use nothing but `texts!`, so that they are read as part of
/// this test as well: what is not public can be rendered all the same.
macro_rules! rooms {
    ($($module:ident: $folder:literal, $name:literal;)*) => {
        $(
            #[path = $folder]
            mod $module {
                pub mod messages;
            }
        )*

        /// Each room, and its texts by their names, rendered with the examples that stand beside them.
        fn rooms() -> Vec<(&'static str, Vec<(&'static str, String)>)> {
            vec![$(($name, $module::messages::every())),*]
        }
    };
}

rooms! {
    proto: "../../proxy-proto/src", "proxy-proto";
    oauth: "../../oauth/src", "oauth";
    plugins: "../../plugins/src", "plugins";
    runtime: "../../proxy-runtime/src", "proxy-runtime";
    runtime_smol: "../../proxy-runtime-smol/src", "proxy-runtime-smol";
    runtime_std: "../../proxy-runtime-std/src", "proxy-runtime-std";
    cli: "../../cli/src", "cli";
}

/// Run with `--nocapture` to read them all.
#[test]
fn every_message_can_be_read() {
    let (mut faults, mut count) = (Vec::new(), 0);
    for (room, texts) in rooms() {
        println!("\n{room}");
        count += texts.len();
        let mut names = BTreeMap::new();
        for (name, text) in texts {
            println!("    {name}: {text}");
            let mut fault = |what: &str| faults.push(format!("{room}, {name}: {what}: {text:?}"));
            if names.insert(name, ()).is_some() {
                fault("there are two of that name");
            }
            if text.is_empty() || text.trim() != text || text.contains("  ") {
                fault("blanks where none belong");
            }
            if text.chars().any(char::is_control) {
                fault("more than one line");
            }
            if text.contains('{') || text.contains('}') {
                fault("a placeholder has been left");
            }
            if text.ends_with('.') && !text.contains(". ") && !text.ends_with("..") {
                fault("a full stop behind what is no sentence among others");
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
    assert!(count > 800, "only {count} were found");
}

/// What is logged stands among the messages of its room, or is passed on from where it was made.
#[test]
fn no_log_line_is_written_where_it_is_logged() {
    let mut faults = Vec::new();
    let mut seen = 0;
    for (path, code) in sources() {
        for call in calls(&code, &["error!(", "warn!(", "info!(", "debug!("]) {
            seen += 1;
            faults.extend(
                literals(call)
                    .into_iter()
                    .filter(|literal| literal.split(' ').filter(|word| is_word(word)).count() > 1)
                    .map(|literal| format!("{}: {literal:?}", path.display())),
            );
        }
    }
    assert!(seen > 150, "only {seen} calls were found");
    assert!(faults.is_empty(), "{faults:#?}");
}

fn is_word(word: &str) -> bool {
    word.len() > 1 && word.chars().all(|c| c.is_ascii_alphabetic())
}

#[test]
fn every_message_of_the_page_is_one_of_the_program() {
    let rendered: Vec<String> = rooms()
        .into_iter()
        .flat_map(|(_, texts)| texts)
        .map(|(_, text)| text)
        .collect();
    let page = messages_of_the_page();
    assert!(page.len() > 60, "only {} messages were found", page.len());
    let unknown: Vec<_> = page
        .iter()
        .filter(|message| !rendered.iter().any(|text| shows(message, text)))
        .collect();
    assert!(
        unknown.is_empty(),
        "docs/messages.md has what nobody says: {unknown:#?}"
    );
}

#[test]
fn every_warning_and_error_is_on_the_page() {
    let page = messages_of_the_page();
    let rooms: BTreeMap<_, _> = rooms().into_iter().collect();
    let (mut logged, mut missing) = (0, Vec::new());
    for (path, code) in sources() {
        let room = path.iter().next().and_then(|room| room.to_str()).unwrap();
        // What both runtimes say stands where both can reach it.
        let texts: Vec<_> = [room, "proxy-runtime"]
            .iter()
            .flat_map(|room| &rooms[room])
            .collect();
        for call in calls(&code, &["error!(", "warn!("]) {
            for name in call.split(|c: char| !c.is_alphanumeric() && c != '_') {
                let Some((_, text)) = texts.iter().find(|(known, _)| *known == name) else {
                    continue;
                };
                logged += 1;
                if !page.iter().any(|message| shows(message, text)) {
                    missing.push(format!("{}: {name}: {text}", path.display()));
                }
            }
        }
    }
    assert!(logged > 40, "only {logged} were found");
    assert!(missing.is_empty(), "not in docs/messages.md: {missing:#?}");
}

/// Whether the page's `message`, in which `…` stands for anything, is what `text` shows.
fn shows(message: &str, text: &str) -> bool {
    let mut pieces = message.split('…');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut pieces: Vec<_> = pieces.collect();
    let Some(last) = pieces.pop() else {
        return rest.is_empty();
    };
    for piece in pieces {
        let Some(at) = rest.find(piece) else {
            return false;
        };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

#[test]
fn a_gap_of_the_page_stands_for_anything() {
    assert!(shows("[…]: port … is taken", "[IMAP-1]: port 1 is taken"));
    assert!(shows("in use: …", "in use: by another"));
    assert!(!shows(
        "[…]: port … is taken",
        "[IMAP-1]: port 1 is taken twice"
    ));
    assert!(!shows("in use", "in use: by another"));
}

/// The first column of each row.
fn messages_of_the_page() -> Vec<String> {
    let page = fs::read_to_string(root().join("docs/messages.md")).unwrap();
    page.lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .map(|rest| rest.split_once("` |").unwrap().0.to_owned())
        .collect()
}

/// The sources without their tests, by their paths in the repository.
fn sources() -> Vec<(PathBuf, String)> {
    let mut sources = Vec::new();
    for (room, _) in rooms() {
        collect(&root().join(room).join("src"), &mut sources);
    }
    assert!(sources.len() > 50);
    sources
}

fn collect(folder: &Path, sources: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "tests" && name != "testing" {
                collect(&path, sources);
            }
        } else if name.ends_with(".rs") && name != "tests.rs" {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or("");
            let lines = code
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"));
            let inside = path.strip_prefix(root()).unwrap().to_owned();
            sources.push((inside, lines.collect::<Vec<_>>().join("\n")));
        }
    }
}

/// String literals, their line continuations undone.
fn literals(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find('"') {
        // A character literal is none.
        if rest[..at].ends_with('\'') || rest[..at].ends_with("'\\") {
            rest = &rest[at + 1..];
            continue;
        }
        let (literal, behind) = literal(&rest[at + 1..]);
        found.push(literal);
        rest = behind;
    }
    found
}

/// A literal up to its closing quote, and what is behind it.
fn literal(text: &str) -> (String, &str) {
    let mut literal = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (literal, &text[at + 1..]),
            '\\' => match characters.next() {
                Some((_, '\n')) => {
                    // The line goes on behind the next one's blanks.
                    let (more, behind) = self::literal(characters.as_str().trim_start());
                    return (literal + &more, behind);
                }
                Some((_, escaped)) => literal.push(escaped),
                None => break,
            },
            other => literal.push(other),
        }
    }
    (literal, "")
}

/// The arguments of each call of one of these macros.
fn calls<'a>(code: &'a str, macros: &[&str]) -> Vec<&'a str> {
    let mut found = Vec::new();
    for call in macros {
        for (at, _) in code.match_indices(call) {
            let arguments = &code[at + call.len()..];
            found.push(&arguments[..end_of_call(arguments)]);
        }
    }
    found
}

fn end_of_call(arguments: &str) -> usize {
    let (mut depth, mut within, mut escaped) = (1_u32, false, false);
    for (at, character) in arguments.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if within => escaped = true,
            '"' => within = !within,
            '(' if !within => depth += 1,
            ')' if !within => {
                depth -= 1;
                if depth == 0 {
                    return at;
                }
            }
            _ => {}
        }
    }
    arguments.len()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}
