//! Secrets at rest: AES-256-GCM under a key that PBKDF2 derives from the login password.
//!
//! A value reads `v1:` and the base64 of nonce (12 octets), ciphertext and tag (16 octets). The heading of its section and the
//! name of its option are bound to it as associated data, so that a value moved elsewhere in the file no longer opens.

use crate::{legacy, messages::saved as messages, settings::TokenFormat};
use aes_gcm::{
    Aes256Gcm, KeyInit,
    aead::{Aead, Payload},
};
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD, Engine};
use proxy_proto::Secret;
use sha2::Sha256;
use std::fmt;
use zeroize::Zeroizing;

const PREFIX: &str = "v1:";
const NONCE: usize = 12;
const TAG: usize = 16;

/// Iterations of values saved before the Python tool wrote `token_iterations`.
pub const LEGACY_ITERATIONS: u32 = 100_000;

/// The most iterations accepted from a file: more would let an edited file occupy a processor for minutes.
pub const MAX_ITERATIONS: u32 = 20_000_000;

/// Salt and iterations of one key derivation (RFC 8018 §5.2).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Kdf {
    /// `token_salt`, decoded.
    pub salt: Vec<u8>,
    /// `token_iterations`.
    pub iterations: u32,
}

impl Kdf {
    /// A fresh salt of 16 octets.
    pub fn fresh(iterations: u32) -> Result<Self, NoRandomness> {
        Ok(Kdf {
            salt: random::<16>()?.to_vec(),
            iterations,
        })
    }

    /// Reads the two options as they stand in the file; without iterations it is a value of an old version of the Python tool.
    pub fn parse(salt: &str, iterations: Option<&str>) -> Result<Self, Damaged> {
        let salt = BASE64_STANDARD
            .decode(salt.trim())
            .ok()
            .filter(|salt| !salt.is_empty() && salt.len() <= 1024)
            .ok_or(Damaged {
                option: "token_salt",
                why: messages::NOT_BASE64,
            })?;
        let iterations = match iterations {
            None => LEGACY_ITERATIONS,
            Some(text) => text
                .trim()
                .parse()
                .ok()
                .filter(|n| (1..=MAX_ITERATIONS).contains(n))
                .ok_or(Damaged {
                    option: "token_iterations",
                    why: messages::BAD_ITERATIONS,
                })?,
        };
        Ok(Kdf { salt, iterations })
    }

    /// The salt as it is written.
    pub fn salt_text(&self) -> String {
        BASE64_STANDARD.encode(&self.salt)
    }

    /// Derives the key. Costs `iterations` HMACs: not on the executor.
    pub fn derive(&self, password: &Secret) -> Key {
        let mut key = Zeroizing::new([0; 32]);
        pbkdf2::pbkdf2_hmac::<Sha256>(
            password.expose().as_bytes(),
            &self.salt,
            self.iterations,
            key.as_mut_slice(),
        );
        Key(key)
    }
}

/// A derived key; zeroised when dropped, never printed.
pub struct Key(Zeroizing<[u8; 32]>);

impl Key {
    /// Encrypts `text` as the value of `option` in section `heading`, under a fresh nonce.
    pub fn seal(
        &self,
        heading: &str,
        option: &str,
        text: &Secret,
        format: TokenFormat,
    ) -> Result<String, NoRandomness> {
        match format {
            TokenFormat::Fernet => legacy::seal(&self.0, text),
            TokenFormat::AesGcm => {
                let nonce = random::<NONCE>()?;
                let aad = associated_data(heading, option);
                let sealed = Aes256Gcm::new(&(*self.0).into())
                    .encrypt(
                        &nonce.into(),
                        Payload {
                            msg: text.expose().as_bytes(),
                            aad: &aad,
                        },
                    )
                    // only for texts of more than 64 GiB
                    .map_err(|_| NoRandomness)?;
                let mut value = nonce.to_vec();
                value.extend_from_slice(&sealed);
                Ok(format!("{PREFIX}{}", BASE64_STANDARD.encode(value)))
            }
        }
    }

