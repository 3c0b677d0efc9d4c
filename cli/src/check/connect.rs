//! `--connect`: each server once, each address of a provider once, side by side.

use super::certificate::{End, SOON};
use crate::{messages::check as texts, proxy};
use oauth::{
    settings::{Account, FlowKind, Settings},
    transport::{Http, Request, Transport, TransportError},
};
use proxy_proto::{Protocol, RedactedLine, Side};
use proxy_runtime::{ListenerConfig, OutgoingProxy, Trust};
use proxy_runtime_std::{Survey, survey};
use serde_json::Value;
use std::{
    collections::VecDeque,
    io::{self, IsTerminal, Write},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};
use zeroize::Zeroizing;

/// How long one connection may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// So many at a time.
const AT_ONCE: usize = 8;

/// What became of one server.
#[derive(Debug)]
pub(super) struct Reached {
    /// The headings that use it.
    pub(super) headings: Vec<String>,
    /// `imap.example.com:993`.
    pub(super) server: String,
    pub(super) outcome: Result<Offer, String>,
}

/// What a server offers.
#[derive(Debug, Default)]
pub(super) struct Offer {
    pub(super) address: String,
    pub(super) tls: &'static str,
    pub(super) starttls: bool,
    pub(super) greeting: String,
    /// Until when the certificate is valid, and how many days that is.
    pub(super) certificate: Option<(String, i64)>,
    /// SASL mechanisms as advertised.
    pub(super) mechanisms: Vec<String>,
    /// IMAP's initial responses (RFC 4959).
    pub(super) sasl_ir: bool,
    pub(super) warnings: Vec<String>,
}

/// What became of one address of a provider.
#[derive(Debug)]
pub(super) struct Answered {
    /// `token_url` or `permission_url`.
    pub(super) option: &'static str,
    pub(super) url: String,
    pub(super) accounts: Vec<String>,
    pub(super) outcome: Result<Reply, String>,
}

/// What a provider says to a request that asks for nothing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reply {
    /// The HTTP status, whatever it is.
    pub(super) status: u16,
    /// The code of an OAuth error, if that is what the answer holds.
    pub(super) error: Option<String>,
    /// It is hardly the address that it should be.
    pub(super) warning: Option<&'static str>,
}

/// How an address of a provider is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Endpoint {
    /// As a browser does, by GET.
    Page,
    /// As programs do, by an empty POST, which OAuth's own endpoints refuse in their own way (RFC 6749 §5.2).
    Program,
}

enum Job {
    Server(usize, Box<ListenerConfig>),
    Url(usize, String, Endpoint),
}

enum Done {
    Server(usize, Result<Box<Survey>, String>),
    Url(usize, Result<Reply, String>),
}

/// Tries all of them. What does not answer in time is told so.
pub(super) fn all(settings: &Settings) -> (Vec<Reached>, Vec<Answered>) {
    let through = match proxy::outgoing_proxy(settings) {
        Ok(through) => through,
        // It has been told; without it no connection may be made.
        Err(_) => return (Vec::new(), Vec::new()),
    };
    let mut jobs = VecDeque::new();
    let mut servers = servers(settings, through, &mut jobs);
    let mut providers = providers(settings, &mut jobs);
    let (protocols, starttls): (Vec<Protocol>, Vec<bool>) =
        servers.iter().map(|one| (one.1, one.2)).unzip();
    for done in run(jobs) {
        match done {
            Done::Server(index, result) => {
                servers[index].0.outcome =
                    result.map(|survey| offer(protocols[index], starttls[index], &survey));
            }
            Done::Url(index, result) => providers[index].outcome = result,
        }
    }
    (servers.into_iter().map(|one| one.0).collect(), providers)
}

/// One job for each server that is connected to in its own way.
fn servers(
    settings: &Settings,
    through: Option<Arc<OutgoingProxy>>,
    jobs: &mut VecDeque<Job>,
) -> Vec<(Reached, Protocol, bool)> {
    let trust = Trust::new();
    let mut found: Vec<(Reached, Protocol, bool)> = Vec::new();
    let mut keys = Vec::new();
    for server in &settings.servers {
        let Ok(mut config) = proxy::listener(server, &trust, false) else {
            continue;
        };
        let key = (
            server.protocol,
            server.server_address.to_ascii_lowercase(),
            server.server_port,
            server.server_starttls,
            server.server_ca_path.clone(),
        );
        if let Some(index) = keys.iter().position(|known| *known == key) {
            found[index].0.headings.push(server.heading.to_string());
            continue;
        }
        keys.push(key);
        config.outgoing_proxy.clone_from(&through);
        jobs.push_back(Job::Server(found.len(), Box::new(config)));
        let reached = Reached {
            headings: vec![server.heading.to_string()],
            server: format!("{}:{}", server.server_address, server.server_port),
            outcome: Err(texts::SILENT.to_owned()),
        };
        found.push((reached, server.protocol, server.server_starttls));
    }
    found
}

