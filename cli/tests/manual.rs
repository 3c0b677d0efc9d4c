//! docs/manual.md, the program, and the examples of the other pages: the manual has every option and every switch, and no others;
//! the defaults in it are the program's; every configuration and every command line that is shown can be used.

use clap::{Arg, Command, CommandFactory, Parser, error::ErrorKind};
use emailproxy::args::Args;
use oauth::settings::{
    ACCOUNT_OPTIONS, GLOBAL_OPTIONS, LocalStartTls, SAVED_OPTIONS, SERVER_OPTIONS, Settings,
    Severity, TokenFormat,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

const SERVER: &str = "[IMAP-1993]\nserver_address = imap.example.com\nserver_port = 993\n";
const ACCOUNT: &str = "[you@example.com]\npermission_url = https://p.example/a\ntoken_url = https://p.example/t\n\
                       oauth2_scope = mail\nclient_id = x\n";

/// Pages with configurations to copy.
const PAGES: [&str; 6] = [
    "README.md",
    "docs/manual.md",
    "docs/setup.md",
    "docs/console.md",
    "docs/migrating.md",
    "docs/plugins.md",
];

#[test]
fn every_option_of_the_configuration_is_in_the_manual_and_no_other() {
    for (heading, options) in [
        ("Servers", SERVER_OPTIONS),
        ("Accounts", ACCOUNT_OPTIONS),
        ("Saved values", SAVED_OPTIONS),
        ("The proxy as a whole", GLOBAL_OPTIONS),
    ] {
        let told: Vec<String> = rows(heading)
            .into_iter()
            .filter(|row| row.len() == 3)
            .map(|row| code(&row[0]).unwrap().to_owned())
            .collect();
        same(heading, told, options.iter().map(|&name| name.to_owned()));
    }
}

#[test]
fn defaults_of_the_configuration_are_those_of_the_program() {
    let loaded = Settings::read(format!("{SERVER}{ACCOUNT}").as_bytes());
    let settings = loaded.settings.unwrap();
    let server = &settings.servers[0];
    let account = settings.account("you@example.com").unwrap();
    let options = &settings.options;
    let limits = proxy_runtime::Options::default();
    let python = |value: bool| if value { "True" } else { "False" }.to_owned();
    assert_eq!(server.local_starttls, LocalStartTls::Off);
    assert_eq!(options.token_format, TokenFormat::AesGcm);
    let known: BTreeMap<&str, String> = [
        ("server_starttls", python(server.server_starttls)),
        ("local_address", server.local_address.clone()),
        ("local_starttls", python(false)),
        ("redirect_uri", account.redirect_uri.clone()),
        ("use_pkce", python(account.use_pkce)),
        (
            "token_iterations",
            oauth::authenticator::NEW_ITERATIONS.to_string(),
        ),
        (
            "delete_account_token_on_password_error",
            python(options.delete_account_token_on_password_error),
        ),
        (
            "encrypt_client_secret_on_first_use",
            python(options.encrypt_client_secret_on_first_use),
        ),
        (
            "use_login_password_as_client_credentials_secret",
            python(options.use_login_password_as_client_credentials_secret),
        ),
        (
            "allow_catch_all_accounts",
            python(options.allow_catch_all_accounts),
        ),
        ("token_format", "aes-gcm".to_owned()),
        ("max_sessions", limits.max_sessions.unwrap().to_string()),
        (
            "max_sessions_per_address",
            limits.max_sessions_per_address.unwrap().to_string(),
        ),
    ]
    .into();
    let mut seen = 0;
    for heading in [
        "Servers",
        "Accounts",
        "Saved values",
        "The proxy as a whole",
    ] {
        for row in rows(heading).into_iter().filter(|row| row.len() == 3) {
            let option = code(&row[0]).unwrap();
            // A value in code is one that may be written so; what another option has is said in words.
            let told = code(&row[1]).map(str::to_owned);
            assert_eq!(told, known.get(option).cloned(), "{option}");
            seen += usize::from(told.is_some());
        }
    }
    assert_eq!(seen, known.len());
}

#[test]
fn required_options_are_those_that_the_program_misses() {
    for (heading, section) in [("Servers", SERVER), ("Accounts", ACCOUNT)] {
        let mut required = BTreeSet::new();
        for line in section.lines().skip(1) {
            let option = line.split(' ').next().unwrap();
            let without = format!("{SERVER}{ACCOUNT}").replace(&format!("{line}\n"), "");
            let missing = format!("`{option}` is missing");
            let loaded = Settings::read(without.as_bytes());
            let mut errors = loaded
                .problems
                .iter()
                .filter(|p| p.severity == Severity::Error);
            if errors.any(|problem| problem.text == missing) {
                required.insert(option.to_owned());
            }
        }
        let told = rows(heading)
            .into_iter()
            .filter(|row| row.len() == 3 && row[1] == "required")
            .map(|row| code(&row[0]).unwrap().to_owned());
        assert_eq!(told.collect::<BTreeSet<_>>(), required, "{heading}");
        assert!(!required.is_empty());
    }
}

#[test]
fn every_switch_and_command_is_in_the_manual_and_no_other() {
    let mut whole = Args::command();
    whole.build();
    let mut headings = vec![];
    compare("Options", &whole, true);
    for command in whole
        .get_subcommands()
        .filter(|one| one.get_name() != "help")
    {
        let nested: Vec<&Command> = command
            .get_subcommands()
            .filter(|one| one.get_name() != "help")
            .collect();
        if nested.is_empty() {
            let name = format!("`{}`", command.get_name());
            compare(&name, command, false);
            headings.push(name);
        }
        for one in nested {
            let name = format!("`{} {}`", command.get_name(), one.get_name());
            compare(&name, one, false);
            headings.push(name);
        }
    }
    let manual = page("docs/manual.md");
    let told = manual
        .lines()
        .filter_map(|line| line.strip_prefix("#### `"))
        .map(|name| format!("`{name}"));
    same("commands", told.collect(), headings.into_iter());
}

/// The section's rows and the command's arguments; those of every command stand with the options alone.
fn compare(heading: &str, command: &Command, globals: bool) {
    let wanted = |arg: &&Arg| globals || !(arg.is_global_set() || arg.get_id() == "help");
    let arguments: Vec<&Arg> = command.get_arguments().filter(wanted).collect();
    let rows = rows(heading);
    let names = rows.iter().map(|row| code(&row[0]).unwrap().to_owned());
    let shown = |arg: &&Arg| {
        let value = arg
            .get_value_names()
            .filter(|_| arg.get_action().takes_values())
            .map(|names| names[0].to_string());
        let optional = arg
            .get_num_args()
            .is_some_and(|range| range.min_values() == 0);
        match (arg.get_long(), value) {
            (None, value) => value.unwrap(),
            (Some(long), None) => format!("--{long}"),
            (Some(long), Some(value)) if optional => format!("--{long} [{value}]"),
            (Some(long), Some(value)) => format!("--{long} {value}"),
        }
    };
    same(heading, names.collect(), arguments.iter().map(shown));
    for arg in arguments {
        let shown = shown(&arg);
        let row = rows.iter().find(|row| code(&row[0]) == Some(&shown));
        let told = row.and_then(|row| code(&row[1]));
        let default = arg
            .get_default_values()
            .first()
            .filter(|_| arg.get_action().takes_values())
            .map(|value| value.to_str().unwrap());
        if default.is_some() || !told.is_some_and(|told| GLOBAL_OPTIONS.contains(&told)) {
            assert_eq!(told, default, "{heading}: {shown}");
        }
    }
}

#[test]
fn every_configuration_that_is_shown_can_be_used() {
    let mut examples = 0;
    for name in PAGES {
        for (line, example) in fenced(&page(name), "ini") {
            let whole = completed(&example);
            let loaded = Settings::read(whole.as_bytes());
            let problems: Vec<_> = loaded
                .problems
                .iter()
                .map(|problem| problem.one_line("example".as_ref()))
                .collect();
            assert!(
                problems.is_empty(),
                "{name}, line {line}: {problems:#?} in\n{whole}"
            );
            examples += 1;
        }
    }
    assert!(examples >= 10, "only {examples} examples were found");
}

/// What a page leaves out around an excerpt: a heading, a server, an account, an account's required options. An ellipsis stands for
/// a value of the reader's.
fn completed(example: &str) -> String {
    let mut whole = example.replace('…', "https://p.example/x");
    if !whole.lines().any(|line| line.starts_with('[')) {
        let first = whole.split([' ', ':', '=']).next().unwrap().trim();
        let heading = if SERVER_OPTIONS.contains(&first) {
            "[IMAP-1993]"
        } else if GLOBAL_OPTIONS.contains(&first) {
            "[emailproxy]"
        } else {
            "[you@example.com]"
        };
        whole.insert_str(0, &format!("{heading}\n"));
    }
    let server = |line: &str| {
        ["[IMAP-", "[POP-", "[SMTP-"]
            .iter()
            .any(|p| line.starts_with(p))
    };
    let account = |line: &str| line.starts_with('[') && line.contains('@');
    let catch_alls = whole.contains("allow_catch_all_accounts = True");
    let mut lines = Vec::new();
    for section in sections(&whole) {
        let heading = section.lines().next().unwrap();
        lines.push(section.clone());
        let has = |option: &str| section.lines().any(|line| line.starts_with(option));
        let mut add = |options: &[&str]| {
            let missing = options
                .iter()
                .filter(|line| !has(line.split(' ').next().unwrap()));
            lines.extend(missing.map(|line| (*line).to_owned()));
        };
        if server(heading) {
            add(&["server_address = mail.example.com", "server_port = 9999"]);
            if !has("local_address") && !has("local_certificate_path") {
                add(&["local_address = 127.0.0.1"]);
            }
        } else if account(heading) && !catch_alls {
            if !has("oauth2_flow") {
                add(&["permission_url = https://p.example/a"]);
            }
            add(&[
                "token_url = https://p.example/t",
                "oauth2_scope = mail",
                "client_id = x",
            ]);
        }
    }
    let mut whole = lines.join("\n");
    if !whole.lines().any(server) {
        whole.push_str(&format!("\n{SERVER}local_address = 127.0.0.1\n"));
    }
    if !whole.lines().any(account) {
        whole.push_str(&format!("\n{ACCOUNT}"));
    }
    whole
}

/// The text's sections, each from its heading to before the next.
fn sections(text: &str) -> Vec<String> {
    let mut sections: Vec<String> = vec![];
    for line in text.lines() {
        match sections.last_mut() {
            Some(section) if !line.starts_with('[') => {
                section.push('\n');
                section.push_str(line);
            }
            _ => sections.push(line.to_owned()),
        }
    }
    // Lines that are added must not become part of a value that ends in blanks.
    sections
        .iter()
        .map(|section| section.trim_end().to_owned())
        .collect()
}

#[test]
fn every_command_line_that_is_shown_is_one() {
    let mut seen = 0;
    for name in PAGES.iter().chain(&["docs/messages.md", "SECURITY.md"]) {
        let page = page(name);
        let spans = page.split('`').skip(1).step_by(2);
        let blocks = page
            .lines()
            .map(|line| line.trim().trim_start_matches("$ "));
        for line in spans.chain(blocks) {
            let Some(rest) = line.strip_prefix("emailproxy ") else {
                continue;
            };
            let rest = rest.split(['|', '>', '#', ';']).next().unwrap_or("");
            let rest = rest.replace('…', "x");
            let words = rest.split_whitespace();
            let Some(first) = words.clone().next() else {
                continue;
            };
            // Prose has the name of the program as well.
            let commands = Args::command();
            if !first.starts_with('-') && commands.find_subcommand(first).is_none() {
                continue;
            }
            if let Err(error) = Args::try_parse_from(std::iter::once("emailproxy").chain(words)) {
                // Prose names commands without their arguments.
                let named_only = error.kind() == ErrorKind::MissingRequiredArgument;
                assert!(
                    named_only || error.exit_code() == 0,
                    "{name}: `emailproxy {rest}`: {error}"
                );
            }
            seen += 1;
        }
    }
    assert!(seen >= 20, "only {seen} command lines were found");
}

#[test]
fn every_variable_of_the_environment_is_in_the_manual_and_no_other_of_ours() {
    let mut sources = String::new();
    for room in ["cli", "oauth", "plugins", "proxy-runtime"] {
        collect(&root().join(room).join("src"), &mut sources);
    }
    let names = |begin: &str, keep: usize| -> BTreeSet<String> {
        let found = sources.match_indices(begin).map(|(at, _)| {
            let name = &sources[at + keep..];
            name.split('"').next().unwrap().to_owned()
        });
        // What the build tells is no variable of the running program's.
        found
            .filter(|name| !name.starts_with("EMAILPROXY_BUILD_"))
            .collect()
    };
    let told: BTreeSet<String> = ["Environment", "Of `notify_command`"]
        .into_iter()
        .flat_map(rows)
        .flat_map(|row| {
            let names = row[0].split(", ").map(str::to_owned);
            names.collect::<Vec<_>>()
        })
        .map(|name| name.trim_matches('`').to_owned())
        .collect();
    let ours = told.iter().filter(|name| name.starts_with("EMAILPROXY_"));
    same(
        "variables",
        ours.cloned().collect(),
        names("\"EMAILPROXY_", 1).into_iter(),
    );
    let read: BTreeSet<String> = [("var(\"", 5), ("var_os(\"", 8)]
        .into_iter()
        .flat_map(|(call, keep)| names(call, keep))
        .collect();
    assert!(read.len() >= 8, "{read:?}");
    let missing: Vec<_> = read.difference(&told).collect();
    assert!(missing.is_empty(), "not in docs/manual.md: {missing:?}");
}

/// The sources below a folder, one behind the other.
fn collect(folder: &Path, sources: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn the_manual_page_has_every_option_signal_file_and_variable() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_emailproxy"))
        .arg("man")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    let text = text.replace("\\-", "-").replace("\\&", "");
    let options = [
        SERVER_OPTIONS,
        ACCOUNT_OPTIONS,
        SAVED_OPTIONS,
        GLOBAL_OPTIONS,
    ]
    .concat();
    for option in options {
        assert!(text.contains(&format!("\\fB{option}\\fR")), "{option}");
    }
    for heading in ["Signals", "Files", "Environment", "Exit codes"] {
        for row in rows(heading) {
            let name = row[0].replace('`', "").replace('…', "...");
            assert!(text.contains(&name), "{name}");
        }
    }
    for mark in ["](", "**", "\\|"] {
        assert!(!text.contains(mark), "{mark}");
    }
    assert!(text.is_ascii());
}

#[test]
fn the_code_of_the_embedding_guide_is_that_of_files_that_are_built() {
    let guide = page("docs/embedding.md");
    let blocks = fenced(&guide, "rust");
    for (line, block) in &blocks {
        let before = guide.lines().take(*line).collect::<Vec<_>>().join("\n");
        let (_, link) = before.rsplit_once("From [`").unwrap();
        let path = link.split(['(', ')']).nth(1).unwrap();
        let file = fs::read_to_string(root().join("docs").join(path)).unwrap();
        let flat = |text: &str| text.lines().map(str::trim).collect::<Vec<_>>().join("\n");
        assert!(
            flat(&file).contains(&flat(block)),
            "docs/embedding.md, line {line}: not as in {path}"
        );
    }
    assert!(blocks.len() >= 8);
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut links = 0;
    for name in PAGES
        .iter()
        .chain(&["docs/messages.md", "docs/architecture.md", "SECURITY.md"])
        .chain(&["docs/embedding.md", "docs/security.md"])
    {
        let folder = root().join(name).parent().unwrap().to_owned();
        let text = page(name);
        for (at, _) in text.match_indices("](") {
            let target = text[at + 2..].split([')', ' ']).next().unwrap();
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = match file {
                "" => root().join(name),
                file => folder.join(file),
            };
            assert!(path.exists(), "{name}: {target}");
            if !anchor.is_empty() {
                let page = fs::read_to_string(&path).unwrap();
                let mut headings = page.lines().filter(|line| line.starts_with('#'));
                assert!(
                    headings.any(|heading| self::anchor(heading) == anchor),
                    "{name}: {target}"
                );
            }
            links += 1;
        }
    }
    assert!(links >= 20, "only {links} links were found");
}

/// As the usual renderers make anchors of headings.
fn anchor(heading: &str) -> String {
    heading
        .trim_start_matches('#')
        .trim()
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

fn same(what: &str, told: Vec<String>, known: impl Iterator<Item = String>) {
    let known: BTreeSet<String> = known.collect();
    let unique: BTreeSet<String> = told.iter().cloned().collect();
    assert_eq!(told.len(), unique.len(), "{what}: twice in the manual");
    let missing: Vec<_> = known.difference(&unique).collect();
    let invented: Vec<_> = unique.difference(&known).collect();
    assert!(
        missing.is_empty() && invented.is_empty(),
        "{what}: not in docs/manual.md: {missing:?}; not in the program: {invented:?}"
    );
}

/// The cells of the rows below this heading of the manual, up to the next heading; rows that begin with code alone.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let manual = page("docs/manual.md");
    let is_heading = |line: &str| line.starts_with('#');
    let rows: Vec<Vec<String>> = manual
        .lines()
        .skip_while(|line| !(is_heading(line) && line.trim_start_matches(['#', ' ']) == heading))
        .skip(1)
        .take_while(|line| !is_heading(line))
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            let line = line.replace("\\|", "\u{0}");
            let inner = line.trim_matches(['|', ' ']);
            inner
                .split(" | ")
                .map(|cell| cell.trim().trim_matches('|').trim().replace('\u{0}', "|"))
                .collect()
        })
        .collect();
    assert!(!rows.is_empty(), "the manual has no rows under {heading}");
    rows
}

/// What stands in backquotes, where the cell is nothing else.
fn code(cell: &str) -> Option<&str> {
    let inner = cell.strip_prefix('`')?.strip_suffix('`')?;
    (!inner.contains('`')).then_some(inner)
}

/// Blocks of this language, with the line where each begins, without the indentation of their fence.
fn fenced(text: &str, language: &str) -> Vec<(usize, String)> {
    let mut found = vec![];
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        // A list's item may begin with one.
        let Some(indent) = line.find(&format!("```{language}")) else {
            continue;
        };
        let mut block = String::new();
        for (_, line) in lines.by_ref() {
            if line.trim() == "```" {
                break;
            }
            block.push_str(line.get(indent..).unwrap_or(""));
            block.push('\n');
        }
        found.push((number + 1, block));
    }
    found
}

fn page(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}
