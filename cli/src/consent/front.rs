//! Chooses how the user is asked, and says it in the log.

use super::{
    Receiver, Terminal, Waiting, WaitingConsent,
    browser::{self, Browser},
    circumstances,
    notify::{self, Notifier},
    receiver,
    terminal::Back,
    waiting::Place,
};
use crate::messages::consent as texts;
use async_io::Timer;
use futures_lite::{FutureExt, future};
use oauth::consent::{
    CodeAnswer, CodeRequest, Consent, ConsentError, DeviceRequest, Outcome, Shown, Who,
};
use oauth::settings::Options;
use proxy_proto::BoxFuture;
use std::sync::Arc;
use tracing::{info, warn};

/// How the final address comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By the receiver where it can listen, else by pasting where there is a terminal.
    Auto,
    /// `--local-server-auth`: by the receiver.
    Receiver,
    /// `--external-auth`: by pasting.
    Paste,
    /// Both options: whichever comes first.
    Both,
    /// Neither: it comes back to another process, or through the list of those who wait.
    Elsewhere,
}

/// What is shown to the user.
pub struct Announcement<'a> {
    /// Who asks.
    pub who: &'a Who,
    /// Where the user goes.
    pub url: &'a str,
    /// What the user types there (device flow).
    pub code: Option<&'a str>,
}

