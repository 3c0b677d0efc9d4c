//! Which way is taken, and what is said about it.

use super::*;
use crate::board::tests::Screen;
use oauth::consent::Who;
use proxy_proto::Secret;
use std::{
    io::{BufReader, Write},
    net::{Ipv4Addr, TcpListener},
    os::unix::net::UnixStream,
    sync::Mutex,
    time::Duration,
};

/// A front end, the keyboard of its terminal, and the URLs that it announced.
struct Setup {
    front: Front,
    keyboard: UnixStream,
    announced: Arc<Mutex<Vec<String>>>,
}

fn setup(way: Way, interactive: bool) -> Setup {
    let (keyboard, far) = UnixStream::pair().unwrap();
    let terminal = Terminal::new(
        move || Box::new(BufReader::new(far)),
        Screen::default().board(false),
        interactive,
    );
    let announced = Arc::new(Mutex::new(Vec::new()));
    let announce: Announce = {
        let announced = announced.clone();
        Arc::new(move |what| announced.lock().unwrap().push(what.url.to_owned()))
    };
    Setup {
        front: Front::new(way, Receiver::default(), terminal, Some(announce)),
        keyboard,
        announced,
    }
}

fn request(redirect_uri: &str, expires_in: Duration) -> CodeRequest {
    CodeRequest {
        who: Who {
            account: "ada@example.org".into(),
            user: "ada@example.org".into(),
            client: Some(Ipv4Addr::LOCALHOST.into()),
            password_differs: false,
        },
        redirect_uri: redirect_uri.into(),
        redirect_listen_address: None,
        any_loopback_port: false,
        state: Secret::new("right"),
        expires_in,
        url: Arc::new(|redirect_uri| format!("https://p.example/?to={redirect_uri}")),
    }
}

/// A redirect URI that cannot be received while the listener lives.
fn taken() -> (TcpListener, String) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let uri = format!("http://localhost:{}", listener.local_addr().unwrap().port());
    (listener, uri)
}

/// Types the address that the browser ends on.
fn paste(setup: &mut Setup, redirect_uri: &str) {
    writeln!(setup.keyboard, "{redirect_uri}/?code=pasted&state=right").unwrap();
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn pasting_never_listens() {
    let (_taken, uri) = taken();
    let mut setup = setup(Way::Paste, false);
    paste(&mut setup, &uri);
    let answer = smol::block_on(setup.front.ask_code(request(&uri, LONG)));
    assert!(answer.is_ok_and(|answer| answer.redirected.contains("pasted")));
    assert_eq!(
        *setup.announced.lock().unwrap(),
        [format!("https://p.example/?to={uri}")]
    );
}

#[test]
fn without_options_a_terminal_stands_in_for_a_receiver_that_cannot_listen() {
    let (_taken, uri) = taken();
    let mut setup = setup(Way::Auto, true);
    paste(&mut setup, &uri);
    let answer = smol::block_on(setup.front.ask_code(request(&uri, LONG)));
    assert!(answer.is_ok_and(|answer| answer.redirected.contains("pasted")));
}

#[test]
fn without_options_and_without_a_terminal_the_receiver_says_why_it_cannot_listen() {
    let (_taken, uri) = taken();
    let setup = setup(Way::Auto, false);
    let answer = smol::block_on(setup.front.ask_code(request(&uri, LONG)));
    let Err(ConsentError::Unable(text)) = answer else {
        panic!("somebody answered")
    };
    assert!(text.contains("cannot listen"), "{text}");
    assert!(setup.announced.lock().unwrap().is_empty());
}

#[test]
fn with_both_options_either_way_answers() {
    let (_taken, uri) = taken();
    let mut setup = setup(Way::Both, false);
    paste(&mut setup, &uri);
    let answer = smol::block_on(setup.front.ask_code(request(&uri, LONG)));
    assert!(answer.is_ok_and(|answer| answer.redirected.contains("pasted")));
}

#[test]
fn nobody_is_waited_for_longer_than_said() {
    let setup = setup(Way::Paste, false);
    let answer = smol::block_on(
        setup
            .front
            .ask_code(request("http://localhost", Duration::from_millis(1))),
    );
    let Err(ConsentError::Unable(text)) = answer else {
        panic!("somebody answered")
    };
    assert!(text.contains("ada@example.org"), "{text}");
}

#[test]
fn a_device_code_is_announced_with_the_address_that_holds_it_where_there_is_one() {
    let setup = setup(Way::Auto, false);
    let mut request = DeviceRequest {
        who: request("http://localhost", LONG).who,
        verification_uri: "https://p.example/device".into(),
        verification_uri_complete: None,
        user_code: "ABCD-EFGH".into(),
        expires_in: LONG,
    };
    drop(setup.front.show_device(request.clone()));
    request.verification_uri_complete = Some("https://p.example/device?user_code=ABCD-EFGH".into());
    drop(setup.front.show_device(request));
    assert_eq!(
        *setup.announced.lock().unwrap(),
        [
            "https://p.example/device",
            "https://p.example/device?user_code=ABCD-EFGH"
        ]
    );
}