    /// Decrypts the value of `option` in section `heading`, in whichever of the two formats it is.
    pub fn open(
        &self,
        heading: &str,
        option: &'static str,
        value: &str,
    ) -> Result<Secret, OpenError> {
        let damaged = |why| OpenError::Damaged(Damaged { option, why });
        let text = match format_of(value) {
            Some(TokenFormat::Fernet) => legacy::open(&self.0, value).map_err(|e| match e {
                legacy::FernetError::Format(why) => damaged(why),
                legacy::FernetError::Signature => OpenError::WrongKey,
            })?,
            Some(TokenFormat::AesGcm) => {
                let sealed = value
                    .strip_prefix(PREFIX)
                    .and_then(|value| BASE64_STANDARD.decode(value).ok())
                    .ok_or_else(|| damaged(messages::NOT_BASE64))?;
                let (nonce, sealed) = sealed
                    .split_first_chunk::<NONCE>()
                    .filter(|(_, sealed)| sealed.len() >= TAG)
                    .ok_or_else(|| damaged(messages::CUT_SHORT))?;
                let aad = associated_data(heading, option);
                let text = Aes256Gcm::new(&(*self.0).into())
                    .decrypt(
                        &(*nonce).into(),
                        Payload {
                            msg: sealed,
                            aad: &aad,
                        },
                    )
                    .map_err(|_| OpenError::WrongKey)?;
                Zeroizing::new(text)
            }
            None => return Err(damaged(messages::UNKNOWN_FORMAT)),
        };
        let text = std::str::from_utf8(&text).map_err(|_| damaged(messages::NOT_TEXT))?;
        Ok(Secret::new(text))
    }
}

/// The format a saved value is in; `None` when it is in neither.
pub fn format_of(value: &str) -> Option<TokenFormat> {
    if value.starts_with(PREFIX) {
        Some(TokenFormat::AesGcm)
    } else if value.starts_with(legacy::PREFIX) {
        Some(TokenFormat::Fernet)
    } else {
        None
    }
}

/// Why a value could not be decrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// Another password, or a value that was changed or moved: the two cannot be told apart.
    WrongKey,
    /// No key can open it.
    Damaged(Damaged),
}

/// A value that was cut or edited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damaged {
    /// The option.
    pub option: &'static str,
    /// Continues a sentence that begins with the option's name.
    pub why: &'static str,
}

/// The operating system gives no random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRandomness;

impl fmt::Display for NoRandomness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(messages::NO_RANDOMNESS)
    }
}

impl std::error::Error for NoRandomness {}

/// `N` random octets.
pub fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut octets = [0; N];
    aws_lc_rs::rand::fill(&mut octets).map_err(|_| NoRandomness)?;
    Ok(octets)
}

/// 32 random octets as 43 characters that need no escaping in URLs.
pub fn random_text() -> Result<Secret, NoRandomness> {
    let octets = Zeroizing::new(random::<32>()?);
    Ok(Secret::new(
        BASE64_URL_SAFE_NO_PAD.encode(octets.as_slice()),
    ))
}

