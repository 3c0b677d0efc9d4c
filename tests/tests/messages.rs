//! `docs/messages.md` and the program: each message of the page is one of the program's, and each warning or error that
//! the program logs is on the page.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Where messages come from.
const ROOMS: [&str; 6] = [
    "cli/src",
    "oauth/src",
    "proxy-proto/src",
    "proxy-runtime/src",
    "proxy-runtime-smol/src",
    "proxy-runtime-std/src",
];

/// Shorter pieces of a message say nothing about where they come from.
const TELLING: usize = 6;

#[test]
fn every_message_of_the_page_is_one_of_the_program() {
    let sources: String = sources()
        .iter()
        .flat_map(|source| literals(source))
        .map(|literal| pieces(&literal).join("\u{0}") + "\u{0}\u{0}")
        .collect();
    let mut messages = 0;
    for message in messages_of_the_page() {
        let telling: Vec<_> = message
            .split('…')
            .map(str::trim)
            .filter(|piece| piece.len() >= TELLING)
            .collect();
        assert!(
            !telling.is_empty(),
            "{message}: nothing in it can be looked for"
        );
        for piece in telling {
            assert!(
                sources.contains(piece),
                "docs/messages.md has {message:?}, but nobody says {piece:?}"
            );
        }
        messages += 1;
    }
    assert!(messages > 60, "only {messages} messages were found");
}

#[test]
fn every_warning_and_error_is_on_the_page() {
    let page = messages_of_the_page().join("\n");
    let (mut logged, mut missing) = (0, Vec::new());
    for source in sources() {
        for literal in logged_literals(&source) {
            let pieces = pieces(&literal);
            let Some(longest) = pieces.iter().max_by_key(|piece| piece.len()) else {
                continue;
            };
            // What is only passed on has its place where it was made.
            let longest = longest.trim();
            if longest.len() < TELLING {
                continue;
            }
            logged += 1;
            if !page.contains(longest) {
                missing.push(literal);
            }
        }
    }
    assert!(logged > 40, "only {logged} were found");
    assert!(missing.is_empty(), "not in docs/messages.md: {missing:#?}");
}

/// The first column of each row.
fn messages_of_the_page() -> Vec<String> {
    let page = fs::read_to_string(root().join("docs/messages.md")).unwrap();
    page.lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .map(|rest| rest.split_once("` |").unwrap().0.to_owned())
        .collect()
}

/// The sources without their tests.
fn sources() -> Vec<String> {
    let mut sources = Vec::new();
    for room in ROOMS {
        collect(&root().join(room), &mut sources);
    }
    assert!(sources.len() > 50);
    sources
}

fn collect(folder: &Path, sources: &mut Vec<String>) {
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
            sources.push(lines.collect::<Vec<_>>().join("\n"));
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

/// The format strings of `warn!` and `error!`.
fn logged_literals(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for call in ["warn!(", "error!("] {
        for (at, _) in code.match_indices(call) {
            let arguments = &code[at + call.len()..];
            let arguments = &arguments[..end_of_call(arguments)];
            // `target: "…"` and the values of fields come before it; none of them has a blank in it.
            let text = literals(arguments)
                .into_iter()
                .find(|literal| literal.contains(' ') || literal.contains('{'));
            found.extend(text);
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

/// What stands between the placeholders.
fn pieces(format: &str) -> Vec<String> {
    let mut pieces = vec![String::new()];
    let mut depth = 0;
    for character in format.chars() {
        match character {
            '{' => {
                depth += 1;
                pieces.push(String::new());
            }
            '}' => depth = (depth - 1).max(0),
            other if depth == 0 => pieces.last_mut().unwrap().push(other),
            _ => {}
        }
    }
    pieces
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}