/// Called for every announcement, beside the log.
pub type Announce = Arc<dyn Fn(&Announcement<'_>) + Send + Sync>;

/// The command's way to ask a user; clones are the same one.
#[derive(Clone)]
pub struct Front {
    way: Way,
    receiver: Receiver,
    terminal: Terminal,
    waiting: Waiting,
    announce: Option<Announce>,
    notifier: Notifier,
    /// Opened where the user sits in front of this machine.
    browser: Option<Browser>,
    /// The desktop shows notifications.
    desktop: bool,
    /// The terminal shows all, and not only what it has to read an answer to.
    shows: bool,
}

impl Front {
    /// Asks in this way, and keeps the list of those who wait. `announce` is told as well what the log is told.
    pub fn new(
        way: Way,
        receiver: Receiver,
        terminal: Terminal,
        announce: Option<Announce>,
    ) -> Self {
        Front {
            way,
            receiver,
            terminal,
            waiting: Waiting::default(),
            announce,
            notifier: Notifier::default(),
            browser: None,
            desktop: false,
            shows: false,
        }
    }

    /// Shows every consent at the terminal, also where it is answered elsewhere: for commands whose caller sits there.
    #[must_use]
    pub fn showing(mut self) -> Self {
        self.shows = true;
        self
    }

    /// Opens the system's browser by itself: for clients on this machine, once for an account in ten minutes, and where there is a
    /// desktop.
    #[must_use]
    pub fn opening_browser(mut self) -> Self {
        self.browser = Some(Browser::default());
        self
    }

    /// Shows a notification on the desktop, where there is one and no browser was opened.
    #[must_use]
    pub fn notifying_desktop(mut self) -> Self {
        self.desktop = true;
        self
    }

    /// The consents that wait for their user.
    pub fn waiting(&self) -> Waiting {
        self.waiting.clone()
    }
}

impl Consent for Front {
    fn configured(&self, options: &Options) {
        self.notifier.configure(options);
    }

    fn ask_code(&self, request: CodeRequest) -> BoxFuture<Result<CodeAnswer, ConsentError>> {
        let front = self.clone();
        Box::pin(async move {
            let expires_in = request.expires_in;
            let late = async {
                Timer::after(expires_in).await;
                Err(ConsentError::Unable(texts::nobody_answered(
                    &request.who.account,
                    expires_in.as_secs(),
                )))
            };
            front.ask(&request).or(late).await
        })
    }

    fn show_device(&self, request: DeviceRequest) -> Box<dyn Shown> {
        let place = self.waiting.begin_device(&request);
        self.announce(&request.who, &place.shown, Some(&request.user_code));
        self.call(&place.shown, request.verification_uri_complete.is_some());
        let at_terminal = self.shows || self.terminal.is_interactive();
        if at_terminal {
            self.terminal.show(&place.shown, Back::Elsewhere);
        }
        self.terminal.count_down(&self.waiting);
        Box::new(OnDisplay {
            place,
            tell: at_terminal.then(|| self.terminal.clone()),
        })
    }
}

/// A device code that is shown.
struct OnDisplay {
    place: Place,
    tell: Option<Terminal>,
}

impl Shown for OnDisplay {
    fn dismissed(&self) -> BoxFuture<()> {
        self.place.dismissed()
    }

    fn ended(&self, outcome: &Outcome) {
        if let Some(terminal) = &self.tell {
            terminal.tell(&self.place.shown.account, outcome);
        }
    }
}

impl Front {
    async fn ask(&self, request: &CodeRequest) -> Result<CodeAnswer, ConsentError> {
        let Front {
            way,
            receiver,
            terminal,
            waiting,
            ..
        } = self;
        if waiting.is_full() {
            return Err(ConsentError::Unable(texts::TOO_MANY_WAIT.into()));
        }
        let mut unheard = None;
        let listening = match way {
            Way::Paste | Way::Elsewhere => None,
            Way::Receiver | Way::Auto | Way::Both => match receiver.open(request).await {
                Ok(listening) => Some(listening),
                Err(error) => {
                    let reading =
                        *way == Way::Both || (*way == Way::Auto && terminal.is_interactive());
                    if !reading && !waiting.is_attended() {
                        return Err(error);
                    }
                    if let ConsentError::Unable(text) = &error {
                        warn!(account = %request.who.account, "{text}");
                    }
                    unheard = Some(error);
                    None
                }
            },
        };
        let redirect_uri = listening.as_ref().map_or(
            request.redirect_uri.as_str(),
            receiver::Waiting::redirect_uri,
        );
        let url = (request.url)(redirect_uri);
        let reads = match way {
            Way::Paste | Way::Both => true,
            Way::Auto => listening.is_none() && terminal.is_interactive(),
            Way::Receiver | Way::Elsewhere => false,
        };
        // In the list before anything is read: a script may have written the address ahead.
        let place = waiting.begin_code(request, redirect_uri, &url);
        let reading = reads.then(|| terminal.read(waiting));
        if let (Some(Err(error)), None, false) = (&reading, &listening, waiting.is_attended()) {
            return Err(unheard.unwrap_or_else(|| error.clone()));
        }
        self.announce(&request.who, &place.shown, None);
        // With --external-auth the browser is another machine's.
        self.call(&place.shown, *way != Way::Paste);
        let reads = matches!(reading, Some(Ok(())));
        let at_terminal = reads || self.shows;
        if at_terminal {
            let back = match (reads, listening.is_some()) {
                (true, listens) if listens || self.shows => Back::Either,
                (true, _) => Back::Pasted,
                (false, true) => Back::Received,
                (false, false) => Back::Elsewhere,
            };
            terminal.show(&place.shown, back);
        }
        terminal.count_down(waiting);
        let received = async {
            match &listening {
                Some(listening) => Ok(listening.answer().await),
                None => future::pending().await,
            }
        };
        let handed_over = async { place.answer().await.ok_or(ConsentError::Dismissed) };
        let closed = async {
            if !reads || listening.is_some() || waiting.is_attended() {
                future::pending::<()>().await;
            }
            Err(terminal.ended().await)
        };
        let mut answer = received.or(handed_over).or(closed).await?;
        self.follow(&request.who, &mut answer, at_terminal);
        Ok(answer)
    }

    /// Lets the terminal know the outcome as well, whichever way the answer has come.
    fn follow(&self, who: &Who, answer: &mut CodeAnswer, at_terminal: bool) {
        if !at_terminal {
            return;
        }
        let (outcome, outcomes) = async_channel::bounded(1);
        let asker = std::mem::replace(&mut answer.outcome, outcome);
        let (terminal, account) = (self.terminal.clone(), who.account.clone());
        smol::spawn(async move {
            let outcome = outcomes.recv().await;
            let outcome = outcome.unwrap_or_else(|_| Err(texts::NOT_FINISHED.to_owned()));
            terminal.tell(&account, &outcome);
            let _ = asker.try_send(outcome);
        })
        .detach();
    }

    /// Calls the user: opens the browser where that may be, else tells the desktop; and runs `notify_command`.
    fn call(&self, shown: &WaitingConsent, open: bool) {
        let browser = self.browser.as_ref().filter(|_| open);
        let opened = browser.is_some_and(|browser| browser.open(shown));
        if !opened && self.desktop && browser::has_desktop() {
            notify::on_desktop(shown);
        }
        // Whoever has called a command needs not be called.
        if !self.shows {
            self.notifier.tell(shown);
        }
    }

    /// One line, so that scripts find address and account together.
    fn announce(&self, who: &Who, shown: &WaitingConsent, code: Option<&str>) {
        let circumstances = circumstances(who);
        let (account, url) = (&who.account, shown.url());
        match code {
            None => info!("{}", texts::needs_permission(account, circumstances, url)),
            Some(code) => info!("{}", texts::needs_code(account, circumstances, code, url)),
        }
        if let Some(also) = &self.announce {
            also(&Announcement { who, url, code });
        }
    }
}

#[cfg(test)]
mod tests;
