//! The runtime through real sockets on loopback.

mod handshakes;
mod relays;
mod suite;
mod to_server;

use crate::{
    handshake::{self, within},
    reactor::Reactor,
    stream::{Socket, Stream},
};
use async_io::Async;
use futures_lite::{AsyncRead, AsyncWrite, future::block_on};
use proxy_runtime::testing::Authority;
use std::{
    future::Future,
    io,
    net::{TcpListener, TcpStream},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

/// Far beyond what any step needs: only a hanging test meets it.
const PATIENCE: Duration = Duration::from_secs(60);

// What tests read and write is the same streams, so they have the usual traits here.

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Stream::poll_read(self.get_mut(), cx, bytes)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Stream::poll_write(self.get_mut(), cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Stream::poll_flush(self.get_mut(), cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Stream::poll_close(self.get_mut(), cx)
    }
}

/// On a reactor of the test's own, as sessions have one.
fn patiently<T>(future: impl Future<Output = T>) -> T {
    let future = async { within(PATIENCE, future).await.expect("it hangs") };
    match Reactor::new() {
        Ok(reactor) => reactor.block_on(future),
        Err(_) => block_on(future),
    }
}

/// On async-io's reactor, as on systems where sessions have no other one.
fn elsewhere<T>(future: impl Future<Output = T>) -> T {
    block_on(async { within(PATIENCE, future).await.expect("it hangs") })
}

/// Two ends of one TCP connection: the one that connected, the one that accepted.
fn sockets() -> (Async<TcpStream>, Async<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let far = listener.accept().unwrap().0;
    (Async::new(near).unwrap(), Async::new(far).unwrap())
}

fn plain_pair() -> (Stream, Stream) {
    let (near, far) = sockets();
    (
        Stream::Plain(Socket::new(near)),
        Stream::Plain(Socket::new(far)),
    )
}

/// The first one is TLS's client.
async fn tls_pair(authority: &Authority) -> (Stream, Stream) {
    let (near, far) = sockets();
    let server = authority.leaf("localhost").server_config();
    let client = authority.trust().client_config(None).unwrap();
    let (near, far) = futures_lite::future::zip(
        handshake::with_server(Socket::new(near), client, "localhost", PATIENCE),
        handshake::with_client(Socket::new(far), server, PATIENCE),
    )
    .await;
    (near.unwrap(), far.unwrap())
}
