//! Settings of the client, the consent and the tokens that tests may change.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::data_center::DataCenter;

/// Current settings of the family; the control API shows and changes them.
#[expect(clippy::struct_excessive_bools, reason = "independent switches")]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Settings {
    /// Redirect URIs of the OAuth client.
    pub redirect_uris: Vec<String>,
    /// Secrets of data centres whose secret differs from that of the client.
    pub client_secrets: BTreeMap<DataCenter, String>,
    /// The client is registered for all data centres, not only for the first one.
    pub multi_dc: bool,
    /// The consent page declines.
    pub deny_authorizations: bool,
    /// The redirect's query ends with `&`.
    pub trailing_ampersand: bool,
    /// `accounts-server` of the redirect; by default, that of the account's data centre.
    pub accounts_server: Option<String>,
    /// `location` of the redirect; by default, the account's data centre.
    pub location: Option<String>,
    /// Consents issue no refresh token.
    pub withhold_refresh_tokens: bool,
    /// Scopes that are granted and then refused at use.
    pub refused_scopes: Vec<String>,
    /// Responses have `expires_in_sec`, and milliseconds in `expires_in`, as in the past.
    pub expires_in_sec: bool,
    /// Responses with tokens have no `api_domain`.
    pub omit_api_domain: bool,
    /// Responses with tokens have no `scope`.
    pub omit_scope: bool,
    /// The id in the user information is a string instead of a number.
    pub zuid_as_string: bool,
    /// Lifetime of an access token.
    pub token_seconds: i64,
    /// Maximum number of live access tokens of a refresh token; the oldest ends silently.
    pub max_access_tokens: usize,
    /// Maximum number of live refresh tokens of a person; the oldest ends silently.
    pub max_refresh_tokens: usize,
    /// Refreshes of a refresh token in ten minutes; `None` is unlimited.
    pub access_tokens_per_window: Option<usize>,
    /// New refresh tokens of a person in a minute; `None` is unlimited.
    pub refresh_tokens_per_minute: Option<usize>,
    /// Error of every request for tokens, such as `Access Denied`.
    pub token_error: Option<String>,
    /// Status of error responses to requests for tokens.
    pub error_status: u16,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            redirect_uris: Vec::new(),
            client_secrets: BTreeMap::new(),
            multi_dc: true,
            deny_authorizations: false,
            trailing_ampersand: false,
            accounts_server: None,
            location: None,
            withhold_refresh_tokens: false,
            refused_scopes: Vec::new(),
            expires_in_sec: false,
            omit_api_domain: false,
            omit_scope: false,
            zuid_as_string: false,
            token_seconds: 3_600,
            max_access_tokens: 15,
            max_refresh_tokens: 20,
            access_tokens_per_window: Some(10),
            refresh_tokens_per_minute: Some(5),
            token_error: None,
            error_status: 200,
        }
    }
}
