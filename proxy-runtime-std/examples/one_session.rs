//! Serves one mail client on a thread of its own, for a program that accepts connections itself.
//!
//! ```text
//! cargo run --example one_session -- imap.example.com 993 you@example.com < secrets
//! ```
//!
//! The local password and the access token are read from standard input, a line each, where no other program sees them. Then a mail client on this machine may
//! connect, in plaintext, to the address that is printed.

use proxy_proto::{
    Authenticate, Bearer, BoxFuture, LoginRequest, Protocol, Refusal, Secret, SessionConfig,
};
use proxy_runtime_std::{ListenerConfig, Options, Trust, serve};
use std::{env, error::Error, io, net::TcpListener, sync::Arc, thread};

struct OneToken {
    user: String,
    password: Secret,
    token: Secret,
}

impl Authenticate for OneToken {
    fn authenticate(&self, request: LoginRequest) -> BoxFuture<Result<Bearer, Refusal>> {
        let login = request.login;
        let known = *login.user == self.user && login.password == self.password;
        let answer = match known {
            true => Ok(Bearer {
                token: self.token.clone(),
                user: login.user,
                mechanism: None,
            }),
            false => Err(Refusal::Denied("wrong login name or password".to_owned())),
        };
        Box::pin(async { answer })
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [host, port, user] = &arguments[..] else {
        return Err("usage: one_session HOST PORT LOGIN-NAME < SECRETS".into());
    };
    let mut secrets = io::stdin().lines();
    let mut secret = || secrets.next().ok_or("a line is missing on standard input");
    let password = Secret::new(secret()??);
    let token = Secret::new(secret()??);
    let accounts = Arc::new(OneToken {
        user: user.clone(),
        password,
        token,
    });
    let config = ListenerConfig::new(
        "IMAP",
        0,
        host.as_str(),
        port.parse()?,
        SessionConfig::new(Protocol::Imap),
        Trust::new().client_config(None)?,
    );

    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("one client may connect to {}", listener.local_addr()?);
    let (client, _) = listener.accept()?;
    let session = thread::spawn(move || serve(client, config, accounts, &Options::default()));
    let ended = session.join().map_err(|_| "the session panicked")??;
    println!(
        "{}: {} bytes up, {} bytes down",
        ended.why, ended.up, ended.down
    );
    Ok(())
}
