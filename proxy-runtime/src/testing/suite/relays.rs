//! Bytes after login.

use crate::testing::{
    Lines, PATIENCE, Pattern, Peer, Runtime, Stage,
    stage::{greeting, log_in, serve, talk},
    until,
};
use crate::{Options, Stopped};
use proxy_proto::{LocalTls, Protocol, SessionConfig, UpstreamTls};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

/// Which sides of a session speak TLS.
#[derive(Clone, Copy)]
pub(super) struct Tls {
    client: bool,
    server: bool,
}

/// Both ends of a session whose login is done: the client's and the server's.
pub(super) fn relayed<R: Runtime>(stage: &Stage<R>, tls: Tls) -> (Peer, Peer) {
    relayed_by(stage, tls, stage.session())
}

fn relayed_by<R: Runtime>(stage: &Stage<R>, tls: Tls, mut session: SessionConfig) -> (Peer, Peer) {
    if tls.client {
        session.local_tls = LocalTls::Implicit;
    }
    if !tls.server {
        session.upstream_tls = UpstreamTls::DangerousPlaintextBearerInClear;
    }
    let address = stage.apply(stage.listener(session));
    let log_in_there = |mut server: Lines, protocol| {
        server.greet(protocol);
        server.take_login(protocol).unwrap();
        server.0
    };
    let server = match tls.server {
        true => stage.accept_tls(log_in_there),
        false => stage.accept(move |peer, protocol| log_in_there(Lines(peer), protocol)),
    };
    let mut client = Lines::connect(address);
    if tls.client {
        client = stage.upgraded(client);
    }
    client.hear_from(greeting(stage.protocol));
    log_in(&mut client, stage.protocol, "right");
    (client.0, server.join().unwrap())
}

pub(super) const PLAIN: Tls = Tls {
    client: false,
    server: false,
};
pub(super) const UPSTREAM: Tls = Tls {
    client: false,
    server: true,
};
pub(super) const BOTH: Tls = Tls {
    client: true,
    server: true,
};

