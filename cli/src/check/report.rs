//! How the result is told: lines for people, or one JSON object.

use super::{
    CheckArgs, Finding, Kind,
    connect::{Answered, Offer, Reached},
};
use crate::messages::{check as texts, counted};
use serde_json::{Value, json};
use std::{
    fmt::Write as _,
    io::{self, Write as _},
    path::Path,
};

/// All that was found.
#[derive(Default)]
pub(super) struct Report {
    pub(super) findings: Vec<Finding>,
    pub(super) servers: usize,
    pub(super) accounts: usize,
    pub(super) reached: Vec<Reached>,
    pub(super) providers: Vec<Answered>,
}

impl Report {
    pub(super) fn count(&self, kind: Kind) -> usize {
        self.findings.iter().filter(|one| one.kind == kind).count()
    }

    /// How many servers and addresses cannot be used now.
    pub(super) fn unreachable(&self) -> usize {
        let servers = self.reached.iter().filter(|one| one.outcome.is_err());
        let providers = self.providers.iter().filter(|one| one.outcome.is_err());
        servers.count() + providers.count()
    }

    /// Prints to standard output.
    pub(super) fn print(&self, file: &Path, options: &CheckArgs) {
        let text = match options.json {
            true => format!("{:#}\n", self.json(file, options.connect)),
            false => self.text(file),
        };
        // Nobody is left to be told where that cannot be written.
        let _ = io::stdout().lock().write_all(text.as_bytes());
    }

    fn text(&self, file: &Path) -> String {
        let mut text = String::new();
        for finding in &self.findings {
            let _ = writeln!(text, "{}", finding.one_line(file));
        }
        for one in &self.reached {
            let headings = one.headings.join("], [");
            let _ = write!(text, "[{headings}] {}: ", one.server);
            match &one.outcome {
                Ok(offer) => {
                    let _ = writeln!(text, "{}", offer.one_line());
                    for warning in &offer.warnings {
                        let _ = writeln!(text, "[{headings}] {}: warning: {warning}", one.server);
                    }
                }
                Err(why) => {
                    let _ = writeln!(text, "FAILED: {}", printable(why));
                }
            }
        }
        for one in &self.providers {
            let whose = one.accounts.join(", ");
            let _ = write!(text, "{} {} ({whose}): ", one.option, one.url);
            let outcome = match &one.outcome {
                Ok(reply) => match (&reply.warning, &reply.error) {
                    (Some(warning), _) => texts::answers_but(reply.status, warning),
                    (None, Some(code)) => texts::refuses_as_it_should(reply.status, code),
                    (None, None) => texts::answers(reply.status),
                },
                Err(why) => format!("FAILED: {}", printable(why)),
            };
            let _ = writeln!(text, "{outcome}");
        }
        let _ = writeln!(text, "{}: {}", file.display(), self.summary());
        text
    }

    fn summary(&self) -> String {
        let mut parts = vec![
            counted(self.servers, "server"),
            counted(self.accounts, "account"),
            counted(self.count(Kind::Error), "error"),
            counted(self.count(Kind::Warning), "warning"),
        ];
        let notes = self.count(Kind::Note);
        if notes > 0 {
            parts.push(texts::taken_otherwise(counted(notes, "line")));
        }
        if !self.reached.is_empty() || !self.providers.is_empty() {
            let total = self.reached.len() + self.providers.len();
            let answering = total - self.unreachable();
            parts.push(texts::in_order(answering, total));
        }
        parts.join(", ")
    }

    fn json(&self, file: &Path, connected: bool) -> Value {
        let problem = |finding: &Finding| {
            json!({
                "severity": finding.kind.name(),
                "line": finding.line,
                "column": finding.column,
                "section": finding.section,
                "text": finding.text,
            })
        };
        let mut report = json!({
            "configuration": file.display().to_string(),
            "servers": self.servers,
            "accounts": self.accounts,
            "errors": self.count(Kind::Error),
            "warnings": self.count(Kind::Warning),
            "problems": self.findings.iter().map(problem).collect::<Vec<_>>(),
        });
        if connected {
            let servers = self.reached.iter().map(|one| match &one.outcome {
                Ok(offer) => json!({
                    "headings": one.headings,
                    "server": one.server,
                    "ok": true,
                    "address": offer.address,
                    "tls": offer.tls,
                    "starttls": offer.starttls,
                    "greeting": offer.greeting,
                    "certificate_ends": offer.certificate.as_ref().map(|(date, _)| date),
                    "certificate_days": offer.certificate.as_ref().map(|(_, days)| days),
                    "mechanisms": offer.mechanisms,
                    "sasl_ir": offer.sasl_ir,
                    "warnings": offer.warnings,
                }),
                Err(why) => json!({
                    "headings": one.headings,
                    "server": one.server,
                    "ok": false,
                    "error": why,
                }),
            });
            let providers = self.providers.iter().map(|one| {
                json!({
                    "option": one.option,
                    "url": one.url,
                    "accounts": one.accounts,
                    "ok": one.outcome.is_ok(),
                    "status": one.outcome.as_ref().ok().map(|reply| reply.status),
                    "warning": one.outcome.as_ref().ok().and_then(|reply| reply.warning),
                    "error": one.outcome.as_ref().err(),
                })
            });
            report["connections"] = json!({
                "servers": servers.collect::<Vec<_>>(),
                "providers": providers.collect::<Vec<_>>(),
            });
        }
        report
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Error => "error",
            Kind::Warning => "warning",
            Kind::Note => "note",
        }
    }
}

impl Finding {
    fn one_line(&self, file: &Path) -> String {
        let mut line = file.display().to_string();
        for number in [self.line, self.line.and(self.column)]
            .into_iter()
            .flatten()
        {
            let _ = write!(line, ":{number}");
        }
        let _ = write!(line, ": {}: ", self.kind.name());
        if let Some(section) = &self.section {
            let _ = write!(line, "[{section}] ");
        }
        line.push_str(&self.text);
        printable(&line)
    }
}

impl Offer {
    fn one_line(&self) -> String {
        let mut line = format!("ok, {}", self.tls);
        if self.starttls {
            line.push_str(" by STARTTLS");
        }
        if let Some((date, days)) = &self.certificate {
            let _ = write!(line, ", certificate until {date} ({days} days)");
        }
        let mechanisms = match self.mechanisms.is_empty() {
            true => "none".to_owned(),
            false => self.mechanisms.join(" "),
        };
        let _ = write!(line, ", mechanisms: {mechanisms}");
        if self.sasl_ir {
            line.push_str(", SASL-IR");
        }
        let _ = write!(line, "; it says: {}", without_capabilities(&self.greeting));
        printable(&line)
    }
}

/// A greeting as a person reads it: what it offers of mechanisms stands before it.
fn without_capabilities(greeting: &str) -> String {
    let Some((before, list)) = greeting.split_once("[CAPABILITY ") else {
        return greeting.to_owned();
    };
    let after = list.split_once(']').map_or("", |(_, after)| after);
    format!("{before}{}", after.trim_start())
}

/// What came from elsewhere must not command the terminal.
fn printable(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            c if c.is_control() => line.extend(c.escape_default()),
            c => line.push(c),
        }
    }
    line
}
