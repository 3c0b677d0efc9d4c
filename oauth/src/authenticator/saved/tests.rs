//! Where values are found, and what is inherited.

use super::*;

fn place(heading: &str, own: bool, saved: Saved) -> Place {
    Place {
        heading: heading.to_owned(),
        own,
        elsewhere: false,
        saved,
    }
}

fn salted(salt: Option<&str>, iterations: Option<&str>) -> Saved {
    Saved {
        token_salt: salt.map(str::to_owned),
        token_iterations: iterations.map(str::to_owned),
        ..Saved::default()
    }
}

#[test]
fn salt_and_iterations_are_inherited() {
    let domain = || place("@b.example", false, salted(Some("AAEC"), Some("7")));
    for (own, expected) in [
        (salted(None, None), (vec![0, 1, 2], 7)),
        (salted(Some("AwQF"), Some("9")), (vec![3, 4, 5], 9)),
        (salted(Some("AwQF"), None), (vec![3, 4, 5], 100_000)),
        (salted(None, Some("9")), (vec![0, 1, 2], 9)),
    ] {
        let places = [place("a@b.example", true, own), domain()];
        let own = kdf(&places, 0).expect("a salt").expect("readable");
        assert_eq!((own.salt, own.iterations), expected);
        let inherited = kdf(&places, 1).expect("a salt").expect("readable");
        assert_eq!((inherited.salt, inherited.iterations), (vec![0, 1, 2], 7));
    }
    assert!(kdf(&[place("a@b.example", true, Saved::default())], 0).is_none());
}

#[test]
fn tokens_are_never_inherited_and_secrets_are() {
    let domain = Saved {
        access_token: Some("a".into()),
        refresh_token: Some("r".into()),
        client_secret_encrypted: Some("s".into()),
        ..Saved::default()
    };
    let places = [
        place("a@b.example", true, Saved::default()),
        place("@b.example", false, domain),
    ];
    let holdings = Holdings::find(&places);
    assert!(holdings.access.is_none() && holdings.refresh.is_none());
    assert!(
        holdings
            .secret
            .is_some_and(|secret| secret.heading == "@b.example")
    );
    assert!(holdings.own_secret.is_none());
}

#[test]
fn tokens_left_in_the_configuration_file_serve_where_the_store_has_none() {
    let tokens = |text: &str| Saved {
        access_token: Some(text.into()),
        ..Saved::default()
    };
    let with = |main: Saved| {
        let mut config = place("a@b.example", true, tokens("left"));
        config.elsewhere = true;
        Holdings::find(&[place("a@b.example", true, main), config]).access
    };
    let access = with(Saved::default()).expect("a token");
    assert!(access.elsewhere && access.text == "left");
    let access = with(tokens("new")).expect("a token");
    assert!(!access.elsewhere && access.text == "new");
}
