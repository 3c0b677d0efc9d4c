//! The consents that wait for their user: one list, whichever surface shows and answers them.
//!
//! [`Front`](super::Front) puts a consent in; the terminal, the web console and the control channel show the list, hand over pasted
//! addresses and dismiss. The redirect receiver answers beside it, because a browser comes to it by itself.

use super::{address, belonging_to, is_answer, parameter};
use crate::messages::consent as texts;
use async_io::Timer;
use event_listener::{Event, EventListener};
use futures_lite::FutureExt;
use oauth::consent::{CodeAnswer, CodeRequest, DeviceRequest, Granted, Outcome, Who};
use proxy_proto::{BoxFuture, Secret};
use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

/// Consents that wait at once. With a catch-all anybody who reaches the port can begin them.
const AT_ONCE: usize = 256;
/// Longest wait for the token, once the address is there.
const OUTCOME: Duration = Duration::from_secs(150);

/// The consents that wait for their user; clones are the same list.
#[derive(Clone, Default)]
pub struct Waiting {
    shared: Arc<Shared>,
}

/// A consent that waits for its user. It holds no secret beyond the `state` and the PKCE challenge in its URL; still, show it to
/// authenticated surfaces only: whoever has the URL may approve with an account of their own.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WaitingConsent {
    /// Counts up from 1 in this process. People name consents by it at the terminal.
    pub id: u64,
    /// The account's heading.
    pub account: Arc<str>,
    /// The login name as the client gave it.
    pub user: Arc<str>,
    /// Where the login came from; `None` for one that was begun at the command line.
    pub client: Option<IpAddr>,
    /// Its password is not the one that the saved tokens are encrypted with.
    pub password_differs: bool,
    /// When it began.
    pub begun: SystemTime,
    /// When it ends without an answer.
    pub ends: SystemTime,
    /// What the user is asked for.
    pub kind: Ask,
}

/// What a user is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// To approve in a browser.
    Browser {
        /// The authorisation URL.
        url: String,
        /// What the address of the final page begins with.
        redirect_uri: String,
    },
    /// To enter a code on a page, on any device.
    Device {
        /// Where the code is entered.
        url: String,
        /// The same with the code in it, where the provider gives it.
        complete_url: Option<String>,
        /// The code.
        code: String,
    },
}

impl WaitingConsent {
    /// Where the user goes: for a device code the page that needs no typing, where there is one.
    pub fn url(&self) -> &str {
        match &self.kind {
            Ask::Browser { url, .. } => url,
            Ask::Device {
                url, complete_url, ..
            } => complete_url.as_deref().unwrap_or(url),
        }
    }

    /// How long its user still has.
    pub fn left(&self) -> Duration {
        self.ends
            .duration_since(SystemTime::now())
            .unwrap_or_default()
    }

    /// Who asks.
    pub fn who(&self) -> Who {
        Who {
            account: self.account.clone(),
            user: self.user.clone(),
            client: self.client,
            password_differs: self.password_differs,
        }
    }
}

impl Waiting {
    /// All that wait, oldest first.
    pub fn list(&self) -> Vec<WaitingConsent> {
        let entries = self.lock();
        entries
            .list
            .iter()
            .map(|entry| entry.shown.clone())
            .collect()
    }

    /// Completes at the next change of the list. Create it before [`list`](Waiting::list), await it afterwards, and nothing is missed.
    pub fn changed(&self) -> EventListener {
        self.shared.changed.listen()
    }

    /// Hands over the address of the page on which the browser ended, and waits until the token is there and saved.
    ///
    /// # Errors
    ///
    /// One line for the user: the address is not the one that this consent waits for (then it goes on waiting), or no token came of it.
    pub async fn answer(&self, id: u64, pasted_url: &str) -> Result<Granted, String> {
        self.hand_over(Some(id), pasted_url)?.outcome().await
    }

