//! One task per session: from accept to the last byte.

use crate::{
    balanced,
    handshake::{self, within},
    pump::Pump,
    relay::relay,
    stop::{Level, Stop, Watch},
    stream::{Socket, Stream},
};
use async_io::Async;
use futures_lite::FutureExt;
use proxy_proto::{Authenticate, LocalTls, Reason, Side};
use proxy_runtime::{ListenerConfig, Options, Outcome, PARTING, SessionRecord, Ticket, messages};
use std::{
    any::Any,
    future::poll_fn,
    net::{SocketAddr, TcpStream},
    panic::AssertUnwindSafe,
    sync::Arc,
    task::Poll,
    time::Instant,
};
use tracing::{Instrument, Span, debug, error, error_span, warn};

/// What sessions share.
pub(crate) struct Context {
    pub(crate) authenticate: Arc<dyn Authenticate>,
    pub(crate) options: Options,
    pub(crate) stop: Arc<Stop>,
}

/// Serves one client. Never panics: a defect ends this session and is logged, the others do not notice.
pub(crate) async fn serve(
    context: Arc<Context>,
    config: Arc<ListenerConfig>,
    tcp: Async<TcpStream>,
    address: SocketAddr,
    mut ticket: Ticket,
) {
    let id = ticket.id();
    let client = tracing::field::Empty;
    let span = error_span!("session", id, server = &*config.heading, client);
    let whole = async move {
        let began = Instant::now();
        let session = Box::pin(identified(context, config, tcp, address, &mut ticket));
        if let Err(panic) = AssertUnwindSafe(session).catch_unwind().await {
            error!("{}", messages::session::defect(text_of(&*panic)));
            if let Some(record) = ticket.record() {
                record.defect();
            }
        }
        debug!(
            seconds = began.elapsed().as_secs(),
            "{}",
            messages::session::CLOSED
        );
        // Only now is the session counted as gone.
        drop(ticket);
    };
    whole.instrument(span).await;
}

/// Finds out who the client is, then serves it.
async fn identified(
    context: Arc<Context>,
    config: Arc<ListenerConfig>,
    mut tcp: Async<TcpStream>,
    address: SocketAddr,
    ticket: &mut Ticket,
) {
    let client = match &config.proxy_protocol {
        None => Some(address),
        // On the heap, and only while it lasts: a session has as much room as the largest of its steps.
        Some(_) => {
            Box::pin(balanced::client(
                &context, &config, &mut tcp, address, ticket,
            ))
            .await
        }
    };
    if let Some(client) = client {
        Span::current().record("client", tracing::field::display(client));
        debug!("{}", messages::client::OPENED);
        let record = ticket.begin(client);
        Box::pin(session(context, config, tcp, client, record)).await;
    }
}

async fn session(
    context: Arc<Context>,
    config: Arc<ListenerConfig>,
    tcp: Async<TcpStream>,
    address: SocketAddr,
    record: Arc<SessionRecord>,
) {
    let mut watch = Watch::new(context.stop.clone());
    let socket = Socket::new(tcp);
    let client = match (&config.session.local_tls, &config.local_tls) {
        (LocalTls::Implicit, Some(local)) => {
            let timeout = context.options.handshake_timeout;
            let handshake = async {
                let result = handshake::with_client(socket, local.clone(), timeout).await;
                record.tls(Side::Client, result.is_ok());
                result
            };
            // Whoever has not even established TLS needs no farewell.
            let stopped = async {
                watch.reached(Level::Draining).await;
                Err(Reason::Shutdown.to_string())
            };
            match Box::pin(handshake.or(stopped)).await {
                Ok(stream) => stream,
                Err(why) => {
                    warn!("{}", messages::client::tls_with_client_failed(why));
                    return;
                }
            }
        }
        _ => Stream::Plain(socket),
    };

    let drain = config.session.limits.drain;
    // On the heap of its own, so that a session in relay does not keep the room that its login took.
    let mut pump = Box::new(Pump::new(
        context.clone(),
        config,
        address,
        record.clone(),
        client,
        watch,
    ));
    let outcome = poll_fn(|cx| pump.poll(cx)).await;
    drop(pump);

    match outcome {
        Outcome::Relay {
            client,
            server,
            login,
            open,
        } => {
            let watch = Watch::new(context.stop.clone());
            let relayed = Box::pin(relay(client, server, watch, drain, record)).await;
            drop(open);
            relayed.log(&login);
        }
        Outcome::Closed { sides, .. } => {
            let [client, server] = sides.map(|(stream, last)| part(stream, last));
            Box::pin(futures_lite::future::zip(client, server)).await;
        }
        Outcome::TlsOnPlaintext(_) | Outcome::Cut => {}
    }
}

/// Sends the last bytes and ends the write half; then waits for the peer's end, because closing a socket with
/// unread bytes resets the connection and can take the farewell with it.
async fn part(stream: Option<Stream>, last: Vec<u8>) {
    let Some(mut stream) = stream else {
        return;
    };
    let mut sent = 0;
    let sending = poll_fn(|cx| {
        while sent < last.len() {
            match stream.poll_write(cx, &last[sent..]) {
                Poll::Ready(Ok(count)) => sent += count,
                Poll::Ready(Err(_)) => return Poll::Ready(false),
                Poll::Pending => return Poll::Pending,
            }
        }
        stream.poll_close(cx).map(|result| result.is_ok())
    });
    if within(PARTING, sending).await != Some(true) {
        return;
    }
    let mut ignored = [0; 1024];
    let mut left = proxy_runtime::PARTING_BYTES;
    let ending = poll_fn(|cx| {
        match stream.poll_read(cx, &mut ignored) {
            Poll::Ready(Ok(count)) if count > 0 && count < left => {
                left -= count;
                // One read per turn: a peer that never stops takes no more than its share.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending => Poll::Pending,
        }
    });
    within(PARTING, ending).await;
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text,
        _ => messages::session::DEFECT_WITHOUT_TEXT,
    }
}
