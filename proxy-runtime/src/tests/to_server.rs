//! [`TlsToServer`] against rustls's own server, in memory, over a wire that takes and gives as little as it likes.

use crate::{
    BUFFER, PLAINTEXT, Stock, TlsToServer,
    testing::{Authority, Pattern},
};
use rustls::{
    AlertDescription, ClientConfig, Error, ProtocolVersion, RootCertStore, ServerConfig,
    ServerConnection, SupportedProtocolVersion,
    pki_types::{CertificateDer, pem::PemObject},
    version,
};
use std::{
    cell::Cell,
    collections::VecDeque,
    io::{self, ErrorKind, Read, Write},
    sync::Arc,
};

thread_local! {
    static LENT: Cell<usize> = const { Cell::new(0) };
}

/// Keeps none, and counts those of the thread that are out.
struct Counted;

impl Stock for Counted {
    fn take() -> Option<Box<[u8]>> {
        LENT.set(LENT.get() + 1);
        Some(vec![0xa5; BUFFER].into_boxed_slice())
    }

    fn give_back(_: Box<[u8]>) {
        LENT.set(LENT.get() - 1);
    }
}

/// The same choices for the same seed.
struct Chance(Pattern);

impl Chance {
    fn of(seed: u64) -> Self {
        Chance(Pattern(seed))
    }

    fn below(&mut self, limit: usize) -> usize {
        let number = self.bytes(4);
        number
            .iter()
            .fold(0, |number, byte| number << 8 | usize::from(*byte))
            % limit
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.0.fill(&mut bytes);
        bytes
    }
}

/// What lies between client and server.
struct Wire {
    to_server: VecDeque<u8>,
    from_server: VecDeque<u8>,
    server_has_ended: bool,
    /// `None`: everything passes at once.
    pieces: Option<Chance>,
}

impl Wire {
    fn piece(&mut self, most: usize) -> io::Result<usize> {
        let Some(chance) = &mut self.pieces else {
            return Ok(most);
        };
        match chance.below(4) {
            0 => Err(ErrorKind::WouldBlock.into()),
            1 => Ok(most.min(1 + chance.below(7))),
            _ => Ok(most.min(1 + chance.below(30_000))),
        }
    }
}

impl Read for Wire {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if self.from_server.is_empty() {
            return match self.server_has_ended {
                true => Ok(0),
                false => Err(ErrorKind::WouldBlock.into()),
            };
        }
        let count = self.piece(bytes.len())?;
        self.from_server.read(&mut bytes[..count])
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.piece(bytes.len())?;
        self.to_server.write(&bytes[..count])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Both {
    client: TlsToServer<Counted>,
    server: ServerConnection,
    wire: Wire,
    /// What has come there.
    at_server: Vec<u8>,
}

impl Both {
    fn new(client: Arc<ClientConfig>, server: Arc<ServerConfig>, pieces: Option<Chance>) -> Self {
        Both {
            client: TlsToServer::new(client, "localhost".try_into().unwrap()).unwrap(),
            server: ServerConnection::new(server).unwrap(),
            wire: Wire {
                to_server: VecDeque::new(),
                from_server: VecDeque::new(),
                server_has_ended: false,
                pieces,
            },
            at_server: Vec::new(),
        }
    }

    fn connected(pieces: Option<Chance>) -> Self {
        let authority = Authority::new();
        let client = authority.trust().client_config(None).unwrap();
        let mut both = Both::new(client, authority.leaf("localhost").server_config(), pieces);
        both.handshake().unwrap();
        both
    }

    /// What the server does whenever there is something to do.
    fn serve(&mut self) -> Result<(), Error> {
        while !self.wire.to_server.is_empty() {
            self.server.read_tls(&mut self.wire.to_server).unwrap();
            let come = self.server.process_new_packets()?.plaintext_bytes_to_read();
            let before = self.at_server.len();
            self.at_server.resize(before + come, 0);
            let mut reader = self.server.reader();
            reader.read_exact(&mut self.at_server[before..]).unwrap();
        }
        while self.server.wants_write() {
            self.server.write_tls(&mut self.wire.from_server).unwrap();
        }
        Ok(())
    }

