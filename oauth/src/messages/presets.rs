//! How to come by a client id, shown by `emailproxy add`.

proxy_proto::texts! {
    /// Gmail.
    pub(crate) const REGISTER_AT_GOOGLE =
        "create a client of type \"Desktop app\" in the Google Cloud console, https://console.cloud.google.com/auth/clients";
    /// Outlook, Office 365.
    pub(crate) const REGISTER_AT_MICROSOFT =
        "register an application with a \"public client/native\" redirect URI http://localhost in the Entra admin centre, \
         https://entra.microsoft.com (App registrations)";
    /// Fastmail.
    pub(crate) const REGISTER_AT_FASTMAIL =
        "ask Fastmail for a client with the redirect URI http://localhost:8083, \
         https://www.fastmail.com/for-developers/oauth/";
    /// Yahoo.
    pub(crate) const REGISTER_AT_YAHOO =
        "Yahoo takes no new registrations for mail: use those of an existing program that you use";
    /// AOL.
    pub(crate) const REGISTER_AT_AOL =
        "AOL takes no new registrations for mail: use those of an existing program that you use";
}
