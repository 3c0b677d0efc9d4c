//! What a configuration means, and what is said about it.

use oauth::settings::{FlowKind, Loaded, LocalStartTls, Problem, Settings, Severity, TokenFormat};
use proxy_proto::{Mechanism, Protocol};

/// A server and an account without fault, for tests about something else.
const BASE: &str = "[IMAP-1993]\nserver_address = imap.example.com\nserver_port = 993\nlocal_address = 127.0.0.1\n\
                    [alice@example.com]\npermission_url = https://p.example/auth\ntoken_url = https://p.example/token\n\
                    oauth2_scope = mail\nclient_id = id\n";

fn read(text: &str) -> Loaded {
    Settings::read(text.as_bytes())
}

/// `line severity [section] text`, for comparison.
fn told(problems: &[Problem]) -> Vec<String> {
    let line = |p: &Problem| {
        p.line
            .map_or_else(|| "-".to_owned(), |line| line.to_string())
    };
    problems
        .iter()
        .map(|p| format!("{} {p}", line(p)))
        .collect()
}

fn settings(text: &str) -> Settings {
    let loaded = read(text);
    let problems = told(&loaded.problems);
    loaded
        .settings
        .unwrap_or_else(|| panic!("no settings: {problems:?}"))
}

/// Asserts that exactly one problem holds all these words, and gives it back.
fn one<'a>(problems: &'a [Problem], words: &[&str]) -> &'a Problem {
    let found: Vec<&Problem> = problems
        .iter()
        .filter(|p| words.iter().all(|word| p.to_string().contains(word)))
        .collect();
    assert_eq!(found.len(), 1, "{words:?} in {:#?}", told(problems));
    found[0]
}

/// The one account section with these lines, and its problems.
fn account(
    lines: &str,
) -> (
    Option<std::sync::Arc<oauth::settings::Account>>,
    Vec<Problem>,
) {
    account_with(lines, "")
}

fn account_with(
    lines: &str,
    global: &str,
) -> (
    Option<std::sync::Arc<oauth::settings::Account>>,
    Vec<Problem>,
) {
    let server = BASE.split("[alice").next().unwrap();
    let loaded = read(&format!(
        "{server}[emailproxy]\n{global}[bob@example.com]\n{lines}"
    ));
    let account = loaded.settings.unwrap().account("bob@example.com");
    (account, loaded.problems)
}

/// The one server with these lines, and its problems.
fn server(heading: &str, lines: &str) -> (Option<oauth::settings::Server>, Vec<Problem>) {
    let account = BASE.find("[alice").map(|at| &BASE[at..]).unwrap();
    let text = format!("[{heading}]\nserver_address = mail.example.com\n{lines}{account}");
    let loaded = read(&text);
    (
        loaded.settings.unwrap().servers.into_iter().next(),
        loaded.problems,
    )
}

#[test]
fn a_faultless_configuration_is_read_without_a_word() {
    let loaded = read(BASE);
    assert_eq!(told(&loaded.problems), Vec::<String>::new());
    let settings = loaded.settings.unwrap();
    let server = &settings.servers[0];
    assert_eq!(
        (&*server.heading, server.protocol, server.port),
        ("IMAP-1993", Protocol::Imap, 1993)
    );
    assert_eq!(
        (&*server.server_address, server.server_port, server.line),
        ("imap.example.com", 993, 1)
    );
    assert!(!server.server_starttls && server.local_tls.is_none());
    let account = settings.account("alice@example.com").unwrap();
    assert_eq!(account.flow, FlowKind::AuthorizationCode);
    assert_eq!(account.redirect_uri, "http://localhost");
    assert!(account.use_pkce && account.own_section && account.client_secret.is_none());
    assert_eq!(account.headings, ["alice@example.com"]);
    assert!(settings.options.delete_account_token_on_password_error);
    assert!(!settings.options.allow_catch_all_accounts);
    assert_eq!(settings.options.token_format, TokenFormat::AesGcm);
}

