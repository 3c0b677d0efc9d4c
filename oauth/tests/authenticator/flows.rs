//! Each flow from the first login to the saved tokens.

use crate::world::{BY_CLIENT, BY_CODE, BY_PASSWORD, START, USER, World, attempt, config};
use futures_lite::future::block_on;
use oauth::authenticator::Denial;
use proxy_proto::{Mechanism, Protocol};

const DEVICE: &str = "permission_url = https://provider.example/device\noauth2_flow = device";
const DEVICE_CODE: &str = r#"{"device_code":"dev1ce","user_code":"AB-CD","interval":5,"expires_in":900,
    "verification_uri":"https://provider.example/d","verification_uri_complete":"https://provider.example/d?c=AB-CD"}"#;

fn data(file: &str) -> String {
    format!("{}/tests/data/{file}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn by_code_the_user_is_asked_once_and_the_token_saved() {
    let world = World::new(&config(BY_CODE));
    let login = world.start("pw");
    let question = world.user.question();
    assert_eq!(&*question.request.who.account, USER);
    assert_eq!(
        question.request.who.client,
        Some("127.0.0.1".parse().expect("an address"))
    );
    assert!(!question.request.who.password_differs);
    assert!(!question.request.any_loopback_port);
    let url = (question.request.url)("http://localhost:4711");
    assert!(url.starts_with("https://provider.example/auth?client_id=id&redirect_uri=http%3A%2F%2Flocalhost%3A4711&scope=mail&"), "{url}");
    assert!(url.contains("code_challenge_method=S256"), "{url}");
    let told = question.redirect("code=the-c0de");
    assert_eq!(login.join().expect("no panic").as_deref(), Ok("access-1"));
    assert_eq!(
        told.recv_blocking(),
        Ok(Ok(oauth::consent::Granted::default()))
    );
    let asked = world.provider.last();
    assert_eq!(asked.url, "https://provider.example/token");
    for (name, value) in [
        ("grant_type", "authorization_code"),
        ("client_id", "id"),
        ("client_secret", "cl1ent"),
        ("code", "the-c0de"),
        ("redirect_uri", "http://localhost:4711"),
    ] {
        assert_eq!(asked.value(name), Some(value), "{name}");
    }
    assert_eq!(asked.value("code_verifier").map(str::len), Some(43));
    assert_eq!(world.token("pw"), "access-1");
    assert_eq!(world.provider.requests(), 1);
    let saved = world.store.saved(USER);
    assert_eq!(saved.access_token_expiry, Some((START + 3600).to_string()));
    assert_eq!(saved.last_activity, Some(START.to_string()));
    assert_eq!(saved.token_iterations.as_deref(), Some("50"));
    for value in [saved.access_token, saved.refresh_token] {
        assert!(value.expect("saved").starts_with("v1:"));
    }
}

#[test]
fn microsofts_and_googles_accounts_may_redirect_to_any_port() {
    let world = World::new(&config(
        "permission_url = https://accounts.google.com/o/oauth2/auth",
    ));
    let login = world.start("pw");
    let question = world.user.question();
    assert!(question.request.any_loopback_port);
    question.redirect("code=c");
    assert!(login.join().expect("no panic").is_ok());
}

#[test]
fn another_state_redeems_nothing() {
    let world = World::new(&config(BY_CODE));
    for redirected in [
        "http://localhost/?code=c&state=x",
        "http://localhost/?code=c",
    ] {
        let login = world.start("pw");
        let told = world.user.question().redirect_raw(redirected);
        let denial = login.join().expect("no panic").expect_err("refused");
        assert!(
            matches!(&denial, Denial::Denied(text) if text.contains("state")),
            "{denial:?}"
        );
        assert!(told.recv_blocking().expect("an outcome").is_err());
    }
    assert_eq!(world.provider.requests(), 0);
    assert_eq!(world.store.saves(), 0);
}

#[test]
fn a_denied_consent_denies_the_login() {
    let world = World::new(&config(BY_CODE));
    let login = world.start("pw");
    let told = world
        .user
        .question()
        .redirect("error=access_denied&error_description=no%0D%0Away");
    let denial = login.join().expect("no panic").expect_err("refused");
    let Denial::Denied(text) = denial else {
        panic!("{denial:?}")
    };
    assert!(
        text.contains(USER) && text.contains("no way") && !text.contains('\n'),
        "{text}"
    );
    assert_eq!(told.recv_blocking(), Ok(Err(text)));
}

#[test]
fn the_surface_shows_no_success_before_the_token_is_there() {
    let world = World::new(&config(BY_CODE));
    world.provider.hold();
    let login = world.start("pw");
    let told = world.user.question().redirect("code=c");
    world.provider.wait_for(1);
    assert!(told.is_empty());
    world.provider.release();
    assert!(login.join().expect("no panic").is_ok());
    assert_eq!(
        told.recv_blocking(),
        Ok(Ok(oauth::consent::Granted::default()))
    );
}

#[test]
fn nobody_answering_ends_after_ten_minutes() {
    let world = World::new(&config(BY_CODE));
    let login = world.start("pw");
    let question = world.user.question();
    world.clock.advance(599);
    assert!(!login.is_finished());
    world.clock.advance(1);
    let denial = login
        .join()
        .expect("no panic")
        .expect_err("nobody answered");
    assert!(matches!(denial, Denial::Temporary(text) if text.contains("nobody gave consent")));
    drop(question);
    // and the next login asks again
    let login = world.start("pw");
    world.user.consent();
    assert!(login.join().expect("no panic").is_ok());
}

#[test]
fn a_front_end_that_cannot_ask_says_why() {
    let world = World::new(&config(BY_CODE));
    let login = world.start("pw");
    world.user.question().fail("port 80 is taken");
    let denial = login
        .join()
        .expect("no panic")
        .expect_err("nobody was asked");
    assert!(matches!(denial, Denial::Temporary(text) if text.contains("port 80 is taken")));
}

#[test]
fn by_password_the_login_is_the_providers() {
    let world = World::new(&config(&format!(
        "{BY_PASSWORD}\noauth2_resource = https://r.example"
    )));
    assert_eq!(world.token("pw"), "access-1");
    let asked = world.provider.last();
    for (name, value) in [
        ("grant_type", "password"),
        ("username", USER),
        ("password", "pw"),
        ("scope", "mail"),
        ("resource", "https://r.example"),
        ("client_secret", "cl1ent"),
    ] {
        assert_eq!(asked.value(name), Some(value), "{name}");
    }
    assert!(world.user.was_left_alone());
}

#[test]
fn by_client_only_the_client_is_asked_for() {
    let world = World::new(&config(BY_CLIENT));
    assert_eq!(world.token("pw"), "access-1");
    let asked = world.provider.last();
    assert_eq!(asked.value("grant_type"), Some("client_credentials"));
    assert_eq!(asked.value("client_secret"), Some("cl1ent"));
    assert_eq!(asked.value("username"), None);
}

#[test]
fn the_login_password_may_be_the_clients_secret() {
    let text = format!(
        "{}[emailproxy]\nuse_login_password_as_client_credentials_secret = True\n",
        config("oauth2_flow = client_credentials")
    );
    let world = World::new(&text);
    assert_eq!(world.token("the client's"), "access-1");
    assert_eq!(
        world.provider.last().value("client_secret"),
        Some("the client's")
    );
}

#[test]
fn a_certificate_stands_in_for_the_secret() {
    let options = format!(
        "oauth2_flow = client_credentials\njwt_certificate_path = {}\njwt_key_path = {}",
        data("rsa.crt"),
        data("rsa.key")
    );
    let world = World::new(&config(&options));
    assert_eq!(world.token("pw"), "access-1");
    let asked = world.provider.last();
    assert_eq!(
        asked.value("client_assertion_type"),
        Some("urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
    );
    assert_eq!(
        asked
            .value("client_assertion")
            .map(|jwt| jwt.split('.').count()),
        Some(3)
    );
    assert_eq!(asked.value("client_secret"), None);

    let world = World::new(&config(&options.replace("rsa.key", "encrypted.key")));
    let text = world.denied("pw");
    assert!(
        text.contains("jwt_key_path") && text.contains("passphrase"),
        "{text}"
    );
    let world = World::new(&config(&options.replace("rsa.crt", "missing.crt")));
    assert!(world.denied("pw").contains("jwt_certificate_path"));
    // a secret comes first
    let world = World::new(&config(&format!("{options}\nclient_secret = s")));
    assert_eq!(world.token("pw"), "access-1");
    assert_eq!(world.provider.last().value("client_secret"), Some("s"));
}

#[test]
fn a_service_account_opens_the_mailbox_by_file_or_key() {
    let key = std::fs::read_to_string(data("rsa.key")).expect("a key");
    let json = serde_json::json!({
        "type": "service_account", "client_email": "robot@example.com", "private_key": key,
        "token_uri": "https://key.example/token",
    });
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), json.to_string()).expect("written");
    let by_file = format!("client_secret = {}", file.path().display());
    let by_key = format!(
        "client_secret = {}",
        format!("{json:#}").replace('\n', "\n  ")
    );
    for (id, secret) in [("file", by_file), ("key", by_key)] {
        let text = config(&format!("oauth2_flow = service_account\n{secret}"))
            .replace("client_id = id", &format!("client_id = {id}"));
        let world = World::new(&text);
        assert_eq!(world.token("pw"), "access-1");
        let asked = world.provider.last();
        assert_eq!(asked.url, "https://key.example/token");
        assert_eq!(
            asked.value("grant_type"),
            Some("urn:ietf:params:oauth:grant-type:jwt-bearer")
        );
        assert_eq!(asked.value("client_id"), None);
    }
    let text = config("oauth2_flow = service_account\nclient_secret = /nowhere/key.json")
        .replace("client_id = id", "client_id = file");
    assert!(World::new(&text).denied("pw").contains("/nowhere/key.json"));
}

