//! `emailproxy check`: everything that is wrong with a configuration, without serving it; with `--connect` also what its servers
//! and providers say.

mod certificate;
mod connect;
mod python;
mod report;
mod surroundings;

use crate::{
    args::Args,
    serve::{FAILED, UNUSABLE},
};
use oauth::settings::{Problem, Settings, Severity};
use report::Report;
use std::process::ExitCode;
pub(crate) use surroundings::of_store;

/// Options of `emailproxy check`.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct CheckArgs {
    /// Also connect to each mail server (TLS, certificate, greeting, mechanisms) and to each provider's addresses; no secret is
    /// sent
    #[arg(long)]
    pub connect: bool,

    /// Print one JSON object in place of lines
    #[arg(long)]
    pub json: bool,
}

/// One thing that is worth knowing, and where it stands.
#[derive(Clone, Debug)]
struct Finding {
    kind: Kind,
    line: Option<usize>,
    column: Option<usize>,
    section: Option<String>,
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The file, a server or an account cannot be used.
    Error,
    /// It can be used; the user should know.
    Warning,
    /// The Python tool would have done something else.
    Note,
}

impl From<Problem> for Finding {
    fn from(problem: Problem) -> Self {
        Finding {
            kind: match problem.severity {
                Severity::Error => Kind::Error,
                Severity::Warning => Kind::Warning,
            },
            line: problem.line,
            column: problem.column,
            section: problem.section,
            text: problem.text,
        }
    }
}

/// Runs the checks, prints what they found, and says by the exit code how bad it is.
pub fn run(args: &Args, options: &CheckArgs) -> ExitCode {
    let loaded = Settings::load(&args.config_file);
    let mut findings: Vec<Finding> = loaded.problems.into_iter().map(Finding::from).collect();
    let mut report = Report::default();
    if let Some(settings) = &loaded.settings {
        let around = surroundings::look(settings, args);
        findings.extend(around.into_iter().map(Finding::from));
        findings.extend(python::differences(&args.config_file, settings));
        report.servers = settings.servers.len();
        report.accounts = settings.accounts().count();
        if options.connect {
            let (servers, providers) = connect::all(settings);
            report.reached = servers;
            report.providers = providers;
        }
    }
    findings.sort_by_key(|finding| {
        let note = finding.kind == Kind::Note;
        (note, finding.line.unwrap_or(usize::MAX), finding.column)
    });
    report.findings = findings;
    report.print(&args.config_file, options);
    if report.count(Kind::Error) > 0 {
        ExitCode::from(UNUSABLE)
    } else if report.unreachable() > 0 {
        ExitCode::from(FAILED)
    } else {
        ExitCode::SUCCESS
    }
}