/// Lengths first: no two pairs of heading and option give the same octets.
fn associated_data(heading: &str, option: &str) -> Vec<u8> {
    let mut data = Vec::with_capacity(16 + heading.len() + option.len());
    for part in [heading, option] {
        data.extend_from_slice(&(part.len() as u64).to_be_bytes());
        data.extend_from_slice(part.as_bytes());
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    fn key() -> Key {
        Kdf {
            salt: vec![7; 16],
            iterations: 2,
        }
        .derive(&Secret::new("password"))
    }

    #[test]
    fn pbkdf2_gives_the_known_keys() {
        for (iterations, expected) in [
            (
                1,
                "120fb6cffcf8b32c43e7225256c4f837a86548c92ccc35480805987cb70be17b",
            ),
            (
                2,
                "ae4d0c95af6b46d32d0adff928f06dd02a303f8ef3c251dfd6e2d85a95474c43",
            ),
            (
                4096,
                "c5e478d59288c841aa530db6845c4c8d962893a001ce4e11a4963873aa98134a",
            ),
        ] {
            let kdf = Kdf {
                salt: b"salt".to_vec(),
                iterations,
            };
            assert_eq!(
                hex(kdf.derive(&Secret::new("password")).0.as_slice()),
                expected
            );
        }
    }

    #[test]
    fn what_is_sealed_opens_again_in_both_formats() {
        for format in [TokenFormat::AesGcm, TokenFormat::Fernet] {
            for text in ["", "x", "ya29.token", &"ü".repeat(5000)] {
                let value = key()
                    .seal("a@b.example", "access_token", &Secret::new(text), format)
                    .expect("randomness");
                assert_eq!(format_of(&value), Some(format));
                let opened = key().open("a@b.example", "access_token", &value);
                assert!(opened.expect("the same key").expose() == text);
            }
        }
    }

    #[test]
    fn a_value_opens_only_where_it_stands() {
        let value = key()
            .seal(
                "a@b.example",
                "access_token",
                &Secret::new("t"),
                TokenFormat::AesGcm,
            )
            .expect("randomness");
        for (heading, option) in [
            ("b@b.example", "access_token"),
            ("a@b.example", "refresh_token"),
            ("a@b.exampleaccess", "_token"),
        ] {
            let opened = key().open(heading, option, &value);
            assert_eq!(
                opened.err(),
                Some(OpenError::WrongKey),
                "{heading} {option}"
            );
        }
    }

    #[test]
    fn no_two_values_are_alike() {
        let seal = || key().seal("h", "access_token", &Secret::new("t"), TokenFormat::AesGcm);
        assert_ne!(seal(), seal());
    }

    #[test]
    fn every_changed_octet_is_noticed() {
        let value = key()
            .seal(
                "h",
                "access_token",
                &Secret::new("token"),
                TokenFormat::AesGcm,
            )
            .expect("randomness");
        let octets = BASE64_STANDARD.decode(&value[3..]).expect("base64");
        for i in 0..octets.len() {
            let mut changed = octets.clone();
            changed[i] ^= 1;
            let changed = format!("v1:{}", BASE64_STANDARD.encode(changed));
            let opened = key().open("h", "access_token", &changed);
            assert_eq!(opened.err(), Some(OpenError::WrongKey), "octet {i}");
        }
    }

    #[test]
    fn damaged_values_are_told_from_wrong_keys() {
        for value in [
            "",
            "v1:",
            "v1:!!!!",
            "v1:AAAA",
            "plain",
            "v2:AAAA",
            "gAAAAA",
            "gAAAAA=é",
        ] {
            let opened = key().open("h", "refresh_token", value);
            assert!(
                matches!(
                    &opened,
                    Err(OpenError::Damaged(Damaged {
                        option: "refresh_token",
                        ..
                    }))
                ),
                "{value}: {:?}",
                opened.err()
            );
        }
    }

    #[test]
    fn salt_and_iterations_are_read_as_the_python_tool_writes_them() {
        let kdf = Kdf::parse("AAECAwQFBgcICQoLDA0ODw==", Some("1200000")).expect("both good");
        assert_eq!(kdf.salt, (0..16).collect::<Vec<u8>>());
        assert_eq!(kdf.salt_text(), "AAECAwQFBgcICQoLDA0ODw==");
        assert_eq!(kdf.iterations, 1_200_000);
        assert_eq!(
            Kdf::parse("AAEC", None).map(|kdf| kdf.iterations),
            Ok(100_000)
        );
        for (salt, iterations) in [
            ("***", None),
            ("", None),
            ("AAEC", Some("0")),
            ("AAEC", Some("99999999999")),
        ] {
            assert!(
                Kdf::parse(salt, iterations).is_err(),
                "{salt} {iterations:?}"
            );
        }
    }
}
