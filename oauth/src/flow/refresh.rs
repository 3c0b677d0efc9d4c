//! RFC 6749 §6.

use super::{ClientAuth, Form};
use crate::settings::Account;
use proxy_proto::Secret;

/// The token request. The scope is left out: it stays what was granted.
pub fn token_request(account: &Account, auth: &ClientAuth, refresh_token: &Secret) -> Form {
    Form::grant("refresh_token", &account.client_id, auth)
        .with("refresh_token", refresh_token.expose())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::test::account;

    #[test]
    fn the_scope_stays_what_was_granted() {
        let form = token_request(&account(), &ClientAuth::None, &Secret::new("1//r"));
        assert_eq!(form.value("grant_type"), Some("refresh_token"));
        assert_eq!(form.value("refresh_token"), Some("1//r"));
        assert_eq!(form.value("scope"), None);
    }
}
