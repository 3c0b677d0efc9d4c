//! RFC 6749 §4.3: the login name and password are the provider's own.

use super::{ClientAuth, Form};
use crate::settings::Account;
use proxy_proto::Secret;

/// The token request; `resource` for providers that want it, beside the scope or in its place.
pub fn token_request(account: &Account, auth: &ClientAuth, password: &Secret) -> Form {
    Form::grant("password", &account.client_id, auth)
        .with("username", &account.name)
        .with("password", password.expose())
        .with_optional("scope", account.oauth2_scope.as_deref())
        .with_optional("resource", account.oauth2_resource.as_deref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::test::account;

    #[test]
    fn scope_and_resource_go_along_where_configured() {
        let mut account = account();
        let request =
            |account: &Account| token_request(account, &ClientAuth::None, &Secret::new("pw"));
        let form = request(&account);
        assert_eq!(form.value("username"), Some("user@example.com"));
        assert_eq!(form.value("password"), Some("pw"));
        assert_eq!(form.value("scope"), Some("mail offline_access"));
        assert_eq!(form.value("resource"), None);
        account.oauth2_scope = None;
        account.oauth2_resource = Some("https://partner.outlook.cn".to_owned());
        let form = request(&account);
        assert_eq!(form.value("scope"), None);
        assert_eq!(form.value("resource"), Some("https://partner.outlook.cn"));
    }
}
