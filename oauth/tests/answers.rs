//! Whatever comes from the network or stands in a file is read or refused, never a crash.

use oauth::{
    crypt::{Kdf, Key, OpenError},
    flow::{
        Failure,
        authorization_code::{Authorization, RedirectError},
        device::device_answer,
        service_account::ServiceAccountKey,
        token_answer,
    },
    settings::TokenFormat,
};
use proptest::prelude::*;
use proxy_proto::Secret;

/// JSON more often than not, with the names that are looked for.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let value = prop_oneof![
        "[a-z0-9_]{0,12}".prop_map(|text| format!("{text:?}")),
        any::<f64>().prop_map(|n| format!("{n:?}")),
        any::<i64>().prop_map(|n| n.to_string()),
        Just("null".to_owned()),
        Just("[50173,\"x\",{}]".to_owned()),
        Just("{\"status\":7,\"message\":[]}".to_owned()),
        Just("\"\\u0000\\r\\n\"".to_owned()),
        Just("\"invalid_grant\"".to_owned()),
        Just("\"AADSTS70008\"".to_owned()),
    ];
    let name = prop::sample::select(vec![
        "access_token",
        "refresh_token",
        "expires_in",
        "error",
        "error_description",
        "error_codes",
        "device_code",
        "user_code",
        "verification_uri",
        "interval",
        "client_email",
        "private_key",
    ]);
    let object = prop::collection::vec((name, value), 0..6).prop_map(|pairs| {
        let pairs: Vec<String> = pairs.iter().map(|(n, v)| format!("{n:?}:{v}")).collect();
        format!("{{{}}}", pairs.join(",")).into_bytes()
    });
    prop_oneof![3 => object, 1 => prop::collection::vec(any::<u8>(), 0..200)]
}

fn is_a_line(text: &str) -> bool {
    !text.is_empty() && text.len() < 1000 && !text.chars().any(char::is_control)
}

fn key(password: &str) -> Key {
    Kdf {
        salt: vec![1; 16],
        iterations: 1,
    }
    .derive(&Secret::new(password))
}

proptest! {
    #[test]
    fn token_answers_give_usable_tokens_or_one_line(status in 100u16..600, body in body()) {
        match token_answer(status, &body, []) {
            Ok(grant) => {
                prop_assert!((200..300).contains(&status));
                let token = grant.access_token.expose();
                prop_assert!(!token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic()));
            }
            Err(failure) => prop_assert!(is_a_line(failure.text()), "{failure:?}"),
        }
    }

    #[test]
    fn device_answers_give_a_code_or_one_line(status in 100u16..600, body in body()) {
        match device_answer(status, &body, []) {
            Ok(code) => {
                prop_assert!(is_a_line(&code.user_code) && is_a_line(&code.verification_uri));
                prop_assert!((1..=3600).contains(&code.interval.as_secs()));
                prop_assert!((1..=3600).contains(&code.expires_in.as_secs()));
            }
            Err(failure) => prop_assert!(is_a_line(failure.text()), "{failure:?}"),
        }
    }

    #[test]
    fn no_redirect_without_the_state_gives_a_code(redirected in ".{0,80}") {
        let authorization = Authorization::new(true).expect("randomness");
        prop_assert_eq!(authorization.redirected(&redirected).err(), Some(RedirectError::State));
    }

    #[test]
    fn redirects_with_the_state_are_read(query in "[a-z=&%0-9#?+]{0,40}") {
        let authorization = Authorization::new(true).expect("randomness");
        let state = authorization.state.expose();
        match authorization.redirected(&format!("http://localhost/?state={state}&{query}")) {
            Ok(code) => prop_assert!(!code.is_empty()),
            Err(RedirectError::Provider(Failure::Ended(text))) => prop_assert!(false, "{text}"),
            Err(RedirectError::Provider(failure)) => prop_assert!(is_a_line(failure.text())),
            Err(_) => {}
        }
    }

    #[test]
    fn service_account_keys_are_read_or_refused(body in body()) {
        let json = Secret::new(String::from_utf8_lossy(&body));
        let _ = ServiceAccountKey::parse(&json);
    }

    #[test]
    fn saved_values_are_opened_or_refused(value in "(v1:|gAAAAA)?[A-Za-z0-9+/_=-]{0,120}") {
        prop_assert!(key("password").open("heading", "access_token", &value).is_err());
    }

    #[test]
    fn only_its_key_opens_a_value(
        text in ".{0,60}",
        heading in "[a-z@.]{1,20}",
        fernet in any::<bool>(),
    ) {
        let format = if fernet { TokenFormat::Fernet } else { TokenFormat::AesGcm };
        let text = Secret::new(text);
        let value = key("password").seal(&heading, "access_token", &text, format).expect("sealed");
        let opened = key("password").open(&heading, "access_token", &value);
        prop_assert!(opened.is_ok_and(|opened| opened == text));
        let opened = key("passwore").open(&heading, "access_token", &value);
        prop_assert_eq!(opened.err(), Some(OpenError::WrongKey));
    }
}
