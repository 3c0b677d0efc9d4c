//! Providers' error codes: what they mean for a refresh token, and what the user can do.

/// Errors of RFC 6749 §5.2 and OpenID Connect Core §3.1.2.6 that end a refresh token: only the user can help.
const ENDED: [&str; 4] = [
    "invalid_grant",
    "interaction_required",
    "consent_required",
    "login_required",
];

/// Microsoft's codes for grants that are expired, revoked, or need the user again.
const ENDED_AADSTS: [u64; 17] = [
    50055,  // password expired
    50076,  // multi-factor authentication needed since a change of configuration
    50078,  // multi-factor authentication expired
    50079,  // multi-factor authentication has to be set up
    50089,  // flow token expired
    50132,  // session revoked: password changed or expired
    50133,  // session expired with the password
    50173,  // grant revoked: password reset or tokens revoked
    54005,  // code redeemed already
    65001,  // consent missing
    70000,  // grant not valid
    70008,  // grant expired
    70043,  // expired by sign-in frequency
    70044,  // session expired or revoked
    500133, // assertion out of its time
    700082, // refresh token expired by inactivity
    700084, // refresh token of a single-page app expired
];

/// What brings refresh tokens.
pub(crate) const OFFLINE: &str =
    "Microsoft wants offline_access in oauth2_scope; Google gives one only with the first consent";

/// Whether the refresh token is of no more use.
pub(super) fn ends_grant(code: &str, description: &str, error_codes: &[u64]) -> bool {
    ENDED.contains(&code)
        || error_codes.iter().any(|n| ENDED_AADSTS.contains(n))
        || aadsts(description).is_some_and(|n| ENDED_AADSTS.contains(&n))
}

/// Whether the provider itself says that it may work later.
pub(super) fn is_transient(code: &str) -> bool {
    matches!(
        code,
        "temporarily_unavailable" | "server_error" | "slow_down" | "UNAVAILABLE"
    )
}

/// One line: what the provider said, and what to do where that is known.
pub(crate) fn explain(code: &str, description: &str) -> String {
    let mut text = format!("the provider answered {code}");
    if !description.is_empty() {
        text.push_str(&format!(" ({description})"));
    }
    if let Some(advice) = advice(code, description) {
        text.push_str("; ");
        text.push_str(advice);
    }
    text
}

fn advice(code: &str, description: &str) -> Option<&'static str> {
    let by_number = aadsts(description).and_then(|number| {
        Some(match number {
            7000215 => "client_secret is wrong: it must be the secret's value, not its id",
            7000222 => "client_secret has expired: create a new one at the provider",
            7000218 => "this client needs a client_secret or a certificate",
            700016 | 90002 => "check client_id, and the tenant in token_url and permission_url",
            700025 => "this client is public: remove client_secret",
            50194 => "the client serves one tenant only: put its id in place of common in the URLs",
            50126 => "the provider does not accept this login name and password",
            50034 | 50020 => {
                "the account is not known in this tenant: check the tenant in token_url"
            }
            50076 | 50079 => {
                "the account needs multi-factor authentication: use a flow with a permission_url"
            }
            50011 => "register redirect_uri for this client at the provider",
            65001 | 65004 => "consent to the client's permissions is missing",
            70011 => "check oauth2_scope",
            _ => return None,
        })
    });
    by_number.or_else(|| {
        Some(match code {
            "invalid_client" => "check client_id and client_secret",
            "unauthorized_client" => "the client may not use this flow: check oauth2_flow",
            "unsupported_grant_type" => "the provider does not offer this flow: check oauth2_flow",
            "invalid_scope" => "check oauth2_scope",
            "redirect_uri_mismatch" => "register redirect_uri for this client at the provider",
            "access_denied" => "consent was refused at the provider",
            _ => return None,
        })
    })
}

/// The number behind `AADSTS`.
fn aadsts(description: &str) -> Option<u64> {
    let (_, rest) = description.split_once("AADSTS")?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    rest[..digits].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn microsofts_number_is_found() {
        for (description, expected) in [
            ("AADSTS70008: expired", Some(70008)),
            ("Error: AADSTS700082", Some(700082)),
            ("AADSTS", None),
            ("AADSTSx", None),
            ("AADSTS99999999999999999999999", None),
            ("", None),
        ] {
            assert_eq!(aadsts(description), expected, "{description}");
        }
    }

    #[test]
    fn a_number_that_only_begins_like_one_that_ends_does_not_end() {
        assert!(ends_grant("x", "AADSTS70008: expired", &[]));
        assert!(!ends_grant("x", "AADSTS7000821: another", &[]));
        assert!(!ends_grant(
            "invalid_client",
            "AADSTS7000215: secret",
            &[7000215]
        ));
    }

    #[test]
    fn advice_names_what_to_look_at() {
        let text = explain("invalid_client", "AADSTS7000215: Invalid client secret");
        assert!(
            text.contains("AADSTS7000215") && text.contains("not its id"),
            "{text}"
        );
        assert!(explain("invalid_scope", "").ends_with("check oauth2_scope"));
        assert_eq!(explain("strange", ""), "the provider answered strange");
    }
}
