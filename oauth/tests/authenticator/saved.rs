//! What is saved, and what is made of it after a restart.

use crate::world::{
    BY_CLIENT, BY_CODE, BY_PASSWORD, ITERATIONS, Memory, START, Stopped, USER, World, attempt,
    config, settings,
};
use futures_lite::future::block_on;
use oauth::{
    authenticator::{Authenticator, Denial, Parts},
    consent::{CodeAnswer, CodeRequest, Consent, ConsentError, DeviceRequest},
    store::{Saved, Saver},
};
use proxy_proto::BoxFuture;
use std::sync::Arc;

/// What the Python tool has saved under the password `pässword one` with 1,000 iterations.
fn of_python() -> Saved {
    Saved {
        token_salt: Some("AAECAwQFBgcICQoLDA0ODw==".to_owned()),
        token_iterations: Some("1000".to_owned()),
        access_token: Some("gAAAAABrBhvVMlAhOenk_fqqilgb4et2GzSDPffueoPyccIItFsZOg80ukH56hxL25g2_5P165lZ86FT_F73lSXYGHWJmzZ04PFOurTbYREH6z9JAq-NOzs=".to_owned()),
        access_token_expiry: Some((START + 3000).to_string()),
        refresh_token: Some("gAAAAABrBhvVnYISVpEoZxPBjmoGa8lrc5ANL279vKuVT6kFw4JrMWUhZVSJ_cSGAWwdnSPlM10WkxOWJz2JMyZQutqT7oBifO8eocUMmrl81MdlVJPaURc=".to_owned()),
        client_secret_encrypted: Some("gAAAAABrBhvVKLNAo782_hFZxGOd1f2lS7dEkOvWtjkYF8y13-HeiMQeG1SJESVgQCH7PB6b4MepQQCscrzMZTr73dWOJDGIoQ==".to_owned()),
        last_activity: None,
    }
}

const PASSWORD: &str = "pässword one";

#[test]
fn a_restart_with_saved_tokens_makes_no_request_and_no_save() {
    let world = World::new(&config(BY_PASSWORD));
    world.token("pw");
    let saves = world.store.saves();
    let world = world.restart(&config(BY_PASSWORD));
    assert_eq!(world.token("pw"), "access-1");
    assert_eq!(world.provider.requests(), 0);
    assert_eq!(world.store.saves(), saves);
}

#[test]
fn a_new_refresh_token_is_saved_before_its_access_token_is_used() {
    let world = World::new(&config(BY_PASSWORD));
    world.token("pw");
    world.clock.advance(3600);
    assert_eq!(world.token("pw"), "access-2");
    assert_eq!(
        world.store.log(),
        [
            "request password",
            "save user@example.com: token_salt token_iterations access_token access_token_expiry refresh_token last_activity",
            "request refresh_token",
            "save user@example.com: access_token access_token_expiry refresh_token last_activity",
        ]
    );
    let world = world.restart(&config(BY_PASSWORD));
    world.clock.advance(3600);
    world.token("pw");
    assert_eq!(
        world.provider.last().value("refresh_token"),
        Some("refresh-2")
    );
}

