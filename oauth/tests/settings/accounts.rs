//! Account sections and catch-alls.

use super::{BASE, account, account_with, one, read, settings, told};
use oauth::settings::{FlowKind, Severity};
use proxy_proto::Mechanism;

#[test]
fn flows_are_chosen_by_permission_url_and_oauth2_flow() {
    let rest = "token_url = https://p.example/token\noauth2_scope = s\nclient_id = id\nclient_secret = s\n";
    let permission = "permission_url = https://p.example/auth\n";
    let table: &[(&str, &str, Option<FlowKind>, &[&str])] = &[
        (permission, "", Some(FlowKind::AuthorizationCode), &[]),
        (
            permission,
            "authorization_code",
            Some(FlowKind::AuthorizationCode),
            &[],
        ),
        (permission, "device", Some(FlowKind::Device), &[]),
        (
            permission,
            "password",
            Some(FlowKind::AuthorizationCode),
            &["whatever `oauth2_flow` says"],
        ),
        (
            permission,
            "nonsense",
            Some(FlowKind::AuthorizationCode),
            &["whatever `oauth2_flow` says"],
        ),
        (
            "",
            "client_credentials",
            Some(FlowKind::ClientCredentials),
            &["before its first login"],
        ),
        ("", "password", Some(FlowKind::Password), &[]),
        (
            "",
            "",
            Some(FlowKind::ClientCredentials),
            &["client_credentials is assumed", "before its first login"],
        ),
        ("", "device", None, &["needs `permission_url`"]),
        ("", "authorization_code", None, &["needs `permission_url`"]),
        ("", "nonsense", None, &["`oauth2_flow` must be"]),
    ];
    for (permission, flow, expected, texts) in table {
        let flow = if flow.is_empty() {
            String::new()
        } else {
            format!("oauth2_flow = {flow}\n")
        };
        let (account, problems) = account(&format!("{permission}{rest}{flow}"));
        assert_eq!(account.map(|a| a.flow), *expected, "{permission} {flow}");
        assert_eq!(
            problems.len(),
            texts.len(),
            "{flow}: {:#?}",
            told(&problems)
        );
        for text in *texts {
            one(&problems, &[text]);
        }
    }
}

#[test]
fn accounts_that_cannot_be_used_are_named_and_left_out() {
    let base = "permission_url = https://p.example/auth\ntoken_url = https://p.example/token\noauth2_scope = s\nclient_id = id\n";
    let without = |option: &str| -> String {
        base.lines()
            .filter(|l| !l.starts_with(option))
            .map(|l| format!("{l}\n"))
            .collect()
    };
    let table = [
        (without("token_url"), "`token_url` is missing"),
        (without("client_id"), "`client_id` is missing"),
        (without("oauth2_scope"), "`oauth2_scope` is missing"),
        (format!("{base}use_pkce = perhaps\n"), "`use_pkce` must be"),
        (
            format!("{base}sasl_mechanism = PLAIN\n"),
            "XOAUTH2 or OAUTHBEARER",
        ),
        (
            format!("{base}jwt_certificate_path = c\n"),
            "`jwt_key_path` is missing",
        ),
        (
            format!("{base}jwt_key_path = c\n"),
            "`jwt_certificate_path` is missing",
        ),
        (
            format!("{base}redirect_uri = nowhere\n"),
            "`redirect_uri` is not a URL",
        ),
        (
            format!("{base}redirect_listen_address = 10.0.0.1:80\n"),
            "`redirect_listen_address`",
        ),
        (
            base.replace("https://p.example/token", "http://p.example/token"),
            "`token_url` must begin with https://",
        ),
        (
            base.replace("https://p.example/token", "p.example/token"),
            "`token_url` is not a URL",
        ),
        (
            base.replace("https://p.example/auth", "http://p.example/"),
            "`permission_url` must begin with https://",
        ),
    ];
    for (lines, text) in &table {
        let (account, problems) = account(lines);
        assert!(account.is_none(), "{lines}");
        assert_eq!(
            one(&problems, &[text, "[bob@example.com]"]).severity,
            Severity::Error
        );
    }
    let loopback = base.replace("https://p.example", "http://127.0.0.1:8080");
    assert!(
        account(&loopback).0.is_some(),
        "plain http is right on loopback"
    );
}

#[test]
fn all_account_options_are_read() {
    let (account, problems) = account(
        "permission_url = https://p.example/auth?tenant=a&b=%20\ntoken_url = https://p.example/token\noauth2_scope = a b\n  c\nclient_id = id\n\
         redirect_uri = http://localhost:8080\nredirect_listen_address = http://10.0.0.1:8080\nclient_secret = s=e:c%r#t\n\
         oauth2_resource = r\nuse_pkce = False\nsasl_user = u\nsasl_user_imap = i\nsasl_user_pop = p\nsasl_user_smtp = s\nsasl_mechanism = oauthbearer\n",
    );
    assert_eq!(told(&problems), Vec::<String>::new());
    let account = account.unwrap();
    assert_eq!(
        account.permission_url.as_deref(),
        Some("https://p.example/auth?tenant=a&b=%20")
    );
    assert_eq!(account.oauth2_scope.as_deref(), Some("a b c"));
    assert_eq!(
        account.redirect_listen_address.as_deref(),
        Some("http://10.0.0.1:8080")
    );
    assert_eq!(
        account.client_secret.as_ref().map(|s| s.expose()),
        Some("s=e:c%r#t")
    );
    assert!(!account.use_pkce);
    assert_eq!(account.sasl_user_smtp.as_deref(), Some("s"));
    assert_eq!(account.sasl_mechanism, Some(Mechanism::OAuthBearer));
}

