//! The page on which a person chooses one of the accounts that a grant covers.

use axum::Json;
use axum::http::header::{ACCEPT, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use shared::connectors::AccountChoice;
use url::Url;

use super::flow::Begun;

/// The page is text and links: nothing may run in it, and nobody may frame it.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; \
                      frame-ancestors 'none'; base-uri 'none'";

/// What there is to choose from, and the leg that the choice goes on with.
pub(super) struct Choice {
    provider: &'static str,
    state: SecretString,
    callback: Url,
    accounts: Vec<AccountChoice>,
}

impl Choice {
    pub(super) fn new(
        provider: &'static str,
        begun: &Begun,
        callback: Url,
        accounts: Vec<AccountChoice>,
    ) -> Self {
        Self {
            provider,
            state: begun.state.clone(),
            callback,
            accounts,
        }
    }

    /// A page for whoever accepts one, else JSON: for each account, the URL that chooses it.
    pub(super) fn answer(&self, headers: &HeaderMap) -> Response {
        let accepts = |value: &HeaderValue| {
            value
                .to_str()
                .is_ok_and(|text| text.to_ascii_lowercase().contains("text/html"))
        };
        if !headers.get_all(ACCEPT).iter().any(accepts) {
            let choices: Vec<_> = self
                .accounts
                .iter()
                .map(|account| json!({ "account": account, "choose_url": self.url(account) }))
                .collect();
            return Json(json!({ "choices": choices })).into_response();
        }
        let headers = [
            (CONTENT_TYPE, "text/html; charset=utf-8"),
            (CONTENT_SECURITY_POLICY, POLICY),
        ];
        (headers, self.page()).into_response()
    }

    fn url(&self, account: &AccountChoice) -> Url {
        let mut url = self.callback.clone();
        url.query_pairs_mut()
            .append_pair("state", self.state.expose_secret())
            .append_pair("account", &account.id);
        url
    }

    fn page(&self) -> String {
        let provider = escape(self.provider);
        let links: Vec<String> = self
            .accounts
            .iter()
            .map(|account| {
                format!(
                    "<a href=\"{}\"><b>{}</b><br>{}</a>",
                    escape(self.url(account).as_str()),
                    escape(&account.name),
                    escape(account.url.as_deref().unwrap_or_default()),
                )
            })
            .collect();
        let links = links.join("\n");
        format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width\">\
             <title>Connect {provider}</title>\
             <style>body{{font-family:system-ui;max-width:32rem;margin:3rem auto;padding:0 1rem}}\
             a{{display:block;padding:.75rem 1rem;margin:.5rem 0;border:1px solid;\
             border-radius:.5rem;text-decoration:none}}</style></head>\n<body>\
             <h1>Connect {provider}</h1>\n\
             <p>Your grant covers several accounts. Choose the one to connect; \
             for another one, connect again.</p>\n{links}\n</body></html>\n"
        )
    }
}

/// Text as it may stand in HTML, in attributes too.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(name: &str) -> Choice {
        Choice {
            provider: "Jira",
            state: "a-state".into(),
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
        let page = choice("\"><script>alert(1)</script>&").page();
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
