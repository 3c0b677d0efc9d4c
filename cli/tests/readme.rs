//! The commands and options that the documentation shows are ones that the program takes, and each of them is run by some test.

use clap::{CommandFactory, Parser};
use emailproxy::args::Args;
use std::{collections::BTreeSet, fs, path::Path};

const PAGES: [&str; 3] = ["README.md", "docs/setup.md", "docs/console.md"];

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn page(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

/// What stands between backquotes; a line's end within is a blank.
fn spans(text: &str) -> impl Iterator<Item = String> {
    let text = text
        .replace("```", "")
        .lines()
        .collect::<Vec<_>>()
        .join(" ");
    let pieces: Vec<String> = text.split('`').map(str::to_owned).collect();
    assert!(pieces.len() % 2 == 1, "a backquote is not closed");
    pieces.into_iter().skip(1).step_by(2)
}

/// Command lines of the program, in code blocks and within sentences.
fn commands() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for text in PAGES.map(page) {
        let block = text.lines().filter_map(|line| line.strip_prefix("    "));
        let block = block.map(|line| line.split(" #").next().unwrap_or(line).to_owned());
        let all = block.chain(spans(&text));
        let words = all.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        found.extend(words.filter(|line| line == "emailproxy" || line.starts_with("emailproxy ")));
    }
    found
}

/// First column of README's two tables: options, and subcommands.
fn rows() -> Vec<String> {
    let text = page("README.md");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| row.split(" | ").next().unwrap().to_owned())
        .collect()
}

#[test]
fn every_command_that_is_shown_is_one() {
    let commands = commands();
    assert!(commands.len() >= 8, "{commands:?}");
    for command in &commands {
        let taken = Args::try_parse_from(command.split(' ')).map(drop);
        // Asked for help or for the version, it does not go on.
        let asked = matches!(&taken, Err(error) if !error.use_stderr());
        assert!(taken.is_ok() || asked, "{command}: {}", taken.unwrap_err());
    }
}

#[test]
fn every_command_and_option_of_the_tables_is_run_by_a_test() {
    let mut tests = String::new();
    for folder in ["cli/tests", "tests/tests", "tests/real"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let wanted = path.extension().is_some_and(|e| e == "rs" || e == "py");
            if wanted && !path.ends_with("readme.rs") {
                tests += &fs::read_to_string(path).unwrap();
            }
        }
    }
    let program = Args::command();
    let known = |name: &str| program.get_subcommands().any(|c| c.get_name() == name);
    let (mut commands, mut options) = (BTreeSet::new(), BTreeSet::new());
    for row in rows() {
        for span in spans(&format!("`{row}")) {
            for word in span.split([' ', '[', ']']) {
                if word.starts_with("--") {
                    options.insert(word.to_owned());
                } else if known(word) {
                    commands.insert(word.to_owned());
                }
            }
        }
    }
    let all: BTreeSet<_> = program
        .get_subcommands()
        .map(|command| command.get_name().to_owned())
        .filter(|name| name != "help")
        .collect();
    assert_eq!(commands, all, "README's table of commands");
    for option in program.get_arguments().filter(|a| !a.is_hide_set()) {
        let name = format!("--{}", option.get_long().unwrap());
        assert!(options.contains(&name), "README has no {name}");
    }
    for name in commands.iter().chain(&options) {
        let run = ["\"", "'", " "].iter().any(|before| {
            let at = format!("{before}{name}");
            let mut found = tests.match_indices(&at);
            found.any(|(at_byte, _)| {
                let after = tests[at_byte + at.len()..].chars().next();
                after.is_some_and(|c| !c.is_alphanumeric() && c != '-' && c != '_')
            })
        });
        assert!(run, "no test runs {name}");
    }
}
