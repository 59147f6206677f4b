//! The page on which a person chooses one of the accounts that a grant covers.

use std::fmt::Write as _;

use axum::Json;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::json;
use shared::connectors::AccountChoice;
use url::Url;

use super::flow::Begun;
use super::page::{FormTarget, accepts_html, escape, page};

/// What there is to choose from, and the leg that the choice goes on with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Choice {
    provider: String,
    state: String,
    callback: Url,
    accounts: Vec<AccountChoice>,
}

impl Choice {
    pub(super) fn new(
        provider: &str,
        begun: &Begun,
        callback: Url,
        accounts: Vec<AccountChoice>,
    ) -> Self {
        Self {
            provider: provider.to_owned(),
            state: begun.state.expose_secret().to_owned(),
            callback,
            accounts,
        }
    }

    /// A page for whoever accepts one, else JSON: for each account, the URL that chooses it.
    pub(super) fn answer(&self, headers: &HeaderMap) -> Response {
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
        let mut body = "<p>Your grant covers several accounts. Choose the one to connect; \
             for another one, connect again.</p>"
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

    fn choice(name: &str) -> Choice {
        Choice {
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
    fn what_providers_and_people_name_things_stays_text() {
        let page = choice("\"><script>alert(1)</script>&").body();
        assert!(!page.contains("<script>"), "{page}");
        assert!(page.contains("&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;&amp;"));
    }

    #[test]
    fn who_accepts_no_page_gets_the_urls_that_choose() {
        let choice = choice("Acme");
        let json = choice.answer(&HeaderMap::new());
        assert_eq!(json.headers()[CONTENT_TYPE], "application/json");
        assert_eq!(
            choice.url(&choice.accounts[0]).query(),
            Some("state=a-state&account=site-1")
        );
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("text/html,*/*;q=0.8"));
        let page = choice.answer(&headers);
        assert_eq!(page.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
        assert!(page.headers().contains_key(CONTENT_SECURITY_POLICY));
    }
}
