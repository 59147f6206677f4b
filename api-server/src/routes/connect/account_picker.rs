//! The choice of one of the accounts that a grant covers.

use axum::Json;
use axum::response::{IntoResponse, Response};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::json;
use shared::connectors::AccountChoice;
use url::Url;

use super::authorization_step::StartedStep;

/// The accounts to choose from, and the step that continues with the chosen one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct AccountPicker {
    /// The state of the step that continues.
    pub(super) state: String,
    pub(super) callback: Url,
    pub(super) accounts: Vec<AccountChoice>,
}

impl AccountPicker {
    pub(super) fn new(started: &StartedStep, callback: Url, accounts: Vec<AccountChoice>) -> Self {
        Self {
            state: started.state.expose_secret().to_owned(),
            callback,
            accounts,
        }
    }

    /// The JSON response, with a URL per account.
    pub(super) fn to_json(&self) -> Response {
        let choices: Vec<_> = self
            .accounts
            .iter()
            .map(|account| json!({ "account": account, "choose_url": self.url(account) }))
            .collect();
        Json(json!({ "choices": choices })).into_response()
    }

    fn url(&self, account: &AccountChoice) -> Url {
        let mut url = self.callback.clone();
        url.query_pairs_mut()
            .append_pair("state", &self.state)
            .append_pair("account", &account.id);
        url
    }
}

#[cfg(test)]
mod tests {
    use axum::http::header::CONTENT_TYPE;

    use super::*;

    #[test]
    fn clients_without_html_get_urls() {
        let picker = AccountPicker {
            state: "a-state".to_owned(),
            callback: Url::parse("http://127.0.0.1:8080/v1/connect/jira/callback").expect("a URL"),
            accounts: vec![AccountChoice {
                id: "site-1".to_owned(),
                name: "Acme".to_owned(),
                url: Some("https://acme.atlassian.net".to_owned()),
            }],
        };
        assert_eq!(picker.to_json().headers()[CONTENT_TYPE], "application/json");
        assert_eq!(
            picker.url(&picker.accounts[0]).query(),
            Some("state=a-state&account=site-1")
        );
    }
}
