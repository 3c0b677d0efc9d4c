//! The authenticator of one transcript: notes what it is asked and told, and answers when the transcript says so.

use crate::driver::Seen;
use proxy_proto::{Authenticate, Bearer, BoxFuture, LoginRequest, Protocol, Refusal};
use proxy_runtime::testing::PATIENCE;
use smol::channel::{Sender, bounded};
use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

/// The events that an authenticator hears of, by their names in transcripts.
pub(super) const NOTED: [&str; 4] = ["NeedCredentials", "Abandoned", "Refused", "Relay"];

/// Whether an authenticator hears of it.
pub(super) fn is_noted(event: &Seen) -> bool {
    matches!(
        event,
        Seen::NeedCredentials { .. } | Seen::Abandoned | Seen::Refused { .. } | Seen::Relay
    )
}

#[derive(Default)]
pub(super) struct Desk {
    notes: Arc<Notes>,
}

#[derive(Default)]
struct Notes {
    state: Mutex<State>,
    grown: Condvar,
}

#[derive(Default)]
struct State {
    events: Vec<Seen>,
    /// Who has asked last, and how to answer.
    open: Option<(String, Sender<Result<Bearer, Refusal>>)>,
}

impl Notes {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, event: Seen) {
        self.lock().events.push(event);
        self.grown.notify_all();
    }
}

impl Desk {
    /// How many events have been noted.
    pub(super) fn count(&self) -> usize {
        self.notes.lock().events.len()
    }

    /// The events behind the first so many.
    pub(super) fn since(&self, first: usize) -> Vec<Seen> {
        self.notes.lock().events[first..].to_vec()
    }

    /// Waits until so many events have been noted.
    pub(super) fn wait(&self, count: usize) -> Result<(), String> {
        let end = Instant::now() + PATIENCE;
        let mut state = self.notes.lock();
        while state.events.len() < count {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(format!("{count} events are due, noted: {:?}", state.events));
            }
            let grown = self.notes.grown.wait_timeout(state, left);
            state = grown.unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }

    /// Who waits for an answer.
    pub(super) fn login(&self) -> Result<String, String> {
        let state = self.notes.lock();
        let open = state.open.as_ref().map(|(user, _)| user.clone());
        open.ok_or_else(|| "nobody has logged in".to_owned())
    }

    /// Answers whoever waits.
    pub(super) fn answer(&self, answer: Result<Bearer, Refusal>) -> Result<(), String> {
        let open = self.notes.lock().open.take();
        let (_, sender) = open.ok_or("nobody has logged in")?;
        sender.try_send(answer).map_err(|why| why.to_string())
    }
}

impl Authenticate for Desk {
    fn authenticate(&self, request: LoginRequest) -> BoxFuture<Result<Bearer, Refusal>> {
        let (sender, receiver) = bounded(1);
        let user = request.login.user.to_string();
        self.notes.lock().open = Some((user.clone(), sender));
        self.notes.note(Seen::NeedCredentials {
            user,
            password: request.login.password.expose().to_owned(),
            after: request.after.map(|rejection| rejection.text),
        });
        let waiting = Waiting(Some(self.notes.clone()));
        Box::pin(async move {
            let mut waiting = waiting;
            let answer = receiver.recv().await;
            waiting.0 = None;
            answer.unwrap_or_else(|_| Err(Refusal::Temporary("nobody answers".to_owned())))
        })
    }

    fn refused(&self, user: &str, _: Protocol, text: &str) {
        self.notes.note(Seen::Refused {
            login: user.to_owned(),
            text: text.to_owned(),
        });
    }

    fn session_opened(&self, _: &str) -> Box<dyn Send + Sync> {
        self.notes.note(Seen::Relay);
        Box::new(())
    }
}

/// Notes that nobody waits for the answer any more.
struct Waiting(Option<Arc<Notes>>);

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(notes) = &self.0 {
            notes.note(Seen::Abandoned);
        }
    }
}