#[test]
fn secrets_and_certificates() {
    let base = "token_url = https://p.example/t\noauth2_scope = s\nclient_id = id\noauth2_flow = client_credentials\n";
    let certificate = "jwt_certificate_path = c\njwt_key_path = k\n";
    let (_, problems) = account(&format!("{base}{certificate}client_secret = x\n"));
    one(&problems, &["the certificate is not"]);
    let (_, problems) = account(&format!(
        "{base}client_secret_encrypted = v1:x\nclient_secret = x\n"
    ));
    one(&problems, &["both present: the plain one is used"]);
    let (both, problems) = account(&format!("{base}{certificate}"));
    assert!(both.unwrap().jwt_key_path.is_some());
    one(&problems, &["before its first login"]);
    let (_, problems) = account(base);
    one(&problems, &["no `client_secret`, no certificate"]);
    let (_, problems) = account(&format!("{base}client_secret_encrypted = v1:x\n"));
    assert_eq!(
        told(&problems),
        Vec::<String>::new(),
        "an encrypted secret alone closes the door"
    );
    let password = "use_login_password_as_client_credentials_secret = True\n";
    let (_, problems) = account_with(base, password);
    assert_eq!(told(&problems), Vec::<String>::new());
    let (_, problems) = account_with(&format!("{base}client_secret = x\n"), password);
    one(&problems, &["it is used and the login password is not"]);
}

#[test]
fn service_accounts() {
    let base = "token_url = https://p.example/t\noauth2_scope = s\noauth2_flow = service_account\n";
    let (file, problems) = account(&format!(
        "{base}client_id = file\nclient_secret = /key.json\n"
    ));
    assert_eq!(file.unwrap().flow, FlowKind::ServiceAccount);
    one(&problems, &["warning", "before its first login"]);
    let (key, _) = account(&format!(
        "{base}client_id = key\nclient_secret = {{\n  \"type\": \"service_account\",\n  \"a\": \"b=c\"\n  }}\n"
    ));
    let key = key.unwrap();
    let json: serde_json::Value =
        serde_json::from_str(key.client_secret.as_ref().unwrap().expose()).unwrap();
    assert_eq!(json["a"], "b=c");
    let (none, problems) = account(&format!("{base}client_id = other\nclient_secret = x\n"));
    assert!(none.is_none());
    one(&problems, &["error", "must be `file`"]);
    let (none, problems) = account(&format!("{base}client_id = key\nclient_secret = hunter2\n"));
    assert!(none.is_none());
    assert!(
        !one(&problems, &["error", "not a JSON key"])
            .text
            .contains("hunter2")
    );
    let (none, problems) = account(&format!("{base}client_id = file\n"));
    assert!(none.is_none());
    one(&problems, &["`client_secret` is missing"]);
}

#[test]
fn the_password_flow_takes_a_resource_for_a_scope() {
    let base = "token_url = https://p.example/t\nclient_id = id\noauth2_resource = r\n";
    assert!(
        account(&format!("{base}oauth2_flow = password\n"))
            .0
            .is_some()
    );
    let (none, problems) = account(&format!("{base}oauth2_flow = client_credentials\n"));
    assert!(none.is_none());
    one(&problems, &["`oauth2_scope` is missing"]);
}

#[test]
fn accounts_are_found_exactly_then_ignoring_case() {
    let lines =
        "permission_url = https://p/a\ntoken_url = https://p/t\noauth2_scope = s\nclient_id = ";
    let text = format!(
        "{BASE}[Bob@Example.com]\n{lines}1\n[bob@example.com]\n{lines}2\n[Ünal@x.example]\n{lines}3\n"
    );
    let loaded = read(&text);
    one(
        &loaded.problems,
        &["[bob@example.com]", "differs from [Bob@Example.com]"],
    );
    let settings = loaded.settings.unwrap();
    let id = |login: &str| {
        settings
            .account(login)
            .map(|a| (a.name.to_string(), a.client_id.clone()))
    };
    assert_eq!(
        id("bob@example.com"),
        Some(("bob@example.com".into(), "2".into()))
    );
    assert_eq!(
        id("Bob@Example.com"),
        Some(("Bob@Example.com".into(), "1".into()))
    );
    assert_eq!(
        id("BOB@EXAMPLE.COM"),
        Some(("Bob@Example.com".into(), "1".into()))
    );
    assert_eq!(
        id("ALICE@example.com"),
        Some(("alice@example.com".into(), "id".into()))
    );
    assert_eq!(
        id("ünal@x.example"),
        Some(("Ünal@x.example".into(), "3".into()))
    );
    assert_eq!(id("carol@example.com"), None);
    assert_eq!(settings.accounts().count(), 4);
}

