//! Bytes after login.

use super::{Authority, PATIENCE, elsewhere, patiently, plain_pair, tls_pair};
use crate::{
    handshake::within,
    relay::relay,
    stop::{Level, Stop, Watch},
    stream::Stream,
};
use futures_lite::{AsyncReadExt, AsyncWriteExt, future::zip, io::split};
use proxy_proto::Side;
use proxy_runtime::{Relayed, SessionRecord, Why, testing::Pattern};
use std::{sync::Arc, time::Duration};

/// Writes the pattern of one seed and ends; meanwhile reads, and compares with that of another one, until the end.
async fn exchange(stream: Stream, sent: (u64, usize), expected: (u64, usize)) {
    let (mut reading, mut writing) = split(stream);
    let write = async {
        let mut pattern = Pattern(sent.0);
        let mut left = sent.1;
        // A length that fits no buffer and no record.
        let mut bytes = vec![0; 70_001];
        while left > 0 {
            let count = left.min(bytes.len());
            pattern.fill(&mut bytes[..count]);
            writing.write_all(&bytes[..count]).await.unwrap();
            left -= count;
        }
        writing.close().await.unwrap();
    };
    let read = async {
        let mut pattern = Pattern(expected.0);
        let mut total = 0;
        let mut bytes = vec![0; 50_021];
        let mut wanted = vec![0; 50_021];
        loop {
            let count = reading.read(&mut bytes).await.unwrap();
            if count == 0 {
                break;
            }
            pattern.fill(&mut wanted[..count]);
            assert!(
                bytes[..count] == wanted[..count],
                "wrong byte within {count} after {total}"
            );
            total += count;
        }
        assert_eq!(total, expected.1);
    };
    zip(write, read).await;
}

fn record() -> Arc<SessionRecord> {
    SessionRecord::alone(&"TEST-1".into(), ([127, 0, 0, 1], 1).into())
}

fn started(client: Stream, server: Stream, drain: Duration) -> (Arc<Stop>, smol::Task<Relayed>) {
    let stop = Arc::new(Stop::default());
    let watch = Watch::new(stop.clone());
    let task = smol::spawn(relay(client, server, watch, drain, record()));
    (stop, task)
}

async fn both_ways_at_once(tls_client: bool, tls_server: bool, down: usize, up: usize) {
    let authority = Authority::new();
    let (client, at_client) = match tls_client {
        true => tls_pair(&authority).await,
        false => plain_pair(),
    };
    let (at_server, server) = match tls_server {
        true => tls_pair(&authority).await,
        false => plain_pair(),
    };
    let (_stop, relaying) = started(at_client, at_server, PATIENCE);
    let client = smol::spawn(exchange(client, (1, up), (2, down)));
    let server = smol::spawn(exchange(server, (2, down), (1, up)));
    zip(client, server).await;
    let ended = relaying.await;
    assert!(matches!(ended.why, Why::Finished), "{ended:?}");
    assert_eq!((ended.up, ended.down), (up as u64, down as u64));
}

#[test]
fn plain_both_ways_at_once() {
    patiently(both_ways_at_once(false, false, 30_000_000, 30_000_000));
    elsewhere(both_ways_at_once(false, false, 30_000_000, 30_000_000));
}

#[test]
fn tls_upstream_both_ways_at_once() {
    patiently(both_ways_at_once(false, true, 30_000_000, 30_000_000));
    elsewhere(both_ways_at_once(false, true, 30_000_000, 30_000_000));
}

#[test]
fn tls_on_both_sides_both_ways_at_once() {
    patiently(both_ways_at_once(true, true, 8_000_000, 30_000_000));
    elsewhere(both_ways_at_once(true, true, 8_000_000, 30_000_000));
}

#[test]
fn nothing_at_all_is_relayed_as_well() {
    patiently(both_ways_at_once(true, true, 0, 0));
    elsewhere(both_ways_at_once(true, true, 0, 0));
}

#[test]
fn half_close_is_passed_on_and_the_answer_still_arrives() {
    patiently(async {
        let (mut client, at_client) = plain_pair();
        let (at_server, mut server) = plain_pair();
        let (_stop, relaying) = started(at_client, at_server, PATIENCE);
        client.write_all(b"question").await.unwrap();
        client.close().await.unwrap();
        let mut question = Vec::new();
        server.read_to_end(&mut question).await.unwrap();
        assert_eq!(question, b"question");
        let mut answer = vec![0; 1_000_000];
        Pattern(3).fill(&mut answer);
        let receive = async {
            let mut received = Vec::new();
            client.read_to_end(&mut received).await.unwrap();
            received
        };
        let send = async {
            server.write_all(&answer).await.unwrap();
            server.close().await.unwrap();
        };
        let (received, ()) = zip(receive, send).await;
        assert!(received == answer);
        assert!(matches!(relaying.await.why, Why::Finished));
    });
}

