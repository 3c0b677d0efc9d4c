//! Values in the format of the Python tool: Fernet (version 0x80).
//!
//! URL-safe base64 of version, time (8 octets), IV (16), AES-128-CBC ciphertext with PKCS #7 padding, HMAC-SHA256 (32) over all
//! before it. Of the 32 octets of the key the first half signs, the second encrypts. The time is written, never looked at.

use crate::{
    crypt::{NoRandomness, random},
    messages::saved as messages,
};
use aes::Aes128;
use base64::prelude::{BASE64_URL_SAFE, Engine};
use cbc::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit, block_padding::Pkcs7};
use hmac::{Hmac, Mac};
use proxy_proto::Secret;
use sha2::Sha256;
use std::time::{SystemTime, UNIX_EPOCH};
use zeroize::Zeroizing;

/// What every such value begins with: the version, and the high octets of a time before the year 2106.
pub(crate) const PREFIX: &str = "gAAAAA";

const VERSION: u8 = 0x80;
const BLOCK: usize = 16;
const HEAD: usize = 1 + 8 + BLOCK;
const SIGNATURE: usize = 32;

/// Why a value could not be decrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FernetError {
    /// No key can open it; continues a sentence that begins with the option's name.
    Format(&'static str),
    /// Another key, or a value that was changed.
    Signature,
}

/// Decrypts `value`.
pub(crate) fn open(key: &[u8; 32], value: &str) -> Result<Zeroizing<Vec<u8>>, FernetError> {
    let token = BASE64_URL_SAFE
        .decode(value)
        .map_err(|_| FernetError::Format(messages::NOT_BASE64))?;
    let blocks = token.len().checked_sub(HEAD + SIGNATURE);
    if !blocks.is_some_and(|n| n >= BLOCK && n % BLOCK == 0) {
        return Err(FernetError::Format(messages::CUT_SHORT));
    }
    if token[0] != VERSION {
        return Err(FernetError::Format(messages::UNKNOWN_VERSION));
    }
    let (signed, signature) = token.split_at(token.len() - SIGNATURE);
    let (signing, encryption) = key.split_at(16);
    mac(signing, signed)
        .verify_slice(signature)
        .map_err(|_| FernetError::Signature)?;

    let mut text = Zeroizing::new(signed[HEAD..].to_vec());
    let length = cbc::Decryptor::<Aes128>::new_from_slices(encryption, &signed[HEAD - BLOCK..HEAD])
        .map_err(|_| FernetError::Signature)?
        .decrypt_padded::<Pkcs7>(&mut text)
        .map_err(|_| FernetError::Format(messages::BADLY_PADDED))?
        .len();
    text.truncate(length);
    Ok(text)
}

/// Encrypts `text` under a fresh IV.
pub(crate) fn seal(key: &[u8; 32], text: &Secret) -> Result<String, NoRandomness> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs());
    seal_with(key, text, now, random::<BLOCK>()?)
}

fn seal_with(
    key: &[u8; 32],
    text: &Secret,
    now: u64,
    iv: [u8; BLOCK],
) -> Result<String, NoRandomness> {
    let text = text.expose().as_bytes();
    let (signing, encryption) = key.split_at(16);
    let mut buffer = Zeroizing::new(vec![0; (text.len() / BLOCK + 1) * BLOCK]);
    buffer[..text.len()].copy_from_slice(text);
    // neither can fail: the key is 16 octets, and the buffer has room for the padding
    let ciphertext = cbc::Encryptor::<Aes128>::new_from_slices(encryption, &iv)
        .map_err(|_| NoRandomness)?
        .encrypt_padded::<Pkcs7>(&mut buffer, text.len())
        .map_err(|_| NoRandomness)?;

    let mut token = Vec::with_capacity(HEAD + ciphertext.len() + SIGNATURE);
    token.push(VERSION);
    token.extend_from_slice(&now.to_be_bytes());
    token.extend_from_slice(&iv);
    token.extend_from_slice(ciphertext);
    let signature = mac(signing, &token).finalize().into_bytes();
    token.extend_from_slice(&signature);
    Ok(BASE64_URL_SAFE.encode(token))
}

