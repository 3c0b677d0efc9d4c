//! Who may connect, through what mail servers are reached, and how many sessions there may be.

mod common;

use common::{Dialogue, Running, Signal, free_port, over_both_runtimes};
use proxy_runtime::testing::{Authority, Lines, Peer};
use sandbox::{Sandbox, client};
use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::mpsc,
    thread,
};

over_both_runtimes! {
    only_listed_networks_are_served
    a_list_that_cannot_be_read_leaves_its_server_out
    an_empty_list_does_not_mean_everybody
    a_header_of_a_listed_balancer_names_the_client
    mail_servers_are_reached_through_the_outgoing_proxy
    an_outgoing_proxy_that_cannot_be_read_ends_the_start
    limits_change_with_a_reload
    certificates_change_with_a_reload
    advice_follows_a_refusal_of_the_mail_server
}

/// One server in front of the sandbox's, with further lines.
fn server(sandbox: &Sandbox, heading: &str, port: u16, lines: &str) -> String {
    let upstream = match heading {
        "IMAP" => sandbox.imaps(),
        _ => sandbox.pops(),
    };
    format!(
        "[{heading}-{port}]\nlocal_address = 127.0.0.1\nserver_address = localhost\nserver_port = {}\nserver_ca_path = {}\n{lines}\n\n",
        upstream.port(),
        sandbox.ca_file().display(),
    )
}

/// An account that needs nobody at a browser.
fn account(sandbox: &Sandbox, scope: &str) -> String {
    format!(
        "[ada@example.org]\ntoken_url = {}\noauth2_flow = password\noauth2_scope = {scope}\nclient_id = {}\n\n",
        sandbox.token_url(),
        client::PUBLIC.id,
    )
}

fn sandbox() -> Sandbox {
    Sandbox::start(sandbox::Options::default()).unwrap()
}

fn serve(runtime: &str, config: &str) -> Running {
    let mut running = Running::start(
        &["--debug", "--runtime", runtime],
        &[("emailproxy.config", config)],
    );
    running.wait_for("configured; tokens are kept in", 1);
    running
}

/// Writes another configuration and waits until it is read.
fn reload(running: &mut Running, config: &str) {
    let before = running
        .log()
        .matches("the configuration was read again")
        .count();
    fs::write(running.folder.path().join("emailproxy.config"), config).unwrap();
    running.signal(Signal::HUP);
    running.wait_for("the configuration was read again", before + 1);
}

fn login(imap: &mut Dialogue) -> String {
    imap.until("* OK");
    imap.say("a LOGIN ada@example.org ada-at-the-provider");
    imap.until("a ")
}

/// Asserts that nobody is greeted here.
fn turned_away(port: u16) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut said = String::new();
    match stream.read_to_string(&mut said) {
        Ok(_) => assert_eq!(said, ""),
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
    }
}

/// The number of the line that begins so.
fn line_of(config: &str, beginning: &str) -> usize {
    let mut lines = config.lines();
    lines.position(|line| line.starts_with(beginning)).unwrap() + 1
}

fn only_listed_networks_are_served(runtime: &str) {
    let sandbox = sandbox();
    let (imap, pop) = (free_port(), free_port());
    let config = |listed: &str| {
        server(&sandbox, "IMAP", imap, &format!("allow_from = {listed}"))
            + &server(
                &sandbox,
                "POP",
                pop,
                "allow_from = 192.0.2.0/24, 127.0.0.0/8",
            )
            + &account(&sandbox, "mail")
    };
    let mut running = serve(runtime, &config("192.0.2.0/24, ::1"));
    turned_away(imap);
    running.wait_for("client turned away", 1);
    Dialogue::connect(pop).until("+OK");
    reload(&mut running, &config("127.0.0.1"));
    assert!(login(&mut Dialogue::connect(imap)).contains("a OK"));
    assert!(running.end().success());
}

