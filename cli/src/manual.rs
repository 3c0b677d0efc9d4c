//! What is generated from the command line's own description: completions for shells, and the manual page.

mod tables;

use crate::{args::Args, messages::serve as texts};
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::{
    Man,
    roff::{Roff, bold, roman},
};
use std::{
    io::{self, Write},
    process::ExitCode,
};

const NAME: &str = "emailproxy";

/// `emailproxy completions SHELL`: a script to standard output.
pub fn completions(shell: Shell) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), NAME, &mut script);
    print(&script)
}

/// `emailproxy man [COMMAND]`: a page in roff to standard output.
pub fn man(command: Option<&str>) -> ExitCode {
    let mut whole = Args::command();
    whole.build();
    let page = match command {
        None => main_page(whole),
        Some(name) => match whole.find_subcommand(name) {
            Some(found) => {
                let title = format!("{NAME}-{name}");
                command_page(found.clone().display_name(title))
            }
            None => {
                let names: Vec<_> = whole.get_subcommands().map(Command::get_name).collect();
                let text = texts::no_command(name, names.join(", "));
                eprintln!("emailproxy: {text}");
                return ExitCode::from(crate::serve::UNUSABLE);
            }
        },
    };
    match page {
        Ok(page) => print(&page),
        Err(error) => failed(&error),
    }
}

fn page_of(command: Command) -> Man {
    // An empty date would be left out, and what follows take its place; a real one would differ from build to build.
    Man::new(command)
        .date(" ")
        .source(concat!("emailproxy ", env!("CARGO_PKG_VERSION")))
        .manual("emailproxy")
}

fn command_page(command: Command) -> io::Result<Vec<u8>> {
    let page = page_of(command);
    let mut text = Vec::new();
    page.render_title(&mut text)?;
    page.render_name_section(&mut text)?;
    page.render_synopsis_section(&mut text)?;
    page.render_description_section(&mut text)?;
    page.render_options_section(&mut text)?;
    let mut more = Roff::new();
    more.control("SH", ["SEE ALSO"]);
    more.text([bold(NAME), roman("(1)")]);
    more.to_writer(&mut text)?;
    Ok(text)
}

fn main_page(command: Command) -> io::Result<Vec<u8>> {
    let mut more = Roff::new();
    more.control("SH", ["COMMANDS"]);
    for one in command.get_subcommands() {
        let about = one.get_about().map(ToString::to_string);
        term(&mut more, one.get_name(), &about.unwrap_or_default());
    }
    more.control("PP", []);
    more.text([
        roman("Each has a page of its own: "),
        bold("emailproxy man COMMAND | man -l -"),
        roman("."),
    ]);
    more.control("SH", ["CONFIGURATION"]);
    more.text([roman(CONFIGURATION)]);
    for (heading, of_manual) in SECTIONS {
        more.control("SH", [*heading]);
        for row in tables::rows(of_manual) {
            term(&mut more, &row.name, &row.text);
        }
    }
    more.control("SH", ["EXAMPLES"]);
    for (command, text) in EXAMPLES {
        term(&mut more, command, text);
    }
    more.control("SH", ["SEE ALSO"]);
    more.text([roman(SEE_ALSO)]);
    let page = page_of(command);
    let mut text = Vec::new();
    page.render_title(&mut text)?;
    page.render_name_section(&mut text)?;
    page.render_synopsis_section(&mut text)?;
    page.render_description_section(&mut text)?;
    page.render_options_section(&mut text)?;
    more.to_writer(&mut text)?;
    Ok(text)
}

fn term(roff: &mut Roff, name: &str, text: &str) {
    roff.control("TP", []);
    roff.text([bold(name)]);
    roff.text([roman(text)]);
}

/// Sections of the page, and the sections of docs/manual.md whose tables they hold.
const SECTIONS: &[(&str, &str)] = &[
    ("SERVERS ([IMAP-n], [POP-n], [SMTP-n])", "Servers"),
    ("ACCOUNTS ([address@domain], [@domain], [@])", "Accounts"),
    (
        "SAVED VALUES (of accounts, written by the proxy)",
        "Saved values",
    ),
    (
        "THE PROXY AS A WHOLE ([emailproxy])",
        "The proxy as a whole",
    ),
    ("FILES", "Files"),
    ("SIGNALS", "Signals"),
    ("EXIT STATUS", "Exit codes"),
    ("ENVIRONMENT", "Environment"),
    ("ENVIRONMENT OF notify_command", "Of `notify_command`"),
];

const CONFIGURATION: &str = "Sections are headed [IMAP-n], [POP-n] or [SMTP-n] (a server, and the local port n), [address@domain] (an \
    account; [@domain] and [@]: a catch-all) and [emailproxy] (the proxy as a whole). Below stand lines of the form \"option = value\". \
    A value goes on over indented lines. Lines that begin with # or ; are comments. What stands in [DEFAULT] holds for every \
    section. `emailproxy add` writes sections, `emailproxy check` names what is wrong with them. The options:";

const EXAMPLES: &[(&str, &str)] = &[
    ("emailproxy add you@gmail.com", "Set an account up."),
    (
        "emailproxy check --connect",
        "Look whether all is in order, the servers and the provider too.",
    ),
    (
        "emailproxy --local-server-auth",
        "Serve, and wait for the browser where the account's redirect_uri says.",
    ),
];

const SEE_ALSO: &str = "The manual (docs/manual.md), messages and their cures (docs/messages.md), and the security model (docs/security.md) \
    come with the program; packages put them into /usr/share/doc/emailproxy.";

fn print(text: &[u8]) -> ExitCode {
    let mut output = io::stdout().lock();
    match output.write_all(text).and_then(|()| output.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        // `man | head`
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn failed(error: &io::Error) -> ExitCode {
    eprintln!("emailproxy: {}", texts::cannot_print(error));
    ExitCode::from(crate::serve::FAILED)
}
