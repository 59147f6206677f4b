//! The page on which a person picks one of the accounts that a grant covers.

use std::fmt::Write as _;

use axum::Json;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::json;
use shared::connectors::AccountChoice;
use url::Url;

use super::authorization_step::StartedStep;
use super::page::{FormTarget, accepts_html, escape, page};

/// The accounts to choose from, and the step that continues with the chosen one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct AccountPicker {
    provider: String,
    state: String,
    callback: Url,
    accounts: Vec<AccountChoice>,
}

impl AccountPicker {
    pub(super) fn new(
        provider: &str,
        started: &StartedStep,
        callback: Url,
        accounts: Vec<AccountChoice>,
    ) -> Self {
        Self {
            provider: provider.to_owned(),
            state: started.state.expose_secret().to_owned(),
            callback,
            accounts,
        }
    }

    /// The response: a page if the client accepts HTML, else JSON with a URL per account.
    pub(super) fn to_response(&self, headers: &HeaderMap) -> Response {
        if !accepts_html(headers) {
            let choices: Vec<_> = self
                .accounts
                .iter()
                .map(|account| json!({ "account": account, "choose_url": self.url(account) }))
                .collect();
            return Json(json!({ "choices": choices })).into_response();
        }
        let title = format!("Connect {}", escape(&self.provider));
        page(&title, &self.body(), FormTarget::None)
    }

    fn url(&self, account: &AccountChoice) -> Url {
        let mut url = self.callback.clone();
        url.query_pairs_mut()
            .append_pair("state", &self.state)
            .append_pair("account", &account.id);
        url
    }

    fn body(&self) -> String {
        let mut body = "<p>Your grant covers several accounts. Choose the one to connect. \
             To connect another one, start again.</p>"
            .to_owned();
        for account in &self.accounts {
            let _infallible = write!(
                body,
                "\n<a class=\"choice\" href=\"{}\"><b>{}</b><br>{}</a>",
                escape(self.url(account).as_str()),
                escape(&account.name),
                escape(account.url.as_deref().unwrap_or_default()),
            );
        }
        body
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use axum::http::header::{ACCEPT, CONTENT_SECURITY_POLICY, CONTENT_TYPE};

    use super::*;

    fn picker(name: &str) -> AccountPicker {
        AccountPicker {
            provider: "Jira".to_owned(),
            state: "a-state".to_owned(),
            callback: Url::parse("http://127.0.0.1:8080/v1/connect/jira/callback").expect("a URL"),
            accounts: vec![AccountChoice {
                id: "site-1".to_owned(),
                name: name.to_owned(),
                url: Some("https://acme.atlassian.net".to_owned()),
            }],
        }
    }

    #[test]
    fn account_names_are_escaped() {
        let page = picker("\"><script>alert(1)</script>&").body();
        assert!(!page.contains("<script>"), "{page}");
        assert!(page.contains("&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;&amp;"));
    }

    #[test]
    fn clients_without_html_get_urls() {
        let picker = picker("Acme");
        let json = picker.to_response(&HeaderMap::new());
        assert_eq!(json.headers()[CONTENT_TYPE], "application/json");
        assert_eq!(
            picker.url(&picker.accounts[0]).query(),
            Some("state=a-state&account=site-1")
        );
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("text/html,*/*;q=0.8"));
        let page = picker.to_response(&headers);
        assert_eq!(page.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
        assert!(page.headers().contains_key(CONTENT_SECURITY_POLICY));
    }
}
