//! RFC 6749 §4.4: the client opens the mailbox by itself.

use super::{ClientAuth, Form};
use crate::settings::Account;

/// The token request.
pub fn token_request(account: &Account, auth: &ClientAuth) -> Form {
    Form::grant("client_credentials", &account.client_id, auth)
        .with_optional("scope", account.oauth2_scope.as_deref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::test::account;
    use proxy_proto::Secret;

    #[test]
    fn only_the_client_is_named() {
        let form = token_request(&account(), &ClientAuth::Secret(Secret::new("s")));
        assert_eq!(form.value("grant_type"), Some("client_credentials"));
        assert_eq!(form.value("client_secret"), Some("s"));
        assert_eq!(form.value("scope"), Some("mail offline_access"));
        assert_eq!(form.value("username"), None);
    }
}