fn a_list_that_cannot_be_read_leaves_its_server_out(runtime: &str) {
    let sandbox = sandbox();
    let (imap, pop, other) = (free_port(), free_port(), free_port());
    let config = server(
        &sandbox,
        "IMAP",
        imap,
        "# mine\nallow_from = 10.0.0.0/8, 127.0.0.1/8",
    ) + &server(&sandbox, "POP", pop, "proxy_protocol = balancer.example")
        + &server(&sandbox, "IMAP", other, "")
        + &account(&sandbox, "mail");
    let mut running = serve(runtime, &config);
    let log = running.log();
    for (option, port, why) in [
        (
            "allow_from",
            format!("IMAP-{imap}"),
            "127.0.0.1/8 has bits beyond its prefix: write 127.0.0.0/8",
        ),
        (
            "proxy_protocol",
            format!("POP-{pop}"),
            "balancer.example is no network",
        ),
    ] {
        let place = format!(
            "emailproxy.config:{}:1: [{port}] `{option}`: ",
            line_of(&config, option)
        );
        let told = log.lines().find(|line| line.contains(&place));
        let told = told.unwrap_or_else(|| panic!("`{place}` is missing in {log}"));
        assert!(
            told.contains(" ERROR ")
                && told.contains(why)
                && told.ends_with("this server is left out"),
            "{told}"
        );
    }
    assert!(TcpStream::connect(("127.0.0.1", imap)).is_err());
    assert!(TcpStream::connect(("127.0.0.1", pop)).is_err());
    assert!(login(&mut Dialogue::connect(other)).contains("a OK"));
    assert!(running.end().success());
}

fn an_empty_list_does_not_mean_everybody(runtime: &str) {
    let sandbox = sandbox();
    let (imap, pop) = (free_port(), free_port());
    let config = server(&sandbox, "IMAP", imap, "allow_from =")
        + &server(&sandbox, "POP", pop, "")
        + &account(&sandbox, "mail");
    let mut running = serve(runtime, &config);
    let told = format!(
        "emailproxy.config:{}:1: [IMAP-{imap}] `allow_from`: names no network",
        line_of(&config, "allow_from")
    );
    assert!(running.log().contains(&told), "{}", running.log());
    assert!(TcpStream::connect(("127.0.0.1", imap)).is_err());
    Dialogue::connect(pop).until("+OK");
    assert!(running.end().success());
}

fn a_header_of_a_listed_balancer_names_the_client(runtime: &str) {
    let sandbox = sandbox();
    let port = free_port();
    let lines = "proxy_protocol = 127.0.0.1\nallow_from = 192.0.2.0/24";
    let config = server(&sandbox, "IMAP", port, lines) + &account(&sandbox, "mail");
    let mut running = serve(runtime, &config);
    let mut imap = Dialogue::connect(port);
    imap.say("PROXY TCP4 192.0.2.7 127.0.0.1 4711 143");
    assert!(login(&mut imap).contains("a OK"));
    let log = running.wait_for("logged in", 1);
    let told = log.lines().find(|line| line.contains("logged in")).unwrap();
    assert!(told.contains("192.0.2.7:4711"), "{told}");

    let mut imap = Dialogue::connect(port);
    imap.say("PROXY TCP4 198.51.100.7 127.0.0.1 4711 143");
    imap.ended();
    running.wait_for("its network is not among those that are served", 1);
    assert!(running.end().success());
}

/// An HTTP proxy that knows CONNECT; what it was asked for comes out of the channel.
fn connect_proxy() -> (u16, mpsc::Receiver<String>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (heads, asked) = mpsc::channel();
    thread::spawn(move || {
        for client in listener.incoming() {
            let heads = heads.clone();
            thread::spawn(move || tunnel(client.unwrap(), &heads));
        }
    });
    (port, asked)
}

