//! Through a running proxy: it asks the user and saves; here is shown what it asks, and read what is pasted.

use super::{password, say_done, time};
use crate::{
    accounts::{Failure, failed},
    args::Args,
    consent::{Front, Receiver, Terminal, Way},
    control::{
        Client,
        wire::{Progress, Waits},
    },
    messages::control as texts,
};
use oauth::consent::{CodeRequest, Consent, ConsentError, DeviceRequest, Shown, Who};
use proxy_proto::Secret;
use std::{
    io::{self, IsTerminal},
    sync::Arc,
    time::Duration,
};
use tracing::warn;
use url::Url;

pub(super) async fn authorise(
    args: &Args,
    client: &Client,
    account: &str,
    fresh: bool,
) -> Result<String, Failure> {
    let trouble = |error: io::Error| failed(texts::proxy_does_not_answer(error));
    let told = client.accounts().await.map_err(trouble)?;
    let known = told
        .accounts
        .iter()
        .find(|known| known.account.to_lowercase() == account.to_lowercase());
    let password = password(account, known.is_some_and(|known| known.password_set))?;
    let mut course = client
        .authorise(account, &password, fresh)
        .await
        .map_err(trouble)?;
    drop(password);

    let front = front(args);
    // The running proxy may be answered by others, so neither a port in use nor the end of standard input ends it here.
    let _attendance = front.waiting().attend();
    let mut shown = Vec::new();
    while let Some(progress) = course.next().await.map_err(trouble)? {
        match progress {
            Progress::Waiting(waits) => shown.push(ask(&front, client, &waits)),
            Progress::Authorised {
                account,
                expires,
                refreshable,
            } => return Ok(say_done(&account, expires.and_then(time), refreshable)),
            Progress::Refused(text) | Progress::Trouble(text) => return Err(failed(text)),
        }
    }
    Err(failed(texts::PROXY_HAS_ENDED.to_owned()))
}

/// The proxy has its own receiver: this end listens only where that is asked for, and reads only where somebody may type.
fn front(args: &Args) -> Front {
    let way = match (args.external_auth, args.local_server_auth) {
        (true, true) => Way::Both,
        (false, true) => Way::Receiver,
        (true, false) => Way::Paste,
        (false, false) if io::stdin().is_terminal() => Way::Paste,
        (false, false) => Way::Elsewhere,
    };
    Front::new(way, Receiver::default(), Terminal::default(), None).showing()
}

/// What shows the consent for as long as it lives.
enum Asking {
    Code { _task: smol::Task<()> },
    Device { _shown: Box<dyn Shown> },
}

fn ask(front: &Front, client: &Client, waits: &Waits) -> Asking {
    let who = Who {
        account: waits.account.as_str().into(),
        user: waits.user.as_str().into(),
        client: waits.client,
        password_differs: waits.password_differs,
    };
    let expires_in = Duration::from_secs(waits.seconds_left);
    if let Some(code) = &waits.code {
        return Asking::Device {
            _shown: front.show_device(DeviceRequest {
                who,
                verification_uri: waits.url.clone(),
                verification_uri_complete: waits.complete_url.clone(),
                user_code: code.clone(),
                expires_in,
            }),
        };
    }
    let url = waits.url.clone();
    let request = CodeRequest {
        who,
        redirect_uri: waits.redirect_uri.clone().unwrap_or_default(),
        redirect_listen_address: None,
        any_loopback_port: false,
        state: state(&url),
        expires_in,
        url: Arc::new(move |_| url.clone()),
    };
    let (front, client, id) = (front.clone(), client.clone(), waits.id);
    let task = smol::spawn(async move {
        match front.ask_code(request).await {
            Ok(answer) => {
                let outcome = client.answer(id, answer.redirected).await;
                let _ = answer.outcome.try_send(outcome);
            }
            Err(ConsentError::Unable(text)) => warn!("{text}"),
            Err(ConsentError::Dismissed) => {}
        }
    });
    Asking::Code { _task: task }
}

/// The `state` of an authorisation URL: which pasted addresses belong to it.
fn state(url: &str) -> Secret {
    let url = Url::parse(url).ok();
    let state = url.as_ref().and_then(|url| {
        let mut pairs = url.query_pairs();
        pairs
            .find(|(name, _)| name == "state")
            .map(|(_, value)| value.into_owned())
    });
    Secret::new(state.unwrap_or_default())
}