fn providers(settings: &Settings, jobs: &mut VecDeque<Job>) -> Vec<Answered> {
    let mut found: Vec<Answered> = Vec::new();
    for account in settings.accounts() {
        for (option, url, endpoint) in addresses(account) {
            if let Some(known) = found.iter_mut().find(|known| known.url == url) {
                known.accounts.push(account.name.to_string());
                continue;
            }
            if !url.contains("***") {
                jobs.push_back(Job::Url(found.len(), url.clone(), endpoint));
            }
            let outcome = match url.contains("***") {
                true => texts::PLACEHOLDER,
                false => texts::SILENT,
            };
            found.push(Answered {
                option,
                url,
                accounts: vec![account.name.to_string()],
                outcome: Err(outcome.to_owned()),
            });
        }
    }
    found
}

fn addresses(account: &Account) -> Vec<(&'static str, String, Endpoint)> {
    let mut addresses = vec![("token_url", account.token_url.clone(), Endpoint::Program)];
    let asked = match account.flow {
        FlowKind::AuthorizationCode => Some(Endpoint::Page),
        FlowKind::Device => Some(Endpoint::Program),
        _ => None,
    };
    if let (Some(endpoint), Some(url)) = (asked, &account.permission_url) {
        addresses.push(("permission_url", url.clone(), endpoint));
    }
    addresses
}