#[test]
fn syntax_errors_are_all_told_and_fatal() {
    let loaded = read("stray\n[a]\nk\n[a]\n");
    assert!(loaded.settings.is_none());
    let lines: Vec<_> = loaded
        .problems
        .iter()
        .map(|p| (p.severity, p.line, p.column))
        .collect();
    let error = Severity::Error;
    assert_eq!(
        lines,
        [
            (error, Some(1), Some(1)),
            (error, Some(3), Some(1)),
            (error, Some(4), Some(1))
        ]
    );
    let line = loaded.problems[0].one_line("emailproxy.config".as_ref());
    assert!(
        line.starts_with("emailproxy.config:1:1: error: text before the first"),
        "{line}"
    );
}

#[test]
fn unreadable_global_values_are_fatal() {
    for line in [
        "delete_account_token_on_password_error = maybe",
        "allow_catch_all_accounts = 2",
        "token_format = rot13",
        "max_sessions = many",
        "max_sessions_per_address = 0",
        "max_sessions = +5",
    ] {
        let loaded = read(&format!("{BASE}[emailproxy]\n{line}\n"));
        assert!(loaded.settings.is_none(), "{line}");
        let option = line.split(" =").next().unwrap();
        let errors: Vec<_> = loaded
            .problems
            .iter()
            .filter(|p| p.severity == Severity::Error)
            .collect();
        assert_eq!((errors.len(), errors[0].line), (1, Some(11)), "{line}");
        let text = errors[0].text.replace(' ', "_");
        assert!(text.contains(option), "{text}");
    }
}

#[test]
fn booleans_are_those_of_configparser() {
    let values = [
        ("1", true),
        ("YES", true),
        ("True", true),
        ("on", true),
        ("0", false),
        ("No", false),
        ("FALSE", false),
        ("off", false),
    ];
    for (value, expected) in values {
        let settings = settings(&format!(
            "{BASE}[emailproxy]\nallow_catch_all_accounts = {value}\n"
        ));
        assert_eq!(
            settings.options.allow_catch_all_accounts, expected,
            "{value}"
        );
    }
}

#[test]
fn all_global_options_are_read() {
    let loaded = read(&format!(
        "{BASE}[emailproxy]\ndelete_account_token_on_password_error = no\nencrypt_client_secret_on_first_use = 1\n\
         use_login_password_as_client_credentials_secret = yes\nallow_catch_all_accounts = on\ntoken_format = Fernet\n\
         max_sessions = 500\nmax_sessions_per_address = 20\nconsole_address = 127.0.0.1:9000\nnotify_command = notify-send\n"
    ));
    let options = loaded.settings.unwrap().options;
    assert!(!options.delete_account_token_on_password_error);
    assert!(options.encrypt_client_secret_on_first_use && options.allow_catch_all_accounts);
    assert!(options.use_login_password_as_client_credentials_secret);
    assert_eq!(options.token_format, TokenFormat::Fernet);
    assert_eq!(
        (options.max_sessions, options.max_sessions_per_address),
        (Some(500), Some(20))
    );
    assert_eq!(
        one(&loaded.problems, &["console_address"]).severity,
        Severity::Warning
    );
    assert_eq!(
        one(&loaded.problems, &["notify_command"]).severity,
        Severity::Warning
    );
    assert_eq!(loaded.problems.len(), 2);
}

#[test]
fn servers_are_read() {
    let (smtp, problems) = server(
        "SMTP-1587",
        "server_port = 587\nstarttls = True\nlocal_address = ::1\n",
    );
    assert!(smtp.unwrap().server_starttls);
    assert_eq!(told(&problems), Vec::<String>::new());

    let tls = "server_port = 993\nlocal_certificate_path = c.pem\nlocal_key_path = k.pem\n";
    let (imap, problems) = server("IMAP-1993", &format!("{tls}local_starttls = optional\n"));
    let imap = imap.unwrap();
    assert_eq!(imap.local_starttls, LocalStartTls::Optional);
    assert_eq!(imap.local_address, "::");
    assert!(imap.plaintext() && !imap.loopback_only());
    one(
        &problems,
        &["warning", "other machines can reach this port"],
    );

    for (value, expected) in [
        ("True", LocalStartTls::Required),
        ("False", LocalStartTls::Off),
    ] {
        let (imap, problems) = server("IMAP-1993", &format!("{tls}local_starttls = {value}\n"));
        assert_eq!(imap.unwrap().local_starttls, expected);
        assert_eq!(
            told(&problems),
            Vec::<String>::new(),
            "TLS may face the network"
        );
    }
    let (pop, _) = server(
        "POP-1995",
        "server_port = 995\nserver_ca_path = /ca.pem\nlocal_address = localhost\n",
    );
    assert_eq!(
        pop.unwrap().server_ca_path.unwrap().to_str(),
        Some("/ca.pem")
    );
}

