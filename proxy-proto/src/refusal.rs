//! How a login or a whole session is given up, in whatever protocol: the client is told, errors are counted.

use crate::{
    Reason, Refusal, Rejection, Side,
    core::{Core, Phase},
    machine::{Farewell, Machine},
    messages, redact,
};

/// Ends the login with this refusal; one too many ends the session.
pub(crate) fn refuse(machine: &mut dyn Machine, core: &mut Core, refusal: &Refusal) {
    let refusal = match refusal {
        Refusal::Denied(text) => Refusal::Denied(redact::one_line(text)),
        Refusal::Temporary(text) => Refusal::Temporary(redact::one_line(text)),
    };
    core.end_attempt();
    machine.login_failed(core, &refusal);
    count_error(machine, core);
}

/// What the server said when it refused the bearer.
pub(crate) struct ServerRefusal<'a> {
    /// Its answer as the client would get it, line ends included.
    pub(crate) answer: &'a [u8],
    /// The answer as one line, its tag left out.
    pub(crate) line: &'a [u8],
    /// The text in it, its codes left out.
    pub(crate) said: &'a [u8],
    /// The decoded error challenge; may be empty.
    pub(crate) challenge: &'a str,
    /// A fresh token might be accepted.
    pub(crate) token_at_fault: bool,
}

/// The server has refused the bearer: once more with a fresh one where that can help, else the client is told.
pub(crate) fn server_refused(
    machine: &mut dyn Machine,
    core: &mut Core,
    refusal: &ServerRefusal<'_>,
) {
    let said = redact::one_line(&String::from_utf8_lossy(refusal.said));
    let with_challenge = |text: &str| match refusal.challenge {
        "" => text.to_owned(),
        challenge => format!("{text} ({challenge})"),
    };
    let text = with_challenge(&said);
    if refusal.token_at_fault && core.try_again(Rejection { text }) {
        return;
    }
    let line = redact::one_line(&String::from_utf8_lossy(refusal.line));
    core.report_refusal(&with_challenge(&line));
    if refusal.token_at_fault {
        let text = messages::token_refused(core.login_name(), said);
        return refuse(machine, core, &Refusal::Denied(text));
    }
    // Its code and text are the server's own.
    core.end_attempt();
    core.tell_client(refusal.answer);
    count_error(machine, core);
}

/// Counts an error; one too many ends the session.
pub(crate) fn count_error(machine: &mut dyn Machine, core: &mut Core) {
    if core.phase == Phase::Dialogue && core.count_error() {
        let why = messages::TOO_MANY_ERRORS;
        machine.farewell(core, Farewell::TooManyErrors, why);
        core.close(Reason::Limit(Side::Client, why.into()));
    }
}

/// The server cannot be used: answers the login if there is one, else says goodbye; then closes.
pub(crate) fn unusable(machine: &mut dyn Machine, core: &mut Core, text: &str, reason: Reason) {
    if core.attempt.is_some() {
        core.end_attempt();
        machine.login_failed(core, &Refusal::Temporary(redact::one_line(text)));
    } else {
        machine.farewell(core, Farewell::Unavailable, text);
    }
    core.close(reason);
}
