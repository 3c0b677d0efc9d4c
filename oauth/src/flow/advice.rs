//! Providers' error codes: what they mean for a refresh token, and what the user can do.

use crate::messages::{advice as messages, provider};

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
    let text = match description {
        "" => provider::answered(code),
        words => provider::answered_with_words(code, words),
    };
    match advice(code, description) {
        Some(advice) => format!("{text}; {advice}"),
        None => text,
    }
}

fn advice(code: &str, description: &str) -> Option<&'static str> {
    let by_number = aadsts(description).and_then(|number| {
        Some(match number {
            7000215 => messages::WRONG_SECRET,
            7000222 => messages::EXPIRED_SECRET,
            7000218 => messages::SECRET_NEEDED,
            7000112 => messages::CLIENT_DISABLED,
            700016 | 90002 => messages::CHECK_CLIENT_AND_TENANT,
            700025 => messages::PUBLIC_CLIENT,
            700027 => messages::UNREGISTERED_CERTIFICATE,
            50194 => messages::ONE_TENANT,
            9002331 | 9001023 => messages::PERSONAL_ONLY,
            50126 => messages::WRONG_LOGIN,
            50034 | 50020 => messages::UNKNOWN_IN_TENANT,
            50053 => messages::LOCKED,
            50057 => messages::ACCOUNT_DISABLED,
            50055 => messages::PASSWORD_EXPIRED,
            50076 | 50079 => messages::MULTI_FACTOR,
            50105 => messages::NOT_ASSIGNED,
            53000..=53004 | 530003 => messages::CONDITIONAL_ACCESS,
            50011 => messages::REGISTER_REDIRECT,
            65001 | 65004 | 90094 => messages::CONSENT_MISSING,
            70011 | 28002 | 28003 => messages::CHECK_SCOPE,
            500011 => messages::UNKNOWN_RESOURCE,
            _ => return None,
        })
    });
    by_number.or_else(|| {
        Some(match code {
            // Google's words for a refresh token
            "invalid_grant" if description.contains("expired or revoked") => {
                messages::APPROVE_AGAIN
            }
            "invalid_client" => messages::CHECK_CLIENT,
            "deleted_client" => messages::CLIENT_DELETED,
            "disabled_client" => messages::CLIENT_DISABLED,
            "unauthorized_client" => messages::CLIENT_MAY_NOT,
            "unsupported_grant_type" => messages::FLOW_NOT_OFFERED,
            "invalid_scope" => messages::CHECK_SCOPE,
            "redirect_uri_mismatch" => messages::REGISTER_REDIRECT,
            "access_denied" => messages::CONSENT_REFUSED,
            "admin_policy_enforced" | "org_internal" => messages::CLIENT_NOT_ALLOWED,
            _ => return None,
        })
    })
}

