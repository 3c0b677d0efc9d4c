//! TLS material and configurations, with certificates made for the test.

mod to_server;

use crate::testing::Authority;
use crate::{ListenError, ListenerConfig, Trust, check, server_config};
use proxy_proto::{LocalTls, Protocol, SessionConfig};
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};
use std::{fs, sync::Arc};

/// A handshake in memory; the client's error if it refuses.
fn handshake(client: Arc<ClientConfig>, server: Arc<ServerConfig>) -> Result<(), rustls::Error> {
    let mut client = ClientConnection::new(client, "localhost".try_into().unwrap()).unwrap();
    let mut server = ServerConnection::new(server).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut sent = &wire[..];
        while !sent.is_empty() {
            server.read_tls(&mut sent).unwrap();
            server.process_new_packets().unwrap();
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut sent = &wire[..];
        while !sent.is_empty() {
            client.read_tls(&mut sent).unwrap();
            client.process_new_packets()?;
        }
    }
    Ok(())
}

#[test]
fn a_further_authority_counts_beside_the_first() {
    let (first, second) = (Authority::new(), Authority::new());
    let trust = first.trust();
    let extra = second.path("ca.pem");
    for authority in [&first, &second] {
        let config = trust.client_config(Some(&extra)).unwrap();
        handshake(config, authority.leaf("localhost").server_config()).unwrap();
    }
    let alone = trust.client_config(None).unwrap();
    handshake(alone, second.leaf("localhost").server_config()).unwrap_err();
}

#[test]
fn the_file_of_the_environment_takes_the_place_of_the_platform_roots() {
    let authority = Authority::new();
    let by_variable = |name: &str| {
        let file = authority.path(name).into_os_string();
        Trust::by_variables(Some(file), None).client_config(None)
    };
    let config = by_variable("ca.pem").unwrap();
    handshake(config, authority.leaf("localhost").server_config()).unwrap();
    let error = by_variable("missing.pem").unwrap_err().to_string();
    assert!(error.contains("missing.pem: cannot be read"), "{error}");
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
fn configurations_that_cannot_work_are_named() {
    let trust = Authority::new().trust().client_config(None).unwrap();
    let listener = |heading: &str, port, local_tls| {
        let mut session = SessionConfig::new(Protocol::Imap);
        session.local_tls = local_tls;
        ListenerConfig::new(heading, port, "127.0.0.1", 993, session, trust.clone())
    };
    let errors = check(&[
        listener("IMAP-1", 0, LocalTls::Implicit),
        listener("IMAP-60001", 60001, LocalTls::None),
        listener("POP-60001", 60001, LocalTls::None),
        listener("POP-0", 0, LocalTls::None),
    ]);
    assert!(
        matches!(
            &errors[..],
            [
                ListenError::NoCertificate { .. },
                ListenError::Duplicate { .. }
            ]
        ),
        "{errors:?}"
    );
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
