//! A session, brought into a state and given one more input.

use super::{
    LIKE,
    page::{Action, Cell, Chapter},
};
use harness::driver::{Driver, SIDES, Seen};
use proxy_proto::{
    Bearer, LocalTls, Protocol, Refusal, Secret, SessionConfig, Side, Time, UpstreamTls,
};

/// The cell of an answer that nobody asks for, and of a server that is not there.
const IMPOSSIBLE: &str = "-";

/// A tag that nobody has used: `TAG` where no command is under way.
const NO_TAG: &str = "x1";

/// What came of an action.
#[derive(Debug, PartialEq)]
pub(super) struct Outcome {
    pub(super) lines: [Vec<String>; 2],
    pub(super) events: Vec<String>,
}

fn config(protocol: Protocol, path: &[Action]) -> SessionConfig {
    let mut config = SessionConfig::new(protocol);
    for action in path {
        if let Action::Option(option) = action {
            match option.as_str() {
                "server_starttls" => config.upstream_tls = UpstreamTls::StartTls,
                "local_starttls" => config.local_tls = LocalTls::StartTlsRequired,
                other => panic!("@ {other}?"),
            }
        }
    }
    config
}

impl Chapter {
    /// The whole path to a state, from a new session on.
    pub(super) fn path(&self, state: &str) -> Vec<Action> {
        let path = self.states.get(state);
        let path = path.unwrap_or_else(|| panic!("{} has no state {state}", self.protocol.name()));
        let whole = path.iter().flat_map(|action| match action {
            Action::From(state) => self.path(state),
            other => vec![other.clone()],
        });
        whole.collect()
    }

    /// A session in this state.
    fn reach(&self, path: &[Action]) -> Driver {
        let mut driver = Driver::new(config(self.protocol, path), usize::MAX);
        driver.connect("mail.example", 993);
        let mut tag = NO_TAG.to_owned();
        for action in path {
            let outcome = perform(&mut driver, action, &mut tag);
            assert!(
                driver.closed().is_none(),
                "{action:?} ends the session: {outcome:?}"
            );
        }
        driver
    }

    /// What comes of the last of these actions.
    pub(super) fn outcome(&self, path: &[Action], action: &Action) -> Outcome {
        let mut driver = self.reach(path);
        let mut tag = self.tag(path);
        let outcome = perform(&mut driver, action, &mut tag);
        assert_eq!(driver.faults, Vec::<String>::new(), "{path:?} {action:?}");
        assert_eq!(driver.leaks(), Vec::<String>::new(), "{path:?} {action:?}");
        assert_eq!(driver.malformed_lines(), None, "{path:?} {action:?}");
        outcome
    }

    /// The tag of the command that was last sent to the server on this path.
    pub(super) fn tag(&self, path: &[Action]) -> String {
        let mut driver = Driver::new(config(self.protocol, path), usize::MAX);
        driver.connect("mail.example", 993);
        let mut tag = NO_TAG.to_owned();
        for action in path {
            perform(&mut driver, action, &mut tag);
        }
        tag
    }

    /// The cells of a state, in every table that has it as a column; a state without one is like another.
    pub(super) fn column(&self, state: &str) -> Vec<(&Action, &Cell)> {
        let mut found = Vec::new();
        for table in &self.tables {
            let like = LIKE
                .iter()
                .find(|(it, _)| *it == state)
                .map(|(_, as_)| *as_);
            let at = |name: &str| table.columns.iter().position(|column| column == name);
            if let Some(at) = at(state).or_else(|| at(like?)) {
                let cells = table
                    .rows
                    .iter()
                    .map(|(action, cells)| (action, &cells[at]));
                found.extend(cells);
            }
        }
        found
    }
}

fn perform(driver: &mut Driver, action: &Action, tag: &mut String) -> Outcome {
    let impossible = match action {
        Action::Bearer | Action::Denied | Action::Temporary => !driver.asks_for_credentials(),
        Action::Line(Side::Server, _) | Action::Close(Side::Server) => {
            driver.read_budget(Side::Server) == 0
        }
        _ => false,
    };
    if impossible {
        return Outcome {
            lines: Default::default(),
            events: vec![IMPOSSIBLE.into()],
        };
    }
    match action {
        Action::Line(side, line) => {
            let line = line.replace("TAG", tag);
            driver.input(*side, format!("{line}\r\n").as_bytes());
        }
        Action::Close(side) => driver.eof(*side),
        Action::TlsDone(side) => driver.tls_established(*side).unwrap(),
        Action::Bearer => {
            let bearer = Bearer {
                token: Secret::new("a-token-of-some-length"),
                user: "me@example.com".into(),
                mechanism: None,
            };
            assert!(driver.credentials(Ok(bearer)));
        }
        Action::Denied => assert!(driver.credentials(Err(Refusal::Denied("no".into())))),
        Action::Temporary => assert!(driver.credentials(Err(Refusal::Temporary("no".into())))),
        Action::Wait => driver.pass(Time::from_secs(20)),
        Action::From(_) | Action::Option(_) => {}
    }
    if driver.events_so_far().contains(&Seen::Reconnect) {
        driver.connect("mail.example", 993);
    }
    let lines = SIDES.map(|side| {
        let sent = String::from_utf8(driver.take_sent(side)).unwrap();
        sent.split_terminator("\r\n")
            .map(str::to_owned)
            .collect::<Vec<_>>()
    });
    if let Some(command) = lines[1].iter().rfind(|line| line.contains(' ')) {
        *tag = command.split(' ').next().unwrap_or_default().to_owned();
    }
    let events = driver.take_events().iter().map(word).collect();
    Outcome { lines, events }
}

/// The page's word for an event.
fn word(event: &Seen) -> String {
    match event {
        Seen::UpgradeTls(side) => format!("TLS with the {side}"),
        Seen::Reconnect => "reconnect".into(),
        Seen::NeedCredentials { after: None, .. } => "login".into(),
        Seen::NeedCredentials { .. } => "once more".into(),
        Seen::Abandoned => "abandoned".into(),
        Seen::Authenticated { .. } => "accepted".into(),
        Seen::Refused { .. } => "refused".into(),
        Seen::Relay => "relay".into(),
        Seen::Closed(_) => event.canonical().replace("Closed", "closed"),
        other => other.canonical(),
    }
}
