//! `emailproxy authorise` and `emailproxy accounts`: through a running proxy that serves the same configuration, else by themselves.

use crate::{
    accounts::{self, Asked, Failure, failed, unusable},
    args::Args,
    consent::{Front, Receiver, Terminal, Way},
    control::wire::{Account, Accounts, stamp},
    messages::{self, accounts as texts, common, sentence},
    proxy::{self, Source, Unusable},
    serve,
};
use oauth::authenticator::{Authenticator, Authorised, Denial};
use std::{
    io::{self, IsTerminal},
    process::ExitCode,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

#[cfg(unix)]
mod remote;

/// `emailproxy authorise ACCOUNT`.
pub(crate) fn authorise(args: &Args, account: &str, fresh: bool) -> ExitCode {
    #[cfg(unix)]
    if let Some(client) = crate::control::Client::find(&args.config_file) {
        return accounts::end(smol::block_on(remote::authorise(
            args, &client, account, fresh,
        )));
    }
    accounts::end(smol::block_on(alone(args, account, fresh)))
}

/// `emailproxy accounts`.
pub(crate) fn accounts(args: &Args, json: bool) -> ExitCode {
    let told = smol::block_on(async {
        #[cfg(unix)]
        if let Some(client) = crate::control::Client::find(&args.config_file) {
            let told = client.accounts().await;
            return told.map_err(|error| failed(messages::control::proxy_does_not_answer(error)));
        }
        let front = Front::new(
            serve::way(args),
            Receiver::default(),
            Terminal::default(),
            None,
        );
        let overviews = open(args, front).await?.accounts().await;
        Ok(Accounts {
            running: false,
            accounts: overviews.iter().map(Account::from).collect(),
        })
    });
    accounts::end(told.map(|told| if json { pretty(&told) } else { table(&told) }))
}

/// Without a running proxy.
async fn alone(args: &Args, account: &str, fresh: bool) -> Result<String, Failure> {
    let receiver = Receiver::default();
    // The browser may be another machine's: whoever sits here may paste as well.
    let way = match serve::way(args) {
        Way::Auto if io::stdin().is_terminal() => Way::Both,
        way => way,
    };
    let front = Front::new(way, receiver.clone(), Terminal::default(), None);
    let authenticator = open(args, front.showing().opening_browser()).await?;
    let overviews = authenticator.accounts().await;
    let known = overviews
        .iter()
        .find(|overview| overview.heading.to_lowercase() == account.to_lowercase());
    let settings = accounts::settings(args)?;
    if settings.account(account).is_none() {
        let text = texts::no_usable_account(account, args.config_file.display());
        return Err(unusable(text));
    }
    let password = password(account, known.is_some_and(|known| known.password_set))?;
    let result = authenticator.authorise(account, password, fresh).await;
    let unsaved = authenticator.flush().await;
    receiver.answered().await;
    let authorised = result.map_err(|denial| match denial {
        Denial::Denied(text) | Denial::Temporary(text) => failed(text),
    })?;
    if let Some(lost) = unsaved.first() {
        return Err(failed(common::tokens_not_saved(&lost.heading, &lost.error)));
    }
    Ok(done(&authorised))
}

/// An authenticator of this process's own.
async fn open(args: &Args, front: Front) -> Result<Arc<Authenticator>, Failure> {
    let settings = Arc::new(accounts::settings(args)?);
    let source = Source {
        config_file: args.config_file.clone(),
        cache_store: args.cache_store.clone(),
    };
    let text = |Unusable(problems): Unusable| unusable(problems.join("\n"));
    let cache = match args.cache_store.clone() {
        None => None,
        Some(store) => Some(
            smol::unblock(move || proxy::open(&store))
                .await
                .map_err(text)?,
        ),
    };
    proxy::authenticator(&source, settings, cache, Arc::new(front)).map_err(text)
}

/// The account's local password: twice where it is chosen now.
fn password(account: &str, set: bool) -> Result<proxy_proto::Secret, Failure> {
    let asked = Asked::new();
    if set {
        return asked.password(&texts::ask_password(account), texts::THE_PASSWORD);
    }
    asked.new_password(&texts::ask_first_password(account), texts::THE_PASSWORD)
}

fn done(authorised: &Authorised) -> String {
    say_done(
        &authorised.heading,
        authorised.expires,
        authorised.refreshable,
    )
}

fn say_done(account: &str, expires: Option<SystemTime>, refreshable: bool) -> String {
    let then = match refreshable {
        true => texts::RENEWED,
        false => texts::NOT_RENEWED,
    };
    sentence(&match expires.and_then(stamp) {
        Some(end) => texts::authorised_until(account, end, then),
        None => texts::authorised(account, then),
    })
}

fn pretty(told: &Accounts) -> String {
    serde_json::to_string_pretty(told).unwrap_or_default()
}

/// For people.
fn table(told: &Accounts) -> String {
    if told.accounts.is_empty() {
        return sentence(texts::NO_ACCOUNT_YET);
    }
    let mut rows = vec![["account", "state", "last used", "sessions"].map(str::to_owned)];
    let mut errors = Vec::new();
    for account in &told.accounts {
        let state = match (account.state.as_str(), &account.expires) {
            ("authorised", _) if account.refreshable => "authorised".to_owned(),
            ("authorised", Some(end)) => texts::state_until(end),
            ("waiting", _) => texts::STATE_WAITING.to_owned(),
            (state, _) => state.to_owned(),
        };
        let last_used = account.last_used.clone().unwrap_or_else(|| "-".to_owned());
        let sessions = match told.running {
            true => account.open_sessions.to_string(),
            false => "-".to_owned(),
        };
        rows.push([account.account.clone(), state, last_used, sessions]);
        if let Some(error) = &account.last_error {
            errors.push(format!("{}: {error}", account.account));
        }
    }
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or_default()
    };
    let widths = [width(0), width(1), width(2)];
    let mut lines: Vec<String> = rows
        .iter()
        .map(|[account, state, last_used, sessions]| {
            let [a, s, l] = widths;
            format!("{account:a$}  {state:s$}  {last_used:l$}  {sessions}")
        })
        .collect();
    if !told.running {
        lines.push(format!("\n{}", sentence(texts::NO_PROXY_RUNS)));
    }
    if !errors.is_empty() {
        lines.push(format!("\n{}", texts::LAST_ERRORS));
        lines.append(&mut errors);
    }
    lines.join("\n")
}

/// Of Unix time.
fn time(seconds: u64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}
