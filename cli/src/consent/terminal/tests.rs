//! A terminal whose other end is a socket pair and a buffer.

use super::*;
use std::{io::BufReader, os::unix::net::UnixStream, time::Duration};

/// Collects what is shown.
#[derive(Clone, Default)]
struct Screen(Arc<Mutex<Vec<u8>>>);

impl Screen {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn terminal() -> (Terminal, UnixStream, Screen) {
    let (near, far) = UnixStream::pair().unwrap();
    let screen = Screen::default();
    (
        Terminal::new(
            move || Box::new(BufReader::new(far)),
            Box::new(screen.clone()),
            true,
        ),
        near,
        screen,
    )
}

fn request(account: &str, state: &str) -> CodeRequest {
    CodeRequest {
        who: Who {
            account: account.into(),
            client: None,
            password_differs: true,
        },
        redirect_uri: "http://localhost".into(),
        redirect_listen_address: None,
        any_loopback_port: false,
        state: Secret::new(state),
        expires_in: Duration::from_secs(60),
        url: Arc::new(|_| String::new()),
    }
}

#[test]
fn each_address_reaches_the_account_whose_state_it_has() {
    let (terminal, mut keyboard, screen) = terminal();
    let ask = |account, state| {
        terminal
            .ask(
                &request(account, state),
                "http://localhost",
                "https://p.example/x",
            )
            .unwrap()
    };
    let (ada, brook) = (ask("ada@example.org", "A"), ask("brook@example.org", "B"));
    for part in [
        "ada@example.org",
        "brook@example.org",
        "https://p.example/x",
        "differs from the saved one",
    ] {
        assert!(screen.text().contains(part), "{}", screen.text());
    }
    // https instead of http is what browsers make of it.
    keyboard
        .write_all(b"\n  https://localhost/?code=2&state=B \r\nhttp://localhost/?code=1&state=A\n")
        .unwrap();
    smol::block_on(async {
        let answer = ada.answer().await.unwrap();
        assert_eq!(answer.redirected, "http://localhost/?code=1&state=A");
        assert_eq!(answer.redirect_uri, "http://localhost");
        let answer = brook.answer().await.unwrap();
        assert_eq!(answer.redirected, "https://localhost/?code=2&state=B");
    });
}

#[test]
fn a_wrong_address_is_refused_and_the_question_stays() {
    let (terminal, mut keyboard, screen) = terminal();
    let waiting = terminal
        .ask(
            &request("ada@example.org", "A"),
            "http://localhost:8080/cb",
            "u",
        )
        .unwrap();
    let too_long = format!(
        "http://localhost:8080/cb?code={}&state=A\n",
        "c".repeat(2 * LINE as usize)
    );
    keyboard.write_all(too_long.as_bytes()).unwrap();
    for (wrong, why) in [
        ("hello", "neither|no state|not the address"),
        ("http://localhost:8080/cb?code=1", "no state"),
        ("http://localhost:8080/cb?code=1&state=B", "no sign-in"),
        ("http://localhost:8081/cb?code=1&state=A", "redirect_uri"),
        ("http://localhost:8080/?code=1&state=A", "redirect_uri"),
        ("http://elsewhere:8080/cb?code=1&state=A", "redirect_uri"),
        ("http://localhost:8080/cb?state=A", "neither"),
    ] {
        let mut shared = terminal.lock();
        let Err(said) = shared.claim(wrong) else {
            panic!("{wrong} was taken")
        };
        assert!(
            why.split('|').any(|part| said.contains(part)),
            "{wrong}: {said}"
        );
    }
    keyboard
        .write_all(b"nonsense\nhttp://localhost:8080/cb?code=right&state=A\n")
        .unwrap();
    let answer = smol::block_on(waiting.answer()).unwrap();
    assert_eq!(
        answer.redirected,
        "http://localhost:8080/cb?code=right&state=A"
    );
    assert!(screen.text().contains("too long"), "{}", screen.text());
}

#[test]
fn the_outcome_is_shown_and_cannot_steer_the_terminal() {
    let (terminal, mut keyboard, screen) = terminal();
    let waiting = terminal
        .ask(&request("ada@example.org", "A"), "http://localhost", "u")
        .unwrap();
    keyboard
        .write_all(b"http://localhost/?code=1&state=A\n")
        .unwrap();
    smol::block_on(async {
        let outcome = Err("refused\u{1b}[2J\r!".to_owned());
        waiting
            .answer()
            .await
            .unwrap()
            .outcome
            .send(outcome)
            .await
            .unwrap();
        while !screen
            .text()
            .contains("ada@example.org is not signed in: refused [2J !")
        {
            smol::future::yield_now().await;
        }
    });
}

#[test]
fn questions_end_when_the_input_does() {
    let (terminal, keyboard, _) = terminal();
    let waiting = terminal
        .ask(&request("ada@example.org", "A"), "http://localhost", "u")
        .unwrap();
    drop(keyboard);
    let Err(ConsentError(text)) = smol::block_on(waiting.answer()) else {
        panic!("there is an answer")
    };
    assert!(text.contains("standard input"), "{text}");
    assert!(
        terminal
            .ask(&request("ada@example.org", "B"), "http://localhost", "u")
            .is_err()
    );
}

#[test]
fn a_question_that_is_withdrawn_is_gone() {
    let (terminal, _keyboard, _) = terminal();
    let waiting = terminal
        .ask(&request("ada@example.org", "A"), "http://localhost", "u")
        .unwrap();
    drop(waiting);
    assert!(
        terminal
            .lock()
            .claim("http://localhost/?code=1&state=A")
            .is_err()
    );
}
