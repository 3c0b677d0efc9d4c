//! Connections of balancers, which say first whom they stand for.

use crate::{
    handshake::within,
    session::Context,
    stop::{Level, Watch},
};
use async_io::Async;
use futures_lite::{AsyncReadExt, FutureExt};
use proxy_runtime::{
    HeaderProgress, HeaderReader, ListenerConfig, Origin, Ticket, TurnedAway, identify,
    messages::client as messages, trouble,
};
use std::net::{SocketAddr, TcpStream};
use tracing::{debug, warn};

/// The client for which a balancer has connected, if it is to be served. Nothing behind the header is read.
pub(crate) async fn client(
    context: &Context,
    config: &ListenerConfig,
    tcp: &mut Async<TcpStream>,
    balancer: SocketAddr,
    ticket: &mut Ticket,
) -> Option<SocketAddr> {
    let mut watch = Watch::new(context.stop.clone());
    let header = async { Some(within(context.options.handshake_timeout, read_header(tcp)).await) };
    // Whoever has not even begun needs no farewell.
    let stopped = async {
        watch.reached(Level::Draining).await;
        None
    };
    let origin = match header.or(stopped).await? {
        Some(Ok(origin)) => origin,
        Some(Err(why)) => {
            ticket.turned_away(TurnedAway::NoHeader);
            warn!(%balancer, "{}", messages::balancer_turned_away(why));
            return None;
        }
        None => {
            ticket.turned_away(TurnedAway::NoHeader);
            warn!(%balancer, "{}", messages::balancer_turned_away(messages::SLOW_HEADER));
            return None;
        }
    };
    match identify(ticket, config, balancer, origin) {
        Ok(client) => {
            debug!(%balancer, "{}", messages::client_is(client));
            Some(client)
        }
        Err((client, why)) => {
            warn!(%balancer, %client, "{}", messages::client_turned_away(why));
            None
        }
    }
}

async fn read_header(tcp: &mut Async<TcpStream>) -> Result<Origin, String> {
    let mut reader = HeaderReader::default();
    let mut bytes = [0; 512];
    loop {
        let count = match tcp.peek(&mut bytes).await {
            Ok(0) => return Err(messages::INCOMPLETE_HEADER.to_owned()),
            Ok(count) => count,
            Err(error) => return Err(trouble::plain(&error)),
        };
        let progress = reader
            .feed(&bytes[..count])
            .map_err(|bad| bad.to_string())?;
        let (used, origin) = match progress {
            HeaderProgress::More => (count, None),
            HeaderProgress::Complete { used, origin } => (used, Some(origin)),
        };
        let taken = tcp.read_exact(&mut bytes[..used]).await;
        taken.map_err(|error| trouble::plain(&error))?;
        if let Some(origin) = origin {
            return Ok(origin);
        }
    }
}
