//! Calls the user who does not look: `notify_command`, and the desktop's notifications.

use super::{
    Ask, WaitingConsent, circumstances,
    program::{self, one_line, run},
};
use crate::messages::{consent as texts, sentence};
use oauth::settings::Options;
use smol::lock::Semaphore;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tracing::{debug, error, info, warn};

/// How long a command may take.
const TIME: Duration = Duration::from_secs(30);
/// Commands that run at once; for further consents none is run.
const AT_ONCE: usize = 8;

/// `notify_command`; clones are the same one.
#[derive(Clone)]
pub(super) struct Notifier {
    words: Arc<Mutex<Option<Vec<String>>>>,
    running: Arc<Semaphore>,
}

impl Default for Notifier {
    fn default() -> Self {
        Notifier {
            words: Arc::default(),
            running: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }
}

impl Notifier {
    /// Takes the option over. One that cannot be split into words is named in the log, and not run.
    pub(super) fn configure(&self, options: &Options) {
        let words = options.notify_command.as_deref().map(program::words);
        if let Some(Err(why)) = &words {
            error!("{}", texts::notify_command_is_none(why));
        }
        *self.words.lock().unwrap_or_else(PoisonError::into_inner) = words.and_then(Result::ok);
    }

    /// Runs the command for this consent, if there is one, without waiting for it.
    pub(super) fn tell(&self, consent: &WaitingConsent) {
        let words = self
            .words
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let Some(words) = words else { return };
        let account = consent.account.clone();
        let Some(permit) = self.running.try_acquire_arc() else {
            warn!(%account, "{}", texts::notify_command_runs(AT_ONCE));
            return;
        };
        let environment = environment(consent);
        smol::spawn(async move {
            match run(&words, &environment, TIME).await {
                Ok(output) if output.trim().is_empty() => {
                    debug!(%account, "{}", texts::NOTIFY_COMMAND_RUN)
                }
                Ok(output) => info!(%account, "{}", texts::notify_command(one_line(&output))),
                Err(why) => warn!(%account, "{}", texts::notify_command(why)),
            }
            drop(permit);
        })
        .detach();
    }
}

/// What the command is told. Nothing of it is a password or a token.
fn environment(consent: &WaitingConsent) -> Vec<(&'static str, String)> {
    let (kind, code, redirect_uri) = match &consent.kind {
        Ask::Browser { redirect_uri, .. } => ("browser", "", redirect_uri.as_str()),
        Ask::Device { code, .. } => ("device", code.as_str(), ""),
    };
    let client = consent
        .client
        .map_or_else(String::new, |client| client.to_string());
    let differs = if consent.password_differs {
        "yes"
    } else {
        "no"
    };
    vec![
        ("EMAILPROXY_ACCOUNT", consent.account.to_string()),
        ("EMAILPROXY_USER", consent.user.to_string()),
        ("EMAILPROXY_CLIENT", client),
        ("EMAILPROXY_PASSWORD_DIFFERS", differs.to_owned()),
        ("EMAILPROXY_KIND", kind.to_owned()),
        ("EMAILPROXY_URL", consent.url().to_owned()),
        ("EMAILPROXY_CODE", code.to_owned()),
        ("EMAILPROXY_REDIRECT_URI", redirect_uri.to_owned()),
        (
            "EMAILPROXY_EXPIRES_IN",
            consent.left().as_secs().to_string(),
        ),
    ]
}

/// Shows a notification on the desktop. It holds no address: others may look at the screen.
pub(super) fn on_desktop(consent: &WaitingConsent) {
    let title = texts::notification_title(&consent.account);
    let circumstances = circumstances(&consent.who());
    let body = match &consent.kind {
        Ask::Browser { .. } => texts::notification(circumstances),
        Ask::Device { .. } => texts::notification_of_code(circumstances),
    };
    let words = notification(&title, &sentence(&body));
    smol::spawn(async move {
        if let Err(why) = run(&words, &[], TIME).await {
            debug!("{}", texts::no_notification(why));
        }
    })
    .detach();
}

#[cfg(not(any(target_os = "macos", windows)))]
fn notification(title: &str, body: &str) -> Vec<String> {
    // The body may hold markup (Desktop Notifications Specification, "Markup").
    let body = body
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    let words = [
        "notify-send",
        "--app-name=emailproxy",
        "--icon=mail-unread",
        "--",
        title,
        &body,
    ];
    words.map(str::to_owned).into()
}

#[cfg(target_os = "macos")]
fn notification(title: &str, body: &str) -> Vec<String> {
    // The texts are arguments of the script, and no part of it.
    let script =
        "on run argv\ndisplay notification (item 2 of argv) with title (item 1 of argv)\nend run";
    ["osascript", "-e", script, title, body]
        .map(str::to_owned)
        .into()
}

#[cfg(windows)]
fn notification(title: &str, body: &str) -> Vec<String> {
    // Of all that Windows has for it, only this needs no installation; it is a window rather than a notification.
    ["msg.exe", "*", "/TIME:60", &format!("{title}: {body}")]
        .map(str::to_owned)
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consent::{Waiting, waiting::tests::request};

    #[test]
    fn the_command_is_told_all_that_a_surface_shows() {
        let waiting = Waiting::default();
        let place = waiting.begin_code(
            &request("ada@example.org", "A"),
            "http://localhost",
            "https://p.example/x",
        );
        let environment = environment(&place.shown);
        let value = |name: &str| {
            let found = environment.iter().find(|(own, _)| *own == name);
            found.map_or("none", |(_, value)| value)
        };
        for (name, expected) in [
            ("EMAILPROXY_ACCOUNT", "ada@example.org"),
            ("EMAILPROXY_USER", "ada@example.org"),
            ("EMAILPROXY_CLIENT", ""),
            ("EMAILPROXY_PASSWORD_DIFFERS", "yes"),
            ("EMAILPROXY_KIND", "browser"),
            ("EMAILPROXY_URL", "https://p.example/x"),
            ("EMAILPROXY_CODE", ""),
            ("EMAILPROXY_REDIRECT_URI", "http://localhost"),
        ] {
            assert_eq!(value(name), expected, "{name}");
        }
    }

    #[cfg(not(any(target_os = "macos", windows)))]
    #[test]
    fn a_notification_has_no_markup_and_no_options_from_elsewhere() {
        let words = notification("--title", "a <b>&");
        assert_eq!(
            words[words.len() - 3..],
            ["--", "--title", "a &lt;b&gt;&amp;"]
        );
    }
}
