//! Signals to the built program while it has a lot to do.
#![cfg(feature = "end-to-end")]

use harness::{
    end_to_end::{Flow, Runtime, USER, World},
    over_both_runtimes,
};
use rustix::process::Signal;
use sandbox::Protocol;
use std::{
    sync::{
        Barrier,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

const PROTOCOLS: [Protocol; 3] = [Protocol::Imap, Protocol::Pop, Protocol::Smtp];

over_both_runtimes! {
    reloads_under_load_lose_no_session
    an_end_under_load
}

/// SIGHUP again and again, while sessions work and others log in: nobody notices.
fn reloads_under_load_lose_no_session(runtime: Runtime) {
    const EACH: usize = 4;
    const RELOADS: usize = 20;
    let world = World::with(runtime, Flow::Password).start();
    // The first login of all takes its time; the others find a token.
    world.opened(Protocol::Imap);
    let enough = AtomicBool::new(false);
    let worked = AtomicUsize::new(0);
    thread::scope(|scope| {
        for number in 0..EACH * PROTOCOLS.len() {
            let (world, enough, worked) = (&world, &enough, &worked);
            let protocol = PROTOCOLS[number % PROTOCOLS.len()];
            scope.spawn(move || {
                let mut long = world.opened(protocol);
                while !enough.load(Ordering::SeqCst) {
                    long.work();
                    world.opened(protocol).work();
                    worked.fetch_add(1, Ordering::SeqCst);
                }
                // It has seen all the reloads.
                long.work();
            });
        }
        for reload in 1..=RELOADS {
            world.signal(Signal::HUP);
            // Each one is over before the next one begins, and work has been done meanwhile.
            let before = worked.load(Ordering::SeqCst);
            world.wait_for(|said| {
                said.matches("the configuration was read again").count() >= reload
                    && worked.load(Ordering::SeqCst) > before
            });
        }
        enough.store(true, Ordering::SeqCst);
    });
    assert_eq!(world.grants(), ["password"]);
    world.end();
}

/// SIGTERM while messages of 25 MB are on their way: they arrive whole, answers included. Whoever has not logged in gets a
/// farewell; whoever has and waits for nothing gets the end and no byte more.
fn an_end_under_load(runtime: Runtime) {
    const FETCHING: usize = 3;
    let mut world = World::with(runtime, Flow::Password).large_message().start();
    let messages = world.sandbox.messages(USER, "INBOX");
    let (index, large) = messages
        .iter()
        .enumerate()
        .max_by_key(|(_, message)| message.len())
        .expect("there is mail");
    let mut before = PROTOCOLS.map(|protocol| world.client(protocol));
    let mut idle = PROTOCOLS.map(|protocol| world.opened(protocol));
    for client in &mut idle {
        client.work();
    }
    let all_begun = Barrier::new(FETCHING + 1);
    thread::scope(|scope| {
        let fetching: Vec<_> = (0..FETCHING)
            .map(|_| {
                let (world, all_begun) = (&world, &all_begun);
                scope.spawn(move || {
                    let mut imap = world.opened(Protocol::Imap);
                    imap.command("SELECT INBOX");
                    imap.send(format!("x FETCH {} (BODY.PEEK[])\r\n", index + 1));
                    let size = announced(&imap.line());
                    // More is under way than all buffers hold.
                    let mut message = imap.octets(1000);
                    all_begun.wait();
                    message.extend(imap.octets(size - message.len()));
                    assert!(message == **large, "another message than the server's");
                    assert!(imap.line().ends_with(')'));
                    assert!(imap.line().starts_with("x OK"));
                    assert_eq!(imap.rest(), b"");
                })
            })
            .collect();
        all_begun.wait();
        world.signal(Signal::TERM);
        for (client, farewell) in before
            .iter_mut()
            .zip(["* BYE ", "-ERR [SYS/TEMP] ", "421 "])
        {
            let line = client.line();
            assert!(line.starts_with(farewell), "{line}");
            assert_eq!(client.rest(), b"");
        }
        for client in &mut idle {
            let injected = client.rest();
            assert_eq!(injected, b"", "{:?}", String::from_utf8_lossy(&injected));
        }
        for fetch in fetching {
            fetch.join().expect("the message arrives");
        }
    });
    let status = world.wait_ended();
    world.check(status);
    let refused = std::net::TcpStream::connect(("127.0.0.1", world.port(Protocol::Imap)));
    assert!(refused.is_err(), "somebody still listens");
}

/// The octets that a FETCH answer's literal has.
fn announced(line: &str) -> usize {
    let size = line
        .rsplit_once('{')
        .and_then(|(_, size)| size.strip_suffix('}')?.parse().ok());
    size.unwrap_or_else(|| panic!("no literal: {line}"))
}