fn mac(key: &[u8], message: &[u8]) -> Hmac<Sha256> {
    let mut mac = crate::keyring::hmac(key);
    mac.update(message);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypt::{Kdf, OpenError};

    // the vectors of the Fernet specification
    const SPEC_KEY: &str = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=";
    const SPEC_TOKEN: &str = "gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA==";

    fn spec_key() -> [u8; 32] {
        BASE64_URL_SAFE
            .decode(SPEC_KEY)
            .expect("base64")
            .try_into()
            .expect("32 octets")
    }

    #[test]
    fn the_specifications_token_opens() {
        let text = open(&spec_key(), SPEC_TOKEN).expect("the specification's key");
        assert_eq!(text.as_slice(), b"hello");
    }

    #[test]
    fn the_specifications_token_is_written() {
        let iv = std::array::from_fn(|i| i as u8);
        let token = seal_with(&spec_key(), &Secret::new("hello"), 499_162_800, iv);
        assert_eq!(token.as_deref(), Ok(SPEC_TOKEN));
    }

    #[test]
    fn invalid_tokens_of_the_specification_are_refused() {
        for (why, token) in [
            (
                "incorrect mac",
                "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAl1-szkFVzXTuGb4hR8AKtwcaX1YdykQUFBQUFBQUFBQQ==",
            ),
            (
                "too short",
                "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPA==",
            ),
            (
                "invalid base64",
                "%%%%%%%%%%%%%AECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAl1-szkFVzXTuGb4hR8AKtwcaX1YdykRtfsH-p1YsUD2Q==",
            ),
            (
                "payload size not multiple of block size",
                "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPOm73QeoCk9uGib28Xe5vz6oxq5nmxbx_v7mrfyudzUm",
            ),
            (
                "payload padding error",
                "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0ODz4LEpdELGQAad7aNEHbf-JkLPIpuiYRLQ3RtXatOYREu2FWke6CnJNYIbkuKNqOhw==",
            ),
            (
                "incorrect IV (causes padding error)",
                "gAAAAAAdwJ6xBQECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAkLhFLHpGtDBRLRTZeUfWgHSv49TF2AUEZ1TIvcZjK1zQ==",
            ),
        ] {
            assert!(open(&spec_key(), token).is_err(), "{why}");
        }
    }

    /// Written by Python's `cryptography` with the password `pässword one` and the salt 0, 1, … 15.
    const FROM_PYTHON: [(u32, &str, &str); 3] = [
        (
            100_000,
            "ya29.access-token",
            "gAAAAABrBhvVpo7QpC9_tg1Yrt3WQVifTKnx39_Fko_4rLgFoMYPphKQTtnMyKbS1ofcNYMzqGK7tSZNpQKc4dHRUrBzTyMXq8eezZF_7Jal45pM41pc0WE=",
        ),
        (
            1_000,
            "1//refresh-token",
            "gAAAAABrBhvVnYISVpEoZxPBjmoGa8lrc5ANL279vKuVT6kFw4JrMWUhZVSJ_cSGAWwdnSPlM10WkxOWJz2JMyZQutqT7oBifO8eocUMmrl81MdlVJPaURc=",
        ),
        (
            1_000,
            "client s3cret",
            "gAAAAABrBhvVKLNAo782_hFZxGOd1f2lS7dEkOvWtjkYF8y13-HeiMQeG1SJESVgQCH7PB6b4MepQQCscrzMZTr73dWOJDGIoQ==",
        ),
    ];

    #[test]
    fn values_of_the_python_tool_open_with_their_password_only() {
        for (iterations, text, value) in FROM_PYTHON {
            let kdf = Kdf {
                salt: (0..16).collect(),
                iterations,
            };
            let opened =
                kdf.derive(&Secret::new("pässword one"))
                    .open("a@b.example", "access_token", value);
            assert!(opened.expect("the right password").expose() == text);
            let opened =
                kdf.derive(&Secret::new("password one"))
                    .open("a@b.example", "access_token", value);
            assert_eq!(opened.err(), Some(OpenError::WrongKey));
        }
    }
}
