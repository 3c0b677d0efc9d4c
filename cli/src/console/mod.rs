//! The web console: one page that shows how the proxy stands and lets its user give permission; `/metrics` and `/healthz` beside it.
//!
//! ```text
//!   server (listens) ──► answer (who may ask for what) ──► page, metrics
//!                            │                               ▲
//!                     door, host, token                      │
//!                                                house ◄── live (the proxy)
//! ```
//!
//! The page is made here, whole, for every request, and works without JavaScript; a script that is a file of its own makes it
//! follow the proxy. Nothing secret is ever put into it: the house has none to give. `docs/console.md` has the rules of access.

mod address;
mod answer;
mod command;
mod door;
mod host;
mod house;
mod live;
mod metrics;
mod page;
mod server;
mod token;
mod words;

pub use address::{BadConsoleAddress, ConsoleAddress};
pub(crate) use command::print_link;

use crate::{
    args::CacheStore,
    board,
    consent::Waiting,
    log::Log,
    messages::common,
    proxy::{self, Proxy, Source},
};
use live::Live;
use oauth::settings::{Problem, Settings, Severity};
use proxy_proto::Secret;
use server::Server;
use std::{
    io::{self, IsTerminal},
    path::PathBuf,
    sync::Arc,
};

/// The console of a running proxy; dropping it closes it.
pub(crate) struct Console {
    live: Live,
    log: Log,
    server: Server,
    /// `--console`.
    address: Option<ConsoleAddress>,
}

impl Console {
    /// One that is closed still. `address` counts before what the configuration says.
    pub(crate) fn new(
        proxy: &Arc<Proxy>,
        address: Option<ConsoleAddress>,
        waiting: Waiting,
        log: &Log,
    ) -> Self {
        let live = Live::new(proxy, waiting, log.clone());
        Console {
            server: Server::new(Arc::new(live.clone()), token_file(proxy.source())),
            live,
            log: log.clone(),
            address,
        }
    }

    /// Listens where the flag or the proxy's settings want it, or no longer; gives the link that opens it where it has been opened
    /// anew. The log, which others may read, has the address alone.
    ///
    /// # Errors
    ///
    /// When it cannot: one line that says what to do. Then nothing has changed.
    pub(crate) async fn configure(&self, proxy: &Proxy) -> Result<Option<Secret>, String> {
        let wanted = match &self.address {
            Some(address) => Some(address.clone()),
            None => configured(&proxy.settings())
                .map_err(|problem| proxy::place(&proxy.source().config_file, &problem))?,
        };
        let link = self.server.listen(wanted.as_ref()).await?;
        self.log.recent().keep(wanted.is_some());
        Ok(link)
    }

    /// The proxy is about to end: `/healthz` says so from now on.
    pub(crate) fn end(&self) {
        self.live.end();
    }
}

/// Shows the link to whoever sits at the terminal.
pub(crate) fn show(link: &Secret) {
    if io::stderr().is_terminal() {
        board::stderr().say(&format!("\nThe console: {}\n\n", link.expose()));
    }
}

/// What `console_address` says.
///
/// # Errors
///
/// The problem of a value that is none.
pub(crate) fn configured(settings: &Settings) -> Result<Option<ConsoleAddress>, Problem> {
    let option = "console_address";
    let Some(text) = &settings.options.console_address else {
        return Ok(None);
    };
    text.parse().map(Some).map_err(|error: BadConsoleAddress| {
        let text = common::bad_value(option, error);
        settings.problem(Severity::Error, "emailproxy", option, text)
    })
}

/// Where the token is: beside the saved tokens, in a folder that the proxy can write.
fn token_file(source: &Source) -> PathBuf {
    let beside = match &source.cache_store {
        Some(CacheStore::File(store)) => store.as_path(),
        Some(CacheStore::Aws(_)) | None => source.config_file.as_path(),
    };
    token::path(beside)
}