    /// The user does not want it: the login that began it is refused. `false` where no such consent waits.
    pub fn dismiss(&self, id: u64) -> bool {
        let mut entries = self.lock();
        let Some(index) = entries.list.iter().position(|entry| entry.shown.id == id) else {
            return false;
        };
        let entry = entries.list.remove(index);
        drop(entries);
        self.shared.changed.notify(usize::MAX);
        // Its answer, if there is one already, comes first.
        let _ = entry.answers.try_send(Reply::Dismissed);
        true
    }

    /// While what is returned lives somebody can answer through this list, so that a consent may wait even where neither the receiver
    /// can listen nor anybody sits at the terminal.
    pub fn attend(&self) -> Attendance {
        self.shared.attended.fetch_add(1, Ordering::SeqCst);
        Attendance {
            shared: self.shared.clone(),
        }
    }

    /// Whether no further consent may wait.
    pub(super) fn is_full(&self) -> bool {
        self.lock().list.len() >= AT_ONCE
    }

    pub(super) fn is_attended(&self) -> bool {
        self.shared.attended.load(Ordering::SeqCst) > 0
    }

    /// Puts a consent in the list.
    pub(super) fn begin_code(&self, request: &CodeRequest, redirect_uri: &str, url: &str) -> Place {
        let kind = Ask::Browser {
            url: url.to_owned(),
            redirect_uri: redirect_uri.to_owned(),
        };
        self.begin(&request.who, request.expires_in, kind, Some(&request.state))
    }

    /// Puts a consent by device code in the list.
    pub(super) fn begin_device(&self, request: &DeviceRequest) -> Place {
        let kind = Ask::Device {
            url: request.verification_uri.clone(),
            complete_url: request.verification_uri_complete.clone(),
            code: request.user_code.clone(),
        };
        self.begin(&request.who, request.expires_in, kind, None)
    }

    fn begin(&self, who: &Who, expires_in: Duration, kind: Ask, state: Option<&Secret>) -> Place {
        let (answers, answered) = async_channel::bounded(1);
        let begun = SystemTime::now();
        let mut entries = self.lock();
        entries.last += 1;
        let shown = WaitingConsent {
            id: entries.last,
            account: who.account.clone(),
            user: who.user.clone(),
            client: who.client,
            password_differs: who.password_differs,
            begun,
            ends: begun.checked_add(expires_in).unwrap_or(begun),
            kind,
        };
        // A device code that finds no room is in the log only; whoever asks for a code looks before.
        let unlisted = if entries.list.len() < AT_ONCE {
            entries.list.push(Entry {
                shown: shown.clone(),
                state: state.cloned(),
                answers,
            });
            None
        } else {
            Some(answers)
        };
        drop(entries);
        self.shared.changed.notify(usize::MAX);
        Place {
            waiting: self.clone(),
            shown,
            answered,
            _unlisted: unlisted,
        }
    }