fn tunnel(mut client: TcpStream, heads: &mpsc::Sender<String>) {
    let mut reader = BufReader::new(client.try_clone().unwrap());
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).unwrap() > 0, "{head}");
    }
    let target = head.split(' ').nth(1).unwrap().to_owned();
    // Whoever asks may have gone with the end of the test.
    let _ = heads.send(head);
    let mut server = TcpStream::connect(target).unwrap();
    client.write_all(b"HTTP/1.1 200 Open\r\n\r\n").unwrap();
    let (mut up, mut back) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    let upwards = thread::spawn(move || {
        let _ = io::copy(&mut reader, &mut up);
        let _ = up.shutdown(Shutdown::Write);
    });
    let _ = io::copy(&mut server, &mut back);
    let _ = back.shutdown(Shutdown::Write);
    upwards.join().unwrap();
}

fn mail_servers_are_reached_through_the_outgoing_proxy(runtime: &str) {
    let sandbox = sandbox();
    let (proxy, asked) = connect_proxy();
    let (imap, pop) = (free_port(), free_port());
    let servers = server(&sandbox, "IMAP", imap, "")
        + &server(&sandbox, "POP", pop, "")
        + &account(&sandbox, "mail");
    let config = format!(
        "{servers}[emailproxy]\noutgoing_proxy = http://porter:open-sesame@127.0.0.1:{proxy}\n"
    );
    let mut running = serve(runtime, &config);
    assert!(login(&mut Dialogue::connect(imap)).contains("a OK"));
    Dialogue::connect(pop).until("+OK");
    for upstream in [sandbox.imaps(), sandbox.pops()] {
        let head = asked.recv().unwrap();
        let port = upstream.port();
        assert!(
            head.starts_with(&format!("CONNECT localhost:{port} HTTP/1.1\r\n")),
            "{head}"
        );
        // porter:open-sesame
        assert!(
            head.contains("\r\nProxy-Authorization: Basic cG9ydGVyOm9wZW4tc2VzYW1l\r\n"),
            "{head}"
        );
    }
    let log = running.log();
    let through = format!("through the HTTP proxy 127.0.0.1 port {proxy}");
    assert_eq!(log.matches(&through).count(), 2, "{log}");
    for secret in ["open-sesame", "cG9ydGVy"] {
        assert!(!log.contains(secret), "{log}");
    }

    // Without the option later clients' servers are reached directly.
    reload(&mut running, &servers);
    assert!(login(&mut Dialogue::connect(imap)).contains("a OK"));
    assert!(asked.try_recv().is_err());

    // What cannot be read changes nothing.
    let config = format!("{servers}[emailproxy]\noutgoing_proxy = porter:open-sesame\n");
    fs::write(running.folder.path().join("emailproxy.config"), config).unwrap();
    running.signal(Signal::HUP);
    running.wait_for("what was running goes on", 1);
    assert!(login(&mut Dialogue::connect(imap)).contains("a OK"));
    assert!(running.end().success());
}

fn an_outgoing_proxy_that_cannot_be_read_ends_the_start(runtime: &str) {
    let sandbox = sandbox();
    let servers = server(&sandbox, "IMAP", free_port(), "") + &account(&sandbox, "mail");
    for url in [
        "ftp://porter:open-sesame@proxy.example",
        "http://porter:open-sesame@proxy.example/path",
        "http://porter:open-sesame%0a@proxy.example",
    ] {
        let config = format!("{servers}[emailproxy]\noutgoing_proxy = {url}\n");
        let mut running = Running::start(
            &["--debug", "--runtime", runtime],
            &[("emailproxy.config", &config)],
        );
        assert_eq!(running.child.wait().unwrap().code(), Some(2), "{url}");
        let log = running.log();
        let told = format!(
            "emailproxy.config:{}:1: [emailproxy] `outgoing_proxy` ",
            line_of(&config, "outgoing_proxy")
        );
        assert!(
            log.contains(&told) && !log.contains("open-sesame"),
            "{url}: {log}"
        );
    }
}

