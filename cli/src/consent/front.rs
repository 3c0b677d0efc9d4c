//! Chooses how the user is asked, and says it in the log.

use super::{Receiver, Terminal, circumstances, receiver, terminal};
use async_io::Timer;
use futures_lite::{FutureExt, future};
use oauth::consent::{CodeAnswer, CodeRequest, Consent, ConsentError, DeviceRequest, Who};
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

/// The command's way to ask a user.
pub struct Front {
    way: Way,
    receiver: Receiver,
    terminal: Terminal,
    announce: Option<Announce>,
}

impl Front {
    /// Asks in this way. `announce` is told as well what the log is told.
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
            announce,
        }
    }
}

impl Consent for Front {
    fn ask_code(&self, request: CodeRequest) -> BoxFuture<Result<CodeAnswer, ConsentError>> {
        let (way, receiver, terminal) = (self.way, self.receiver.clone(), self.terminal.clone());
        let announce = self.announce.clone();
        Box::pin(async move {
            let expires_in = request.expires_in;
            let late = async {
                Timer::after(expires_in).await;
                Err(ConsentError(format!(
                    "nobody gave permission for {} within {} seconds; check mail again to start over",
                    request.who.account,
                    expires_in.as_secs(),
                )))
            };
            ask(way, &receiver, &terminal, announce.as_ref(), &request)
                .or(late)
                .await
        })
    }

    fn show_device(&self, request: DeviceRequest) -> Box<dyn Send + Sync> {
        let url = request
            .verification_uri_complete
            .as_deref()
            .unwrap_or(&request.verification_uri);
        announce(
            self.announce.as_ref(),
            &Announcement {
                who: &request.who,
                url,
                code: Some(&request.user_code),
            },
        );
        Box::new(())
    }
}

async fn ask(
    way: Way,
    receiver: &Receiver,
    terminal: &Terminal,
    also: Option<&Announce>,
    request: &CodeRequest,
) -> Result<CodeAnswer, ConsentError> {
    let listening = match way {
        Way::Paste => None,
        Way::Receiver => Some(receiver.open(request).await?),
        Way::Auto | Way::Both => match receiver.open(request).await {
            Ok(listening) => Some(listening),
            Err(error) if way == Way::Both || terminal.is_interactive() => {
                warn!(account = %request.who.account, "{}", error.0);
                None
            }
            Err(error) => return Err(error),
        },
    };
    let redirect_uri = listening.as_ref().map_or(
        request.redirect_uri.as_str(),
        receiver::Waiting::redirect_uri,
    );
    let url = (request.url)(redirect_uri);
    announce(
        also,
        &Announcement {
            who: &request.who,
            url: &url,
            code: None,
        },
    );
    let prompting = match (way, &listening) {
        (Way::Auto | Way::Receiver, Some(_)) => None,
        (_, None) => Some(terminal.ask(request, redirect_uri, &url)?),
        // The receiver goes on alone where standard input has ended.
        (_, Some(_)) => terminal.ask(request, redirect_uri, &url).ok(),
    };
    match (&listening, &prompting) {
        (Some(listening), Some(prompting)) => {
            let pasted = async {
                match prompting.answer().await {
                    Ok(answer) => answer,
                    Err(_) => future::pending().await,
                }
            };
            Ok(listening.answer().or(pasted).await)
        }
        (Some(listening), None) => Ok(listening.answer().await),
        (None, Some(prompting)) => terminal::Waiting::answer(prompting).await,
        (None, None) => Err(ConsentError("there is no way to ask for permission".into())),
    }
}

/// One line, so that scripts find address and account together.
fn announce(also: Option<&Announce>, what: &Announcement<'_>) {
    let circumstances = circumstances(what.who);
    let (account, url) = (&what.who.account, what.url);
    match what.code {
        None => info!("{account} needs your permission ({circumstances}); open {url}"),
        Some(code) => info!(
            "{account} needs your permission ({circumstances}); enter the code {code} at {url}"
        ),
    }
    if let Some(also) = also {
        also(what);
    }
}

#[cfg(test)]
mod tests;