#[test]
fn without_rotation_the_old_refresh_token_stays_untouched() {
    let world = World::new(&config(BY_PASSWORD));
    world.token("pw");
    let before = world.store.saved(USER).refresh_token;
    for n in 2..4 {
        world.clock.advance(3600);
        world.provider.answer(200, r#"{"access_token":"renewed"}"#);
        assert_eq!(world.token("pw"), "renewed");
        assert_eq!(world.provider.requests(), n);
        assert_eq!(
            world.provider.last().value("refresh_token"),
            Some("refresh-1")
        );
    }
    assert!(world.store.saved(USER).refresh_token == before);
}

#[test]
fn a_store_in_trouble_costs_no_login() {
    let world = World::new(&config(BY_PASSWORD));
    world.store.set_broken(true);
    assert_eq!(world.token("pw"), "access-1");
    assert_eq!(world.token("pw"), "access-1");
    assert_eq!(world.provider.requests(), 1);
    assert_eq!(block_on(world.authenticator.flush()).len(), 1);
    world.store.set_broken(false);
    assert!(block_on(world.authenticator.flush()).is_empty());
    assert!(world.store.saved(USER).refresh_token.is_some());
}

#[test]
fn values_of_the_python_tool_are_used_without_a_request_and_rewritten() {
    let world = World::new(&config("permission_url = https://provider.example/auth"));
    world.store.put(USER, of_python());
    let before = of_python();
    assert_eq!(world.token(PASSWORD), "ya29.access-token");
    assert_eq!(world.provider.requests(), 0);
    let saved = world.store.saved(USER);
    for value in [
        &saved.access_token,
        &saved.refresh_token,
        &saved.client_secret_encrypted,
    ] {
        assert!(value.as_ref().expect("there").starts_with("v1:"));
    }
    assert!(saved.token_salt == before.token_salt);
    assert_eq!(
        saved.token_iterations.as_deref(),
        Some("1000"),
        "never lowered"
    );
    assert_eq!(saved.access_token_expiry, before.access_token_expiry);
    let saves = world.store.saves();
    assert_eq!(world.token(PASSWORD), "ya29.access-token");
    assert_eq!(world.store.saves(), saves);
    // and the refresh goes on with what was in them
    world.clock.advance(3600);
    assert_eq!(world.token(PASSWORD), "access-1");
    assert_eq!(
        world.provider.last().value("refresh_token"),
        Some("1//refresh-token")
    );
    assert_eq!(
        world.provider.last().value("client_secret"),
        Some("client s3cret")
    );
}

#[test]
fn values_stay_readable_by_the_python_tool_where_that_is_wanted() {
    let text = format!(
        "{}[emailproxy]\ntoken_format = fernet\n",
        config("permission_url = https://provider.example/auth")
    );
    let world = World::new(&text);
    world.store.put(USER, of_python());
    assert_eq!(world.token(PASSWORD), "ya29.access-token");
    assert!(world.store.saved(USER) == of_python());
    world.clock.advance(3600);
    assert_eq!(world.token(PASSWORD), "access-1");
    let saved = world.store.saved(USER);
    for value in [&saved.access_token, &saved.refresh_token] {
        assert!(value.as_ref().expect("there").starts_with("gAAAAA"));
    }
    assert_eq!(world.token(PASSWORD), "access-1");
}

#[test]
fn iterations_are_raised_to_those_of_today() {
    let world = World::new(&config(BY_PASSWORD));
    world.token("pw");
    let text = config(BY_PASSWORD);
    let stronger = authenticator(&text, &world.store, &world.clock, ITERATIONS * 2, None);
    assert!(block_on(stronger.token(attempt(USER, "pw"))).is_ok());
    let saved = world.store.saved(USER);
    assert_eq!(saved.token_iterations.as_deref(), Some("100"));
    let world = world.restart(&text);
    assert_eq!(world.token("pw"), "access-1");
    assert_eq!(world.provider.requests(), 0);
}

#[test]
fn damaged_values_are_named() {
    let with = |edit: fn(&mut Saved)| {
        let world = World::new(&config(BY_PASSWORD));
        world.token("pw");
        world.store.edit(USER, edit);
        world.restart(&config(BY_PASSWORD))
    };
    // one token left suffices
    let world = with(|saved| saved.access_token = Some("v1:???".to_owned()));
    assert_eq!(world.token("pw"), "access-1");
    assert_eq!(
        world.provider.last().value("refresh_token"),
        Some("refresh-1")
    );
    let world = with(|saved| saved.refresh_token = Some("nonsense".to_owned()));
    assert_eq!(world.token("pw"), "access-1");
    let both: fn(&mut Saved) = |saved| {
        saved.access_token = Some("v1:???".to_owned());
        saved.refresh_token = Some("nonsense".to_owned());
    };
    for (edit, option) in [
        (both, "refresh_token"),
        (
            (|saved| saved.token_salt = Some("***".to_owned())) as fn(&mut Saved),
            "token_salt",
        ),
        (|saved| saved.token_salt = None, "token_salt"),
        (
            |saved| saved.token_iterations = Some("many".to_owned()),
            "token_iterations",
        ),
    ] {
        let world = with(edit);
        let text = world.temporary("pw");
        assert!(
            text.contains(option) && text.contains(USER),
            "{option}: {text}"
        );
        assert_eq!(world.provider.requests(), 0);
    }
}

#[test]
fn an_unreadable_expiry_means_a_refresh() {
    let world = World::new(&config(BY_PASSWORD));
    world.token("pw");
    world.store.edit(USER, |saved| {
        saved.access_token_expiry = Some("tomorrow".to_owned())
    });
    assert_eq!(world.token("pw"), "access-2");
}

fn sealing(options: &str) -> String {
    format!(
        "{}[emailproxy]\nencrypt_client_secret_on_first_use = True\n",
        config(options)
    )
}

#[test]
fn the_client_secret_is_encrypted_at_its_first_use() {
    let world = World::new(&sealing(BY_CLIENT));
    world.token("right");
    let log = world.store.log();
    assert!(
        log[1].contains("client_secret_encrypted -client_secret"),
        "{log:?}"
    );
    assert!(world.denied("wrong").contains("client_secret_encrypted"));
    world.clock.advance(3600);
    world.provider.answer(400, r#"{"error":"invalid_grant"}"#);
    assert_eq!(world.token("right"), "access-3");
    assert_eq!(world.provider.last().value("client_secret"), Some("cl1ent"));
    // the file says no plain secret any more
    let world = world.restart(&sealing("oauth2_flow = client_credentials"));
    assert!(world.denied("wrong").contains("client_secret_encrypted"));
    world.clock.advance(3600);
    assert_eq!(world.token("right"), "access-1");
    assert_eq!(world.provider.last().value("client_secret"), Some("cl1ent"));
}

#[test]
fn a_password_that_does_not_open_the_client_secret_starts_no_consent() {
    let world = World::new(&sealing(BY_CODE));
    let login = world.start("right");
    world.user.consent();
    login.join().expect("no panic").expect("a token");
    let world = world.restart(&sealing("permission_url = https://provider.example/auth"));
    world.store.edit(USER, |saved| {
        saved.access_token = None;
        saved.refresh_token = None;
    });
    assert!(world.denied("wrong").contains("client_secret_encrypted"));
    assert!(world.user.was_left_alone());
    let login = world.start("right");
    world.user.consent();
    login.join().expect("no panic").expect("a token");
    assert_eq!(world.provider.last().value("client_secret"), Some("cl1ent"));
}

#[test]
fn a_plain_secret_comes_before_the_encrypted_one() {
    let world = World::new(&sealing(BY_CLIENT));
    world.token("right");
    let text = config(BY_CLIENT).replace("cl1ent", "n3w");
    let world = world.restart(&text);
    world.clock.advance(3600);
    world.token("right");
    assert_eq!(world.provider.last().value("client_secret"), Some("n3w"));
}

#[test]
fn catch_all_accounts_inherit_the_encrypted_secret_and_its_salt() {
    let text = "[IMAP-1993]\nserver_address = mail.example\nserver_port = 993\n\
         [@example.com]\ntoken_url = https://provider.example/token\nclient_id = id\n\
         oauth2_scope = mail\noauth2_flow = client_credentials\n\
         [emailproxy]\nallow_catch_all_accounts = True\n";
    let world = World::new(text);
    let mut shared = of_python();
    shared.access_token = None;
    shared.refresh_token = None;
    world.store.put("@example.com", shared);
    assert!(world.denied("wrong").contains("client_secret_encrypted"));
    assert_eq!(world.token(PASSWORD), "access-1");
    assert_eq!(
        world.provider.last().value("client_secret"),
        Some("client s3cret")
    );
    let saved = world.store.saved(USER);
    assert_eq!(saved.token_salt, of_python().token_salt);
    assert!(saved.client_secret_encrypted.is_none());
    assert_eq!(world.token(PASSWORD), "access-1");
    assert_eq!(world.provider.requests(), 1);
}

struct Nobody;

impl Consent for Nobody {
    fn ask_code(&self, _: CodeRequest) -> BoxFuture<Result<CodeAnswer, ConsentError>> {
        Box::pin(async { Err(ConsentError::Unable("nobody is there".to_owned())) })
    }

    fn show_device(&self, _: DeviceRequest) -> Box<dyn oauth::consent::Shown> {
        Box::new(())
    }
}

fn authenticator(
    config: &str,
    store: &Arc<Memory>,
    clock: &Arc<Stopped>,
    new_iterations: u32,
    config_store: Option<Arc<Memory>>,
) -> Arc<Authenticator> {
    let provider = World::new(config).provider;
    Authenticator::new(Parts {
        settings: settings(config),
        saver: Saver::new(store.clone()),
        config_saver: config_store.map(|store| Saver::new(store)),
        consent: Arc::new(Nobody),
        transport: provider,
        spawn: Arc::new(|task| {
            std::thread::spawn(move || block_on(task));
        }),
        clock: clock.clone(),
        new_iterations,
    })
    .expect("randomness")
}

#[test]
fn tokens_left_in_the_configuration_file_move_to_the_store_when_they_change() {
    let text = config(BY_CODE);
    let (cache, left, clock) = (
        Arc::<Memory>::default(),
        Arc::<Memory>::default(),
        Arc::new(Stopped::new()),
    );
    let mut saved = of_python();
    saved.client_secret_encrypted = None;
    left.put(USER, saved.clone());
    let authenticator = authenticator(&text, &cache, &clock, ITERATIONS, Some(left.clone()));
    let login = || {
        block_on(authenticator.token(attempt(USER, PASSWORD))).map(|t| t.token.expose().to_owned())
    };
    assert_eq!(login().as_deref(), Ok("ya29.access-token"));
    clock.advance(3600);
    assert_eq!(login().as_deref(), Ok("access-1"));
    assert!(
        left.saved(USER) == saved,
        "the configuration file is not written"
    );
    let cached = cache.saved(USER);
    assert!(cached.token_salt.is_some() && cached.refresh_token.is_some());
    assert_eq!(login().as_deref(), Ok("access-1"));
}

#[test]
fn a_first_login_that_nobody_can_be_asked_about_is_temporary() {
    let text = config(BY_CODE);
    let clock = Arc::new(Stopped::new());
    let authenticator = authenticator(&text, &Arc::default(), &clock, ITERATIONS, None);
    let denial = block_on(authenticator.token(attempt(USER, "pw"))).err();
    assert!(matches!(denial, Some(Denial::Temporary(text)) if text.contains("nobody is there")));
}
