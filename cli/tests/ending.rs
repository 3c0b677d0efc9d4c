//! How the command ends while a session will not.

mod common;

use common::{Dialogue, Running, Signal, free_port, over_both_runtimes};
use sandbox::{Sandbox, client};

over_both_runtimes! {
    a_second_request_ends_at_once_what_would_wait_for_a_client
}

fn a_second_request_ends_at_once_what_would_wait_for_a_client(runtime: &str) {
    let sandbox = Sandbox::start(sandbox::Options {
        large_message: true,
        ..sandbox::Options::default()
    })
    .unwrap();
    let port = free_port();
    let config = format!(
        "[IMAP-{port}]\nlocal_address = 127.0.0.1\nserver_address = localhost\nserver_port = {}\nserver_ca_path = {}\n\n\
         [ada@example.org]\ntoken_url = {}\noauth2_flow = password\noauth2_scope = mail\nclient_id = {}\n",
        sandbox.imaps().port(),
        sandbox.ca_file().display(),
        sandbox.token_url(),
        client::PUBLIC.id,
    );
    let mut running = Running::start(&["--runtime", runtime], &[("emailproxy.config", &config)]);
    running.wait_for("1 account configured", 1);
    let mut imap = Dialogue::connect(port);
    imap.until("* OK");
    imap.say("a LOGIN ada@example.org ada-at-the-provider");
    imap.until("a OK");
    imap.say("b SELECT INBOX");
    imap.until("b OK");
    // More than all buffers on the way can hold, and from here on nobody reads.
    imap.say("c FETCH 1:* BODY.PEEK[]");
    imap.line();
    running.signal(Signal::TERM);
    running.wait_for("ending", 1);
    running.signal(Signal::INT);
    assert_eq!(running.child.wait().unwrap().code(), Some(1));
    assert!(running.log().contains("ended at once"));
}
