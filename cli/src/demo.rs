//! `emailproxy demo`: a provider and a mail server that hold nothing real, and the proxy in front of them.
//!
//! Everything but the sandbox is the real thing: a configuration file on disk, listeners, the authorisation code flow with the
//! redirect receiver, encrypted tokens, TLS towards the mail server (whose authority the file names with `server_ca_path`).

use crate::{
    args::DemoArgs,
    consent::{Announce, Front, Receiver, Terminal, Waiting, Way, circumstances},
    console::Console,
    log::Log,
    messages::{demo as texts, serve},
    proxy::{Proxy, Source, Unusable},
    runtime,
    serve::{FAILED, UNUSABLE, until_ended},
    signals::Signals,
    systemd::Notify,
};
use sandbox::{Sandbox, client};
use std::{
    fmt::Write as _,
    fs,
    io::{self, Write},
    net::{Ipv4Addr, Ipv6Addr, TcpListener},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};
use tracing::{error, info, warn};

/// The account that the printed lines use.
const ACCOUNT: &str = "ada@example.org";
/// The one that mail is sent to.
const OTHER: &str = "brook@example.org";
/// Any password would do: the first login sets it.
const PASSWORD: &str = "demo";

/// Runs the demo until SIGTERM or SIGINT.
pub fn run(args: &DemoArgs, runtime: runtime::Kind, log: &Log) -> ExitCode {
    runtime::raise_open_files_limit();
    smol::block_on(async {
        let mut signals = match Signals::catch() {
            Ok(signals) => signals,
            Err(error) => return failed(&serve::cannot_catch_signals(error)),
        };
        let demo = match Demo::start(args, runtime).await {
            Ok(demo) => demo,
            Err(DemoError::Io(error)) => return failed(&texts::demo_cannot_start(error)),
            Err(DemoError::Unusable(Unusable(problems))) => {
                problems.iter().for_each(|problem| error!("{problem}"));
                return ExitCode::from(UNUSABLE);
            }
        };
        let waiting = demo.waiting.clone();
        let console = Console::new(&demo.proxy, args.console.clone(), waiting, log);
        let link = match console.configure(&demo.proxy).await {
            Ok(link) => link,
            Err(problem) => return failed(&problem),
        };
        say(&demo.introduction());
        if let Some(link) = link {
            say(&format!("The console: {}\n\n", link.expose()));
        }
        let nobody = Notify::nobody();
        until_ended(&demo.proxy, &console, &mut signals, log, &nobody).await
    })
}

/// A running sandbox with the proxy in front of it.
pub struct Demo {
    proxy: Arc<Proxy>,
    waiting: Waiting,
    ports: Ports,
    config_file: PathBuf,
    approve: bool,
    // Dropped last: its folder holds the configuration file.
    sandbox: Sandbox,
}

/// Why there is no demo.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DemoError {
    /// No port, file or thread to be had.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The proxy does not start.
    #[error("{0}")]
    Unusable(#[from] Unusable),
}

/// Local ports of the demo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// The proxy's IMAP port.
    pub imap: u16,
    /// The proxy's POP port.
    pub pop: u16,
    /// The proxy's SMTP port.
    pub smtp: u16,
    /// Where the browser comes back to.
    pub redirect: u16,
}

impl Demo {
    /// Starts the sandbox, writes a configuration file for it and starts the proxy.
    ///
    /// # Errors
    ///
    /// When there is no port, file or thread to be had, or the proxy does not start.
    pub async fn start(args: &DemoArgs, runtime: runtime::Kind) -> Result<Demo, DemoError> {
        let sandbox = Sandbox::start(sandbox::Options::default())?;
        let ports = Ports::choose(args.port_base)?;
        let config_file = sandbox.folder().join("emailproxy.config");
        private(&config_file)?.write_all(configuration(&sandbox, ports)?.as_bytes())?;
        let announce = if args.approve {
            approve(&sandbox)
        } else {
            show()
        };
        let consent = Front::new(
            Way::Receiver,
            Receiver::default(),
            Terminal::default(),
            Some(announce),
        );
        let source = Source {
            config_file: config_file.clone(),
            cache_store: None,
        };
        let waiting = consent.waiting();
        let proxy = Proxy::start(source, runtime, Arc::new(consent)).await?;
        Ok(Demo {
            proxy: Arc::new(proxy),
            waiting,
            ports,
            config_file,
            approve: args.approve,
            sandbox,
        })
    }

    /// The proxy's ports.
    pub fn ports(&self) -> Ports {
        self.ports
    }

