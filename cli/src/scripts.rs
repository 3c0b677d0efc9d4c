//! The option `plugins`: where scripts are looked for, and what they become.

use crate::messages::common;
#[cfg(not(feature = "plugins"))]
use crate::messages::serve;
use oauth::settings::Server;
use proxy_proto::filter::Filters;
use std::path::Path;

const OPTION: &str = "plugins";

/// Names another folder with sample scripts than that of the installation.
#[cfg(feature = "plugins")]
const SAMPLES: &str = "EMAILPROXY_PLUGINS";

/// What stands between the server's clients and the server, read from files now. Blocks.
///
/// # Errors
/// With a text that says what is wrong with the list or a script, and what to do.
#[cfg(feature = "plugins")]
pub(crate) fn filters(server: &Server, config_file: &Path) -> Result<Option<Filters>, String> {
    let Some(list) = &server.plugins else {
        return Ok(None);
    };
    let place = plugins::Place {
        protocol: server.protocol,
        listener: server.heading.clone(),
    };
    match plugins::Plugins::load(list, &folders(config_file), &place) {
        Ok(plugins) => Ok(Some(plugins.filters())),
        Err(error) => Err(common::of_option(OPTION, error)),
    }
}

/// This build has none: a server that wants some is not served without them.
#[cfg(not(feature = "plugins"))]
pub(crate) fn filters(server: &Server, _config_file: &Path) -> Result<Option<Filters>, String> {
    match &server.plugins {
        None => Ok(None),
        Some(_) => Err(common::of_option(OPTION, serve::NO_PLUGINS)),
    }
}

/// Beside the configuration, then the samples: where packages put them, and where they are in an unpacked archive.
#[cfg(feature = "plugins")]
fn folders(config_file: &Path) -> Vec<std::path::PathBuf> {
    let beside = match config_file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => ".".into(),
    };
    let installed = || {
        let program = std::env::current_exe().ok()?.canonicalize().ok()?;
        let folder = program.parent()?;
        let prefix = folder.parent()?;
        Some(vec![
            prefix.join("share/emailproxy/plugins"),
            folder.join("plugins"),
        ])
    };
    let samples = match std::env::var_os(SAMPLES) {
        Some(folder) => vec![folder.into()],
        None => installed().unwrap_or_default(),
    };
    [beside].into_iter().chain(samples).collect()
}
