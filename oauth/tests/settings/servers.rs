//! Server sections.

use super::{BASE, one, read, server, settings, told};
use oauth::settings::{LocalStartTls, Severity};

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
fn whoever_is_not_let_in_is_not_warned_of() {
    for (networks, alone) in [
        ("127.0.0.1, ::1", true),
        ("127.0.0.0/8", true),
        ("127.0.0.0/7", false),
        ("::1/127", false),
        ("127.0.0.1\n  192.0.2.0/24", false),
        ("localhost", false),
    ] {
        let lines = format!("server_port = 993\nallow_from = {networks}\n");
        let (imap, problems) = server("IMAP-1993", &lines);
        assert_eq!(imap.unwrap().loopback_only(), alone, "{networks}");
        match alone {
            true => assert_eq!(told(&problems), Vec::<String>::new()),
            false => {
                let words = ["other machines can reach this port", "allow_from = "];
                one(&problems, &words);
            }
        }
    }
    let balanced = "server_port = 993\nallow_from = 127.0.0.1\nproxy_protocol = 192.0.2.1\n";
    assert!(!server("IMAP-1993", balanced).0.unwrap().loopback_only());
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