/// Writes the pattern of one seed and ends; meanwhile reads, and compares with that of another one, until the end.
fn exchange(mut peer: Peer, sent: (u64, usize), expected: (u64, usize)) {
    let mut writing = peer.clone();
    let writer = thread::spawn(move || {
        let mut pattern = Pattern(sent.0);
        let mut left = sent.1;
        // A length that fits no buffer and no record.
        let mut bytes = vec![0; 70_001];
        while left > 0 {
            let count = left.min(bytes.len());
            pattern.fill(&mut bytes[..count]);
            writing.write(&bytes[..count]).unwrap();
            left -= count;
        }
        writing.close().unwrap();
    });
    let mut pattern = Pattern(expected.0);
    let mut total = 0;
    let mut bytes = vec![0; 50_021];
    let mut wanted = vec![0; 50_021];
    loop {
        let count = peer.read(&mut bytes).unwrap();
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
    writer.join().unwrap();
}

fn both_ways_at_once<R: Runtime>(tls: Tls, up: usize, down: usize) {
    let stage = Stage::<R>::new(Protocol::Imap);
    let (client, server) = relayed(&stage, tls);
    let server = thread::spawn(move || exchange(server, (2, down), (1, up)));
    exchange(client, (1, up), (2, down));
    server.join().unwrap();
    stage.sessions_are_gone();
}

/// 30 MB each.
pub fn plain_both_ways_at_once<R: Runtime>() {
    both_ways_at_once::<R>(PLAIN, 30_000_000, 30_000_000);
}

/// 20 MB each.
pub fn tls_upstream_both_ways_at_once<R: Runtime>() {
    both_ways_at_once::<R>(UPSTREAM, 20_000_000, 20_000_000);
}

/// More down than up.
pub fn tls_on_both_sides_both_ways_at_once<R: Runtime>() {
    both_ways_at_once::<R>(BOTH, 5_000_000, 20_000_000);
}

/// A download, and the server's end behind it.
pub fn mail_of_25_megabytes_arrives_whole<R: Runtime>() {
    let stage = Stage::<R>::new(Protocol::Pop);
    let (mut client, mut server) = relayed(&stage, UPSTREAM);
    let mail = Pattern::bytes(5, 25_000_000);
    let sent = mail.clone();
    let server = thread::spawn(move || {
        server.write(&sent).unwrap();
        server.close().unwrap();
    });
    assert!(client.read_to_end().unwrap() == mail);
    server.join().unwrap();
}

/// The client's end first.
pub fn half_close_is_passed_on_and_the_answer_still_arrives<R: Runtime>() {
    for tls in [PLAIN, BOTH] {
        let stage = Stage::<R>::new(Protocol::Imap);
        let (mut client, mut server) = relayed(&stage, tls);
        client.write(b"question").unwrap();
        client.close().unwrap();
        assert_eq!(server.read_to_end().unwrap(), b"question");
        let answer = Pattern::bytes(3, 1_000_000);
        let sent = answer.clone();
        let sending = thread::spawn(move || {
            server.write(&sent).unwrap();
            server.close().unwrap();
        });
        assert!(client.read_to_end().unwrap() == answer);
        sending.join().unwrap();
        stage.sessions_are_gone();
    }
}

/// The client's.
pub fn a_reset_ends_the_other_side<R: Runtime>() {
    let stage = Stage::<R>::new(Protocol::Imap);
    let (client, mut server) = relayed(&stage, PLAIN);
    client.reset();
    assert_eq!(server.read(&mut [0; 16]).unwrap(), 0);
    server.close().unwrap();
    stage.sessions_are_gone();
}

/// Many peers leave TLS like that.
pub fn an_end_without_close_notify_is_an_end<R: Runtime>() {
    let stage = Stage::<R>::new(Protocol::Imap);
    let (mut client, mut server) = relayed(&stage, BOTH);
    server.write(b"* BYE\r\n").unwrap();
    server.end().unwrap();
    assert_eq!(client.read_to_end().unwrap(), b"* BYE\r\n");
    client.end().unwrap();
    assert!(server.read_to_end().unwrap().is_empty());
    stage.sessions_are_gone();
}

/// Nobody reads at one end: the sender at the other one must come to a stop far below 256 MiB, and the other direction goes
/// on.
fn held_back(reader: Peer, sender: Peer) {
    const TOO_MUCH: usize = 256 << 20;
    let written = Arc::new(AtomicUsize::new(0));
    let (counter, mut sending) = (written.clone(), sender.clone());
    let sending = thread::spawn(move || {
        let block = vec![7; 1 << 16];
        while counter.load(Ordering::SeqCst) < TOO_MUCH {
            if sending.write(&block).is_err() {
                break;
            }
            counter.fetch_add(block.len(), Ordering::SeqCst);
        }
    });
    // Buffers are full when a whole look passes without a block.
    let mut last = usize::MAX;
    until("the sender stops", || {
        thread::sleep(Duration::from_millis(300));
        let now = written.load(Ordering::SeqCst);
        assert!(now < TOO_MUCH, "no back-pressure");
        std::mem::replace(&mut last, now) == now
    });
    let (mut reader, mut sender) = (reader, sender);
    reader.write(b"NOOP\r\n").unwrap();
    let mut line = [0; 6];
    sender.read(&mut line).unwrap();
    assert_eq!(&line, b"NOOP\r\n");
    // Whoever leaves ends it all.
    reader.reset();
    // The runtime may have closed it by now.
    let _ = sender.tcp().shutdown(std::net::Shutdown::Both);
    sending.join().unwrap();
}

/// The client's.
pub fn a_slow_reader_holds_the_sender_back<R: Runtime>() {
    for tls in [PLAIN, BOTH] {
        let stage = Stage::<R>::new(Protocol::Imap);
        let (client, server) = relayed(&stage, tls);
        held_back(client, server);
        stage.sessions_are_gone();
    }
}

/// As above, the other way round.
pub fn a_slow_server_holds_its_client_back<R: Runtime>() {
    for tls in [PLAIN, BOTH] {
        let stage = Stage::<R>::new(Protocol::Smtp);
        let (client, server) = relayed(&stage, tls);
        held_back(server, client);
        stage.sessions_are_gone();
    }
}

/// Two clients take all that they can get, on the only thread: a third one is answered all the same, and so is whoever comes
/// then.
pub fn bulk_transfers_let_others_have_their_turn<R: Runtime>() {
    let options = Options {
        threads: 1,
        ..Options::default()
    };
    let stage = Stage::<R>::with(Protocol::Pop, options);
    let stopped = Arc::new(AtomicUsize::new(0));
    let transfers: Vec<_> = (0..2)
        .map(|_| {
            let (mut client, mut server) = relayed(&stage, UPSTREAM);
            let stopped = stopped.clone();
            let sending = thread::spawn(move || {
                let block = vec![7; 1 << 16];
                while stopped.load(Ordering::SeqCst) == 0 {
                    server.write(&block).unwrap();
                }
                server.close().unwrap();
            });
            let taking = thread::spawn(move || {
                let mut bytes = vec![0; 1 << 16];
                let mut all = 0_u64;
                loop {
                    match client.read(&mut bytes).unwrap() {
                        0 => break,
                        count => all += count as u64,
                    }
                }
                client.close().unwrap();
                all
            });
            (sending, taking)
        })
        .collect();
    let address = stage.runtime.listeners()[0].addresses[0];
    for _ in 0..3 {
        let server = stage.accept_tls(serve);
        let mut client = Lines::connect(address);
        client.hear_from("+OK");
        log_in(&mut client, Protocol::Pop, "right");
        for number in 0..50 {
            client.say(&format!("{number}\r\n"));
            assert_eq!(client.hear(), Some(format!("echo {number}")));
        }
        talk(&mut client);
        server.join().unwrap();
    }
    stopped.store(1, Ordering::SeqCst);
    for (sending, taking) in transfers {
        sending.join().unwrap();
        // They were served as well.
        assert!(taking.join().unwrap() > 0);
    }
    stage.sessions_are_gone();
}

/// What the server has to say comes complete; what the client says from then on goes nowhere.
pub fn shutdown_drains_the_server_and_injects_nothing<R: Runtime>() {
    let stage = Stage::<R>::new(Protocol::Imap);
    let (mut client, mut server) = relayed(&stage, BOTH);
    client.write(b"FETCH").unwrap();
    server.read(&mut [0; 5]).unwrap();
    let mail = Pattern::bytes(4, 500_000);
    let sent = mail.clone();
    let (down, going_down) = mpsc::channel::<()>();
    let runtime = thread::scope(|scope| {
        let receiving = scope.spawn(|| client.read_to_end().unwrap());
        let sending = scope.spawn(move || {
            going_down.recv().unwrap();
            server.write(&sent).unwrap();
            // The server has nothing more to say, but does not leave.
            server.read_to_end().unwrap()
        });
        let stopping = scope.spawn(|| stage.runtime.shutdown(PATIENCE));
        until("closed listeners", || stage.runtime.listeners().is_empty());
        down.send(()).unwrap();
        assert!(receiving.join().unwrap() == mail);
        assert!(sending.join().unwrap().is_empty());
        stopping.join().unwrap()
    });
    assert_eq!(runtime, Stopped { cut_off: 0 });
    let late = client.write(b"late");
    assert!(late.is_ok() || late.is_err_and(|e| e.kind() != io::ErrorKind::WouldBlock));
}