/// Works the jobs off on a few threads. A name service that hangs keeps its thread, but nobody waits for it.
fn run(jobs: VecDeque<Job>) -> Vec<Done> {
    let total = jobs.len();
    let (sender, done) = mpsc::channel();
    let jobs = Arc::new(Mutex::new(jobs));
    let http = Http::with_timeouts(PATIENCE / 2, PATIENCE).map(Arc::new);
    for _ in 0..total.min(AT_ONCE) {
        let (jobs, sender, http) = (jobs.clone(), sender.clone(), http.clone());
        let work = move || {
            loop {
                let next = jobs
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .pop_front();
                let Some(job) = next else {
                    return;
                };
                if sender.send(job.run(http.as_deref())).is_err() {
                    return;
                }
            }
        };
        // Without a thread its share is worked off by the others, or told as unanswered.
        let _ = thread::Builder::new().name("check".to_owned()).spawn(work);
    }
    drop(sender);
    let rounds = u32::try_from(total.div_ceil(AT_ONCE)).unwrap_or(u32::MAX);
    let deadline = Instant::now() + PATIENCE.saturating_mul(rounds.saturating_mul(2));
    let mut progress = Progress::new(total);
    let mut all = Vec::new();
    while all.len() < total && Instant::now() < deadline {
        progress.show(all.len());
        match done.recv_timeout(Duration::from_millis(500)) {
            Ok(one) => all.push(one),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    progress.clear();
    all
}

impl Job {
    fn run(self, http: Result<&Http, &TransportError>) -> Done {
        match self {
            Job::Server(index, config) => {
                Done::Server(index, survey(&config, PATIENCE).map(Box::new))
            }
            Job::Url(index, url, endpoint) => {
                let form = (endpoint == Endpoint::Program).then(Zeroizing::default);
                let request = Request { url, form };
                let answer = http
                    .map_err(Clone::clone)
                    .and_then(|http| smol::block_on(http.send(request)));
                let reply = answer.map(|answer| reply(endpoint, answer.status, &answer.body));
                Done::Url(index, reply.map_err(|error| error.0))
            }
        }
    }
}

fn reply(endpoint: Endpoint, status: u16, body: &[u8]) -> Reply {
    let said: Option<Value> = serde_json::from_slice(body).ok();
    let error = said.as_ref().and_then(|said| said.get("error")?.as_str());
    // What is no code is not shown.
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let error = error.filter(|code| code.len() <= 64 && code.chars().all(plain));
    let warning = match endpoint {
        _ if status >= 500 => Some(texts::PROVIDER_IN_TROUBLE),
        Endpoint::Page if matches!(status, 404 | 410) => Some(texts::NO_SUCH_PAGE),
        Endpoint::Program if error.is_none() => Some(texts::NOT_OAUTH),
        _ => None,
    };
    Reply {
        status,
        error: error.map(str::to_owned),
        warning,
    }
}

/// A line at the terminal that counts.
struct Progress {
    shown: bool,
    total: usize,
    began: Instant,
}

impl Progress {
    fn new(total: usize) -> Self {
        Progress {
            shown: io::stderr().is_terminal() && total > 0,
            total,
            began: Instant::now(),
        }
    }

    fn show(&self, done: usize) {
        if self.shown {
            let seconds = self.began.elapsed().as_secs();
            let text = texts::connecting(done, self.total, seconds);
            eprint!("\r\x1b[K{text}");
            let _ = io::stderr().flush();
        }
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            eprint!("\r\x1b[K");
        }
    }
}

fn offer(protocol: Protocol, starttls: bool, survey: &Survey) -> Offer {
    let mut offer = read(protocol, &survey.dialogue);
    offer.address = survey.address.to_string();
    offer.tls = survey.tls;
    offer.starttls = starttls;
    if let Some(end) = survey.certificates.first().and_then(End::of) {
        let days = end.days();
        offer.certificate = Some((end.date(), days));
        if days < SOON {
            offer.warnings.push(texts::its_certificate_ends(days));
        }
    }
    let tokens = ["XOAUTH2", "OAUTHBEARER"];
    let takes_tokens = |name: &String| tokens.iter().any(|token| name.eq_ignore_ascii_case(token));
    if !offer.mechanisms.iter().any(takes_tokens) {
        offer.warnings.push(texts::TAKES_NO_TOKENS.to_owned());
    }
    offer
}

/// Finds in the dialogue what the server offers: what it said last counts, because before TLS it may have said something else.
fn read(protocol: Protocol, dialogue: &[RedactedLine]) -> Offer {
    let mut offer = Offer::default();
    for line in dialogue.iter().filter(|line| line.side == Side::Server) {
        let text = line.text.as_str();
        if line.sent {
            // POP's and SMTP's lists have several lines: the next one begins here.
            if matches!(protocol, Protocol::Pop | Protocol::Smtp) {
                offer.mechanisms.clear();
            }
            continue;
        }
        if offer.greeting.is_empty() {
            offer.greeting = text.to_owned();
        }
        let upper = text.to_ascii_uppercase();
        match protocol {
            Protocol::Imap => {
                let Some(at) = upper.find("CAPABILITY ") else {
                    continue;
                };
                if !(upper.starts_with("* CAPABILITY") || upper[..at].ends_with('[')) {
                    continue;
                }
                let list = upper[at + "CAPABILITY ".len()..].split(']').next();
                let words = || list.unwrap_or_default().split_whitespace();
                let mechanisms = words().filter_map(|word| word.strip_prefix("AUTH="));
                offer.mechanisms = mechanisms.map(str::to_owned).collect();
                offer.sasl_ir = words().any(|word| word == "SASL-IR");
            }
            Protocol::Pop => {
                if let Some(list) = upper.strip_prefix("SASL ") {
                    offer.mechanisms = list.split_whitespace().map(str::to_owned).collect();
                }
            }
            Protocol::Smtp => {
                let keyword = upper
                    .strip_prefix("250-")
                    .or_else(|| upper.strip_prefix("250 "));
                if let Some(list) = keyword.and_then(|keyword| keyword.strip_prefix("AUTH ")) {
                    offer.mechanisms = list.split_whitespace().map(str::to_owned).collect();
                }
            }
        }
    }
    offer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_lines(protocol: Protocol, lines: &[&str]) -> Offer {
        let lines: Vec<RedactedLine> = lines
            .iter()
            .map(|line| RedactedLine {
                side: Side::Server,
                sent: line.starts_with("> "),
                text: line.trim_start_matches("> ").to_owned(),
            })
            .collect();
        read(protocol, &lines)
    }

    #[test]
    fn an_address_that_answers_in_another_way_is_doubted() {
        use Endpoint::{Page, Program};
        let refusal = br#"{"error":"invalid_request","error_description":"grant_type is missing"}"#;
        let good = reply(Program, 400, refusal);
        assert_eq!(good.error.as_deref(), Some("invalid_request"));
        assert_eq!(good.warning, None);
        for (endpoint, status, body) in [
            (Program, 404, &b"<html>not here</html>"[..]),
            (Program, 200, b"{\"error\":{\"code\":1}}"),
            (Program, 400, b"{\"error\":\"\\u001b[2J\"}"),
            (Page, 404, b""),
            (Page, 500, b""),
            (Program, 503, refusal),
        ] {
            let doubted = reply(endpoint, status, body);
            assert!(doubted.warning.is_some(), "{endpoint:?} {status}");
        }
        for status in [200, 302, 400, 405] {
            assert_eq!(reply(Page, status, b"<html>").warning, None, "{status}");
        }
    }

    #[test]
    fn the_last_list_counts() {
        let imap = read_lines(
            Protocol::Imap,
            &[
                "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN STARTTLS] hello capability me",
                "> S1 STARTTLS",
                "S1 OK go ahead",
                "> S2 CAPABILITY",
                "* CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2 AUTH=OAUTHBEARER",
                "S2 OK capability done",
            ],
        );
        assert_eq!(imap.mechanisms, ["XOAUTH2", "OAUTHBEARER"]);
        assert!(imap.sasl_ir);
        assert!(imap.greeting.ends_with("hello capability me"));
        let smtp = read_lines(
            Protocol::Smtp,
            &[
                "220 mx AUTH ready",
                "> EHLO localhost",
                "250-mx",
                "250 AUTH LOGIN",
                "> STARTTLS",
                "220 go",
                "> EHLO localhost",
                "250-mx",
                "250-AUTH LOGIN XOAUTH2",
                "250 SIZE 1",
            ],
        );
        assert_eq!(smtp.mechanisms, ["LOGIN", "XOAUTH2"]);
        let pop = read_lines(
            Protocol::Pop,
            &["+OK", "> CAPA", "+OK", "USER", "SASL PLAIN XOAUTH2", "."],
        );
        assert_eq!(pop.mechanisms, ["PLAIN", "XOAUTH2"]);
        let none = read_lines(Protocol::Smtp, &["220 x", "> EHLO localhost", "250 x"]);
        assert!(none.mechanisms.is_empty());
    }
}
