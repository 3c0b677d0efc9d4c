//! Accounts that a catch-all covers, from the file to the token and back into the file.

use crate::world::{BY_CODE, BY_PASSWORD, ITERATIONS, World, settings};
use oauth::{
    authenticator::{
        Denial,
        rekey::{Stores, change_password, encrypt_secret},
    },
    store::{FileStore, Saved, Store},
};
use proxy_proto::Secret;
use std::{fs, path::PathBuf};
use tempfile::TempDir;

struct Files {
    _folder: TempDir,
    config: PathBuf,
    text: String,
}

impl Files {
    fn new(heading: &str, options: &str) -> Files {
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("emailproxy.config");
        let text = format!(
            "# mine\n[IMAP-1993]\nserver_address = mail.example\nserver_port = 993\n\
             [emailproxy]\nallow_catch_all_accounts = True\n\n; all of us\n\
             [{heading}]\ntoken_url = https://provider.example/token\nclient_id = id\n\
             oauth2_scope = mail\n{options}\n\n# the end\n"
        );
        fs::write(&config, &text).expect("written");
        Files {
            _folder: folder,
            config,
            text,
        }
    }

    fn world(&self) -> World {
        World::of_files(&self.config, None)
    }

    fn now(&self) -> String {
        fs::read_to_string(&self.config).expect("the configuration")
    }

    fn saved(&self, heading: &str) -> Saved {
        let store = FileStore::configuration(&self.config);
        store.load(heading).expect("readable")
    }
}

fn token(world: &World, user: &str, password: &str) -> Result<String, Denial> {
    let login = world.login_from(user, password, "127.0.0.1");
    login.map(|token| token.token.expose().to_owned())
}

#[test]
fn an_account_gets_its_section_when_it_first_succeeds() {
    for heading in ["@example.com", "@"] {
        let files = Files::new(heading, BY_PASSWORD);
        let world = files.world();
        world.provider.answer(401, r#"{"error":"invalid_client"}"#);
        assert!(token(&world, "New.User@Example.com", "pw").is_err());
        assert_eq!(files.now(), files.text, "nothing for a failure");
        let first = token(&world, "New.User@Example.com", "pw");
        assert_eq!(first.as_deref(), Ok("access-2"));
        assert_eq!(
            world.provider.last().value("username"),
            Some("New.User@Example.com")
        );
        let now = files.now();
        let added = now
            .strip_prefix(&files.text)
            .expect("the rest is as it was");
        assert!(added.contains("[New.User@Example.com]\n"), "{added}");
        assert!(!added.contains("client_secret"), "{added}");
        // another spelling of it is the same account, now and after a restart
        for world in [&world, &files.world()] {
            let requests = world.provider.requests();
            let again = token(world, "new.user@EXAMPLE.com", "pw");
            assert_eq!(again.as_deref(), Ok("access-2"));
            assert_eq!(world.provider.requests(), requests);
        }
        assert_eq!(files.now(), now);
    }
}

#[test]
fn accounts_of_one_catch_all_have_tokens_of_their_own() {
    let files = Files::new("@example.com", BY_CODE);
    let world = files.world();
    for (user, expected) in [("a@example.com", "access-1"), ("b@example.com", "access-2")] {
        let login = world.start_as(user, user);
        let question = world.user.question();
        assert_eq!(&*question.request.who.account, user);
        question.redirect("code=c");
        assert_eq!(login.join().expect("no panic").as_deref(), Ok(expected));
    }
    let (a, b) = (files.saved("a@example.com"), files.saved("b@example.com"));
    assert!(a.token_salt.is_some() && a.token_salt != b.token_salt);
    assert!(files.saved("@example.com") == Saved::default());
    let world = files.world();
    assert_eq!(
        token(&world, "a@example.com", "a@example.com").as_deref(),
        Ok("access-1")
    );
    assert_eq!(
        token(&world, "b@example.com", "b@example.com").as_deref(),
        Ok("access-2")
    );
    assert!(world.user.was_left_alone());
}

#[test]
fn another_domain_is_not_covered() {
    let files = Files::new("@example.com", BY_PASSWORD);
    let world = files.world();
    for user in ["a@example.org", "a@sub.example.com", "@example.com"] {
        let denial = token(&world, user, "pw").expect_err("unknown");
        assert!(matches!(denial, Denial::Denied(_)), "{user}: {denial:?}");
    }
    assert_eq!(world.provider.requests(), 0);
}

#[test]
fn salt_iterations_and_encrypted_secret_are_inherited_and_tokens_are_not() {
    let files = Files::new(
        "@example.com",
        "oauth2_flow = client_credentials\nclient_secret = cl1ent",
    );
    let store = FileStore::configuration(&files.config);
    let stores = Stores {
        tokens: &store,
        configuration: None,
    };
    encrypt_secret(
        &settings(&files.text),
        stores,
        "@example.com",
        &Secret::new("shared"),
        ITERATIONS,
    )
    .expect("encrypted");
    assert!(!files.now().contains("cl1ent"));
    let world = files.world();
    let denial = token(&world, "a@example.com", "other").expect_err("wrong");
    assert!(
        matches!(&denial, Denial::Denied(text) if text.contains("client_secret_encrypted")),
        "{denial:?}"
    );
    assert_eq!(
        token(&world, "a@example.com", "shared").as_deref(),
        Ok("access-1")
    );
    assert_eq!(world.provider.last().value("client_secret"), Some("cl1ent"));
    let (all, own) = (files.saved("@example.com"), files.saved("a@example.com"));
    assert!(all.token_salt.is_some() && own.token_salt == all.token_salt);
    assert!(own.token_iterations == all.token_iterations);
    assert!(own.client_secret_encrypted.is_none() && all.access_token.is_none());
    // the next account of the domain starts from nothing
    let world = files.world();
    assert_eq!(
        token(&world, "a@example.com", "shared").as_deref(),
        Ok("access-1")
    );
    assert_eq!(world.provider.requests(), 0);
    assert!(token(&world, "b@example.com", "shared").is_ok());
    assert_eq!(world.provider.requests(), 1);
}

#[test]
fn with_a_store_of_their_own_sections_are_found_in_any_letter_case() {
    let files = Files::new("@example.com", BY_PASSWORD);
    let cache = files._folder.path().join("cache");
    let world = World::of_files(&files.config, Some(&cache));
    let first = token(&world, "New.User@Example.com", "pw");
    assert_eq!(first.as_deref(), Ok("access-1"));
    // another process: the configuration does not name the account
    let world = World::of_files(&files.config, Some(&cache));
    for user in ["new.user@example.com", "NEW.USER@EXAMPLE.COM"] {
        let login = world.login_from(user, "pw", "127.0.0.1");
        let token = login.expect("a saved token");
        assert_eq!(&*token.user, "New.User@Example.com");
        assert_eq!(token.token.expose(), "access-1");
    }
    assert_eq!(world.provider.requests(), 0);
    let store = FileStore::cache(&cache);
    let configuration = FileStore::configuration(&files.config);
    let stores = Stores {
        tokens: &store,
        configuration: Some(&configuration),
    };
    let (old, new) = (Secret::new("pw"), Secret::new("new"));
    let settings = settings(&files.text);
    let done = change_password(
        &settings,
        stores,
        "new.user@example.com",
        &old,
        &new,
        ITERATIONS,
    );
    assert_eq!(done.expect("changed").heading, "New.User@Example.com");
    assert_eq!(
        token(&world, "new.user@example.com", "new").as_deref(),
        Ok("access-1")
    );
}