const CATCH_ALLS: &str = "[emailproxy]\nallow_catch_all_accounts = True\n\
    [@]\ntoken_url = https://g.example/t\noauth2_scope = g\n\
    [@example.org]\npermission_url = https://o.example/a\nclient_id = org\nclient_secret = s\n\
    [dora@example.org]\nclient_id = dora\n\
    [erik@example.org]\ntoken_salt = abc\nclient_secret =\n\
    [finn@example.org]\nuse_pkce = perhaps\n";

#[test]
fn catch_alls_complete_accounts() {
    let loaded = read(&format!("{BASE}{CATCH_ALLS}"));
    one(&loaded.problems, &["[finn@example.org]", "`use_pkce`"]);
    assert_eq!(loaded.problems.len(), 1, "{:#?}", told(&loaded.problems));
    let settings = loaded.settings.unwrap();
    let new = settings.account("New@Example.ORG").unwrap();
    assert_eq!(
        (&*new.name, &*new.client_id, &*new.token_url),
        ("New@Example.ORG", "org", "https://g.example/t")
    );
    assert_eq!(new.headings, ["New@Example.ORG", "@example.org", "@"]);
    assert!(!new.own_section && new.client_secret.is_some());
    let dora = settings.account("DORA@example.org").unwrap();
    assert_eq!(
        (&*dora.name, &*dora.client_id),
        ("dora@example.org", "dora")
    );
    assert!(dora.own_section);
    let erik = settings.account("erik@example.org").unwrap();
    assert!(
        erik.client_secret.is_none(),
        "an empty value hides the catch-all's"
    );
    assert!(
        settings.account("finn@example.org").is_none(),
        "no catch-all answers for an account left out"
    );
    assert!(
        settings.account("x@elsewhere.example").is_none(),
        "[@] alone has no client_id"
    );
    for login in [
        "@example.org",
        "@",
        "",
        "example.org",
        "x]@example.org",
        " x@example.org",
        "x\n@example.org",
    ] {
        assert!(settings.account(login).is_none(), "{login:?}");
    }
}

#[test]
fn catch_alls_are_ignored_unless_allowed() {
    let loaded = read(&format!(
        "{BASE}{}",
        CATCH_ALLS.replace("= True", "= False")
    ));
    assert!(
        loaded
            .problems
            .iter()
            .any(|p| p.text.contains("this catch-all is ignored"))
    );
    let settings = loaded.settings.unwrap();
    assert!(settings.account("new@example.org").is_none());
    assert!(settings.account("dora@example.org").is_none());
}

#[test]
fn open_doors_are_warned_of_more_loudly_where_the_network_can_reach_them() {
    let catch_all = "[emailproxy]\nallow_catch_all_accounts = True\nuse_login_password_as_client_credentials_secret = True\n\
        [@example.net]\ntoken_url = https://p/t\noauth2_scope = s\nclient_id = i\noauth2_flow = client_credentials\n";
    let local = read(&format!("{BASE}{catch_all}"));
    one(
        &local.problems,
        &["anyone on this machine can open every mailbox"],
    );
    let open = read(&format!(
        "{}{catch_all}",
        BASE.replace("127.0.0.1", "0.0.0.0")
    ));
    one(&open.problems, &["DANGER", "every mailbox"]);
    one(&open.problems, &["other machines can reach this port"]);
}

#[test]
fn fingerprints_tell_settings_apart() {
    let fingerprint = |text: &str| {
        settings(text)
            .account("alice@example.com")
            .unwrap()
            .fingerprint
    };
    let base = fingerprint(BASE);
    assert_eq!(
        base,
        fingerprint(&format!("# moved\n\n{BASE}last_activity = 1\n"))
    );
    for line in [
        "client_secret = a",
        "redirect_uri = http://localhost:1",
        "use_pkce = no",
        "sasl_user = x",
        "sasl_user_imap = x",
        "sasl_mechanism = XOAUTH2",
        "jwt_key_path = k\njwt_certificate_path = c",
    ] {
        assert_ne!(base, fingerprint(&format!("{BASE}{line}\n")), "{line}");
    }
    assert_ne!(
        fingerprint(&format!("{BASE}sasl_user = x\n")),
        fingerprint(&format!("{BASE}sasl_user_imap = x\n"))
    );
}

#[test]
fn what_the_file_has_saved_is_kept() {
    let text = format!(
        "[DEFAULT]\nrefresh_token = d\n{BASE}token_salt = s\naccess_token = a\naccess_token_expiry =\n"
    );
    let settings = settings(&text);
    let saved = settings.saved("alice@example.com");
    assert_eq!(
        (saved.token_salt.as_deref(), saved.access_token.as_deref()),
        (Some("s"), Some("a"))
    );
    assert!(
        saved.access_token_expiry.is_none() && saved.refresh_token.is_none(),
        "nothing is inherited"
    );
    assert!(settings.saved("nobody@example.com") == oauth::store::Saved::default());
}
