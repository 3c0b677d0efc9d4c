//! `[emailproxy]`.

use super::{Options, TokenFormat, reader::Reader};
use crate::messages::settings as messages;
use proxy_proto::Secret;

/// The heading.
pub(super) const SECTION: &str = "emailproxy";

impl Default for Options {
    fn default() -> Self {
        Options {
            delete_account_token_on_password_error: true,
            encrypt_client_secret_on_first_use: false,
            use_login_password_as_client_credentials_secret: false,
            allow_catch_all_accounts: false,
            token_format: TokenFormat::AesGcm,
            console_address: None,
            notify_command: None,
            outgoing_proxy: None,
            max_sessions: None,
            max_sessions_per_address: None,
        }
    }
}

/// Errors in here are fatal: a mistyped safety switch must not silently mean its default.
pub(super) fn read(reader: &mut Reader<'_>) -> Options {
    let default = Options::default();
    let mut boolean = |option: &str, default: bool| reader.boolean(option).unwrap_or(default);
    Options {
        delete_account_token_on_password_error: boolean(
            "delete_account_token_on_password_error",
            default.delete_account_token_on_password_error,
        ),
        encrypt_client_secret_on_first_use: boolean(
            "encrypt_client_secret_on_first_use",
            default.encrypt_client_secret_on_first_use,
        ),
        use_login_password_as_client_credentials_secret: boolean(
            "use_login_password_as_client_credentials_secret",
            default.use_login_password_as_client_credentials_secret,
        ),
        allow_catch_all_accounts: boolean(
            "allow_catch_all_accounts",
            default.allow_catch_all_accounts,
        ),
        token_format: token_format(reader),
        console_address: reader.owned("console_address"),
        notify_command: reader.owned("notify_command"),
        outgoing_proxy: reader.owned("outgoing_proxy").map(Secret::new),
        max_sessions: reader.number("max_sessions", 1, usize::MAX),
        max_sessions_per_address: reader.number("max_sessions_per_address", 1, usize::MAX),
    }
}

fn token_format(reader: &mut Reader<'_>) -> TokenFormat {
    let option = "token_format";
    match reader.text(option).map(str::to_lowercase).as_deref() {
        None | Some("aes-gcm") => TokenFormat::AesGcm,
        Some("fernet") => TokenFormat::Fernet,
        Some(_) => {
            reader.error(option, messages::TOKEN_FORMAT);
            TokenFormat::AesGcm
        }
    }
}