#[test]
fn servers_that_cannot_be_served_are_named_and_left_out() {
    let table: &[(&str, &str, &str)] = &[
        ("IMAP-1993", "", "`server_port` is missing"),
        ("IMAP-1993", "server_port = 70000\n", "from 1 to 65535"),
        ("IMAP-1993", "server_port = 0\n", "from 1 to 65535"),
        ("IMAP-1993", "server_port = imap\n", "from 1 to 65535"),
        (
            "IMAP-1993",
            "server_port = 993\nserver_starttls = perhaps\n",
            "`server_starttls` must be True or False",
        ),
        (
            "SMTP-1587",
            "server_port = 587\nstarttls = perhaps\n",
            "`starttls` must be True or False",
        ),
        (
            "IMAP-1993",
            "server_port = 993\nlocal_certificate_path = c\n",
            "`local_key_path` is missing",
        ),
        (
            "IMAP-1993",
            "server_port = 993\nlocal_key_path = c\n",
            "`local_certificate_path` is missing",
        ),
        (
            "IMAP-1993",
            "server_port = 993\nlocal_starttls = True\n",
            "`local_starttls` needs",
        ),
        (
            "IMAP-1993",
            "server_port = 993\nlocal_starttls = optional\n",
            "`local_starttls` needs",
        ),
        (
            "IMAP-1993",
            "server_port = 993\nlocal_starttls = sometimes\n",
            "True, False or optional",
        ),
        (
            "IMAP-1993",
            "server_port = 993\nlocal_address = a b\n",
            "`local_address` must be",
        ),
        (
            "IMAP-1993",
            "server_port = 993\nplugins = x.lua\n",
            "`plugins`",
        ),
        ("IMAP-0", "server_port = 993\n", "from 1 to 65535"),
        ("IMAP-65536", "server_port = 993\n", "from 1 to 65535"),
        ("IMAP-+80", "server_port = 993\n", "from 1 to 65535"),
        ("IMAP-", "server_port = 993\n", "from 1 to 65535"),
        (
            "imap-1993",
            "server_port = 993\n",
            "write it as [IMAP-1993]",
        ),
        ("POP 1995", "server_port = 995\n", "write it as [POP-1995]"),
    ];
    for (heading, lines, text) in table {
        let (left, problems) = server(heading, lines);
        assert!(left.is_none(), "[{heading}] {lines}");
        one(&problems, &[text, &format!("[{heading}]")]);
        one(&problems, &["there is no server"]);
    }
}

#[test]
fn one_bad_server_leaves_the_others() {
    let loaded = read(&format!(
        "[POP-1995]\nserver_address = x\n{BASE}[SMTP-1993]\nserver_address = x\nserver_port = 465\n"
    ));
    let settings = loaded.settings.unwrap();
    let served: Vec<_> = settings.servers.iter().map(|s| &*s.heading).collect();
    assert_eq!(served, ["IMAP-1993"]);
    let double = one(&loaded.problems, &["port 1993", "[IMAP-1993] in line 3"]);
    assert_eq!((double.severity, double.line), (Severity::Error, Some(12)));
}

#[test]
fn values_that_others_read_are_handed_over_with_their_place() {
    let settings = settings(
        "[DEFAULT]\nallow_from = everybody\n[IMAP-1]\nserver_address = a\nserver_port = 1\nproxy_protocol = nobody\n\
         [IMAP-2]\nserver_address = a\nserver_port = 1\nallow_from =\n\
         [emailproxy]\noutgoing_proxy = socks5://user:secret@127.0.0.1:1080\n",
    );
    let values: Vec<_> = settings
        .servers
        .iter()
        .map(|server| {
            (
                server.allow_from.as_deref(),
                server.proxy_protocol.as_deref(),
            )
        })
        .collect();
    // An empty restriction is not the absence of one.
    assert_eq!(
        values,
        [(Some("everybody"), Some("nobody")), (Some(""), None)]
    );
    let options = &settings.options;
    assert_eq!(
        options.outgoing_proxy.as_ref().map(|url| url.expose()),
        Some("socks5://user:secret@127.0.0.1:1080")
    );
    for (section, option, line) in [
        ("IMAP-1", "allow_from", 2),
        ("IMAP-1", "proxy_protocol", 6),
        ("IMAP-2", "allow_from", 10),
        ("emailproxy", "outgoing_proxy", 12),
        ("emailproxy", "console_address", 11),
    ] {
        let problem = settings.problem(Severity::Error, section, option, "x");
        assert_eq!(
            (problem.line, problem.section.as_deref()),
            (Some(line), Some(section)),
            "{option}"
        );
        assert_eq!(problem.text, "x");
    }
}