fn limits_change_with_a_reload(runtime: &str) {
    let sandbox = sandbox();
    let port = free_port();
    let silent = server(&sandbox, "IMAP", port, "") + &account(&sandbox, "mail");
    let mut running = serve(
        runtime,
        &format!("{silent}[emailproxy]\nmax_sessions = 1\n"),
    );
    let mut first = Dialogue::connect(port);
    first.until("* OK");
    turned_away(port);
    running.wait_for("client turned away", 1);
    // Silent again: the default, under which there is room.
    reload(&mut running, &silent);
    assert!(login(&mut Dialogue::connect(port)).contains("a OK"));
    reload(
        &mut running,
        &format!("{silent}[emailproxy]\nmax_sessions_per_address = 1\n"),
    );
    turned_away(port);
    first.say("a NOOP");
    first.until("a OK");
    drop(first);
    assert!(running.end().success());
}

fn advice_follows_a_refusal_of_the_mail_server(runtime: &str) {
    let sandbox = sandbox();
    let port = free_port();
    let config = server(&sandbox, "IMAP", port, "") + &account(&sandbox, "mail");
    let mut running = serve(runtime, &config);
    let refusal = "NO [ALERT] Too many simultaneous connections. (Failure)";
    sandbox
        .control()
        .answer_credentials(sandbox::Protocol::Imap, 1, refusal);
    assert!(login(&mut Dialogue::connect(port)).contains(refusal));
    let log = running.wait_for("let the mail programs open fewer connections", 1);
    let advice = log.lines().find(|line| line.contains("fewer connections"));
    let advice = advice.unwrap();
    assert!(
        advice.contains(" WARN ") && advice.contains("ada@example.org"),
        "{advice}"
    );
    assert!(running.end().success());
}

/// Sessions that are open go on as they began, later ones are shown the new certificate.
fn certificates_change_with_a_reload(runtime: &str) {
    let sandbox = sandbox();
    let port = free_port();
    let lines = "local_certificate_path = certificate.pem\nlocal_key_path = key.pem";
    let config = server(&sandbox, "IMAP", port, lines) + &account(&sandbox, "mail");
    let files = |authority: &Authority| {
        let leaf = authority.leaf("localhost");
        [leaf.certificate, leaf.key].map(|path| fs::read_to_string(path).unwrap())
    };
    let connect = |authority: &Authority| {
        let trust = authority.trust().client_config(None).unwrap();
        let peer = Peer::connect(([127, 0, 0, 1], port).into());
        Ok::<_, io::Error>(Lines(peer.secure(trust)?))
    };
    let (old, new) = (Authority::new(), Authority::new());
    let [certificate, key] = files(&old);
    let mut running = Running::start(
        &["--debug", "--runtime", runtime],
        &[
            ("emailproxy.config", &config),
            ("certificate.pem", &certificate),
            ("key.pem", &key),
        ],
    );
    running.wait_for("configured; tokens are kept in", 1);
    let mut first = connect(&old).unwrap();
    first.hear_from("* OK");
    first.say("a LOGIN ada@example.org ada-at-the-provider\r\n");
    first.hear_from("a OK");

    // A key that does not belong to its certificate leaves everything as it was.
    let [certificate, key] = files(&new);
    fs::write(running.folder.path().join("key.pem"), &key).unwrap();
    running.signal(Signal::HUP);
    running.wait_for("is not the key of the certificate", 1);
    connect(&old).unwrap().hear_from("* OK");

    fs::write(running.folder.path().join("certificate.pem"), &certificate).unwrap();
    reload(&mut running, &config);
    let mut second = connect(&new).unwrap();
    second.hear_from("* OK");
    second.say("a LOGIN ada@example.org ada-at-the-provider\r\n");
    second.hear_from("a OK");
    assert!(connect(&old).is_err());
    first.say("b NOOP\r\n");
    first.hear_from("b OK");
    drop((first, second));
    assert!(running.end().success());
}
