//! The proxies that are compared: each started afresh, with a configuration of its own in a temporary folder.

use crate::{
    client::Target,
    load::{Payer, Subject},
    upstream::{USER, Upstream},
    usage::{Usage, usage},
};
use clap::ValueEnum;
use proxy_proto::Protocol;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    env, fs, io,
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// A proxy that can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Peer {
    /// No proxy: clients that do their own TLS, for what that costs them
    None,
    /// `emailproxy --runtime smol`
    Smol,
    /// `emailproxy --runtime std`
    Std,
    /// HAProxy: TLS towards the server, bytes untouched
    Haproxy,
    /// nginx's stream module, likewise
    Nginx,
    /// stunnel in client mode, likewise
    Stunnel,
}

impl Peer {
    /// As the table names it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Peer::None => "no proxy",
            Peer::Smol => "emailproxy, smol",
            Peer::Std => "emailproxy, std",
            Peer::Haproxy => "HAProxy",
            Peer::Nginx => "nginx stream",
            Peer::Stunnel => "stunnel",
        }
    }

    /// The program, where there is one.
    pub(crate) fn program(self, emailproxy: &Path) -> Option<PathBuf> {
        match self {
            Peer::None => std::env::current_exe().ok(),
            Peer::Smol | Peer::Std => Some(emailproxy.to_path_buf()),
            Peer::Haproxy => installed("haproxy"),
            Peer::Nginx => installed("nginx"),
            Peer::Stunnel => installed("stunnel4").or_else(|| installed("stunnel")),
        }
    }
}

fn installed(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")])
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
}

/// A proxy that runs; it ends with this value.
pub(crate) struct Running {
    child: Child,
    imap: u16,
    /// POP and SMTP.
    others: (u16, u16),
    /// From its start until it took a connection.
    pub(crate) started_in: Duration,
    /// What it used then.
    pub(crate) at_start: Usage,
    folder: TempDir,
}

impl Running {
    /// Starts it and waits until it listens.
    ///
    /// # Errors
    /// It cannot be started, or ended at once: then with what it said.
    pub(crate) fn start(peer: Peer, program: &Path, upstream: &Upstream) -> io::Result<Running> {
        let folder = tempfile::tempdir()?;
        let path = |name: &str| folder.path().join(name);
        let ports = [free_port()?, free_port()?, free_port()?];
        let servers = [upstream.imap, upstream.pop, upstream.smtp];
        let ca = upstream.authorities.display();
        let log = fs::File::create(path("log"))?;

        let mut command = Command::new(program);
        match peer {
            Peer::None => return Err(io::Error::other("there is nothing to start")),
            Peer::Smol | Peer::Std => {
                fs::write(path("emailproxy.config"), emailproxy(ports, upstream))?;
                let runtime = match peer {
                    Peer::Std => "std",
                    _ => "smol",
                };
                command
                    .args(["--runtime", runtime, "--config-file"])
                    .arg(path("emailproxy.config"))
                    .env("SSL_CERT_FILE", &upstream.authorities);
            }
            Peer::Haproxy => {
                let threads = thread::available_parallelism()?;
                let mut text = format!(
                    "global\n  nbthread {threads}\n  maxconn 9900\ndefaults\n  mode tcp\n  timeout connect 10s\n\
                     \x20 timeout client 24h\n  timeout server 24h\n"
                );
                for (port, server) in ports.into_iter().zip(servers) {
                    text += &format!(
                        "listen mail-{port}\n  bind 127.0.0.1:{port}\n  server mail 127.0.0.1:{server} ssl verify required \
                         ca-file {ca} sni str(localhost) verifyhost localhost\n"
                    );
                }
                fs::write(path("haproxy.cfg"), text)?;
                command.args(["-db", "-f"]).arg(path("haproxy.cfg"));
            }
            Peer::Nginx => {
                let module = ["/usr/lib/nginx/modules", "/usr/lib64/nginx/modules"]
                    .map(|folder| format!("{folder}/ngx_stream_module.so"))
                    .into_iter()
                    .find(|module| Path::new(module).is_file())
                    .map_or(String::new(), |module| format!("load_module {module};\n"));
                let mut text = format!(
                    "{module}daemon off;\nworker_processes {};\nworker_rlimit_nofile 20000;\npid {};\nerror_log {} warn;\n\
                     events {{ worker_connections 19900; }}\n\
                     stream {{\n  proxy_ssl on;\n  proxy_ssl_trusted_certificate {ca};\n  proxy_ssl_verify on;\n\
                     \x20 proxy_ssl_verify_depth 3;\n  proxy_ssl_name localhost;\n  proxy_ssl_server_name on;\n\
                     \x20 proxy_ssl_protocols TLSv1.2 TLSv1.3;\n  proxy_timeout 24h;\n",
                    thread::available_parallelism()?,
                    path("pid").display(),
                    path("error.log").display(),
                );
                for (port, server) in ports.into_iter().zip(servers) {
                    text += &format!(
                        "  server {{ listen 127.0.0.1:{port}; proxy_pass 127.0.0.1:{server}; }}\n"
                    );
                }
                fs::write(path("nginx.conf"), text + "}\n")?;
                command
                    .arg("-p")
                    .arg(folder.path())
                    .arg("-c")
                    .arg(path("nginx.conf"));
            }
            Peer::Stunnel => {
                let mut text = format!(
                    "foreground = yes\npid =\ndebug = 4\nclient = yes\nCAfile = {ca}\nverifyChain = yes\n\
                     checkHost = localhost\nsni = localhost\nTIMEOUTidle = 86400\n"
                );
                for (port, server) in ports.into_iter().zip(servers) {
                    text += &format!(
                        "[mail-{port}]\naccept = 127.0.0.1:{port}\nconnect = 127.0.0.1:{server}\n"
                    );
                }
                fs::write(path("stunnel.conf"), text)?;
                command.arg(path("stunnel.conf"));
            }
        }
        command
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        Running::until_listening(command, ports, folder)
    }

