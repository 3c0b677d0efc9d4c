//! Joins the runtimes' question, *login in, bearer or refusal out*, to the authenticator.

use crate::messages::serve as texts;
use oauth::authenticator::{Attempt, Authenticator, Denial};
use proxy_proto::{Authenticate, Bearer, BoxFuture, LoginRequest, Protocol, Refusal};
use std::sync::Arc;
use tracing::warn;

/// Answers logins from an [`Authenticator`].
pub(crate) struct Gate(pub(crate) Arc<Authenticator>);

impl Authenticate for Gate {
    fn authenticate(&self, request: LoginRequest) -> BoxFuture<Result<Bearer, Refusal>> {
        let authenticator = self.0.clone();
        Box::pin(async move {
            let attempt = Attempt {
                user: request.login.user,
                password: request.login.password,
                protocol: request.protocol,
                // An IPv4 client of a dual-stack socket is an IPv4 client.
                client: request.client.ip().to_canonical(),
                rejected: request.after.map(|rejection| rejection.text),
            };
            match authenticator.token(attempt).await {
                Ok(token) => Ok(Bearer {
                    token: token.token,
                    user: token.user,
                    mechanism: token.mechanism,
                }),
                Err(Denial::Denied(text)) => Err(Refusal::Denied(text)),
                Err(Denial::Temporary(text)) => Err(Refusal::Temporary(text)),
            }
        })
    }

    fn refused(&self, user: &str, protocol: Protocol, text: &str) {
        if let Some(advice) = oauth::flow::advice::of_mail_server(text) {
            warn!("{}", texts::not_let_in(protocol.name(), user, advice));
        }
    }

    fn session_opened(&self, user: &str) -> Box<dyn Send + Sync> {
        Box::new(self.0.session_opened(user))
    }
}
