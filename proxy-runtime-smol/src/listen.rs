//! Sockets that wait for mail clients.

use crate::{
    session::{self, Context},
    timer::Timer,
    workers::Crew,
};
use async_io::Async;
use proxy_runtime::{
    Backoff, Census, Current, Rare, TurnedAway, admit, messages::client as messages, trouble::plain,
};
use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
};
use tracing::warn;

/// Accepts for ever; what fails is logged and tried again.
pub(crate) async fn accept(
    listener: Async<TcpListener>,
    current: Current,
    context: Arc<Context>,
    census: Arc<Census>,
    crew: Crew,
) {
    let mut backoff = Backoff::default();
    let mut turned_away = Rare::default();
    loop {
        let (tcp, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            // The client was gone again before it was accepted.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionAborted
                        | io::ErrorKind::ConnectionReset
                        | io::ErrorKind::Interrupted
                ) =>
            {
                continue;
            }
            // Out of file descriptors or memory: sessions that end make room.
            Err(error) => {
                if !backoff.failing() {
                    warn!("{}", messages::cannot_accept(plain(&error)));
                }
                Timer::after(backoff.pause()).await;
                continue;
            }
        };
        backoff.reset();
        let config = current.get();
        // A dual-stack socket shows IPv4 clients as mapped addresses.
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        let ticket = match admit(&census, &config, address) {
            Ok(ticket) => ticket,
            Err(why) => {
                if let Some(count) = turned_away.count() {
                    let server = &*config.heading;
                    warn!(server, %address, count, "{}", messages::client_turned_away(why));
                }
                continue;
            }
        };
        // Filters are somebody else's code: however long they take, the other sessions go on.
        let apart = config.session.filters.is_some();
        let heading = config.heading.clone();
        let session = session::serve(context.clone(), config, tcp, address, ticket);
        let begun = match apart {
            false => crew.begin(session),
            true => crew.begin_apart(session).unwrap_or_else(|why| {
                let server = &*heading;
                census.turned_away(&heading, TurnedAway::NoResources);
                warn!(server, %address, "{}", messages::client_turned_away(why));
                true
            }),
        };
        if !begun {
            return;
        }
    }
}