#[test]
fn options_are_inherited_from_the_defaults() {
    let settings = settings(
        "[DEFAULT]\nserver_port = 993\nlocal_address = 127.0.0.1\n[IMAP-1]\nserver_address = a\n[IMAP-2]\nserver_address = b\nserver_port = 143\nserver_starttls = on\n",
    );
    let ports: Vec<_> = settings
        .servers
        .iter()
        .map(|s| (s.server_port, s.server_starttls))
        .collect();
    assert_eq!(ports, [(993, false), (143, true)]);
}

#[test]
fn ports_that_usually_want_the_other_tls_are_mentioned() {
    let (smtp, problems) = server(
        "SMTP-1587",
        "server_port = 587\nlocal_address = 127.0.0.1\n",
    );
    assert!(smtp.is_some());
    one(
        &problems,
        &["warning", "port 587 usually wants `server_starttls = True`"],
    );
}

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
fn placeholders_unknown_options_and_sections_are_warned_of() {
    let loaded = read(&format!(
        "[Server setup]\nanything = here\n[Account setup]\n[Advanced proxy configuration]\nx = y\n\
         [Email OAuth 2.0 Proxy configuration file]\nformat = f\nwarning = w\n[Notes of mine]\ndocumentation = d\n\
         [emailprxy]\nallow_catch_all_accounts = True\n[Elsewhere]\nk = v\n{BASE}documentation = *** your mail here ***\n\
         clientsecret = x\ncolour = red\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC = x\nclient_secret = *** your secret ***\nstarttls = True\n"
    ));
    let problems = &loaded.problems;
    one(problems, &["[emailprxy]", "did you mean [emailproxy]?"]);
    one(problems, &["[Elsewhere]", "unknown section"]);
    one(
        problems,
        &[
            "[alice@example.com]",
            "unknown option `clientsecret`, ignored: did you mean `client_secret`?",
        ],
    );
    one(problems, &["unknown option `colour`"]);
    let hidden = one(problems, &["if this line goes on"]);
    assert!(!hidden.text.to_lowercase().contains("miie"));
    one(
        problems,
        &["`client_secret` still holds the sample's placeholder"],
    );
    one(problems, &["unknown option", "starttls"]);
    assert_eq!(problems.len(), 7, "{:#?}", told(problems));
    assert!(problems.iter().all(|p| p.severity == Severity::Warning));
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

#[test]
fn files_are_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("emailproxy.config");
    let missing = Settings::load(&path);
    assert!(missing.settings.is_none());
    one(&missing.problems, &["cannot be read", "--config-file"]);
    std::fs::write(&path, BASE).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        one(
            &Settings::load(&path).problems,
            &["others on this machine can read", "mode 644"],
        );
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    }
    let loaded = Settings::load(&path);
    assert_eq!(told(&loaded.problems), Vec::<String>::new());
    assert!(loaded.settings.is_some());
}

#[test]
fn the_sample_serves_all_its_servers() {
    let loaded = Settings::read(include_bytes!("../../emailproxy.config"));
    let wrong: Vec<_> = loaded
        .problems
        .iter()
        .filter(|p| !p.text.contains("placeholder") && !p.text.contains("before its first login"))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let settings = loaded.settings.unwrap();
    let ports: Vec<_> = settings.servers.iter().map(|server| server.port).collect();
    for port in [1993, 1995, 1587, 2993, 2995, 2465] {
        assert!(ports.contains(&port), "{port} in {ports:?}");
    }
    assert!(
        settings
            .servers
            .iter()
            .all(oauth::settings::Server::loopback_only)
    );
    assert!(settings.accounts().count() > 5);
}
