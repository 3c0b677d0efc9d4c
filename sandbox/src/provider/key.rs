//! The RSA key pair of the service account and of the certificate client.

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use rcgen::{CertificateParams, DnType, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::io;

/// `client_email` of the service account.
pub(crate) const SERVICE_ACCOUNT: &str = "emailproxy@sandbox.iam.example.org";

/// A key pair and a certificate for it.
pub(crate) struct ServiceKey {
    pub(crate) certificate_pem: String,
    pub(crate) private_pem: String,
    /// `x5t#S256`: base64url of the SHA-256 of the certificate's DER.
    thumbprint: String,
    /// RFC 8017 `RSAPublicKey`.
    public: Vec<u8>,
}

/// A JWT whose signature was made with this key.
pub(crate) struct Verified {
    pub(crate) header: Value,
    pub(crate) claims: Value,
}

impl ServiceKey {
    pub(crate) fn generate() -> io::Result<ServiceKey> {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)
            .map_err(io::Error::other)?;
        let mut params = CertificateParams::new(Vec::new()).map_err(io::Error::other)?;
        params
            .distinguished_name
            .push(DnType::CommonName, "emailproxy sandbox client");
        let certificate = params.self_signed(&key).map_err(io::Error::other)?;
        Ok(ServiceKey {
            certificate_pem: certificate.pem(),
            private_pem: key.serialize_pem(),
            thumbprint: BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(certificate.der())),
            public: key.public_key_raw().to_vec(),
        })
    }

    /// The key file as Google's console hands it out.
    pub(crate) fn google_json(&self, token_uri: &str) -> String {
        let json = json!({
            "type": "service_account",
            "project_id": "sandbox",
            "private_key_id": self.key_id(),
            "private_key": self.private_pem,
            "client_email": SERVICE_ACCOUNT,
            "client_id": "100000000000000000001",
            "token_uri": token_uri,
        });
        format!("{json:#}")
    }

    /// Takes a compact JWT (RFC 7519) apart and checks that it is RS256 with this key; what it claims is the caller's
    /// to judge.
    pub(crate) fn verify(&self, jwt: &str) -> Result<Verified, &'static str> {
        let (signed, signature) = jwt.rsplit_once('.').ok_or("the assertion is not a JWT")?;
        let (header, claims) = signed.split_once('.').ok_or("the assertion is not a JWT")?;
        let decode = |part: &str| {
            BASE64_URL_SAFE_NO_PAD
                .decode(part)
                .map_err(|_| "the JWT is not base64url")
        };
        let parse = |part: &str| {
            serde_json::from_slice::<Value>(&decode(part)?)
                .map_err(|_| "the JWT's parts are not JSON")
        };
        let (header, claims) = (parse(header)?, parse(claims)?);
        if header["alg"] != "RS256" {
            return Err("the JWT's alg is not RS256");
        }
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.public)
            .verify(signed.as_bytes(), &decode(signature)?)
            .map_err(|_| "the JWT's signature is wrong")?;
        Ok(Verified { header, claims })
    }

    pub(crate) fn thumbprint(&self) -> &str {
        &self.thumbprint
    }

    pub(crate) fn key_id(&self) -> &str {
        &self.thumbprint[..16]
    }
}
