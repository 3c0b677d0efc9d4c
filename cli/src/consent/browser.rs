//! Opens the system's browser by itself.

use super::{WaitingConsent, address, program};
use crate::messages::consent as texts;
use std::{
    collections::HashMap,
    env,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tracing::{debug, warn};
use url::Url;

/// For one account at most so often: a mail program that tries again and again shall not fill the screen.
const PAUSE: Duration = Duration::from_secs(600);
/// What goes wrong later is not the start of a browser any more.
const TIME: Duration = Duration::from_secs(20);

/// Which accounts it was opened for; clones are the same one.
#[derive(Clone, Default)]
pub(super) struct Browser {
    opened: Arc<Mutex<HashMap<Arc<str>, Instant>>>,
}

impl Browser {
    /// Opens the consent's page, if its user is likely to sit in front of this machine. `false` where it is not done.
    pub(super) fn open(&self, consent: &WaitingConsent) -> bool {
        if !has_desktop() || !self.may_open(consent, Instant::now()) {
            return false;
        }
        let words = opener(consent.url());
        let account = consent.account.clone();
        smol::spawn(async move {
            match program::start(&words, TIME).await {
                Ok(()) => debug!(%account, "{}", texts::BROWSER_OPENED),
                Err(why) => warn!(%account, "{}", texts::browser_not_opened(why)),
            }
        })
        .detach();
        true
    }

    /// Whether it may be, and from then on not again for a while.
    fn may_open(&self, consent: &WaitingConsent, now: Instant) -> bool {
        let here = consent
            .client
            .is_none_or(|client| client.to_canonical().is_loopback());
        if !here || !is_page(consent.url()) {
            return false;
        }
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.retain(|_, at| now.duration_since(*at) < PAUSE);
        if opened.contains_key(&consent.account) {
            return false;
        }
        opened.insert(consent.account.clone(), now);
        true
    }
}

/// Only pages of the web: what else an address may name, a program for it could do harm with.
fn is_page(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| match url.scheme() {
        "https" => url.has_host(),
        "http" => address::is_loopback(&url),
        _ => false,
    })
}

/// Whether somebody may sit in front of this machine.
pub(super) fn has_desktop() -> bool {
    if cfg!(any(target_os = "macos", windows)) {
        return env::var_os("SSH_CONNECTION").is_none();
    }
    let set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    set("DISPLAY") || set("WAYLAND_DISPLAY")
}

/// The system's own program for it. The address is an argument: no shell reads it.
fn opener(url: &str) -> Vec<String> {
    let words: &[&str] = if cfg!(target_os = "macos") {
        &["open", url]
    } else if cfg!(windows) {
        &["rundll32", "url.dll,FileProtocolHandler", url]
    } else {
        &["xdg-open", url]
    };
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consent::{Waiting, waiting::tests::request};

    fn consent(account: &str, client: Option<&str>, url: &str) -> WaitingConsent {
        let waiting = Waiting::default();
        let mut request = request(account, "A");
        request.who.client = client.map(|client| client.parse().expect("an address"));
        waiting
            .begin_code(&request, "http://localhost", url)
            .shown
            .clone()
    }

    #[test]
    fn it_is_opened_for_those_who_sit_here_and_for_pages_only() {
        let page = "https://p.example/authorize?x=1";
        for (client, url, expected) in [
            (None, page, true),
            (Some("127.0.0.1"), page, true),
            (Some("::1"), page, true),
            (Some("::ffff:127.0.0.1"), page, true),
            (Some("192.0.2.7"), page, false),
            (Some("::ffff:192.0.2.7"), page, false),
            (None, "http://localhost:8080/authorize", true),
            (None, "http://[::1]:8080/authorize", true),
            (None, "http://p.example/authorize", false),
            (None, "http://localhost.p.example/", false),
            (None, "file:///etc/passwd", false),
            (None, "javascript:alert(1)", false),
            (None, "--help", false),
            (None, "", false),
        ] {
            let consent = consent("ada@example.org", client, url);
            let may = Browser::default().may_open(&consent, Instant::now());
            assert_eq!(may, expected, "{client:?} {url}");
        }
    }

    #[test]
    fn it_is_opened_once_for_an_account_in_ten_minutes() {
        let browser = Browser::default();
        let [ada, brook] = ["ada@example.org", "brook@example.org"]
            .map(|a| consent(a, None, "https://p.example/"));
        let now = Instant::now();
        let later = |seconds| now + Duration::from_secs(seconds);
        assert!(browser.may_open(&ada, now));
        assert!(!browser.may_open(&ada, later(599)));
        assert!(browser.may_open(&brook, later(1)));
        assert!(browser.may_open(&ada, later(600)));
    }
}
