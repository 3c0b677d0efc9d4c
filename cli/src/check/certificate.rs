//! Until when a certificate is valid.

use rustls_pki_types::{CertificateDer, pem::PemObject};
use std::{
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};
use time::OffsetDateTime;
use x509_cert::{Certificate, der::Decode};

/// A certificate that ends within so many days is worth a warning: Let's Encrypt renews thirty days before.
pub(super) const SOON: i64 = 14;

/// The end of a certificate's validity (RFC 5280 §4.1.2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End(OffsetDateTime);

impl End {
    /// `None` where the certificate cannot be read.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Option<End> {
        let certificate = Certificate::from_der(certificate).ok()?;
        let validity = certificate.tbs_certificate().validity();
        let seconds = validity.not_after.to_unix_duration().as_secs();
        let seconds = i64::try_from(seconds).ok()?;
        OffsetDateTime::from_unix_timestamp(seconds).ok().map(End)
    }

    /// Of the first certificate in a PEM file.
    pub(super) fn of_file(path: &Path) -> Option<End> {
        End::of(&CertificateDer::from_pem_file(path).ok()?)
    }

    /// As `2027-01-31`, in UTC.
    pub(super) fn date(self) -> String {
        self.0.date().to_string()
    }

    /// Whole days from now; negative once it is over.
    pub(super) fn days(self) -> i64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |now| now.as_secs());
        let left = self.0.unix_timestamp() - i64::try_from(now).unwrap_or(i64::MAX);
        left.div_euclid(24 * 60 * 60)
    }
}
