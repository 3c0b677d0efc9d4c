//! TLS towards servers that do what TLS allows, and what it does not.

use super::{Authority, PATIENCE, patiently};
use crate::{
    handshake,
    stream::{Socket, Stream},
};
use async_io::Async;
use futures_lite::{AsyncReadExt, AsyncWriteExt, future::zip};
use proxy_runtime::testing::Leaf;
use rustls::{
    AlertDescription, ClientConfig, Error, HandshakeKind, ProtocolVersion, ServerConfig,
    ServerConnection, StreamOwned,
};
use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
};

type Server = StreamOwned<ServerConnection, TcpStream>;

/// Our end of a connection to a server that is played by a thread of its own, and what came of that.
async fn against<T: Send + 'static>(
    server: Arc<ServerConfig>,
    config: Arc<ClientConfig>,
    play: impl FnOnce(Server) -> T + Send + 'static,
    ours: impl AsyncFnOnce(Result<Stream, String>),
) -> T {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let playing = smol::unblock(move || {
        let tcp = listener.accept().unwrap().0;
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        play(StreamOwned::new(
            ServerConnection::new(server).unwrap(),
            tcp,
        ))
    });
    let ours = async {
        let socket = Socket::connect(address).await.unwrap();
        ours(handshake::with_server(socket, config, "localhost", PATIENCE).await).await;
    };
    zip(playing, ours).await.0
}

fn trusting(authority: &Authority) -> Arc<ClientConfig> {
    authority.trust().client_config(None).unwrap()
}

fn mail(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 + at / 251) as u8).collect()
}

async fn read_in_pieces(stream: &mut Stream, piece: usize, length: usize) -> Vec<u8> {
    let mut all = Vec::new();
    let mut bytes = vec![0; piece];
    while all.len() < length {
        let count = stream.read(&mut bytes).await.unwrap();
        assert!(count > 0, "the end after {} bytes", all.len());
        all.extend_from_slice(&bytes[..count]);
    }
    all
}

#[test]
fn small_reads_lose_nothing() {
    let authority = Authority::new();
    for piece in [1, 100, 5_000, 16_384, 20_000, 131_072] {
        let length = piece.min(400) * 1_000;
        let server = authority.leaf("localhost").server_config();
        patiently(against(
            server,
            trusting(&authority),
            move |mut server| {
                server.write_all(&mail(length)).unwrap();
                server.flush().unwrap();
                // It stays open until the other side has all.
                assert_eq!(server.read(&mut [0]).unwrap(), 1);
            },
            async |stream| {
                let mut stream = stream.unwrap();
                let all = read_in_pieces(&mut stream, piece, length).await;
                assert!(all == mail(length), "in pieces of {piece}");
                stream.write_all(b"!").await.unwrap();
                stream.flush().await.unwrap();
            },
        ));
    }
}

#[test]
fn what_is_written_between_small_reads_arrives() {
    let authority = Authority::new();
    let server = authority.leaf("localhost").server_config();
    patiently(against(
        server,
        trusting(&authority),
        |mut server| {
            server.write_all(&mail(100_000)).unwrap();
            server.flush().unwrap();
            let mut received = vec![0; 1_000];
            server.read_exact(&mut received).unwrap();
            assert!(received == mail(1_000));
        },
        async |stream| {
            // Records that were read, but not worked through, when something is to be written.
            let mut stream = stream.unwrap();
            let mut all = Vec::new();
            for piece in mail(1_000).chunks(10) {
                all.extend(read_in_pieces(&mut stream, 1_000, 1).await);
                stream.write_all(piece).await.unwrap();
                stream.flush().await.unwrap();
            }
            let rest = 100_000 - all.len();
            all.extend(read_in_pieces(&mut stream, 131_072, rest).await);
            assert!(all == mail(100_000));
        },
    ));
}

#[test]
fn keys_change_under_way() {
    let authority = Authority::new();
    let server = authority.leaf("localhost").server_config();
    patiently(against(
        server,
        trusting(&authority),
        |mut server| {
            let mut received = [0; 3];
            for _ in 0..5 {
                server.write_all(&mail(50_000)).unwrap();
                // It asks for new keys of ours, too.
                server.conn.refresh_traffic_keys().unwrap();
                server.flush().unwrap();
                server.read_exact(&mut received).unwrap();
                assert_eq!(&received, b"ok\n");
            }
        },
        async |stream| {
            let mut stream = stream.unwrap();
            for _ in 0..5 {
                assert!(read_in_pieces(&mut stream, 131_072, 50_000).await == mail(50_000));
                stream.write_all(b"ok\n").await.unwrap();
                stream.flush().await.unwrap();
            }
        },
    ));
}

