//! Whom the runtime trusts, what it refuses and what it says then.

use super::{Authority, PATIENCE, plain_pair, sockets, tls_pair};
use crate::{
    Trust, handshake, server_config,
    stream::{Socket, Stream},
};
use futures_lite::{AsyncReadExt, AsyncWriteExt, future::zip};
use std::{fs, io::Write, sync::Arc};

fn server_error(authority: &Authority, leaf: &super::certificates::Leaf, host: &str) -> String {
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
    assert!(error.contains("for another name"), "{error}");
}

#[test]
fn a_further_authority_counts_beside_the_first() {
    let (first, second) = (Authority::new(), Authority::new());
    let trust = first.trust();
    let extra = second.path("ca.pem");
    for authority in [&first, &second] {
        let (near, far) = sockets();
        let config = trust.client_config(Some(&extra)).unwrap();
        let local = authority.leaf("localhost").server_config();
        let (near, far) = smol::block_on(zip(
            handshake::with_server(Socket::new(near), config, "localhost", PATIENCE),
            handshake::with_client(Socket::new(far), local, PATIENCE),
        ));
        assert!(near.is_ok() && far.is_ok());
    }
}

#[test]
fn the_file_of_the_environment_takes_the_place_of_the_platform_roots() {
    let authority = Authority::new();
    let file = authority.path("ca.pem").into_os_string();
    let (near, far) = sockets();
    let config = Trust::by_variables(Some(file), None)
        .client_config(None)
        .unwrap();
    let local = authority.leaf("localhost").server_config();
    let (near, far) = smol::block_on(zip(
        handshake::with_server(Socket::new(near), config, "localhost", PATIENCE),
        handshake::with_client(Socket::new(far), local, PATIENCE),
    ));
    assert!(near.is_ok() && far.is_ok());
    let missing = authority.path("missing.pem").into_os_string();
    let error = Trust::by_variables(Some(missing), None)
        .client_config(None)
        .unwrap_err();
    assert!(
        error.to_string().contains("missing.pem: cannot be read"),
        "{error}"
    );
}

#[test]
fn one_set_of_roots_is_one_configuration() {
    let authority = Authority::new();
    let trust = authority.trust();
    let first = trust.client_config(None).unwrap();
    assert!(Arc::ptr_eq(&first, &trust.client_config(None).unwrap()));
    let extra = authority.path("ca.pem");
    let second = trust.client_config(Some(&extra)).unwrap();
    assert!(!Arc::ptr_eq(&first, &second));
    assert!(Arc::ptr_eq(
        &second,
        &trust.client_config(Some(&extra)).unwrap()
    ));
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

#[test]
fn bad_files_are_named() {
    let authority = Authority::new();
    let leaf = authority.leaf("localhost");
    let other = authority.leaf("other.example");
    let written = |name: &str, text: &str| {
        let path = authority.path(name);
        fs::write(&path, text).unwrap();
        path
    };
    let missing = authority.path("missing.pem");
    let encrypted = written(
        "encrypted.key",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    let legacy = written(
        "legacy.key",
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n",
    );
    let empty = written("empty.pem", "nothing here\n");
    let cases = [
        (&missing, &leaf.key, "missing.pem: cannot be read"),
        (&empty, &leaf.key, "empty.pem: holds no certificate"),
        (
            &leaf.certificate,
            &leaf.certificate,
            "localhost-4000.pem: holds no private key",
        ),
        (
            &leaf.certificate,
            &encrypted,
            "encrypted.key: the private key is encrypted",
        ),
        (
            &leaf.certificate,
            &legacy,
            "legacy.key: the private key is encrypted",
        ),
        (
            &leaf.certificate,
            &other.key,
            "other.example-4000.key: is not the key of",
        ),
    ];
    for (certificate, key, expected) in cases {
        let error = server_config(certificate, key).err().unwrap().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
    let error = Trust::only(&empty)
        .client_config(None)
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("empty.pem: holds no certificate"), "{error}");
}
