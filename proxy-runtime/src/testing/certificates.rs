//! Certificates for one test, and the files that hold them.

use crate::{Trust, server_config};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::ServerConfig;
use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tempfile::TempDir;

static LAST: AtomicUsize = AtomicUsize::new(0);

/// An authority and the folder where its files are.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

/// A certificate, and where it is.
pub struct Leaf {
    /// PEM.
    pub certificate: PathBuf,
    /// PEM.
    pub key: PathBuf,
}

impl Authority {
    /// Another one each time.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Two authorities of one name would be told apart only by their signatures.
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        params
            .distinguished_name
            .push(DnType::CommonName, format!("authority {number}"));
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let authority = Authority {
            issuer,
            folder: tempfile::tempdir().unwrap(),
        };
        fs::write(authority.path("ca.pem"), authority.issuer.pem()).unwrap();
        authority
    }

    /// A file in its folder; `ca.pem` is there.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Trusts this authority and no other one.
    pub fn trust(&self) -> Trust {
        Trust::only(self.path("ca.pem"))
    }

    /// A certificate for a host name.
    pub fn leaf(&self, name: &str) -> Leaf {
        self.leaf_until(name, 4000)
    }

    /// One that lasts until the beginning of `year`.
    pub fn leaf_until(&self, name: &str, year: i32) -> Leaf {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let leaf = Leaf {
            certificate: self.path(&format!("{name}-{year}.pem")),
            key: self.path(&format!("{name}-{year}.key")),
        };
        fs::write(&leaf.certificate, certificate.pem()).unwrap();
        fs::write(&leaf.key, key.serialize_pem()).unwrap();
        leaf
    }
}

impl Leaf {
    /// What a server shows.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        server_config(&self.certificate, &self.key).unwrap()
    }
}
