//! What happened, for assertions.

use crate::{Protocol, Service, shared::Shared};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// A shared handle on the record of everything that came in. Secrets are in it, as they came: it is for tests, and is
/// never written anywhere. Each list keeps its newest entries, 50,000 at least; lines and mails only as many as fit
/// into 256 MiB, the newest one always.
#[derive(Clone)]
pub struct Log(pub(crate) Arc<Shared>);

impl Log {
    /// Every request to the token endpoint, in order of arrival.
    pub fn token_requests(&self) -> Vec<TokenRequest> {
        self.0.record().token_requests.clone()
    }

    /// The parameters of every request for the consent page.
    pub fn authorizations(&self) -> Vec<Vec<(String, String)>> {
        self.0.record().authorizations.clone()
    }

    /// Every line that a mail server received before login, without its CRLF.
    pub fn lines(&self) -> Vec<ReceivedLine> {
        self.0.record().lines.clone()
    }

    /// Every mail that was accepted by SMTP.
    pub fn mails(&self) -> Vec<ReceivedMail> {
        self.0.record().mails.clone()
    }

    /// How many connections a service has accepted.
    pub fn connections(&self, service: Service) -> usize {
        self.0
            .record()
            .connections
            .get(&service)
            .copied()
            .unwrap_or(0)
    }

    /// How many connections of a service are open now.
    pub fn open_connections(&self, service: Service) -> usize {
        self.0.record().open.get(&service).copied().unwrap_or(0)
    }

    /// How many logins a protocol's servers have accepted.
    pub fn logins(&self, protocol: Protocol) -> usize {
        self.0.record().logins.get(&protocol).copied().unwrap_or(0)
    }

    /// Blocks until `condition` holds, looking again whenever something is recorded. Returns false when it still does
    /// not hold after `limit`.
    pub fn wait(&self, limit: Duration, condition: impl Fn(&Log) -> bool) -> bool {
        let end = Instant::now() + limit;
        loop {
            let seen = self.0.record().changes;
            if condition(self) {
                return true;
            }
            let mut record = self.0.record();
            while record.changes == seen {
                let Some(left) = end.checked_duration_since(Instant::now()) else {
                    return false;
                };
                record = self.0.wait_for_change(record, left);
            }
        }
    }

    /// Forgets everything recorded so far, the open connections excepted.
    pub fn clear(&self) {
        let mut record = self.0.record();
        let open = std::mem::take(&mut record.open);
        *record = Record {
            open,
            changes: record.changes + 1,
            ..Record::default()
        };
    }
}

/// One request to the token endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRequest {
    /// `grant_type`; empty when the request had none.
    pub grant_type: String,
    /// All parameters of the body, decoded, in order.
    pub parameters: Vec<(String, String)>,
    /// The `Authorization` header, when there was one.
    pub authorization: Option<String>,
    /// HTTP status of the answer; `None` while it is not answered.
    pub status: Option<u16>,
}

impl TokenRequest {
    /// The value of a parameter.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// A line that a mail server received before login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedLine {
    /// Who received it.
    pub service: Service,
    /// Number of the connection, counted over all services from 1.
    pub connection: u64,
    /// Whether it came through TLS.
    pub secure: bool,
    /// The bytes, without CRLF.
    pub line: Vec<u8>,
}

impl ReceivedLine {
    /// The line as text, bytes that are not UTF-8 replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.line).into_owned()
    }
}

/// A mail accepted by SMTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedMail {
    /// The account that submitted it.
    pub user: String,
    /// `MAIL FROM`.
    pub sender: String,
    /// `RCPT TO`, in order.
    pub recipients: Vec<String>,
    /// The message as transmitted, dot-stuffing undone.
    pub message: Arc<[u8]>,
}

/// The lists behind [`Log`].
#[derive(Default)]
pub(crate) struct Record {
    pub(crate) changes: u64,
    /// How many token requests were dropped from the front: keeps their numbers valid.
    pub(crate) dropped_token_requests: u64,
    pub(crate) token_requests: Vec<TokenRequest>,
    pub(crate) authorizations: Vec<Vec<(String, String)>>,
    pub(crate) lines: Vec<ReceivedLine>,
    pub(crate) line_octets: usize,
    pub(crate) mails: Vec<ReceivedMail>,
    pub(crate) mail_octets: usize,
    pub(crate) connections: BTreeMap<Service, usize>,
    pub(crate) open: BTreeMap<Service, usize>,
    pub(crate) logins: BTreeMap<Protocol, usize>,
}

/// Entries per list.
const KEEP: usize = 100_000;
/// Octets of lines, and of mails.
const KEEP_OCTETS: usize = 256 << 20;

/// Appends; a full list loses its older half first. Says how many entries were dropped.
pub(crate) fn push<T>(list: &mut Vec<T>, item: T) -> u64 {
    let mut dropped = 0;
    if list.len() >= KEEP {
        list.drain(..KEEP / 2);
        dropped = (KEEP / 2) as u64;
    }
    list.push(item);
    dropped
}

/// Appends to a list whose entries have a size; `octets` is their sum. What is oldest makes room.
pub(crate) fn push_sized<T>(
    list: &mut Vec<T>,
    octets: &mut usize,
    item: T,
    size: impl Fn(&T) -> usize,
) {
    *octets += size(&item);
    if list.len() >= KEEP || *octets > KEEP_OCTETS {
        let old = list.drain(..list.len().div_ceil(2));
        *octets -= old.map(|old| size(&old)).sum::<usize>();
    }
    list.push(item);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_bounded() {
        let (mut list, mut octets) = (Vec::new(), 0);
        for number in 0..40 {
            // Only the size counts, nothing of it is held.
            push_sized(&mut list, &mut octets, number, |_| KEEP_OCTETS / 10);
            assert!(octets <= KEEP_OCTETS, "{octets}");
            assert_eq!(list.last(), Some(&number));
        }
        assert_eq!(octets, list.len() * (KEEP_OCTETS / 10));

        let mut list = Vec::new();
        let dropped: u64 = (0..KEEP + 1).map(|number| push(&mut list, number)).sum();
        assert_eq!((dropped as usize, list.len()), (KEEP / 2, KEEP / 2 + 1));
        assert_eq!(list.last(), Some(&KEEP));
    }
}