#[test]
fn by_device_the_provider_is_polled_until_the_user_has_typed() {
    let world = World::new(&config(DEVICE));
    world.provider.answer(200, DEVICE_CODE);
    for error in [
        "authorization_pending",
        "slow_down",
        "authorization_pending",
    ] {
        world
            .provider
            .answer(400, &format!(r#"{{"error":"{error}"}}"#));
    }
    world.provider.fail("a time-out");
    assert_eq!(world.token("pw"), "access-6");
    let shown = world.user.device();
    assert_eq!(shown.user_code, "AB-CD");
    assert_eq!(shown.verification_uri, "https://provider.example/d");
    assert_eq!(shown.expires_in.as_secs(), 900);
    // five seconds more after `slow_down`, and after a time-out
    assert_eq!(world.clock.slept(), [5, 5, 10, 10, 15]);
    let asked = world.provider.asked();
    assert_eq!(asked[0].url, "https://provider.example/device");
    assert_eq!(asked[0].value("client_id"), Some("id"));
    assert_eq!(asked[1].value("device_code"), Some("dev1ce"));
    assert_eq!(asked[1].url, "https://provider.example/token");
}

#[test]
fn a_provider_that_wants_get_is_asked_by_get() {
    for status in [404, 405] {
        let world = World::new(&config(DEVICE));
        world.provider.answer(status, "<html>");
        world.provider.answer(200, DEVICE_CODE);
        assert_eq!(world.token("pw"), "access-3");
        let asked = &world.provider.asked()[1];
        assert_eq!(
            asked.url,
            "https://provider.example/device?client_id=id&scope=mail"
        );
        assert!(asked.form.is_none());
    }
}

#[test]
fn a_device_code_ends() {
    let world = World::new(&config(DEVICE));
    world
        .provider
        .answer(200, &DEVICE_CODE.replace("900", "12"));
    world
        .provider
        .answer(400, r#"{"error":"authorization_pending"}"#);
    world
        .provider
        .answer(400, r#"{"error":"authorization_pending"}"#);
    assert!(world.temporary("pw").contains("nobody gave consent"));
    assert_eq!(world.provider.requests(), 3);
    for (error, denied) in [("access_denied", true), ("expired_token", false)] {
        let world = World::new(&config(DEVICE));
        world.provider.answer(200, DEVICE_CODE);
        world
            .provider
            .answer(400, &format!(r#"{{"error":"{error}"}}"#));
        let denial = world.login("pw").err().expect("refused");
        assert_eq!(matches!(denial, Denial::Denied(_)), denied, "{denial:?}");
    }
}

#[test]
fn identity_and_mechanism_are_the_accounts() {
    let world = World::new(&config(&format!(
        "{BY_PASSWORD}\nsasl_user = shared@example.com\nsasl_user_smtp = delegate@example.com\n\
         sasl_mechanism = OAUTHBEARER"
    )));
    for (protocol, user) in [
        (Protocol::Imap, "shared@example.com"),
        (Protocol::Smtp, "delegate@example.com"),
    ] {
        let mut attempt = attempt(USER, "pw");
        attempt.protocol = protocol;
        let token = block_on(world.authenticator.token(attempt)).expect("a token");
        assert_eq!(&*token.user, user);
        assert_eq!(token.mechanism, Some(Mechanism::OAuthBearer));
    }
    // upstream gets the section's spelling
    let world = World::new(&config(BY_PASSWORD));
    let token = world
        .login_from("USER@Example.COM", "pw", "::1")
        .expect("a token");
    assert_eq!(&*token.user, USER);
    assert_eq!(token.mechanism, None);
}