    fn handshake(&mut self) -> io::Result<()> {
        loop {
            let done = ready(self.client.handshake(&mut self.wire))?;
            self.serve().unwrap();
            if done.is_some() && !self.server.is_handshaking() {
                return Ok(());
            }
        }
    }

    fn server_writes(&mut self, bytes: &[u8]) {
        self.server.set_buffer_limit(None);
        self.server.writer().write_all(bytes).unwrap();
    }

    /// Reads until there is nothing more for now.
    fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut come = Vec::new();
        let mut room = vec![0; PLAINTEXT];
        while let Some(count) = ready(self.client.read(&mut self.wire, &mut room))? {
            come.extend_from_slice(&room[..count]);
            if count == 0 {
                break;
            }
        }
        Ok(come)
    }
}

/// `None`: it would block.
fn ready<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        result => result.map(Some),
    }
}

fn rustls_error(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

fn converse(version: &'static SupportedProtocolVersion, seed: u64) {
    let authority = Authority::new();
    let leaf = authority.leaf("localhost").server_config();
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(authority.path("ca.pem")).unwrap();
    roots.add(authority).unwrap();
    let config = ClientConfig::builder_with_protocol_versions(&[version])
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut both = Both::new(Arc::new(config), leaf, Some(Chance::of(seed)));
    both.handshake().unwrap();
    assert!(both.client.version() == Some(version.version));
    assert_eq!(both.client.certificates().len(), 1);

    let mut chance = Chance::of(seed + 1000);
    let (mut up, mut down) = (Vec::new(), Vec::new());
    let mut down_come = Vec::new();
    let mut unwritten: Vec<u8> = Vec::new();
    for _ in 0..150 {
        match chance.below(6) {
            0 | 1 if unwritten.is_empty() => {
                let most = [10, 1000, 40_000, 2 * PLAINTEXT][chance.below(4)];
                let count = 1 + chance.below(most);
                unwritten = chance.bytes(count);
                up.extend_from_slice(&unwritten);
            }
            2 | 3 => {
                let most = [10, 1000, 40_000, 2 * PLAINTEXT][chance.below(4)];
                let count = 1 + chance.below(most);
                let bytes = chance.bytes(count);
                both.server_writes(&bytes);
                down.extend_from_slice(&bytes);
            }
            4 if version.version == ProtocolVersion::TLSv1_3 => {
                both.server.refresh_traffic_keys().unwrap();
            }
            _ => {}
        }
        both.serve().unwrap();
        if !unwritten.is_empty()
            && let Some(count) = ready(both.client.write(&mut both.wire, &unwritten)).unwrap()
        {
            unwritten.drain(..count);
        }
        let most = [1, 100, 20_000, PLAINTEXT][chance.below(4)];
        let mut room = vec![0; 1 + chance.below(most)];
        if let Some(count) = ready(both.client.read(&mut both.wire, &mut room)).unwrap() {
            assert!(count > 0, "the server has not ended");
            down_come.extend_from_slice(&room[..count]);
        }
        both.serve().unwrap();
    }

    both.wire.pieces = None;
    while !unwritten.is_empty() {
        if let Some(count) = ready(both.client.write(&mut both.wire, &unwritten)).unwrap() {
            unwritten.drain(..count);
        }
        both.serve().unwrap();
    }
    both.client.flush(&mut both.wire).unwrap();
    down_come.extend(both.read().unwrap());
    assert!(down_come == down, "down, seed {seed}");
    assert!(!both.client.has_more() && !both.client.unsent());
    assert_eq!(LENT.get(), 0, "a silent connection holds a buffer");

    both.client.close(&mut both.wire).unwrap();
    both.serve().unwrap();
    assert!(both.at_server == up, "up, seed {seed}");
    let end = both.server.reader().read(&mut [0; 9]).unwrap();
    assert_eq!(end, 0, "close_notify has not come");
    // One direction has ended, the other one goes on.
    both.server_writes(b"farewell");
    both.server.send_close_notify();
    both.serve().unwrap();
    assert_eq!(both.read().unwrap(), b"farewell");
    assert_eq!(both.client.read(&mut both.wire, &mut [0; 9]).unwrap(), 0);
}

#[test]
fn whatever_the_pieces_all_bytes_come_in_their_order() {
    for seed in 0..20 {
        converse(&version::TLS13, seed);
        converse(&version::TLS12, seed);
    }
}

#[test]
fn whole_records_wait_for_a_reader_with_little_room() {
    let mut both = Both::connected(None);
    for word in ["one ", "two ", "three"] {
        both.server_writes(word.as_bytes());
        both.serve().unwrap();
    }
    let mut come = Vec::new();
    let mut room = [0];
    loop {
        let count = both.client.read(&mut both.wire, &mut room).unwrap();
        come.extend_from_slice(&room[..count]);
        if !both.client.has_more() {
            break;
        }
    }
    assert_eq!(come, b"one two three");
    assert!(
        ready(both.client.read(&mut both.wire, &mut room))
            .unwrap()
            .is_none()
    );
}

#[test]
fn what_comes_whole_before_a_bad_record_is_delivered_and_the_server_hears_why() {
    let mut both = Both::connected(None);
    both.server_writes(b"whole");
    both.serve().unwrap();
    both.server_writes(b"changed on its way");
    let whole = both.wire.from_server.len();
    both.serve().unwrap();
    both.wire.from_server[whole + 9] ^= 1;

    let mut room = vec![0; PLAINTEXT];
    let count = both.client.read(&mut both.wire, &mut room).unwrap();
    assert_eq!(&room[..count], b"whole");
    assert!(both.client.has_more(), "the error is to be fetched");
    let error = both.client.read(&mut both.wire, &mut room).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert_eq!(rustls_error(&error), Some(&Error::DecryptError));
    let told = both.serve().unwrap_err();
    assert_eq!(told, Error::AlertReceived(AlertDescription::BadRecordMac));

    assert_eq!(both.client.read(&mut both.wire, &mut room).unwrap(), 0);
    let error = both.client.write(&mut both.wire, b"more").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    both.client.close(&mut both.wire).unwrap();
    assert_eq!(LENT.get(), 0);
}

#[test]
fn an_end_without_close_notify_is_an_end() {
    let mut both = Both::connected(None);
    both.server_writes(b"last words");
    both.serve().unwrap();
    // A part of a record that never comes whole.
    both.wire.from_server.extend([23, 3, 3, 1, 0, 7]);
    both.wire.server_has_ended = true;
    assert_eq!(both.read().unwrap(), b"last words");
    assert_eq!(both.client.read(&mut both.wire, &mut [0; 9]).unwrap(), 0);
}

#[test]
fn a_server_that_nobody_vouches_for_is_told_so() {
    let client = Authority::new().trust().client_config(None).unwrap();
    let server = Authority::new().leaf("localhost").server_config();
    let mut both = Both::new(client, server, None);
    let error = loop {
        match both.client.handshake(&mut both.wire) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => both.serve().unwrap(),
            result => break result.unwrap_err(),
        }
    };
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert!(matches!(
        rustls_error(&error),
        Some(Error::InvalidCertificate(_))
    ));
    let told = both.serve().unwrap_err();
    assert!(
        matches!(told, Error::AlertReceived(AlertDescription::UnknownCA)),
        "{told:?}"
    );
}

#[test]
fn a_server_without_tls_is_no_server() {
    let authority = Authority::new();
    let client = authority.trust().client_config(None).unwrap();
    for (answer, ended) in [("* OK IMAP4rev1 ready\r\n", false), ("", true)] {
        let server = authority.leaf("localhost").server_config();
        let mut both = Both::new(client.clone(), server, None);
        assert!(
            ready(both.client.handshake(&mut both.wire))
                .unwrap()
                .is_none()
        );
        both.wire.from_server.extend(answer.as_bytes());
        both.wire.server_has_ended = ended;
        let error = both.client.handshake(&mut both.wire).unwrap_err();
        let expected = match ended {
            true => ErrorKind::UnexpectedEof,
            false => ErrorKind::InvalidData,
        };
        assert_eq!(error.kind(), expected, "{answer:?}");
    }
}
