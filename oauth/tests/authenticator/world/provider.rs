//! A provider that answers by script.

use super::{Log, lock};
use event_listener::Event;
use futures_lite::future::block_on;
use oauth::transport::{Answer, Request, Transport, TransportError};
use proxy_proto::BoxFuture;
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
};
use zeroize::Zeroizing;

/// Answers token requests by script; where the script ends, with `access-N` and `refresh-N` (N counts requests).
#[derive(Default)]
pub(crate) struct Provider(Arc<ProviderState>);

#[derive(Default)]
struct ProviderState {
    log: Log,
    script: Mutex<VecDeque<Result<(u16, String), String>>>,
    asked: Mutex<Vec<Asked>>,
    held: Mutex<bool>,
    changed: Event,
}

/// A request as it came in.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) url: String,
    pub(crate) form: Option<HashMap<String, String>>,
}

impl Asked {
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.form.as_ref()?.get(name).map(String::as_str)
    }
}

impl Provider {
    pub(super) fn new(log: Log) -> Self {
        Provider(Arc::new(ProviderState {
            log,
            ..ProviderState::default()
        }))
    }

    pub(crate) fn answer(&self, status: u16, body: &str) {
        lock(&self.0.script).push_back(Ok((status, body.to_owned())));
    }

    pub(crate) fn fail(&self, why: &str) {
        lock(&self.0.script).push_back(Err(why.to_owned()));
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        lock(&self.0.asked).clone()
    }

    pub(crate) fn requests(&self) -> usize {
        lock(&self.0.asked).len()
    }

    pub(crate) fn last(&self) -> Asked {
        lock(&self.0.asked).last().cloned().expect("a request")
    }

    /// Answers nothing until [`Provider::release`].
    pub(crate) fn hold(&self) {
        *lock(&self.0.held) = true;
    }

    pub(crate) fn release(&self) {
        *lock(&self.0.held) = false;
        self.0.changed.notify(usize::MAX);
    }

    /// Until so many requests have come in.
    pub(crate) fn wait_for(&self, requests: usize) {
        block_on(async {
            loop {
                let changed = self.0.changed.listen();
                if self.requests() >= requests {
                    return;
                }
                changed.await;
            }
        });
    }
}

impl Transport for Provider {
    fn send(&self, request: Request) -> BoxFuture<Result<Answer, TransportError>> {
        let form = request.form.as_ref().map(|form| {
            url::form_urlencoded::parse(form.as_bytes())
                .into_owned()
                .collect::<HashMap<_, _>>()
        });
        let grant = form
            .as_ref()
            .and_then(|f| f.get("grant_type"))
            .map_or("other", |g| g);
        self.0.log.push(format!("request {grant}"));
        let number = {
            let mut asked = lock(&self.0.asked);
            asked.push(Asked {
                url: request.url,
                form,
            });
            asked.len()
        };
        self.0.changed.notify(usize::MAX);
        let answer = lock(&self.0.script).pop_front().unwrap_or_else(|| {
            Ok((
                200,
                format!(
                    r#"{{"access_token":"access-{number}","refresh_token":"refresh-{number}","expires_in":3600}}"#
                ),
            ))
        });
        let state = self.0.clone();
        Box::pin(async move {
            loop {
                let changed = state.changed.listen();
                if !*lock(&state.held) {
                    break;
                }
                changed.await;
            }
            match answer {
                Ok((status, body)) => Ok(Answer {
                    status,
                    body: Zeroizing::new(body.into_bytes()),
                }),
                Err(why) => Err(TransportError(why)),
            }
        })
    }
}
