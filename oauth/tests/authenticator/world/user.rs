//! Somebody who is asked, and the channel between.

use async_channel::{Receiver, Sender};
use oauth::consent::{
    CodeAnswer, CodeRequest, Consent, ConsentError, DeviceRequest, Granted, Outcome, Shown,
};
use proxy_proto::BoxFuture;

/// The user: takes questions.
pub(crate) struct User {
    pub(super) questions: Receiver<Question>,
    pub(super) devices: Receiver<DeviceRequest>,
}

impl User {
    /// The next question; waits for it.
    pub(crate) fn question(&self) -> Question {
        self.questions.recv_blocking().expect("a question")
    }

    /// Consents to the next question, and sees success.
    pub(crate) fn consent(&self) {
        let told = self.question().redirect("code=the-c0de");
        assert_eq!(told.recv_blocking(), Ok(Ok(Granted::default())));
    }

    /// Whether nothing was asked.
    pub(crate) fn was_left_alone(&self) -> bool {
        self.questions.is_empty() && self.devices.is_empty()
    }

    pub(crate) fn device(&self) -> DeviceRequest {
        self.devices.recv_blocking().expect("a code")
    }
}

/// A question, and the way to answer it.
pub(crate) struct Question {
    pub(crate) request: CodeRequest,
    answer: Sender<Result<CodeAnswer, ConsentError>>,
}

impl Question {
    /// The provider redirects with this query, after the state.
    pub(crate) fn redirect(self, query: &str) -> Receiver<Outcome> {
        let state = self.request.state.expose().to_owned();
        self.redirect_raw(&format!("http://localhost/?state={state}&{query}"))
    }

    pub(crate) fn redirect_raw(self, redirected: &str) -> Receiver<Outcome> {
        let (outcome, told) = async_channel::bounded(1);
        self.answer(Ok(CodeAnswer {
            redirected: redirected.to_owned(),
            redirect_uri: "http://localhost:4711".to_owned(),
            outcome,
        }));
        told
    }

    pub(crate) fn fail(self, why: &str) {
        self.answer(Err(ConsentError::Unable(why.to_owned())));
    }

    pub(crate) fn dismiss(self) {
        self.answer(Err(ConsentError::Dismissed));
    }

    fn answer(self, answer: Result<CodeAnswer, ConsentError>) {
        self.answer
            .send_blocking(answer)
            .expect("the authenticator waits");
    }
}

/// Passes questions on to the test.
pub(super) struct Front {
    pub(super) asked: Sender<Question>,
    pub(super) shown: Sender<DeviceRequest>,
}

impl Consent for Front {
    fn ask_code(&self, request: CodeRequest) -> BoxFuture<Result<CodeAnswer, ConsentError>> {
        let (answer, answered) = async_channel::bounded(1);
        let _ = self.asked.try_send(Question { request, answer });
        Box::pin(async move {
            answered
                .recv()
                .await
                .unwrap_or_else(|_| Err(ConsentError::Unable("no answer".to_owned())))
        })
    }

    fn show_device(&self, request: DeviceRequest) -> Box<dyn Shown> {
        let _ = self.shown.try_send(request);
        Box::new(())
    }
}