    fn until_listening(
        mut command: Command,
        [imap, pop, smtp]: [u16; 3],
        folder: TempDir,
    ) -> io::Result<Running> {
        let began = Instant::now();
        let mut running = Running {
            child: command.spawn()?,
            imap,
            others: (pop, smtp),
            started_in: Duration::ZERO,
            at_start: Usage::default(),
            folder,
        };
        while TcpStream::connect((Ipv4Addr::LOCALHOST, imap)).is_err() {
            let ended = running.child.try_wait()?;
            if ended.is_some() || began.elapsed() > Duration::from_secs(20) {
                let said = fs::read_to_string(running.folder.path().join("log"));
                return Err(io::Error::other(format!(
                    "it does not listen; it said: {}",
                    said.unwrap_or_default().trim()
                )));
            }
            thread::sleep(Duration::from_micros(500));
        }
        running.started_in = began.elapsed();
        // The connection that was tried has come to its end by then.
        thread::sleep(Duration::from_millis(300));
        running.at_start = usage(running.child.id())?;
        Ok(running)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn target(&self, protocol: Protocol) -> Target {
        Target {
            port: match protocol {
                Protocol::Imap => self.imap,
                Protocol::Pop => self.others.0,
                Protocol::Smtp => self.others.1,
            },
            protocol,
            tls: None,
        }
    }

    pub(crate) fn subject(&self) -> Subject {
        Subject {
            target: self.target(Protocol::Imap),
            payer: Payer::Tree(self.pid()),
        }
    }

    /// Asks it to end and waits for that, as long as is polite.
    pub(crate) fn end(&mut self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(20) {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

fn emailproxy([imap, pop, smtp]: [u16; 3], upstream: &Upstream) -> String {
    let mut text = String::new();
    for (protocol, port, server) in [
        ("IMAP", imap, upstream.imap),
        ("POP", pop, upstream.pop),
        ("SMTP", smtp, upstream.smtp),
    ] {
        text += &format!(
            "[{protocol}-{port}]\nserver_address = localhost\nserver_port = {server}\nlocal_address = 127.0.0.1\n\n"
        );
    }
    text + &format!(
        "[{USER}]\ntoken_url = http://127.0.0.1:{}/token\noauth2_scope = mail\noauth2_flow = client_credentials\n\
         client_id = measurements\nclient_secret = none\n",
        upstream.token
    )
}

/// One that nobody listens on, below those that the kernel gives to outgoing connections: a measurement makes thousands of
/// these, and one of them could take the port before the proxy does.
fn free_port() -> io::Result<u16> {
    const RANGE: u16 = 10_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Two measurements at a time begin in different places.
    let begin = (std::process::id() % u32::from(RANGE)) as u16;
    for _ in 0..RANGE {
        let offset = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 20_000 + begin.wrapping_add(offset) % RANGE;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Err(io::Error::other("no port is free"))
}
