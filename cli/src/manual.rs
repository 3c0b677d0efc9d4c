//! What is generated from the command line's own description: completions for shells, and the manual page.

use crate::args::Args;
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
                eprintln!(
                    "emailproxy: there is no command {name}: the commands are {}",
                    names.join(", ")
                );
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
    more.text([
        roman("Each has a page of its own: "),
        bold("emailproxy man COMMAND | man -l -"),
        roman("."),
    ]);
    for (heading, entries) in SECTIONS {
        more.control("SH", [*heading]);
        for (name, text) in *entries {
            term(&mut more, name, text);
        }
    }
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

/// What the page says beyond commands and options.
const SECTIONS: &[(&str, &[(&str, &str)])] = &[
    (
        "FILES",
        &[
            (
                "emailproxy.config",
                "The configuration, in the working directory unless --config-file names another: servers, accounts, options, and \
                 the saved tokens, unless --cache-store keeps these elsewhere. It should be readable for its owner only. \
                 `emailproxy add` writes one; the documented sample names every option.",
            ),
            (
                ".emailproxy.config.lock",
                "Beside each file in which tokens are saved: whoever saves holds it meanwhile. It stays, and is empty.",
            ),
            (
                ".emailproxy.config.saving",
                "A whole copy of the file while it has to be written in place, because it cannot be replaced.",
            ),
        ],
    ),
    (
        "SIGNALS",
        &[
            (
                "SIGHUP",
                "Read the configuration again. A broken one is refused and the running one goes on; open sessions go on. A log file \
                 that was moved away is opened anew.",
            ),
            ("SIGUSR1", "Switch debug logging on or off."),
            (
                "SIGTERM, SIGINT",
                "End: sessions before login get their protocol's farewell, others up to 15 seconds. A second one ends at once.",
            ),
        ],
    ),
    (
        "EXIT STATUS",
        &[
            (
                "0",
                "A graceful end; of `check`: no error, though perhaps warnings.",
            ),
            (
                "1",
                "A failure while running; of `check --connect`: the configuration is in order, but a server or provider cannot be used.",
            ),
            ("2", "A wrong command line or configuration."),
        ],
    ),
    (
        "ENVIRONMENT",
        &[
            (
                "https_proxy, http_proxy, no_proxy",
                "The proxy by which the provider is reached. (Mail servers are reached through `outgoing_proxy` of the configuration.)",
            ),
            (
                "SSL_CERT_FILE",
                "A PEM file of the certificate authorities to trust, in place of the system's.",
            ),
            (
                "NOTIFY_SOCKET, WATCHDOG_USEC",
                "Set by systemd: it is told when the proxy serves, reads its configuration again and ends, and that it is alive.",
            ),
            (
                "LISTEN_FDS, LISTEN_FDNAMES",
                "Set by systemd: listening sockets for servers, matched by FileDescriptorName (a heading such as IMAP-1993) or port.",
            ),
            (
                "JOURNAL_STREAM",
                "Set by systemd: lines for the journal carry their priority in place of the time.",
            ),
            (
                "AWS_PROFILE, AWS_REGION, …",
                "Credentials and region for --cache-store aws:NAME, as in the AWS tools.",
            ),
        ],
    ),
    (
        "EXAMPLES",
        &[
            ("emailproxy add you@gmail.com", "Set an account up."),
            (
                "emailproxy check --connect",
                "Look whether all is in order, the servers and the provider too.",
            ),
            (
                "emailproxy --local-server-auth",
                "Serve, and wait for the browser where the account's redirect_uri says.",
            ),
        ],
    ),
];

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
    eprintln!("emailproxy: standard output cannot be written: {error}");
    ExitCode::from(crate::serve::FAILED)
}
