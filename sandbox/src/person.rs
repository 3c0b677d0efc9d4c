//! A browser with a user in front of it.

use rustls::ClientConfig;
use std::{io, sync::Arc};

/// Someone who opens the URL that the proxy shows, and presses a button on the provider's page.
#[derive(Clone)]
pub struct Person {
    tls: Arc<ClientConfig>,
    account: Option<String>,
}

/// Where the browser ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visit {
    /// The address bar: the last URL that was asked for, normally the redirect URI with `code` and `state`.
    pub url: String,
    /// The status of the page there; `None` when nothing answers at that address (as when the URL is to be pasted at a
    /// terminal).
    pub status: Option<u16>,
    /// The page there, at most 1 MiB.
    pub body: String,
}

impl Person {
    pub(crate) fn trusting(tls: Arc<ClientConfig>) -> Person {
        Person { tls, account: None }
    }

    /// The same person, choosing this account on the page instead of the one that the client suggested.
    #[must_use]
    pub fn choosing(mut self, account: impl Into<String>) -> Person {
        self.account = Some(account.into());
        self
    }

    /// Opens the URL (an authorisation URL, or a `verification_uri_complete`), approves, and follows the redirects to
    /// the last page. Blocks the thread.
    ///
    /// # Errors
    /// The provider does not answer, or its page has no such button: the error holds the page's text.
    pub fn approve(&self, url: &str) -> io::Result<Visit> {
        smol::block_on(self.decide(url, "approve"))
    }

    /// Opens the URL and denies; see [`Person::approve`].
    ///
    /// # Errors
    /// As [`Person::approve`].
    pub fn deny(&self, url: &str) -> io::Result<Visit> {
        smol::block_on(self.decide(url, "deny"))
    }

    /// [`Person::approve`] for async callers, on any executor.
    ///
    /// # Errors
    /// As [`Person::approve`].
    pub async fn approve_async(&self, url: &str) -> io::Result<Visit> {
        self.decide(url, "approve").await
    }

    /// [`Person::deny`] for async callers, on any executor.
    ///
    /// # Errors
    /// As [`Person::approve`].
    pub async fn deny_async(&self, url: &str) -> io::Result<Visit> {
        self.decide(url, "deny").await
    }

    async fn decide(&self, _url: &str, _decision: &str) -> io::Result<Visit> {
        let _ = (&self.tls, &self.account);
        Err(io::ErrorKind::Unsupported.into())
    }
}
