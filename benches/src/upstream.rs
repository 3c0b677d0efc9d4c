//! A mail server and a token endpoint that cost as little as they can and answer at once, on loopback.
//!
//! Message `n` of every mailbox is `n` KiB long. IMAP, POP and SMTP are over TLS from the first byte; they admit whoever shows
//! the endpoint's token in XOAUTH2, and, for proxies that only relay, whoever gives [`PASSWORD`]. Each connection is a
//! thread: nothing but the kernel stands between a request and its answer.

mod imap;
mod pop;
mod smtp;
mod token;

use crate::wire::{Socket, Stream, Wire};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    crypto::aws_lc_rs::{self, Ticketer},
};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, pem::PemObject as _};
use std::{
    io::{self, BufRead as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};
use tempfile::TempDir;

/// The account that every login of a measurement uses.
pub const USER: &str = "user@example.com";

/// Its password at the proxy, and at the server for a proxy that only relays.
pub const PASSWORD: &str = "a-local-password";

/// What the endpoint hands out; as long as Microsoft's.
pub(crate) fn access_token() -> String {
    "ya29.".to_owned() + &"Zm9yLW1lYXN1cmVtZW50cy1vbmx5".repeat(56)
}

/// Where the server of a measurement listens, and the certificate of the authority that signed its own.
pub struct Upstream {
    /// IMAP over TLS.
    pub imap: u16,
    /// POP over TLS.
    pub pop: u16,
    /// SMTP over TLS.
    pub smtp: u16,
    /// HTTP: every request is answered with a token.
    pub token: u16,
    /// PEM: the system's certificates, as an installation has them, and this server's authority.
    pub authorities: PathBuf,
    child: Child,
    _folder: TempDir,
}

impl Upstream {
    /// Starts one in a process of its own, which is this program with [`serve`]'s command line; it ends with this value.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start() -> io::Result<Upstream> {
        let folder = tempfile::tempdir()?;
        let authorities = folder.path().join("authorities.pem");
        let mut child = Command::new(std::env::current_exe()?)
            .arg("--upstream")
            .arg(&authorities)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut ports = String::new();
        if let Some(output) = child.stdout.take() {
            io::BufReader::new(output).read_line(&mut ports)?;
        }
        let ports: Vec<u16> = ports
            .split_whitespace()
            .filter_map(|port| port.parse().ok())
            .collect();
        let &[imap, pop, smtp, token] = ports.as_slice() else {
            let _ = child.kill();
            child.wait()?;
            return Err(io::Error::other("the mail server did not start"));
        };
        Ok(Upstream {
            imap,
            pop,
            smtp,
            token,
            authorities,
            child,
            _folder: folder,
        })
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What [`Upstream::start`] starts: writes the authorities to a file and the ports to standard output, and serves until
/// standard input ends, that is until whoever started it has ended.
///
/// # Errors
/// No socket, no randomness, no file.
pub fn serve(authorities: &Path) -> io::Result<()> {
    let [imap, pop, smtp, token] = open(authorities)?;
    println!("{imap} {pop} {smtp} {token}");
    for line in io::stdin().lines() {
        line?;
    }
    Ok(())
}

/// A client that trusts whom the file names.
pub(crate) fn trusting(authorities: &Path) -> io::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(authorities).map_err(io::Error::other)? {
        // A system's bundle may hold some that rustls does not like.
        let _ = roots.add(certificate.map_err(io::Error::other)?);
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Opens the sockets for IMAP, POP, SMTP and tokens, which are served as long as the process lives; returns their ports.
pub(crate) fn open(authorities: &Path) -> io::Result<[u16; 4]> {
    let (config, ca) = certificate()?;
    let system = std::fs::read("/etc/ssl/certs/ca-certificates.crt").unwrap_or_default();
    std::fs::write(authorities, [system, ca.into_bytes()].concat())?;
    Ok([
        listen(Some(config.clone()), imap::serve)?,
        listen(Some(config.clone()), pop::serve)?,
        listen(Some(config), smtp::serve)?,
        listen(None, token::serve)?,
    ])
}

/// Accepts for ever, each connection on a thread of its own.
fn listen(
    tls: Option<Arc<ServerConfig>>,
    serve: fn(&mut Wire) -> io::Result<()>,
) -> io::Result<u16> {
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    // A queue that is never the bottleneck when thousands come at once.
    listener.listen(4096)?;
    let listener = TcpListener::from(listener);
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        loop {
            let Ok((tcp, _)) = listener.accept() else {
                // Out of descriptors, most likely: they come back.
                thread::sleep(Duration::from_millis(10));
                continue;
            };
            let tls = tls.clone();
            // What becomes of a connection is the other end's to judge.
            let _ = thread::Builder::new()
                .stack_size(256 * 1024)
                .spawn(move || session(tcp, tls, serve));
        }
    });
    Ok(port)
}

fn session(
    tcp: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    serve: fn(&mut Wire) -> io::Result<()>,
) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let stream = match tls {
        None => Stream::Plain(tcp),
        Some(config) => {
            let connection = ServerConnection::new(config).map_err(io::Error::other)?;
            Stream::Server(Box::new(StreamOwned::new(connection, Socket::new(tcp))))
        }
    };
    let mut wire = Wire::new(stream, 64 * 1024);
    serve(&mut wire)?;
    if let Stream::Server(mut stream) = wire.into_stream() {
        stream.conn.send_close_notify();
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(())
}

/// A certificate for `localhost`, and its authority's own as PEM.
fn certificate() -> io::Result<(Arc<ServerConfig>, String)> {
    let mut params = CertificateParams::new(Vec::new()).map_err(io::Error::other)?;
    params
        .distinguished_name
        .push(DnType::CommonName, "emailproxy measurements");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().map_err(io::Error::other)?;
    let ca = CertifiedIssuer::self_signed(params, key).map_err(io::Error::other)?;

    let mut params = CertificateParams::new(["localhost".to_owned()]).map_err(io::Error::other)?;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate().map_err(io::Error::other)?;
    let leaf = params.signed_by(&key, &ca).map_err(io::Error::other)?;

    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone(), ca.der().clone()],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )
        .map_err(io::Error::other)?;
    config.ticketer = Ticketer::new().map_err(io::Error::other)?;
    Ok((Arc::new(config), ca.pem()))
}

/// Whether an initial response of XOAUTH2 shows the endpoint's token.
fn admits(response: &[u8]) -> bool {
    let expected = format!("user={USER}\x01auth=Bearer {}\x01\x01", access_token());
    BASE64_STANDARD
        .decode(response)
        .is_ok_and(|response| response == expected.as_bytes())
}

/// The words of a line.
fn words(line: &[u8]) -> Vec<String> {
    let line = String::from_utf8_lossy(line);
    line.split(' ').map(str::to_owned).collect()
}
