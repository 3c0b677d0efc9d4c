//! A terminal whose other end is a socket pair and a buffer.

use super::*;
use crate::{
    board::tests::Screen,
    consent::waiting::tests::{request, who},
};
use oauth::consent::{DeviceRequest, Granted};
use std::{
    io::{BufReader, Write},
    os::unix::net::UnixStream,
};

fn terminal(drawable: bool) -> (Terminal, UnixStream, Screen) {
    let (near, far) = UnixStream::pair().unwrap();
    let screen = Screen::default();
    let board = screen.board(drawable);
    let terminal = Terminal::new(move || Box::new(BufReader::new(far)), board, true);
    (terminal, near, screen)
}

/// Waits until this is shown.
async fn shows(screen: &Screen, text: &str) {
    while !screen.text().contains(text) {
        smol::future::yield_now().await;
    }
}

#[test]
fn what_is_pasted_reaches_the_list_and_a_number_shows_a_consent_again() {
    let (terminal, mut keyboard, screen) = terminal(false);
    let waiting = Waiting::default();
    terminal.read(&waiting).unwrap();
    let ada = waiting.begin_code(
        &request("ada@example.org", "A"),
        "http://localhost:8080/cb",
        "https://p.example/x",
    );
    terminal.show(&ada.shown, Back::Pasted);
    for part in [
        "[1] Sign in as ada@example.org",
        "https://p.example/x",
        "differs from the saved one",
        "begins with http://localhost:8080/cb",
    ] {
        assert!(screen.text().contains(part), "{}", screen.text());
    }
    let too_long = format!(
        "http://localhost:8080/cb?code={}&state=A\n",
        "c".repeat(2 * LINE as usize)
    );
    keyboard.write_all(too_long.as_bytes()).unwrap();
    keyboard
        .write_all(b"1\n2\nnonsense\n  http://localhost:8080/cb?code=1&state=A \r\n")
        .unwrap();
    smol::block_on(async {
        let answer = ada.answer().await.unwrap();
        assert_eq!(answer.redirected, "http://localhost:8080/cb?code=1&state=A");
        let text = screen.text();
        for part in ["too long", "No such sign-in", "no state"] {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(text.matches("[1] Sign in").count(), 2, "{text}");
    });
}

#[test]
fn a_minus_and_a_number_dismiss() {
    let (terminal, mut keyboard, screen) = terminal(false);
    let waiting = Waiting::default();
    terminal.read(&waiting).unwrap();
    let ada = waiting.begin_code(&request("ada@example.org", "A"), "http://localhost", "u");
    let brook = waiting.begin_code(&request("brook@example.org", "B"), "http://localhost", "u");
    keyboard.write_all(b"-7\n-2\n").unwrap();
    assert!(smol::block_on(brook.answer()).is_none());
    let left: Vec<_> = waiting.list().iter().map(|consent| consent.id).collect();
    assert_eq!(left, [ada.shown.id]);
    drop(keyboard);
    smol::block_on(terminal.ended());
    assert_eq!(
        screen.text(),
        "No such sign-in is waiting.\n[2] is dismissed: that login is refused.\n"
    );
}

#[test]
fn the_outcome_is_told_and_cannot_steer_the_terminal() {
    let (terminal, _keyboard, screen) = terminal(false);
    terminal.tell("ada@example.org", &Err("refused\u{1b}[2J\r!".to_owned()));
    terminal.tell("ada@example.org", &Ok(Granted::default()));
    let granted = Granted {
        other_person: Some("brook@example.org".into()),
    };
    terminal.tell("ada@example.org", &Ok(granted));
    assert_eq!(
        screen.text(),
        "ada@example.org is not signed in: refused [2J !\nada@example.org is signed in.\n\
         ada@example.org is signed in; but the provider says that it was brook@example.org who approved.\n"
    );
}

#[test]
fn the_end_of_the_input_is_told_to_those_who_wait_and_those_who_come() {
    let (terminal, keyboard, _) = terminal(false);
    let waiting = Waiting::default();
    terminal.read(&waiting).unwrap();
    drop(keyboard);
    let ConsentError::Unable(text) = smol::block_on(terminal.ended()) else {
        panic!("nobody dismissed it")
    };
    assert!(text.contains("standard input"), "{text}");
    assert!(terminal.read(&waiting).is_err());
}

#[test]
fn a_status_line_counts_down_while_somebody_waits() {
    let (terminal, _keyboard, screen) = terminal(true);
    let waiting = Waiting::default();
    smol::block_on(async {
        let place = waiting.begin_device(&DeviceRequest {
            who: who("ada@example.org"),
            verification_uri: "https://p.example/device".into(),
            verification_uri_complete: None,
            user_code: "A".into(),
            expires_in: Duration::from_secs(60),
        });
        terminal.count_down(&waiting);
        shows(&screen, "waiting for the sign-in: 0:").await;
        let second =
            waiting.begin_code(&request("brook@example.org", "B"), "http://localhost", "u");
        shows(&screen, "waiting for 2 sign-ins: 0:").await;
        drop((place, second));
        while !screen.text().ends_with("\r\x1b[K") {
            smol::future::yield_now().await;
        }
        assert!(!terminal.shared.counting.load(Ordering::SeqCst));
    });
}

#[test]
fn with_a_prompt_the_status_line_changes_once_a_minute() {
    let waiting = Waiting::default();
    let _place = waiting.begin_code(&request("ada@example.org", "A"), "http://localhost", "u");
    let prompt = "1 minute left for the sign-in; paste the address here> ";
    assert_eq!(status(&waiting.list(), true), prompt);
    assert_eq!(status(&[], true), "");
}
