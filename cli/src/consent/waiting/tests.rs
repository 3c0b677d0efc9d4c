//! The list, and who may answer.

use super::*;
use futures_lite::future::{block_on, poll_once, zip};

pub(in crate::consent) fn request(account: &str, state: &str) -> CodeRequest {
    CodeRequest {
        who: who(account),
        redirect_uri: "http://localhost:8080/cb".into(),
        redirect_listen_address: None,
        any_loopback_port: false,
        state: Secret::new(state),
        expires_in: Duration::from_secs(60),
        url: Arc::new(|_| String::new()),
    }
}

pub(in crate::consent) fn who(account: &str) -> Who {
    Who {
        account: account.into(),
        user: account.into(),
        client: None,
        password_differs: true,
    }
}

fn begin(waiting: &Waiting, account: &str, state: &str) -> Place {
    waiting.begin_code(
        &request(account, state),
        "http://localhost:8080/cb",
        "https://p.example/x",
    )
}

fn device(waiting: &Waiting) -> Place {
    waiting.begin_device(&DeviceRequest {
        who: who("ada@example.org"),
        verification_uri: "https://p.example/device".into(),
        verification_uri_complete: Some("https://p.example/device?code=A".into()),
        user_code: "A".into(),
        expires_in: Duration::from_secs(60),
    })
}

#[test]
fn those_who_wait_are_listed_until_they_leave_and_each_change_is_told() {
    block_on(async {
        let waiting = Waiting::default();
        let changed = waiting.changed();
        let ada = begin(&waiting, "ada@example.org", "A");
        changed.await;
        let brook = device(&waiting);
        let list = waiting.list();
        let ids: Vec<_> = list
            .iter()
            .map(|consent| (consent.id, &*consent.account))
            .collect();
        assert_eq!(ids, [(1, "ada@example.org"), (2, "ada@example.org")]);
        assert!(list[0].password_differs && list[0].left() <= Duration::from_secs(60));
        assert_eq!(list[0].url(), "https://p.example/x");
        assert_eq!(list[1].url(), "https://p.example/device?code=A");
        let changed = waiting.changed();
        drop(ada);
        changed.await;
        drop(brook);
        assert!(waiting.list().is_empty());
        assert_eq!(
            begin(&waiting, "a@b.example", "A").shown.id,
            3,
            "numbers are not used again"
        );
    });
}

#[test]
fn an_address_goes_to_whom_its_state_belongs_and_the_outcome_comes_back() {
    block_on(async {
        let waiting = Waiting::default();
        let ada = begin(&waiting, "ada@example.org", "A");
        let brook = begin(&waiting, "brook@example.org", "B");
        // https instead of http is what browsers make of it.
        let answering =
            waiting.answer(brook.shown.id, " https://localhost:8080/cb?code=2&state=B ");
        let asking = async {
            let answer = brook.answer().await.expect("an answer");
            assert_eq!(
                answer.redirected,
                "https://localhost:8080/cb?code=2&state=B"
            );
            assert_eq!(answer.redirect_uri, "http://localhost:8080/cb");
            let _ = answer.outcome.send(Err("refused".into())).await;
        };
        let (answered, ()) = zip(answering, asking).await;
        assert_eq!(answered, Err("refused".to_owned()));
        assert_eq!(waiting.list().len(), 1, "it waits no more");

        // Whoever cares nothing for the number may leave it out.
        waiting
            .hand_over(None, "http://localhost:8080/cb?error=access_denied&state=A")
            .map(drop)
            .unwrap();
        assert!(ada.answer().await.is_some());
    });
}

#[test]
fn a_wrong_address_is_refused_and_the_consent_goes_on_waiting() {
    let waiting = Waiting::default();
    let ada = begin(&waiting, "ada@example.org", "A");
    let _brook = begin(&waiting, "brook@example.org", "B");
    let code = device(&waiting);
    for (id, wrong, why) in [
        (1, "hello", "no state|not the address"),
        (1, "http://localhost:8080/cb?code=1", "no state"),
        (
            1,
            "http://localhost:8080/cb?code=1&state=A&state=A",
            "no state",
        ),
        (1, "http://localhost:8080/cb?code=1&state=C", "no sign-in"),
        (1, "http://localhost:8080/cb?code=1&state=B", "no sign-in"),
        (1, "http://localhost:8081/cb?code=1&state=A", "redirect_uri"),
        (1, "http://localhost:8080/?code=1&state=A", "redirect_uri"),
        (1, "http://elsewhere:8080/cb?code=1&state=A", "redirect_uri"),
        (1, "http://localhost:8080/cb?state=A", "neither"),
        (
            code.shown.id,
            "http://localhost:8080/cb?code=1&state=A",
            "no sign-in",
        ),
        (
            9,
            "http://localhost:8080/cb?code=1&state=A",
            "no longer waiting",
        ),
    ] {
        let said = block_on(waiting.answer(id, wrong)).expect_err(wrong);
        assert!(
            why.split('|').any(|part| said.contains(part)),
            "{wrong}: {said}"
        );
    }
    assert_eq!(waiting.list().len(), 3);
    assert!(block_on(poll_once(ada.answer())).is_none());
}

#[test]
fn what_is_dismissed_is_gone_and_whoever_asked_knows() {
    block_on(async {
        let waiting = Waiting::default();
        let (ada, code) = (begin(&waiting, "ada@example.org", "A"), device(&waiting));
        assert!(poll_once(code.dismissed()).await.is_none());
        assert!(waiting.dismiss(ada.shown.id) && waiting.dismiss(code.shown.id));
        assert!(!waiting.dismiss(ada.shown.id));
        assert!(ada.answer().await.is_none());
        code.dismissed().await;
        code.dismissed().await;
        assert!(waiting.list().is_empty());
    });
}

#[test]
fn the_list_does_not_grow_without_bound() {
    let waiting = Waiting::default();
    let places: Vec<_> = (0..AT_ONCE + 3)
        .map(|n| begin(&waiting, "a@b.example", &n.to_string()))
        .collect();
    assert_eq!(waiting.list().len(), AT_ONCE);
    assert!(waiting.is_full());
    drop(places);
    assert!(!waiting.is_full() && waiting.list().is_empty());
}

#[test]
fn the_list_is_attended_while_somebody_does() {
    let waiting = Waiting::default();
    let (one, two) = (waiting.attend(), waiting.attend());
    drop(one);
    assert!(waiting.is_attended());
    drop(two);
    assert!(!waiting.is_attended());
}
