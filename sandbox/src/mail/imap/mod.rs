//! IMAP4rev1 (RFC 3501) with IDLE, ID, LITERAL+, NAMESPACE, SASL-IR, SPECIAL-USE, UIDPLUS and UNSELECT.

mod command;
mod fetch;
mod folders;
mod login;
mod search;
mod selected;

use super::{mailbox::Problem, sasl, wire::Wire};
use command::{Arguments, Bad};
use futures_lite::future;
use selected::Selected;
use std::{io, sync::Arc};

/// Wrong commands before the connection is closed.
const MAX_BAD: usize = 50;

struct Session {
    user: Option<Arc<str>>,
    selected: Option<Selected>,
    bad: usize,
}

/// How a command ended.
enum Done {
    /// `OK` or `NO` with its text, to stand behind the tag.
    Answer(String),
    /// The tagged answer is out already.
    Answered,
    /// The connection ends.
    End,
}

fn ok(text: &str) -> Result<Done, Bad> {
    Ok(Done::Answer(format!("OK {text}")))
}

fn no(text: &str) -> Result<Done, Bad> {
    Ok(Done::Answer(format!("NO {text}")))
}

/// `OK`, or `NO` with the problem.
fn done(result: Result<(), Problem>) -> Result<Done, Bad> {
    match result {
        Ok(()) => ok("done"),
        Err(problem) => no(problem.text()),
    }
}

pub(crate) async fn converse(wire: &mut Wire) -> io::Result<()> {
    let named = wire.shared.behaviour().greeting_capabilities;
    if named {
        wire.put_line(format!(
            "* OK [CAPABILITY {}] the sandbox is ready",
            capabilities(wire, false)
        ));
    } else {
        wire.put_line("* OK the sandbox is ready");
    }
    let mut session = Session {
        user: None,
        selected: None,
        bad: 0,
    };
    while session.bad < MAX_BAD {
        let Some(bytes) = command::read(wire, session.user.is_some()).await? else {
            continue;
        };
        let mut arguments = Arguments::new(&bytes);
        let tag = match arguments.atom() {
            Ok(tag) if !tag.contains('+') => tag.to_owned(),
            _ => {
                wire.put_line("* BAD a command starts with a tag");
                session.bad += 1;
                continue;
            }
        };
        match session.command(wire, &tag, &mut arguments).await? {
            Ok(Done::Answer(answer)) => wire.put_line(format!("{tag} {answer}")),
            Ok(Done::Answered) => {}
            Ok(Done::End) => return Ok(()),
            Err(bad) => {
                session.bad += 1;
                wire.put_line(format!("{tag} BAD {bad}"));
            }
        }
    }
    wire.put_line("* BYE too many wrong commands");
    Ok(())
}

fn capabilities(wire: &Wire, open: bool) -> String {
    let mut list = vec!["IMAP4rev1".to_owned(), "ID".into(), "LITERAL+".into()];
    if open {
        list.extend(["IDLE", "NAMESPACE", "SPECIAL-USE", "UIDPLUS", "UNSELECT"].map(String::from));
    } else {
        if wire.offers_starttls() {
            list.push("STARTTLS".into());
        }
        list.push("LOGINDISABLED".into());
        let offered = sasl::offered(wire);
        if !offered.is_empty() && wire.shared.behaviour().sasl_ir {
            list.push("SASL-IR".into());
        }
        list.extend(offered.iter().map(|name| format!("AUTH={name}")));
    }
    list.join(" ")
}

impl Session {
    /// Carries out one command. The outer error ends the connection, the inner one is the client's mistake.
    async fn command(
        &mut self,
        wire: &mut Wire,
        tag: &str,
        arguments: &mut Arguments<'_>,
    ) -> io::Result<Result<Done, Bad>> {
        let name = match arguments.space().and_then(|()| arguments.atom()) {
            Ok(name) => name.to_ascii_uppercase(),
            Err(bad) => return Ok(Err(bad)),
        };
        Ok(match (name.as_str(), self.user.clone()) {
            ("CAPABILITY", user) => {
                wire.put_line(format!(
                    "* CAPABILITY {}",
                    capabilities(wire, user.is_some())
                ));
                ok("there they are")
            }
            ("NOOP" | "CHECK", _) => {
                self.announce(wire);
                ok("done")
            }
            ("ID", _) => {
                wire.put_line("* ID (\"name\" \"emailproxy sandbox\")");
                ok("pleased to meet you")
            }
            ("LOGOUT", _) => {
                wire.put_line("* BYE until next time");
                wire.put_line(format!("{tag} OK goodbye"));
                Ok(Done::End)
            }
            ("STARTTLS", None) if wire.offers_starttls() && arguments.end().is_ok() => {
                wire.starttls(&format!("{tag} OK begin TLS")).await?;
                Ok(Done::Answered)
            }
            ("AUTHENTICATE", None) => self.authenticate(wire, arguments).await?,
            ("LOGIN", None) => no("[AUTHENTICATIONFAILED] passwords are not accepted here"),
            (_, None) => Err("unknown command, or not before login"),
            ("IDLE", Some(user)) => self.idle(wire, &user).await?,
            (name, Some(user)) => match self.folder_command(wire, &user, name, arguments) {
                Some(result) => result,
                None => self.selected_command(wire, &user, name, arguments).await?,
            },
        })
    }

    /// RFC 2177.
    async fn idle(&mut self, wire: &mut Wire, user: &str) -> io::Result<Result<Done, Bad>> {
        let shared = wire.shared.clone();
        let Some(mailbox) = shared.mail.mailbox(user) else {
            return Ok(no("no mailbox"));
        };
        wire.put_line("+ idling");
        loop {
            let change = mailbox.next_change();
            self.announce(wire);
            wire.flush().await?;
            let line = async { Some(wire.line().await) };
            let changed = async {
                change.await;
                None
            };
            if let Some(line) = future::or(line, changed).await {
                let finished = line?.eq_ignore_ascii_case(b"DONE");
                return Ok(if finished {
                    ok("done")
                } else {
                    Err("DONE was expected")
                });
            }
        }
    }

    /// Tells what has changed in the selected folder.
    fn announce(&mut self, wire: &mut Wire) {
        if let (Some(user), Some(selected)) = (&self.user, &mut self.selected) {
            selected.announce(wire, user, true);
        }
    }
}
