//! AUTHENTICATE (RFC 3501 §6.2.2, RFC 4959).

use super::{
    Done, Session,
    command::{Arguments, Bad},
    no,
};
use crate::mail::{
    sasl::{self, Verdict},
    wire::Wire,
};
use std::io;

impl Session {
    pub(super) async fn authenticate(
        &mut self,
        wire: &mut Wire,
        arguments: &mut Arguments<'_>,
    ) -> io::Result<Result<Done, Bad>> {
        let parsed = (|| {
            arguments.space()?;
            let name = arguments.atom()?;
            let initial = arguments.take(b" ").then(|| arguments.remainder().to_vec());
            match initial {
                None => arguments.end()?,
                Some(_) if !wire.shared.behaviour().sasl_ir => {
                    return Err("SASL-IR is not offered");
                }
                Some(_) => {}
            }
            Ok((name, initial))
        })();
        let (name, initial) = match parsed {
            Ok(parsed) => parsed,
            Err(bad) => return Ok(Err(bad)),
        };
        if !wire.allows_auth() {
            return Ok(no("[PRIVACYREQUIRED] only over TLS, use STARTTLS first"));
        }
        let Some(mechanism) = sasl::mechanism(wire, name) else {
            return Ok(no("this mechanism is unknown"));
        };
        let response = match initial {
            Some(initial) => initial,
            None => {
                wire.put_line("+ ");
                wire.line().await?
            }
        };
        Ok(match sasl::judge(wire, mechanism, &response) {
            Verdict::Accepted(user) => {
                let text = format!(
                    "OK [CAPABILITY {}] logged in as {user}",
                    super::capabilities(wire, true)
                );
                self.user = Some(user);
                wire.logged_in();
                Ok(Done::Answer(text))
            }
            Verdict::Close => Ok(Done::End),
            Verdict::Ordered(line) => Ok(Done::Answer(line.to_string())),
            Verdict::Cancelled => Err("cancelled"),
            Verdict::Malformed => Err("the response is malformed"),
            Verdict::Refused(challenge) => {
                wire.put_line(format!("+ {challenge}"));
                let answer = wire.line().await?;
                if sasl::is_acknowledgement(mechanism, &answer) {
                    no("[AUTHENTICATIONFAILED] the access token was refused")
                } else {
                    Err("an empty answer was expected")
                }
            }
        })
    }
}
