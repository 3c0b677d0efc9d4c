//! What the configuration can ask for and this version cannot do. A row goes when its feature comes.

use super::{Account, FlowKind, Options, Server, Severity};

/// Why this server must not be started: ignoring what it asks for would be unsafe. `None` where all of it is built.
pub(super) fn unsupported_server(server: &Server) -> Option<String> {
    let table: &[(&str, bool)] = &[
        ("plugins", server.plugins.is_some()),
        ("allow_from", server.allow_from.is_some()),
        ("proxy_protocol", server.proxy_protocol.is_some()),
    ];
    let asked = asked(table)?;
    Some(format!(
        "this version does not know {asked} yet: the server is left out"
    ))
}

/// Flows that this version cannot do.
const UNBUILT_FLOWS: &[FlowKind] = &[];

/// Why this account cannot be used. `None` where all that it asks for is built.
pub(super) fn unsupported_account(account: &Account) -> Option<String> {
    let unbuilt = UNBUILT_FLOWS.contains(&account.flow);
    let asked = asked(&[(account.flow.name(), unbuilt)])?;
    Some(format!(
        "this version does not know the flow {asked} yet: the account is left out"
    ))
}

/// What of `[emailproxy]` is not built: option, severity (an error ends the start), text.
pub(super) fn unsupported_options(options: &Options) -> Vec<(&'static str, Severity, String)> {
    let mut found = Vec::new();
    if options.outgoing_proxy.is_some() {
        let text = "this version cannot connect through an outgoing proxy yet, and connecting \
                    without it is not what you asked for: remove the option to connect directly";
        found.push(("outgoing_proxy", Severity::Error, text.to_owned()));
    }
    let ignored = [
        ("console_address", &options.console_address),
        ("notify_command", &options.notify_command),
    ];
    for (option, value) in ignored {
        if value.is_some() {
            let text = format!("this version does not know {option} yet: it is ignored");
            found.push((option, Severity::Warning, text));
        }
    }
    found
}

fn asked(table: &[(&str, bool)]) -> Option<String> {
    let names: Vec<_> = table
        .iter()
        .filter(|row| row.1)
        .map(|row| format!("`{}`", row.0))
        .collect();
    (!names.is_empty()).then(|| names.join(", "))
}
