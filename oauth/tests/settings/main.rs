//! What a configuration means, and what is said about it.

mod accounts;
mod servers;

use oauth::settings::{FlowKind, Loaded, Problem, Settings, Severity, TokenFormat};
use proxy_proto::Protocol;

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
    assert_eq!(options.console_address.as_deref(), Some("127.0.0.1:9000"));
    assert_eq!(options.notify_command.as_deref(), Some("notify-send"));
    assert_eq!(loaded.problems.len(), 0);
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
    let loaded = Settings::read(include_bytes!("../../../emailproxy.config"));
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
