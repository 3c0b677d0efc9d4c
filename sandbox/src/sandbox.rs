//! Starting, addressing and ending a sandbox.

use crate::{
    Control, Log, Options, Person, Service,
    listen::{self, Job, Sockets},
    mail::mailbox::Store,
    provider::{key::ServiceKey, state::State},
    shared::Shared,
    tls::Authority,
};
use std::{
    collections::BTreeMap,
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

/// A running provider and mail server; dropping it ends both and closes every connection.
pub struct Sandbox {
    shared: Arc<Shared>,
    addresses: BTreeMap<Service, SocketAddr>,
    folder: tempfile::TempDir,
    ca_file: PathBuf,
    stop: async_channel::Sender<()>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Sandbox {
    /// Binds the ports, makes the certificates and starts to serve. All ports accept connections when it returns.
    ///
    /// # Errors
    /// A port cannot be bound, an option is impossible, the temporary folder cannot be written, no thread to be had.
    pub fn start(options: Options) -> io::Result<Sandbox> {
        let authority = Authority::new()?;
        let folder = tempfile::Builder::new()
            .prefix("emailproxy-sandbox-")
            .tempdir()?;
        let ca_file = folder.path().join("ca.pem");
        fs::write(&ca_file, &authority.ca_pem)?;

        let mut addresses = BTreeMap::new();
        let mut listeners = Vec::new();
        let mut switches = Vec::new();
        for service in Service::ALL {
            let sockets = Sockets::bind(service.port(&options.ports))?;
            addresses.insert(service, sockets.address);
            let (switch, orders) = async_channel::bounded(1);
            switches.push((service, switch));
            listeners.push((service, sockets, orders));
        }
        let scheme = if options.https { "https" } else { "http" };
        let provider_url = format!(
            "{scheme}://localhost:{}",
            addresses[&Service::Provider].port()
        );

        let mail = Store::new(&options)?;
        let provider = State::new(&options)?;
        let shared = Arc::new(Shared::new(
            authority,
            mail,
            provider,
            provider_url,
            options.https,
            switches,
        ));

        let (jobs, queue) = async_channel::unbounded::<Job>();
        for (service, sockets, orders) in listeners {
            let job = listen::serve(shared.clone(), service, sockets, orders, jobs.clone());
            // The queue is open: its receiver is below.
            let _ = jobs.try_send(Box::pin(job));
        }
        drop(jobs);
        let (stop, stopped) = async_channel::bounded::<()>(1);
        let thread = thread::Builder::new()
            .name("sandbox".into())
            .spawn(move || run(&queue, &stopped))?;
        Ok(Sandbox {
            shared,
            addresses,
            folder,
            ca_file,
            stop,
            thread: Some(thread),
        })
    }

    /// The authority's certificate, PEM: what clients are to trust.
    pub fn ca_pem(&self) -> &str {
        &self.shared.authority.ca_pem
    }

    /// A file that holds [`Sandbox::ca_pem`], for `SSL_CERT_FILE`, `server_ca_path` and `curl --cacert`.
    pub fn ca_file(&self) -> &Path {
        &self.ca_file
    }

    /// The folder of [`Sandbox::ca_file`]; removed with the sandbox, free for the caller's own files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where a service listens. The certificate is for `localhost`, `127.0.0.1` and `::1`.
    pub fn address(&self, service: Service) -> SocketAddr {
        self.addresses[&service]
    }

    /// IMAP, TLS from the first byte.
    pub fn imaps(&self) -> SocketAddr {
        self.address(Service::Imaps)
    }

    /// IMAP with STARTTLS.
    pub fn imap(&self) -> SocketAddr {
        self.address(Service::Imap)
    }

    /// POP3, TLS from the first byte.
    pub fn pops(&self) -> SocketAddr {
        self.address(Service::Pops)
    }

    /// POP3 with STLS.
    pub fn pop(&self) -> SocketAddr {
        self.address(Service::Pop)
    }

    /// SMTP submission, TLS from the first byte.
    pub fn smtps(&self) -> SocketAddr {
        self.address(Service::Smtps)
    }

    /// SMTP submission with STARTTLS.
    pub fn submission(&self) -> SocketAddr {
        self.address(Service::Submission)
    }

    /// The provider's base URL, without a slash at the end. A page there says what there is.
    pub fn provider_url(&self) -> &str {
        &self.shared.provider_url
    }

    /// Authorisation endpoint (`permission_url`), RFC 6749 §3.1.
    pub fn authorize_url(&self) -> String {
        format!("{}/authorize", self.shared.provider_url)
    }

    /// Token endpoint (`token_url`), RFC 6749 §3.2.
    pub fn token_url(&self) -> String {
        format!("{}/token", self.shared.provider_url)
    }

    /// Device authorisation endpoint (`permission_url` of the device flow), RFC 8628 §3.1.
    pub fn device_url(&self) -> String {
        format!("{}/device_authorization", self.shared.provider_url)
    }

    /// Introspection endpoint, RFC 7662; confidential clients authenticate as at the token endpoint.
    pub fn introspection_url(&self) -> String {
        format!("{}/introspect", self.shared.provider_url)
    }

    /// A key file of a service account in Google's JSON form, whose `token_uri` is this sandbox. It may impersonate
    /// every account. The key (RSA, 2048 bits) is made at the first call, which takes a moment.
    ///
    /// # Errors
    /// The key cannot be made.
    pub fn service_account_key(&self) -> io::Result<String> {
        Ok(self.service_key()?.google_json(&self.token_url()))
    }

    /// Certificate and private key, both PEM, by which [`client::CERTIFICATE`](crate::client::CERTIFICATE)
    /// authenticates (RFC 7523 §2.2, RS256). Made at the first call.
    ///
    /// # Errors
    /// The key cannot be made.
    pub fn client_certificate(&self) -> io::Result<(String, String)> {
        let key = self.service_key()?;
        Ok((key.certificate_pem.clone(), key.private_pem.clone()))
    }

    fn service_key(&self) -> io::Result<&ServiceKey> {
        self.shared.provider().service_key()
    }

    /// A browser with a user in front of it, who trusts this sandbox's authority.
    pub fn person(&self) -> Person {
        Person::trusting(self.shared.authority.client.clone())
    }

    /// Changes the servers' behaviour while they run.
    pub fn control(&self) -> Control {
        Control(self.shared.clone())
    }

    /// What happened so far.
    pub fn log(&self) -> Log {
        Log(self.shared.clone())
    }

    /// Issues an access token without any grant, as if `account` had approved: for talking to the mail servers
    /// directly. `None` when there is no such account.
    pub fn issue_token(&self, account: &str) -> Option<String> {
        let lifetime = self.shared.behaviour().token_lifetime;
        self.shared.provider().issue_directly(account, lifetime)
    }

    /// Puts a message into a folder of an account, as if it had arrived now; the folder is created when missing.
    ///
    /// # Errors
    /// No such account, or its mailbox is full.
    pub fn deliver(&self, account: &str, folder: &str, message: &[u8]) -> io::Result<()> {
        self.shared.mail.deliver(account, folder, message)
    }

    /// The messages in a folder of an account, oldest first; empty where there is no such folder.
    pub fn messages(&self, account: &str, folder: &str) -> Vec<Arc<[u8]>> {
        self.shared.mail.messages(account, folder)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.stop.close();
        if let Some(thread) = self.thread.take() {
            // A panic in it has been printed already.
            let _ = thread.join();
        }
    }
}

/// The sandbox's thread: runs what is queued until it is stopped, then drops it all.
fn run(queue: &async_channel::Receiver<Job>, stopped: &async_channel::Receiver<()>) {
    let executor = smol::Executor::new();
    let spawn = async {
        while let Ok(job) = queue.recv().await {
            executor.spawn(job).detach();
        }
    };
    let stop = async {
        let _ = stopped.recv().await;
    };
    smol::block_on(executor.run(futures_lite::future::or(stop, spawn)));
}