/// What to do about a mail server's refusal of a login (its final answer, or the decoded error challenge), where that is known. For
/// logs: the client gets the server's own words.
pub fn of_mail_server(text: &str) -> Option<&'static str> {
    let text = text.to_ascii_lowercase();
    let has = |part: &str| text.contains(part);
    Some(
        if has("smtpclientauthentication is disabled for the tenant") {
            messages::SMTP_AUTH_OFF
        } else if has("smtpclientauthentication is disabled for the mailbox") {
            messages::SMTP_AUTH_OFF_FOR_MAILBOX
        } else if has("5.7.139") && has("security defaults") {
            messages::SECURITY_DEFAULTS
        } else if has("5.7.139") && has("criteria") {
            messages::CONDITIONAL_ACCESS
        } else if has("5.7.139") {
            messages::SMTP_AUTH_FORBIDDEN
        } else if has("authenticated but not connected") {
            messages::MAILBOX_NOT_OPENED
        } else if has("not enabled for imap") || has("not enabled for pop") {
            messages::TURN_PROTOCOL_ON
        } else if has("access is disabled for your domain") {
            messages::PROTOCOL_FORBIDDEN
        } else if has("web login required") {
            messages::BROWSER_ONCE
        } else if has("application-specific password required")
            || has("username and password not accepted")
        {
            messages::TAKEN_FOR_A_PASSWORD
        } else if has("too many simultaneous connections") {
            messages::FEWER_CONNECTIONS
        } else if has("too many login attempts") || has("exceeded command or bandwidth limits") {
            messages::LESS_OFTEN
        } else if has("\"scope\":\"https://mail.google.com/\"") {
            messages::CHECK_SCOPE_AND_ACCOUNT
        } else {
            return None;
        },
    )
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
    fn what_ends_a_grant_and_what_does_not() {
        for number in ENDED_AADSTS {
            assert!(
                ends_grant("x", &format!("AADSTS{number}: y"), &[]),
                "{number}"
            );
            assert!(ends_grant("x", "", &[1, number]), "{number}");
        }
        for code in ENDED {
            assert!(ends_grant(code, "", &[]), "{code}");
        }
        // the client, the tenant, the provider: the grant may be as good as ever
        for number in [
            7000215, 7000222, 7000218, 700016, 90002, 50194, 90033, 50196, 700027,
        ] {
            assert!(
                !ends_grant("invalid_client", &format!("AADSTS{number}: y"), &[number]),
                "{number}"
            );
        }
        for code in [
            "invalid_client",
            "unauthorized_client",
            "invalid_request",
            "invalid_scope",
            "temporarily_unavailable",
            "server_error",
            "invalid_grants",
            "",
        ] {
            assert!(!ends_grant(code, "", &[]), "{code}");
        }
    }

    #[test]
    fn refusals_of_mail_servers_lead_to_advice() {
        for (text, expected) in [
            (
                "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant. \
                 Visit https://aka.ms/smtp_auth_disabled for more information.",
                "Set-CASMailbox",
            ),
            (
                "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox.",
                "Authenticated SMTP",
            ),
            (
                "535 5.7.139 Authentication unsuccessful, user is locked by your organization's security defaults policy.",
                "security defaults",
            ),
            (
                "535 5.7.139 Authentication unsuccessful, the request did not meet the criteria to be authenticated \
                 successfully. Contact your administrator.",
                "conditional access",
            ),
            ("535 5.7.139 Authentication unsuccessful", "administrator"),
            (
                "A1 BAD User is authenticated but not connected.",
                "sasl_user",
            ),
            (
                "A1 NO [ALERT] Your account is not enabled for IMAP use. Please visit your Gmail settings page (Failure)",
                "POP/IMAP",
            ),
            (
                "-ERR [SYS/PERM] Your account is not enabled for POP access.",
                "POP/IMAP",
            ),
            (
                "A1 NO [ALERT] IMAP access is disabled for your domain. Please contact your domain administrator",
                "administrator",
            ),
            ("A1 NO [WEBALERT https://x] Web login required.", "browser"),
            (
                "535-5.7.8 Username and Password not accepted.",
                "oauth2_scope",
            ),
            (
                "A1 NO [ALERT] Too many simultaneous connections. (Failure)",
                "fewer",
            ),
            (
                "454 4.7.0 Too many login attempts, please try again later.",
                "less often",
            ),
            (
                r#"{"status":"400","schemes":"Bearer","scope":"https://mail.google.com/"}"#,
                "this very account",
            ),
        ] {
            let advice = of_mail_server(text).unwrap_or_default();
            assert!(advice.contains(expected), "{text}: {advice}");
            assert!(
                !advice.contains(['\r', '\n']) && !advice.contains("  "),
                "{advice:?}"
            );
        }
        for text in [
            "",
            "A1 NO AUTHENTICATE failed.",
            "535 5.7.3 Authentication unsuccessful",
            "-ERR [AUTH] no",
        ] {
            assert_eq!(of_mail_server(text), None, "{text}");
        }
    }

    #[test]
    fn every_row_of_the_table_says_what_to_do() {
        for (code, description, expected) in [
            (
                "invalid_client",
                "AADSTS7000222: expired",
                "create a new one",
            ),
            (
                "invalid_client",
                "AADSTS700027: key",
                "jwt_certificate_path",
            ),
            ("invalid_request", "AADSTS90002: tenant", "tenant"),
            ("invalid_request", "AADSTS50194: not multi", "common"),
            ("invalid_grant", "AADSTS65001: consent", "administrator"),
            ("invalid_grant", "AADSTS50055: expired", "change it there"),
            (
                "access_denied",
                "AADSTS53003: blocked",
                "conditional access",
            ),
            ("interaction_required", "AADSTS50105: role", "assign"),
            ("invalid_scope", "AADSTS70011: bad", "oauth2_scope"),
            (
                "invalid_grant",
                "Token has been expired or revoked.",
                "seven days",
            ),
            (
                "deleted_client",
                "The OAuth client was deleted.",
                "register a new one",
            ),
            (
                "unauthorized_client",
                "Client is unauthorized",
                "domain-wide delegation",
            ),
            ("redirect_uri_mismatch", "Bad Request", "redirect_uri"),
            ("admin_policy_enforced", "", "administrator"),
        ] {
            let text = explain(code, description);
            assert!(text.contains(expected), "{code} {description}: {text}");
        }
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
