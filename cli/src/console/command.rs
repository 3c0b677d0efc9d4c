//! `emailproxy console`: the link that opens the console.

use super::{ConsoleAddress, configured, server, token, token_file};
use crate::{
    args::Args,
    messages::console as texts,
    proxy::{self, Source},
    serve::{FAILED, UNUSABLE},
};
use oauth::settings::Settings;
use std::{
    io::{self, Write},
    net::{TcpStream, ToSocketAddrs},
    process::ExitCode,
    time::Duration,
};

/// How long a console has to answer to be there.
const PATIENCE: Duration = Duration::from_secs(2);

/// Prints the link; `address` counts before what the configuration says.
pub(crate) fn print_link(args: &Args, address: Option<&ConsoleAddress>) -> ExitCode {
    let (code, text) = match link(args, address) {
        Ok(link) => {
            // A reader that has gone is no reason to fail.
            let _ = writeln!(io::stdout(), "{link}");
            return ExitCode::SUCCESS;
        }
        Err(failure) => failure,
    };
    let _ = writeln!(io::stderr(), "emailproxy: {text}");
    ExitCode::from(code)
}

fn link(args: &Args, address: Option<&ConsoleAddress>) -> Result<String, (u8, String)> {
    let source = Source {
        config_file: args.config_file.clone(),
        cache_store: args.cache_store.clone(),
    };
    let address = match address {
        Some(address) => address.clone(),
        None => {
            let path = &args.config_file;
            let settings = Settings::load(path)
                .settings
                .ok_or_else(|| (UNUSABLE, texts::look_at_check(path.display())))?;
            configured(&settings)
                .map_err(|problem| (UNUSABLE, proxy::place(path, &problem)))?
                .unwrap_or_default()
        }
    };
    let url = address.url(0);
    let token = token::read(&token_file(&source)).map_err(|text| (FAILED, text))?;
    if !answers(&url) {
        let text = texts::nothing_answers(&url);
        let _ = writeln!(io::stderr(), "emailproxy: {text}");
    }
    Ok(server::link(&url, &token).expose().to_owned())
}

fn answers(url: &str) -> bool {
    let Ok(url) = url::Url::parse(url) else {
        return false;
    };
    let authority = (url.host_str().unwrap_or_default(), url.port().unwrap_or(80));
    let Ok(mut addresses) = (authority.0.trim_matches(['[', ']']), authority.1).to_socket_addrs()
    else {
        return false;
    };
    addresses.any(|address| TcpStream::connect_timeout(&address, PATIENCE).is_ok())
}
