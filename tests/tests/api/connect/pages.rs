//! Pages of the connect flow: one for each of its states, safe, and JSON for other clients.

mod choice;
mod failures;
mod outcomes;

use serde_json::{Value, json};
use tests::harness::{System, Tenant};
use url::Url;

use super::browser::Browser;
use crate::server::ApiResponse;

/// The text of a page, after a check of its status, headers and content.
#[track_caller]
fn page(response: &ApiResponse, status: u16) -> &str {
    assert_eq!(response.status, status, "{}", response.body);
    let headers = &response.headers;
    assert_eq!(headers["content-type"], "text/html; charset=utf-8");
    assert_eq!(headers["cache-control"], "no-store");
    assert_eq!(headers["x-frame-options"], "DENY");
    assert_eq!(headers["referrer-policy"], "no-referrer");
    assert!(headers.contains_key("x-request-id"));
    let policies: Vec<_> = headers.get_all("content-security-policy").iter().collect();
    let [policy] = policies[..] else {
        panic!("one policy: {policies:?}")
    };
    let policy = policy.to_str().expect("text");
    for directive in [
        "default-src 'none'",
        "style-src 'sha256-",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action ",
    ] {
        assert!(policy.contains(directive), "{policy} lacks {directive}");
    }
    assert!(
        !policy.contains("unsafe") && !policy.contains("script-src"),
        "{policy}"
    );
    let text = response.body.as_str().expect("a page");
    assert!(text.starts_with("<!DOCTYPE html>"), "{text}");
    assert_eq!(text.matches("<style>").count(), 1, "{text}");
    assert_eq!(text.matches("<h1>").count(), 1, "{text}");
    for forbidden in ["<script", " style=", " onclick=", "javascript:", "src="] {
        assert!(!text.contains(forbidden), "{forbidden}: {text}");
    }
    text
}

#[track_caller]
fn shows(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is missing: {text}");
    }
}

/// Creates a link to Jira for the tenant.
async fn jira_link(tenant: &Tenant<'_>) -> Url {
    let created = tenant.post("/v1/connect/jira", &json!({})).await;
    let url = created["authorize_url"].as_str().expect("a URL");
    url.parse().expect("a URL")
}

/// Adds sites with these names to the person of the first site; returns that person.
async fn add_sites(system: &System, names: &[&str]) -> String {
    let (_, person) = system.accounts_at("jira").await.remove(0);
    for name in names {
        let new = json!({ "name": name, "member": person, "projects": 1, "people": 1 });
        system.sim("jira/accounts", new).await;
    }
    person
}

/// Continues from a link to Jira until the callback; returns its URL.
async fn consent_at_jira(browser: &mut Browser<'_>, link: &Url) -> Url {
    let authorize = browser.continue_from_page(link).await;
    browser.follow_redirect(&authorize).await
}

/// Makes the next code exchanges at Jira fail with a status.
async fn fail_exchange(system: &System, mut fault: Value) {
    fault["target"] = json!("request");
    fault["count"] = json!(1);
    fault["pattern"] = json!("POST /auth/oauth/token");
    system.sim("faults", fault).await;
}

/// A fault that gives this status.
fn failure(status: u16) -> Value {
    json!({ "effect": "status", "status": status })
}
