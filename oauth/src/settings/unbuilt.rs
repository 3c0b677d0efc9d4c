//! What the configuration can ask for and this version cannot do. A row goes when its feature comes.

use super::{Account, FlowKind, Options};

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

/// What of `[emailproxy]` is not built and ignored: option and text.
pub(super) fn unsupported_options(options: &Options) -> Vec<(&'static str, String)> {
    let table = [("notify_command", &options.notify_command)];
    table
        .into_iter()
        .filter(|(_, value)| value.is_some())
        .map(|(option, _)| {
            let text = format!("this version does not know {option} yet: it is ignored");
            (option, text)
        })
        .collect()
}

fn asked(table: &[(&str, bool)]) -> Option<String> {
    let names: Vec<_> = table
        .iter()
        .filter(|row| row.1)
        .map(|row| format!("`{}`", row.0))
        .collect();
    (!names.is_empty()).then(|| names.join(", "))
}
