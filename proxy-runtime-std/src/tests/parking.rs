//! Sessions without a thread.

use crate::{Runtime, Stopped};
use proxy_proto::Protocol;
use proxy_runtime::testing::{Lines, Stage, until};
use std::{
    sync::mpsc,
    thread::{self, JoinHandle},
    time::Duration,
};

const LOGIN: &str = "AUTH PLAIN AHVzZXJAZXhhbXBsZS5jb20AcmlnaHQ=\r\n";

fn logged_in(client: &mut Lines) {
    client.hear_from("+OK");
    client.say(LOGIN);
    client.hear_from("+OK");
}

/// A client that has logged in, and what its server hears then.
fn idle(stage: &Stage<Runtime>) -> (Lines, JoinHandle<Option<String>>) {
    let (mut client, server) = stage.connected(stage.session(), |mut server, protocol| {
        server.greet(protocol);
        server.take_login(protocol).unwrap();
        server.hear()
    });
    logged_in(&mut client);
    (client, server)
}

fn parked(stage: &Stage<Runtime>, count: usize) {
    let so = format!("{count} parked");
    until(&so, || stage.runtime.parked() == count);
}

#[test]
fn an_idle_session_is_parked_and_hears_both_peers() {
    let stage = Stage::<Runtime>::new(Protocol::Pop);
    let (speak, told) = mpsc::channel();
    let (mut client, server) = stage.connected(stage.session(), move |mut server, protocol| {
        server.greet(protocol);
        server.take_login(protocol).unwrap();
        told.recv().unwrap();
        server.say("news\r\n");
        server.echo();
    });
    logged_in(&mut client);
    parked(&stage, 1);
    speak.send(()).unwrap();
    client.hear_from("news");
    parked(&stage, 1);
    client.say("STAT\r\n");
    client.hear_from("echo STAT");
    parked(&stage, 1);
    client.0.close().unwrap();
    assert_eq!(client.hear(), None);
    server.join().unwrap();
    stage.sessions_are_gone();
    parked(&stage, 0);
}

#[test]
fn a_parked_session_hears_of_a_broken_connection() {
    let stage = Stage::<Runtime>::new(Protocol::Pop);
    let (client, server) = idle(&stage);
    parked(&stage, 1);
    client.0.reset();
    assert_eq!(server.join().unwrap(), None);
    stage.sessions_are_gone();
}

#[test]
fn a_shutdown_ends_parked_sessions_and_waits_for_answers_that_they_owe() {
    let stage = Stage::<Runtime>::new(Protocol::Pop);
    let (mut idle, server) = idle(&stage);
    let address = stage.runtime.listeners()[0].addresses[0];
    let (answer, told) = mpsc::channel();
    let slow_server = stage.accept_tls(move |mut server, protocol| {
        server.greet(protocol);
        server.take_login(protocol).unwrap();
        server.hear_from("STAT");
        told.recv().unwrap();
        server.say("+OK 1 2\r\n");
        server.hear()
    });
    let mut asking = Lines::connect(address);
    logged_in(&mut asking);
    asking.say("STAT\r\n");
    parked(&stage, 2);

    let stopped = thread::scope(|scope| {
        let stopping = scope.spawn(|| stage.runtime.shutdown(Duration::from_secs(60)));
        // Nobody is parked behind the beginning of a shutdown.
        parked(&stage, 0);
        assert_eq!(idle.hear(), None);
        answer.send(()).unwrap();
        asking.hear_from("+OK 1 2");
        assert_eq!(asking.hear(), None);
        stopping.join().unwrap()
    });
    assert_eq!(stopped, Stopped { cut_off: 0 });
    assert_eq!(server.join().unwrap(), None);
    assert_eq!(slow_server.join().unwrap(), None);
}

#[test]
fn a_runtime_that_is_dropped_takes_parked_sessions_along() {
    let stage = Stage::<Runtime>::new(Protocol::Pop);
    let (mut client, server) = idle(&stage);
    parked(&stage, 1);
    drop(stage);
    assert_eq!(client.hear(), None);
    assert_eq!(server.join().unwrap(), None);
}
