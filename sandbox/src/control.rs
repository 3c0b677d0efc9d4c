//! Changing the sandbox's behaviour while it runs.

use crate::{Service, shared::Shared};
use std::{collections::VecDeque, io, sync::Arc, time::Duration};

/// A shared handle by which a test (or the demo) makes the servers behave otherwise from now on. Every change applies
/// to what happens after the call; connections that are past the point concerned are not touched.
#[derive(Clone)]
pub struct Control(pub(crate) Arc<Shared>);

/// How `expires_in` stands in token answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExpiresIn {
    /// A JSON number, as RFC 6749 §5.1 has it.
    #[default]
    Number,
    /// A JSON string, as some providers have it.
    Text,
    /// Left out.
    Missing,
}

/// A mail protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// RFC 3501.
    Imap,
    /// RFC 1939.
    Pop,
    /// RFC 6409.
    Smtp,
}

/// A SASL mechanism of the mail servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// Google's and Microsoft's mechanism.
    XOAuth2,
    /// RFC 7628.
    OAuthBearer,
}

impl Mechanism {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::XOAuth2 => "XOAUTH2",
            Mechanism::OAuthBearer => "OAUTHBEARER",
        }
    }
}

impl Control {
    /// How long access tokens issued from now on live; 3600 s at the start.
    pub fn set_token_lifetime(&self, lifetime: Duration) {
        self.0.behaviour().token_lifetime = lifetime;
    }

    /// Whether the refresh grant replaces the refresh token; the old one then is `invalid_grant`. Off at the start.
    pub fn set_rotate_refresh_tokens(&self, rotate: bool) {
        self.0.behaviour().rotate_refresh_tokens = rotate;
    }

    /// Replaces the next `count` answers of the token endpoint by this status and body (`application/json`). Requests
    /// answered so change nothing at the provider. Calls queue up.
    pub fn answer_token_requests(&self, count: usize, status: u16, body: impl Into<String>) {
        let body: Arc<str> = body.into().into();
        self.0
            .behaviour()
            .token_answers
            .push_back((count, status, body));
    }

    /// How long the token endpoint waits before it looks at a request; zero at the start.
    pub fn set_token_delay(&self, delay: Duration) {
        self.0.behaviour().token_delay = delay;
    }

    /// How `expires_in` stands in token answers.
    pub fn set_expires_in(&self, form: ExpiresIn) {
        self.0.behaviour().expires_in = form;
    }

    /// `interval` of device authorisation answers (RFC 8628 §3.2), whole seconds; 1 at the start.
    pub fn set_device_interval(&self, seconds: u64) {
        self.0.behaviour().device_interval = seconds;
    }

    /// Revokes every access token: the mail servers refuse them from now on; refresh tokens go on working.
    pub fn revoke_access_tokens(&self) {
        self.0.provider().revoke_access_tokens();
    }

    /// Revokes every access and refresh token and every code.
    pub fn revoke_all_tokens(&self) {
        self.0.provider().revoke_all();
    }

    /// Whether the IMAP server advertises and accepts an initial response (SASL-IR); on at the start. POP3 and SMTP
    /// always take the two-line form, SMTP the one-line form as well.
    pub fn set_sasl_ir(&self, on: bool) {
        self.0.behaviour().sasl_ir = on;
    }

    /// Which mechanisms a protocol's servers offer and accept; both at the start.
    pub fn set_mechanisms(&self, protocol: Protocol, mechanisms: &[Mechanism]) {
        self.0.behaviour().of(protocol).mechanisms = mechanisms.to_vec();
    }

    /// Whether the IMAP greeting names the capabilities (as Dovecot's does) or not (as Gmail's); on at the start.
    pub fn set_greeting_capabilities(&self, on: bool) {
        self.0.behaviour().greeting_capabilities = on;
    }

    /// Whether the plaintext ports of a protocol offer STARTTLS (STLS) and accept it; on at the start.
    pub fn set_starttls(&self, protocol: Protocol, on: bool) {
        self.0.behaviour().of(protocol).starttls = on;
    }

    /// Whether the plaintext ports of a protocol offer and accept credentials without TLS; off at the start. For
    /// showing that a client does not fall for it.
    pub fn set_plaintext_auth(&self, protocol: Protocol, on: bool) {
        self.0.behaviour().of(protocol).plaintext_auth = on;
    }