    /// Gives the address to the consent it belongs to: the one with this number, or whichever has its `state`.
    pub(super) fn hand_over(
        &self,
        id: Option<u64>,
        pasted: &str,
    ) -> Result<HandedOver, &'static str> {
        let mut entries = self.lock();
        let found = entries.find(id, pasted)?;
        let entry = entries.list.remove(found.index);
        drop(entries);
        self.shared.changed.notify(usize::MAX);
        let (outcome, outcomes) = async_channel::bounded(1);
        let answer = CodeAnswer {
            redirected: found.redirected,
            redirect_uri: found.redirect_uri,
            outcome,
        };
        entry
            .answers
            .try_send(Reply::Answered(answer))
            .map_err(|_| texts::NO_LONGER_WAITING)?;
        Ok(HandedOver { outcomes })
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.shared
            .entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
struct Shared {
    entries: Mutex<Entries>,
    changed: Event,
    attended: AtomicUsize,
}

#[derive(Default)]
struct Entries {
    list: Vec<Entry>,
    last: u64,
}

struct Entry {
    shown: WaitingConsent,
    /// Of one by authorisation code.
    state: Option<Secret>,
    answers: async_channel::Sender<Reply>,
}

struct Found {
    index: usize,
    redirected: String,
    redirect_uri: String,
}

enum Reply {
    Answered(CodeAnswer),
    Dismissed,
}

impl Entries {
    /// The one who waits for this address; else why there is none.
    fn find(&self, id: Option<u64>, text: &str) -> Result<Found, &'static str> {
        let among = |entry: &Entry| id.is_none_or(|id| entry.shown.id == id);
        if id.is_some() && !self.list.iter().any(among) {
            return Err(texts::NO_LONGER_WAITING);
        }
        let pasted = address::parse(text).map_err(|_| texts::NO_ADDRESS)?;
        let query = pasted.query().unwrap_or_default();
        let state = parameter(query, "state").ok_or(texts::NO_STATE_IN_IT)?;
        let (indices, states): (Vec<usize>, Vec<&Secret>) = self
            .list
            .iter()
            .enumerate()
            .filter(|(_, entry)| among(entry))
            .filter_map(|(index, entry)| Some((index, entry.state.as_ref()?)))
            .unzip();
        let index = belonging_to(states.into_iter(), &state)
            .and_then(|found| indices.get(found).copied())
            .ok_or(texts::UNKNOWN_ADDRESS)?;
        let Ask::Browser { redirect_uri, .. } = &self.list[index].shown.kind else {
            return Err(texts::UNKNOWN_ADDRESS);
        };
        let expected = address::parse(redirect_uri).map_err(|_| texts::REDIRECT_URI_IS_NONE)?;
        // http or https: browsers and extensions change one into the other.
        if (pasted.host(), pasted.port(), pasted.path())
            != (expected.host(), expected.port(), expected.path())
        {
            return Err(texts::OTHER_PAGE);
        }
        if !is_answer(query) {
            return Err(texts::NO_ANSWER_IN_IT);
        }
        Ok(Found {
            index,
            redirected: pasted.into(),
            redirect_uri: redirect_uri.clone(),
        })
    }
}

/// An address that was accepted.
pub(super) struct HandedOver {
    outcomes: async_channel::Receiver<Outcome>,
}

impl HandedOver {
    /// What becomes of it.
    pub(super) async fn outcome(self) -> Outcome {
        let outcome = async { self.outcomes.recv().await.ok() }.or(async {
            Timer::after(OUTCOME).await;
            None
        });
        let late = || Err(texts::NOT_FINISHED.to_owned());
        outcome.await.unwrap_or_else(late)
    }
}

/// A consent's place in the list; leaves it when dropped.
pub(super) struct Place {
    waiting: Waiting,
    pub(super) shown: WaitingConsent,
    answered: async_channel::Receiver<Reply>,
    /// Keeps the channel open of one that nobody can answer: a closed one is dismissed.
    _unlisted: Option<async_channel::Sender<Reply>>,
}

impl Place {
    /// Completes once it is dismissed, and at once if it has been.
    pub(super) fn dismissed(&self) -> BoxFuture<()> {
        let answered = self.answered.clone();
        Box::pin(async move {
            // Nothing else is handed over to a consent by device code; a closed channel is one that was dismissed before.
            let _ = answered.recv().await;
        })
    }

    /// The address that somebody has handed over; `None` once it is dismissed.
    pub(super) async fn answer(&self) -> Option<CodeAnswer> {
        match self.answered.recv().await {
            Ok(Reply::Answered(answer)) => Some(answer),
            Ok(Reply::Dismissed) | Err(_) => None,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut entries = self.waiting.lock();
        entries.list.retain(|entry| entry.shown.id != self.shown.id);
        drop(entries);
        self.waiting.shared.changed.notify(usize::MAX);
    }
}

/// Somebody who can answer; see [`Waiting::attend`].
pub struct Attendance {
    shared: Arc<Shared>,
}

impl Drop for Attendance {
    fn drop(&mut self) {
        self.shared.attended.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
pub(super) mod tests;