#[test]
fn sessions_are_resumed() {
    let authority = Authority::new();
    let leaf = authority.leaf("localhost");
    let (server, config) = (leaf.server_config(), trusting(&authority));
    let kinds: Vec<_> = (0..2)
        .map(|_| {
            patiently(against(
                server.clone(),
                config.clone(),
                |mut server| {
                    server.write_all(b"* OK ready\r\n").unwrap();
                    server.flush().unwrap();
                    server.conn.handshake_kind()
                },
                async |stream| {
                    // The ticket precedes the greeting.
                    let mut stream = stream.unwrap();
                    assert_eq!(
                        read_in_pieces(&mut stream, 100, 12).await,
                        b"* OK ready\r\n"
                    );
                },
            ))
        })
        .collect();
    assert_eq!(
        kinds,
        [Some(HandshakeKind::Full), Some(HandshakeKind::Resumed)]
    );
}

fn only(version: &'static rustls::SupportedProtocolVersion, leaf: &Leaf) -> Arc<ServerConfig> {
    let full = leaf.server_config();
    let config = ServerConfig::builder_with_provider(full.crypto_provider().clone())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(full.cert_resolver.clone());
    Arc::new(config)
}

#[test]
fn tls_1_2_is_spoken_as_well() {
    let authority = Authority::new();
    let server = only(&rustls::version::TLS12, &authority.leaf("localhost"));
    let version = patiently(against(
        server,
        trusting(&authority),
        |mut server| {
            let mut received = vec![0; 200_000];
            server.read_exact(&mut received).unwrap();
            server.write_all(&received).unwrap();
            server.flush().unwrap();
            server.conn.protocol_version()
        },
        async |stream| {
            let mut stream = stream.unwrap();
            stream.write_all(&mail(200_000)).await.unwrap();
            stream.flush().await.unwrap();
            assert!(read_in_pieces(&mut stream, 70_000, 200_000).await == mail(200_000));
        },
    ));
    assert_eq!(version, Some(ProtocolVersion::TLSv1_2));
}

#[test]
fn a_server_that_has_ended_is_still_written_to() {
    let authority = Authority::new();
    let server = authority.leaf("localhost").server_config();
    patiently(against(
        server,
        trusting(&authority),
        |mut server| {
            server.write_all(b"bye").unwrap();
            server.conn.send_close_notify();
            server.flush().unwrap();
            let mut all = Vec::new();
            // Its end comes with close_notify, or this would be an error.
            server.read_to_end(&mut all).unwrap();
            assert_eq!(all, b"farewell");
        },
        async |stream| {
            let mut stream = stream.unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await.unwrap();
            assert_eq!(all, b"bye");
            stream.write_all(b"farewell").await.unwrap();
            stream.close().await.unwrap();
        },
    ));
}

#[test]
fn an_end_without_close_notify_is_an_end() {
    let authority = Authority::new();
    let server = authority.leaf("localhost").server_config();
    patiently(against(
        server,
        trusting(&authority),
        |mut server| {
            server.write_all(b"bye").unwrap();
            server.flush().unwrap();
        },
        async |stream| {
            let mut all = Vec::new();
            stream.unwrap().read_to_end(&mut all).await.unwrap();
            assert_eq!(all, b"bye");
        },
    ));
}

#[test]
fn bytes_before_a_broken_record_are_delivered() {
    let authority = Authority::new();
    let server = authority.leaf("localhost").server_config();
    let told = patiently(against(
        server,
        trusting(&authority),
        |mut server| {
            server.write_all(b"whole").unwrap();
            server.flush().unwrap();
            // A record that nobody encrypted.
            server.sock.write_all(&[23, 3, 3, 0, 40]).unwrap();
            server.sock.write_all(&[0; 40]).unwrap();
            server.read(&mut [0; 16]).unwrap_err()
        },
        async |stream| {
            let mut stream = stream.unwrap();
            assert_eq!(read_in_pieces(&mut stream, 100, 5).await, b"whole");
            let error = stream.read(&mut [0; 100]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            assert!(stream.write_all(b"more").await.is_err());
        },
    ));
    assert!(alert(&told, AlertDescription::BadRecordMac), "{told}");
}

#[test]
fn a_server_hears_why_it_is_refused() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let server = theirs.leaf("localhost").server_config();
    let told = patiently(against(
        server,
        trusting(&ours),
        |mut server| server.read(&mut [0; 16]).unwrap_err(),
        async |stream| assert!(stream.is_err()),
    ));
    assert!(alert(&told, AlertDescription::UnknownCA), "{told}");
}

fn alert(error: &io::Error, expected: AlertDescription) -> bool {
    let error = error.get_ref().and_then(|error| error.downcast_ref());
    matches!(error, Some(Error::AlertReceived(alert)) if *alert == expected)
}

#[test]
fn a_server_that_stops_within_the_handshake_is_told_apart() {
    let authority = Authority::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    drop(listener.accept().unwrap());
    let error = patiently(async {
        let socket = Socket::new(Async::new(near).unwrap());
        handshake::with_server(socket, trusting(&authority), "localhost", PATIENCE)
            .await
            .err()
            .unwrap()
    });
    assert!(error.contains("closed the connection"), "{error}");
}