    /// Answers the next `count` credentials of a protocol with this final line, whatever they are, without a challenge
    /// before it: `NO [ALERT] …` or `BAD …` in IMAP (the tag is put before it), `-ERR …` in POP3, `454 4.7.0 …` in
    /// SMTP. Zero ends it.
    pub fn answer_credentials(&self, protocol: Protocol, count: usize, line: impl Into<String>) {
        let line: Arc<str> = line.into().into();
        self.0.behaviour().of(protocol).credentials_answer = (count > 0).then_some((count, line));
    }

    /// Sends these bytes in the same write as the positive answer to STARTTLS (STLS), as an attacker in the middle
    /// would; `None` ends it.
    pub fn inject_after_starttls(&self, protocol: Protocol, bytes: Option<Vec<u8>>) {
        self.0.behaviour().of(protocol).injection = bytes;
    }

    /// Closes the connection instead of answering the next `count` credentials of a protocol.
    pub fn close_after_credentials(&self, protocol: Protocol, count: usize) {
        self.0.behaviour().of(protocol).close_after_credentials = count;
    }

    /// Closes every open connection of a service now.
    pub fn close_connections(&self, service: Service) {
        self.0.close_connections(service);
    }

    /// Makes a service's port refuse connections (its sockets are closed), or serve again on the same port. Returns
    /// when it is so. Open connections go on.
    ///
    /// # Errors
    /// The port was taken meanwhile, or the sandbox has ended.
    pub fn refuse_connections(&self, service: Service, refuse: bool) -> io::Result<()> {
        self.0.refuse_connections(service, refuse)
    }
}

/// The settings behind [`Control`].
pub(crate) struct Behaviour {
    pub(crate) token_lifetime: Duration,
    pub(crate) rotate_refresh_tokens: bool,
    pub(crate) token_answers: VecDeque<(usize, u16, Arc<str>)>,
    pub(crate) token_delay: Duration,
    pub(crate) expires_in: ExpiresIn,
    pub(crate) device_interval: u64,
    pub(crate) sasl_ir: bool,
    pub(crate) greeting_capabilities: bool,
    protocols: [ProtocolBehaviour; 3],
}

/// What is set for each protocol.
#[derive(Clone)]
pub(crate) struct ProtocolBehaviour {
    pub(crate) mechanisms: Vec<Mechanism>,
    pub(crate) starttls: bool,
    pub(crate) plaintext_auth: bool,
    pub(crate) credentials_answer: Option<(usize, Arc<str>)>,
    pub(crate) injection: Option<Vec<u8>>,
    pub(crate) close_after_credentials: usize,
}

impl Default for Behaviour {
    fn default() -> Self {
        let protocol = ProtocolBehaviour {
            mechanisms: vec![Mechanism::XOAuth2, Mechanism::OAuthBearer],
            starttls: true,
            plaintext_auth: false,
            credentials_answer: None,
            injection: None,
            close_after_credentials: 0,
        };
        Behaviour {
            token_lifetime: Duration::from_secs(3600),
            rotate_refresh_tokens: false,
            token_answers: VecDeque::new(),
            token_delay: Duration::ZERO,
            expires_in: ExpiresIn::Number,
            device_interval: 1,
            sasl_ir: true,
            greeting_capabilities: true,
            protocols: [protocol.clone(), protocol.clone(), protocol],
        }
    }
}

impl Behaviour {
    pub(crate) fn of(&mut self, protocol: Protocol) -> &mut ProtocolBehaviour {
        &mut self.protocols[protocol as usize]
    }

    /// The answer that was ordered for this token request, if one was.
    pub(crate) fn take_token_answer(&mut self) -> Option<(u16, Arc<str>)> {
        while let Some((count, status, body)) = self.token_answers.front_mut() {
            if *count > 0 {
                *count -= 1;
                return Some((*status, body.clone()));
            }
            self.token_answers.pop_front();
        }
        None
    }
}

impl ProtocolBehaviour {
    /// Whether these credentials are answered by closing.
    pub(crate) fn take_close(&mut self) -> bool {
        let close = self.close_after_credentials > 0;
        self.close_after_credentials = self.close_after_credentials.saturating_sub(1);
        close
    }

    /// The final line that was ordered for these credentials, if one was.
    pub(crate) fn take_answer(&mut self) -> Option<Arc<str>> {
        let (count, line) = self.credentials_answer.as_mut()?;
        let line = line.clone();
        *count -= 1;
        if *count == 0 {
            self.credentials_answer = None;
        }
        Some(line)
    }
}