#[test]
fn a_reset_ends_the_other_side() {
    patiently(async {
        let (client, at_client) = plain_pair();
        let (at_server, mut server) = plain_pair();
        let (_stop, relaying) = started(at_client, at_server, PATIENCE);
        let Stream::Plain(socket) = client else {
            unreachable!("a plain pair")
        };
        socket.reset();
        assert_eq!(server.read(&mut [0; 16]).await.unwrap(), 0);
        let ended = relaying.await;
        assert!(
            matches!(ended.why, Why::Broken(Side::Client, _)),
            "{ended:?}"
        );
    });
}

#[test]
fn a_slow_reader_holds_the_sender_back() {
    patiently(async {
        let (mut client, at_client) = plain_pair();
        let (at_server, mut server) = plain_pair();
        let (_stop, relaying) = started(at_client, at_server, PATIENCE);
        // Nobody reads at the client: the sender must come to a stop far below 256 MiB.
        let block = vec![7; 1 << 20];
        let mut sent = 0;
        while let Some(count) = within(Duration::from_millis(500), server.write(&block))
            .await
            .transpose()
            .unwrap()
        {
            sent += count;
            assert!(sent < 256 << 20, "no back-pressure");
        }
        // The other direction is not affected.
        client.write_all(b"NOOP\r\n").await.unwrap();
        let mut line = [0; 6];
        server.read_exact(&mut line).await.unwrap();
        assert_eq!(&line, b"NOOP\r\n");
        let drained = async {
            let mut received = 0;
            let mut bytes = vec![0; 1 << 16];
            while received < sent {
                received += client.read(&mut bytes).await.unwrap();
            }
            received
        };
        assert_eq!(drained.await, sent);
        drop((client, server));
        relaying.await;
    });
}

#[test]
fn shutdown_drains_the_server_and_injects_nothing() {
    let authority = Authority::new();
    patiently(async {
        let (mut client, at_client) = tls_pair(&authority).await;
        let (at_server, mut server) = tls_pair(&authority).await;
        let (stop, relaying) = started(at_client, at_server, PATIENCE);
        client.write_all(b"FETCH").await.unwrap();
        client.flush().await.unwrap();
        server.read_exact(&mut [0; 5]).await.unwrap();

        stop.raise(Level::Draining);
        let mut mail = vec![0; 500_000];
        Pattern(4).fill(&mut mail);
        let receive = async {
            let mut received = Vec::new();
            client.read_to_end(&mut received).await.unwrap();
            received
        };
        let send = async {
            server.write_all(&mail).await.unwrap();
            server.flush().await.unwrap();
            // The server has nothing more to say, but does not leave.
            let mut rest = Vec::new();
            server.read_to_end(&mut rest).await.unwrap();
            rest
        };
        let (received, rest) = zip(receive, send).await;
        assert!(received == mail);
        assert!(rest.is_empty());
        assert!(matches!(relaying.await.why, Why::Stopped));
    });
}

#[test]
fn a_server_that_owes_an_answer_has_until_the_deadline() {
    patiently(async {
        let (mut client, at_client) = plain_pair();
        let (at_server, mut server) = plain_pair();
        let drain = Duration::from_millis(50);
        let (stop, relaying) = started(at_client, at_server, drain);
        client.write_all(b"SEARCH").await.unwrap();
        server.read_exact(&mut [0; 6]).await.unwrap();
        stop.raise(Level::Draining);
        // Neither end moves: only the deadline can end this.
        assert!(matches!(relaying.await.why, Why::Stopped));
        assert_eq!(client.read(&mut [0; 16]).await.unwrap(), 0);
        assert_eq!(server.read(&mut [0; 16]).await.unwrap(), 0);
    });
}

#[test]
fn what_the_client_says_after_shutdown_is_not_passed_on() {
    patiently(async {
        let (mut client, at_client) = plain_pair();
        let (at_server, mut server) = plain_pair();
        let stop = Arc::new(Stop::default());
        stop.raise(Level::Draining);
        client.write_all(b"late").await.unwrap();
        let watch = Watch::new(stop);
        let ended = relay(at_client, at_server, watch, PATIENCE, record()).await;
        assert!(matches!(ended.why, Why::Stopped));
        assert_eq!(ended.up, 0);
        assert_eq!(server.read(&mut [0; 16]).await.unwrap(), 0);
    });
}
