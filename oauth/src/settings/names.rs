//! The names of all options, and the nearest of them to a misspelt one.

/// Allowed anywhere and ignored.
pub(super) const DOCUMENTATION: &str = "documentation";

/// Options of a server: `[IMAP-n]`, `[POP-n]`, `[SMTP-n]`.
pub const SERVER: &[&str] = &[
    "server_address",
    "server_port",
    "server_starttls",
    "local_address",
    "local_certificate_path",
    "local_key_path",
    "local_starttls",
    "plugins",
    "server_ca_path",
    "allow_from",
    "proxy_protocol",
];

/// The old name of `server_starttls`, of `[SMTP-n]` alone.
pub(super) const OLD_STARTTLS: &str = "starttls";

/// Options of an account that its user writes: `[address@domain]`, `[@domain]`, `[@]`.
pub const ACCOUNT: &[&str] = &[
    "permission_url",
    "token_url",
    "oauth2_scope",
    "oauth2_resource",
    "oauth2_flow",
    "client_id",
    "client_secret",
    "redirect_uri",
    "redirect_listen_address",
    "use_pkce",
    "jwt_certificate_path",
    "jwt_key_path",
    "sasl_user",
    "sasl_user_imap",
    "sasl_user_pop",
    "sasl_user_smtp",
    "sasl_mechanism",
];

/// Options that the proxy writes into the sections of accounts.
pub const SAVED: &[&str] = &[
    "token_salt",
    "token_iterations",
    "access_token",
    "access_token_expiry",
    "refresh_token",
    "client_secret_encrypted",
    "last_activity",
];

/// Options of `[emailproxy]`.
pub const GLOBAL: &[&str] = &[
    "delete_account_token_on_password_error",
    "encrypt_client_secret_on_first_use",
    "use_login_password_as_client_credentials_secret",
    "allow_catch_all_accounts",
    "token_format",
    "console_address",
    "notify_command",
    "max_sessions",
    "max_sessions_per_address",
    "outgoing_proxy",
];

/// The known name that is meant most probably; `None` where nothing is near.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let (distance, nearest) = known.map(|known| (distance(name, known), known)).min()?;
    // A third of the letters may be wrong: enough for a forgotten word part, too little for another word.
    (distance <= (nearest.len() / 3).max(2)).then_some(nearest)
}

/// Whether an unknown option's name may be shown: an unindented line of a pasted key looks like an option as well.
pub(super) fn presentable(name: &str) -> bool {
    let digits = name.bytes().filter(u8::is_ascii_digit).count();
    let word = |word: &str| word.len() <= 16 && word.bytes().all(|b| b.is_ascii_alphanumeric());
    name.len() <= 40 && digits <= 2 && name.split(['_', '-', ' ']).all(word)
}

/// Levenshtein's distance, in characters. Names longer than any that is known are cut.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().take(100).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (one, other, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("kitten", "sitting", 3),
            ("flaw", "lawn", 2),
        ] {
            assert_eq!(distance(one, other), expected, "{one} {other}");
        }
    }

    #[test]
    fn misspelt_names_are_recognised_and_others_are_not() {
        let find = |name| nearest(name, ACCOUNT.iter().copied());
        assert_eq!(find("clientid"), Some("client_id"));
        assert_eq!(find("oauth_scope"), Some("oauth2_scope"));
        assert_eq!(find("redirect_url"), Some("redirect_uri"));
        assert_eq!(find("colour"), None);
        assert_eq!(
            nearest("server_start_tls", SERVER.iter().copied()),
            Some("server_starttls")
        );
    }

    #[test]
    fn pieces_of_keys_are_not_presentable() {
        assert!(presentable("oauth2_scope"));
        assert!(!presentable("miievqibadanbgkqhkig9w0baqefaascbkcwggsjagea"));
        assert!(!presentable("x9k2m4q"));
        assert!(!presentable("\"private_key\""));
    }
}
