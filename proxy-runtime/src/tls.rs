//! TLS configurations: whom to trust upstream, and what to show to clients.

use crate::messages::configuration as messages;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use std::{
    collections::HashMap,
    env,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// Versions spoken on either side: nothing below TLS 1.2.
static VERSIONS: &[&rustls::SupportedProtocolVersion] =
    &[&rustls::version::TLS13, &rustls::version::TLS12];

/// Whom to trust towards mail servers, read once: one [`ClientConfig`] for each set of roots, because
/// a configuration carries the cache of TLS sessions, and resuming saves most of a handshake.
///
/// The roots are the platform's. Where the environment variable `SSL_CERT_FILE` names a PEM file, its certificates
/// take their place, on every platform. Make a new `Trust` to read everything again.
#[derive(Debug)]
pub struct Trust {
    provider: Arc<CryptoProvider>,
    instead: Option<PathBuf>,
    configs: Mutex<HashMap<Option<PathBuf>, Arc<ClientConfig>>>,
}

impl Trust {
    /// Trusts the platform's roots, or those of the file that `SSL_CERT_FILE` names.
    pub fn new() -> Self {
        Trust::by_variables(env::var_os("SSL_CERT_FILE"), env::var_os("SSL_CERT_DIR"))
    }

    pub(crate) fn by_variables(file: Option<OsString>, folder: Option<OsString>) -> Self {
        // With a folder as well, the platform verifier reads both where they have a meaning.
        let file = file.filter(|file| !file.is_empty() && folder.is_none());
        Trust::instead_of_the_platform(file.map(PathBuf::from))
    }

    /// Trusts the certificates of one PEM file and nothing else.
    pub fn only(path: impl Into<PathBuf>) -> Self {
        Trust::instead_of_the_platform(Some(path.into()))
    }

    fn instead_of_the_platform(instead: Option<PathBuf>) -> Self {
        Trust {
            provider: Arc::new(aws_lc_rs::default_provider()),
            instead,
            configs: Mutex::default(),
        }
    }

    /// The configuration towards servers; `extra` names a PEM file whose certificates are trusted in addition.
    ///
    /// # Errors
    /// When a file cannot be read or holds no certificates, or when the platform has no roots.
    pub fn client_config(&self, extra: Option<&Path>) -> Result<Arc<ClientConfig>, TlsError> {
        let mut configs = self.configs.lock().unwrap_or_else(PoisonError::into_inner);
        let key = extra.map(Path::to_owned);
        if let Some(config) = configs.get(&key) {
            return Ok(config.clone());
        }
        let config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(VERSIONS)
            .map_err(TlsError::Setup)?
            .dangerous()
            .with_custom_certificate_verifier(self.verifier(extra)?)
            .with_no_client_auth();
        let config = Arc::new(config);
        configs.insert(key, config.clone());
        Ok(config)
    }

    fn verifier(&self, extra: Option<&Path>) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
        let extra = extra.map(certificates).transpose()?.unwrap_or_default();
        let Some(instead) = &self.instead else {
            let verifier = rustls_platform_verifier::Verifier::new_with_extra_roots(
                extra,
                self.provider.clone(),
            );
            return Ok(Arc::new(verifier.map_err(TlsError::Roots)?));
        };
        let mut roots = RootCertStore::empty();
        // A bundle may hold a certificate that webpki cannot use; the others still count.
        let (usable, _) = roots.add_parsable_certificates(certificates(instead)?);
        if usable == 0 {
            return Err(TlsError::NoCertificate {
                path: instead.clone(),
            });
        }
        roots.add_parsable_certificates(extra);
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone())
            .build()
            .map(|verifier| verifier as Arc<dyn ServerCertVerifier>)
            .map_err(|error| TlsError::Roots(rustls::Error::General(error.to_string())))
    }
}

impl Default for Trust {
    fn default() -> Self {
        Trust::new()
    }
}

/// The configuration towards clients, from a PEM certificate chain (the proxy's own certificate first) and its PEM key
/// (PKCS #8, PKCS #1 or SEC 1).
///
/// # Errors
/// When a file cannot be read or holds something else, when the key is encrypted, or when the two do not belong together.
pub fn server_config(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = certificates(certificate)?;
    let key_der = private_key(key)?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(VERSIONS)
        .map_err(TlsError::Setup)?
        .with_no_client_auth()
        .with_single_cert(chain, key_der)
        .map_err(|why| match why {
            rustls::Error::InconsistentKeys(_) => TlsError::Mismatch {
                certificate: certificate.to_owned(),
                key: key.to_owned(),
            },
            why => TlsError::Unusable {
                certificate: certificate.to_owned(),
                key: key.to_owned(),
                why,
            },
        })?;
    // Tickets hold the state at the client, so that resuming costs no memory here.
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(TlsError::Setup)?;
    Ok(Arc::new(config))
}

/// Why a TLS configuration cannot be made; its text names the file and says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{}", messages::file_unreadable(path.display(), source))]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is no PEM, or a damaged one.
    #[error("{}", messages::not_pem(path.display(), why))]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A file without a usable certificate.
    #[error("{}", messages::no_certificate_in(path.display()))]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// A file without a private key.
    #[error("{}", messages::no_key_in(path.display()))]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// The private key is protected by a passphrase.
    #[error("{}", messages::key_is_encrypted(path.display()))]
    EncryptedKey {
        /// The file.
        path: PathBuf,
    },
    /// Certificate and key do not belong together.
    #[error("{}", messages::not_a_pair(key.display(), certificate.display()))]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// Certificate and key are well-formed but cannot be used.
    #[error("{}", messages::pair_unusable(certificate.display(), key.display(), why))]
    Unusable {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What rustls said.
        why: rustls::Error,
    },
    /// There are no roots to trust.
    #[error("{}", messages::no_roots(.0))]
    Roots(rustls::Error),
    /// The TLS library cannot be set up.
    #[error("{}", messages::tls_cannot_be_set_up(.0))]
    Setup(rustls::Error),
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::Read {
        path: path.to_owned(),
        source,
    })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(&read(path)?)
        .collect::<Result<_, _>>()
        .map_err(|why| TlsError::Pem {
            path: path.to_owned(),
            why: why.to_string(),
        })?;
    if found.is_empty() {
        return Err(TlsError::NoCertificate {
            path: path.to_owned(),
        });
    }
    Ok(found)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let bytes = read(path)?;
    let holds = |mark: &str| {
        bytes
            .windows(mark.len())
            .any(|window| window == mark.as_bytes())
    };
    if holds("BEGIN ENCRYPTED PRIVATE KEY") || holds("Proc-Type: 4,ENCRYPTED") {
        return Err(TlsError::EncryptedKey {
            path: path.to_owned(),
        });
    }
    match PrivateKeyDer::from_pem_slice(&bytes) {
        Ok(key) => Ok(key),
        Err(rustls::pki_types::pem::Error::NoItemsFound) => Err(TlsError::NoKey {
            path: path.to_owned(),
        }),
        // The message could quote the file; what it holds is a secret.
        Err(_) => Err(TlsError::Pem {
            path: path.to_owned(),
            why: messages::KEY_IS_DAMAGED.to_owned(),
        }),
    }
}
