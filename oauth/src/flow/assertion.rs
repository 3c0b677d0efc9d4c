//! Signed JWTs (RFC 7515, RFC 7519) with RS256, and the client assertion of certificate credentials (RFC 7523 §2.2).

use crate::{crypt::random_text, messages::provider as messages};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use proxy_proto::Secret;
use rustls::{SignatureScheme, crypto::aws_lc_rs::sign::any_supported_type, sign::Signer};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde::Serialize;
use sha2::{Digest, Sha256};

/// Seconds that an assertion is good for.
const LIFETIME: u64 = 300;

/// Why there is no assertion; continues a sentence that begins with the file's or option's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssertionError {
    /// The certificate's file.
    Certificate(&'static str),
    /// The key.
    Key(&'static str),
}

/// The client assertion for `token_url`: `now` in seconds since 1970; certificate and key in PEM.
pub fn client_assertion(
    token_url: &str,
    client_id: &str,
    certificate: &[u8],
    key: &[u8],
    now: u64,
) -> Result<Secret, AssertionError> {
    let certificate = CertificateDer::from_pem_slice(certificate)
        .map_err(|_| AssertionError::Certificate(messages::NO_PEM_CERTIFICATE))?;
    let jti = random_text().map_err(|_| AssertionError::Key(messages::KEY_WITHOUT_RANDOMNESS))?;
    sign(
        &Header {
            alg: "RS256",
            typ: "JWT",
            kid: None,
            thumbprint: Some(BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(&certificate))),
        },
        &ClientClaims {
            aud: token_url,
            iss: client_id,
            sub: client_id,
            jti: jti.expose(),
            nbf: now,
            exp: now.saturating_add(LIFETIME),
        },
        key,
    )
}

#[derive(Serialize)]
pub(super) struct Header<'a> {
    pub(super) alg: &'static str,
    pub(super) typ: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kid: Option<&'a str>,
    #[serde(rename = "x5t#S256", skip_serializing_if = "Option::is_none")]
    pub(super) thumbprint: Option<String>,
}

#[derive(Serialize)]
struct ClientClaims<'a> {
    aud: &'a str,
    iss: &'a str,
    sub: &'a str,
    jti: &'a str,
    nbf: u64,
    exp: u64,
}

/// Header, claims and signature, each in base64url.
pub(super) fn sign(
    header: &impl Serialize,
    claims: &impl Serialize,
    key: &[u8],
) -> Result<Secret, AssertionError> {
    let signer = signer(key)?;
    let part = |value: Result<Vec<u8>, serde_json::Error>| {
        value
            .map(|json| BASE64_URL_SAFE_NO_PAD.encode(json))
            .map_err(|_| AssertionError::Key(messages::CLAIMS_ARE_NOT_JSON))
    };
    let mut jwt = part(serde_json::to_vec(header))? + "." + &part(serde_json::to_vec(claims))?;
    let signature = signer
        .sign(jwt.as_bytes())
        .map_err(|_| AssertionError::Key(messages::DOES_NOT_SIGN))?;
    jwt.push('.');
    BASE64_URL_SAFE_NO_PAD.encode_string(signature, &mut jwt);
    Ok(Secret::new(jwt))
}

fn signer(pem: &[u8]) -> Result<Box<dyn Signer>, AssertionError> {
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|_| {
        let encrypted = pem.windows(9).any(|w| w == b"ENCRYPTED");
        AssertionError::Key(if encrypted {
            messages::KEY_WITH_PASSPHRASE
        } else {
            messages::NO_PEM_KEY
        })
    })?;
    any_supported_type(&key)
        .ok()
        .and_then(|key| key.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256]))
        .ok_or(AssertionError::Key(messages::NOT_RSA))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
    use serde_json::Value;

    // made for these tests with openssl; opens nothing
    pub(in crate::flow) const CERTIFICATE: &[u8] = include_bytes!("../../tests/data/rsa.crt");
    pub(in crate::flow) const KEY: &[u8] = include_bytes!("../../tests/data/rsa.key");
    const ENCRYPTED: &[u8] = include_bytes!("../../tests/data/encrypted.key");
    const ELLIPTIC: &[u8] = include_bytes!("../../tests/data/ec.key");
    /// The RSAPublicKey of `KEY`.
    const PUBLIC: &[u8] = include_bytes!("../../tests/data/rsa.pub.der");
    /// What openssl says of `CERTIFICATE`.
    const FINGERPRINT: &str = include_str!("../../tests/data/rsa.crt.sha256");

    /// Header and claims, once the signature is found to be good.
    pub(in crate::flow) fn verify(jwt: &Secret) -> (Value, Value) {
        let parts: Vec<&str> = jwt.expose().split('.').collect();
        let [header, claims, signature] = parts[..] else {
            panic!("three parts")
        };
        let decode = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).expect("base64url");
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, PUBLIC)
            .verify(format!("{header}.{claims}").as_bytes(), &decode(signature))
            .expect("a good signature");
        let json = |part| serde_json::from_slice(&decode(part)).expect("JSON");
        (json(header), json(claims))
    }

    #[test]
    fn the_assertion_says_what_microsoft_wants() {
        let jwt = client_assertion("https://p.example/token", "id", CERTIFICATE, KEY, 1_000)
            .expect("an assertion");
        let (header, claims) = verify(&jwt);
        assert_eq!(header["alg"], "RS256");
        let thumbprint = header["x5t#S256"].as_str().expect("a thumbprint");
        let thumbprint = BASE64_URL_SAFE_NO_PAD
            .decode(thumbprint)
            .expect("no padding");
        let hex: String = thumbprint.iter().map(|b| format!("{b:02X}")).collect();
        assert_eq!(hex, FINGERPRINT.trim());
        assert_eq!(claims["aud"], "https://p.example/token");
        assert_eq!(claims["iss"], "id");
        assert_eq!(claims["sub"], "id");
        assert_eq!(claims["nbf"], 1_000);
        assert_eq!(claims["exp"], 1_300);
        let again = client_assertion("https://p.example/token", "id", CERTIFICATE, KEY, 1_000)
            .expect("an assertion");
        assert_ne!(verify(&again).1["jti"], claims["jti"]);
    }

    #[test]
    fn unusable_files_are_told_apart() {
        let attempt = |certificate: &[u8], key: &[u8]| {
            client_assertion("https://p.example/token", "id", certificate, key, 0).err()
        };
        assert!(matches!(
            attempt(b"", KEY),
            Some(AssertionError::Certificate(_))
        ));
        assert!(matches!(
            attempt(KEY, KEY),
            Some(AssertionError::Certificate(_))
        ));
        for (key, expected) in [
            (ENCRYPTED, "passphrase"),
            (b"", "no PEM"),
            (CERTIFICATE, "no PEM"),
            (ELLIPTIC, "RSA"),
        ] {
            match attempt(CERTIFICATE, key) {
                Some(AssertionError::Key(why)) => assert!(why.contains(expected), "{why}"),
                other => panic!("{other:?}"),
            }
        }
    }
}
