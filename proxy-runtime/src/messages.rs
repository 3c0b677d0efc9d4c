//! What a person may read of either runtime: in the log, at the start and from `emailproxy check`, and some of it in a mail
//! client. Lines of the log stand in their session's span, which names the server's section and the client.

pub mod client;
pub mod configuration;
pub mod server;
pub mod session;

/// Each text by its name, rendered with its examples.
pub fn every() -> Vec<(&'static str, String)> {
    [
        configuration::every(),
        client::every(),
        server::every(),
        session::every(),
    ]
    .concat()
}
