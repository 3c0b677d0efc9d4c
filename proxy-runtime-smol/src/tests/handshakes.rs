//! Whom the runtime trusts, what it refuses and what it says then.

use super::{Authority, PATIENCE, plain_pair, sockets, tls_pair};
use crate::{
    handshake,
    stream::{Socket, Stream},
};
use futures_lite::{AsyncReadExt, AsyncWriteExt, future::zip};
use proxy_runtime::testing::Leaf;
use std::io::Write;

fn server_error(authority: &Authority, leaf: &Leaf, host: &str) -> String {
    let (near, far) = sockets();
    let local = leaf.server_config();
    let config = authority.trust().client_config(None).unwrap();
    let (near, _) = smol::block_on(zip(
        handshake::with_server(Socket::new(near), config, host, PATIENCE),
        handshake::with_client(Socket::new(far), local, PATIENCE),
    ));
    near.err().unwrap()
}

#[test]
fn bytes_pass_both_ways() {
    let authority = Authority::new();
    smol::block_on(async {
        let (mut near, mut far) = tls_pair(&authority).await;
        near.write_all(b"question").await.unwrap();
        near.flush().await.unwrap();
        far.write_all(b"answer").await.unwrap();
        far.close().await.unwrap();
        near.close().await.unwrap();
        let (mut at_near, mut at_far) = (Vec::new(), Vec::new());
        near.read_to_end(&mut at_near).await.unwrap();
        far.read_to_end(&mut at_far).await.unwrap();
        assert_eq!(
            (&at_near[..], &at_far[..]),
            (&b"answer"[..], &b"question"[..])
        );
    });
}

#[test]
fn an_unknown_authority_is_refused() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let error = server_error(&ours, &theirs.leaf("localhost"), "localhost");
    assert!(error.contains("authority that is not trusted"), "{error}");
    assert!(error.contains("server_ca_path"), "{error}");
}

#[test]
fn an_expired_certificate_is_refused() {
    let authority = Authority::new();
    let error = server_error(
        &authority,
        &authority.leaf_until("localhost", 2001),
        "localhost",
    );
    assert!(error.contains("has expired"), "{error}");
}

#[test]
fn a_certificate_for_another_name_is_refused() {
    let authority = Authority::new();
    let error = server_error(&authority, &authority.leaf("mail.example"), "localhost");
    // Whoever reports it says with whom TLS failed.
    assert_eq!(
        error,
        "its certificate is for another name: check server_address"
    );
}

#[test]
fn a_server_without_tls_is_recognised() {
    let authority = Authority::new();
    let (near, far) = sockets();
    far.get_ref()
        .write_all(b"* OK IMAP4rev1 ready\r\n")
        .unwrap();
    let config = authority.trust().client_config(None).unwrap();
    let error = smol::block_on(handshake::with_server(
        Socket::new(near),
        config,
        "localhost",
        PATIENCE,
    ))
    .err()
    .unwrap();
    assert!(error.contains("does not speak TLS on this port"), "{error}");
    assert!(error.contains("server_starttls"), "{error}");
}

#[test]
fn a_client_without_tls_is_recognised() {
    let authority = Authority::new();
    let (near, far) = sockets();
    near.get_ref().write_all(b"A1 CAPABILITY\r\n").unwrap();
    let local = authority.leaf("localhost").server_config();
    let error = smol::block_on(handshake::with_client(Socket::new(far), local, PATIENCE))
        .err()
        .unwrap();
    assert!(error.contains("speaks plaintext to a TLS port"), "{error}");
}

#[test]
fn a_client_that_does_not_trust_the_proxy_is_told_so() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let (near, far) = sockets();
    let local = ours.leaf("localhost").server_config();
    let config = theirs.trust().client_config(None).unwrap();
    let (_, far) = smol::block_on(zip(
        handshake::with_server(Socket::new(near), config, "localhost", PATIENCE),
        handshake::with_client(Socket::new(far), local, PATIENCE),
    ));
    let error = far.err().unwrap();
    assert!(
        error.contains("does not accept the proxy's certificate"),
        "{error}"
    );
}

#[test]
fn plaintext_is_never_read_ahead() {
    let (mut near, mut far) = plain_pair();
    smol::block_on(async {
        near.write_all(b"STARTTLS\r\nresidue").await.unwrap();
        let mut line = [0; 10];
        far.read_exact(&mut line).await.unwrap();
        let Stream::Plain(socket) = &far else {
            unreachable!("a plain pair")
        };
        let mut rest = [0; 16];
        let count = std::future::poll_fn(|cx| socket.poll_peek(cx, &mut rest))
            .await
            .unwrap();
        assert_eq!(&rest[..count], b"residue");
    });
}