    /// What is printed at the start: what this is, and lines to be pasted into another terminal.
    pub fn introduction(&self) -> String {
        let Ports {
            imap, pop, smtp, ..
        } = self.ports;
        let user = format!("--user '{ACCOUNT}:{PASSWORD}'");
        let approval = if self.approve {
            "The first of them asks for permission, which is given at once (--approve).".to_owned()
        } else {
            format!(
                "The first of them waits until you approve it in a browser: the page's address is shown here then\n\
                 (it begins with {}).",
                self.sandbox.authorize_url()
            )
        };
        format!(
            "\nemailproxy demo: a provider and a mail server that hold nothing real, and the proxy in front of them,\n\
             all in this process and on this machine only. In another terminal:\n\n\
             read a message by IMAP\n\n    \
             curl -sS {user} 'imap://127.0.0.1:{imap}/INBOX;MAILINDEX=1'\n\n\
             read one by POP\n\n    \
             curl -sS {user} pop3://127.0.0.1:{pop}/1\n\n\
             send one by SMTP\n\n    \
             printf 'From: {ACCOUNT}\\r\\nTo: {OTHER}\\r\\nSubject: Hello\\r\\n\\r\\nSent through the proxy.\\r\\n' | \
             curl -sS {user} --mail-from {ACCOUNT} --mail-rcpt {OTHER} -T - smtp://127.0.0.1:{smtp} && echo sent\n\n\
             {approval}\n\
             The password is yours to choose: the first login sets it, and what the proxy saves is encrypted with it,\n\
             in {}.\n\n\
             Ctrl-C ends the demo and removes its files.\n\
             Next: serve a real account: `emailproxy add you@example.com` sets it up, then run `emailproxy`\n\
             (README.md has five-minute set-ups).\n\n",
            self.config_file.display(),
        )
    }

    /// The sandbox behind the proxy.
    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// The proxy in front of it.
    pub fn proxy(&self) -> &Proxy {
        &self.proxy
    }
}

/// The demo's configuration file.
fn configuration(sandbox: &Sandbox, ports: Ports) -> io::Result<String> {
    let ca = utf8(sandbox.ca_file())?;
    let mut text = String::from("# Written by `emailproxy demo`; removed when it ends.\n\n");
    for (heading, port, starttls) in [
        (
            format!("IMAP-{}", ports.imap),
            sandbox.imaps().port(),
            false,
        ),
        (format!("POP-{}", ports.pop), sandbox.pops().port(), false),
        (
            format!("SMTP-{}", ports.smtp),
            sandbox.submission().port(),
            true,
        ),
    ] {
        let starttls = if starttls {
            "server_starttls = True\n"
        } else {
            ""
        };
        let _ = writeln!(
            text,
            "[{heading}]\nserver_address = localhost\nserver_port = {port}\n{starttls}server_ca_path = {ca}\nlocal_address = 127.0.0.1\n"
        );
    }
    for account in [ACCOUNT, OTHER] {
        let _ = writeln!(
            text,
            "[{account}]\npermission_url = {}\ntoken_url = {}\noauth2_scope = mail offline_access\nredirect_uri = http://localhost:{}\nclient_id = {}\n",
            sandbox.authorize_url(),
            sandbox.token_url(),
            ports.redirect,
            client::PUBLIC.id,
        );
    }
    Ok(text)
}

/// A new file for its owner alone.
fn private(path: &Path) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn utf8(path: &Path) -> io::Result<&str> {
    path.to_str().ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            texts::bad_temporary_folder(path.display()),
        )
    })
}

impl Ports {
    /// The usual ports above `base`, or free ones instead of those that are taken.
    fn choose(base: u16) -> io::Result<Ports> {
        let mut held = Vec::new();
        let mut choose = |usual: u16| -> io::Result<u16> {
            let preferred = if base == 0 { 0 } else { base + usual };
            let (port, listeners) = free(preferred).or_else(|_| free(0))?;
            held.push(listeners);
            Ok(port)
        };
        Ok(Ports {
            imap: choose(143)?,
            pop: choose(110)?,
            smtp: choose(587)?,
            redirect: choose(80)?,
        })
    }
}

/// A port that is free on the loopback families that this machine has; held while the listeners live.
fn free(port: u16) -> io::Result<(u16, Vec<TcpListener>)> {
    let first = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    let port = first.local_addr()?.port();
    match TcpListener::bind((Ipv6Addr::LOCALHOST, port)) {
        Ok(second) => Ok((port, vec![first, second])),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(error),
        Err(_) => Ok((port, vec![first])),
    }
}

/// Shows the page where permission is given.
fn show() -> Announce {
    Arc::new(|what| {
        let needs = texts::demo_needs_permission(&what.who.account, circumstances(what.who));
        say(&format!("\n{needs}\n\n    {}\n\n", what.url));
    })
}

/// Gives permission at once, on the provider's page, as a person in front of a browser would.
fn approve(sandbox: &Sandbox) -> Announce {
    let person = sandbox.person();
    Arc::new(move |what| {
        let (person, url, account) = (
            person.clone(),
            what.url.to_owned(),
            what.who.account.clone(),
        );
        smol::spawn(async move {
            match person.approve_async(&url).await {
                Ok(visit) if visit.status == Some(200) => info!("{}", texts::approved(account)),
                Ok(visit) => {
                    let status = visit
                        .status
                        .map_or("none".to_owned(), |one| one.to_string());
                    warn!("{}", texts::not_approved_status(account, status));
                }
                Err(error) => warn!("{}", texts::not_approved(account, error)),
            }
        })
        .detach();
    })
}

/// Prints to standard output. A reader that has gone is no reason to end.
fn say(text: &str) {
    let mut output = io::stdout().lock();
    let _ = output.write_all(text.as_bytes());
    let _ = output.flush();
}

fn failed(why: &str) -> ExitCode {
    error!("{why}");
    ExitCode::from(FAILED)
}
