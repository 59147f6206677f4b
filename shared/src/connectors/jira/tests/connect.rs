//! Consenting, choosing, renewing and subscribing, against a server.

use serde_json::{Value, json};
use url::Url;
use wiremock::matchers::{body_partial_json, method, path, path_regex};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::{access, account, jira, now};
use crate::connectors::jira::Jira;
use crate::connectors::jira::subscriptions::over;
use crate::connectors::{
    AuthorizeRequest, Callback, CallbackOutcome, Connector, ConnectorError, LimitScope,
    RefreshRequest, TokenSet,
};

const REDIRECT: &str = "https://poblysh.example/v1/connect/jira/callback";

fn callback(query: &[(&str, &str)], carry: Option<Value>) -> Callback {
    Callback {
        query: query
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect(),
        code_verifier: "a verifier".into(),
        redirect_uri: Url::parse(REDIRECT).expect("a URL"),
        carry,
    }
}

async fn answers(server: &MockServer, at: &str, status: u16, answer: Value) {
    Mock::given(path(at))
        .respond_with(ResponseTemplate::new(status).set_body_json(answer))
        .mount(server)
        .await;
}

fn tokens() -> Value {
    json!({ "access_token": "a-token", "refresh_token": "r-token", "expires_in": 3600,
            "scope": "read:jira-work", "token_type": "Bearer" })
}

fn site(id: &str, name: &str) -> Value {
    json!({ "id": id, "name": name, "url": format!("https://{name}.atlassian.net"),
            "scopes": ["read:jira-work", "manage:jira-webhook"] })
}

async fn consents(server: &MockServer, sites: Value) {
    answers(server, "/auth/oauth/token", 200, tokens()).await;
    answers(server, "/api/oauth/token/accessible-resources", 200, sites).await;
    Mock::given(path_regex("^/api/ex/jira/[^/]+/rest/api/3/myself$"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({
            "accountId": "712020:ada", "displayName": "Ada", "timeZone": "America/Los_Angeles",
        })))
        .mount(server)
        .await;
}

async fn outcome(jira: &Jira, query: &[(&str, &str)], carry: Option<Value>) -> CallbackOutcome {
    jira.exchange_token(callback(query, carry))
        .await
        .expect("an outcome")
}

#[tokio::test]
async fn the_browser_goes_to_atlassian_as_documented() {
    let (_server, jira, _) = jira().await;
    let url = jira
        .authorize(&AuthorizeRequest {
            state: "a state".to_owned(),
            redirect_uri: Url::parse(REDIRECT).expect("a URL"),
            code_challenge: "a challenge".to_owned(),
            carry: None,
        })
        .expect("a URL");
    let query: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    for (name, value) in [
        ("audience", "api.atlassian.com"),
        ("client_id", "client-id"),
        ("redirect_uri", REDIRECT),
        ("state", "a state"),
        ("response_type", "code"),
        ("prompt", "consent"),
        ("code_challenge", "a challenge"),
        ("code_challenge_method", "S256"),
    ] {
        assert!(
            query.contains(&(name.to_owned(), value.to_owned())),
            "{name}"
        );
    }
    let scope = query
        .iter()
        .find(|(name, _)| name == "scope")
        .expect("scopes");
    assert!(scope.1.contains("offline_access") && scope.1.contains("read:jira-work "));
}

#[tokio::test]
async fn a_consent_for_one_site_connects_it() {
    let (server, jira, _) = jira().await;
    // The same site once per product.
    let confluence = json!({ "id": "cloud-1", "name": "acme", "url": "https://acme.atlassian.net",
                             "scopes": ["read:confluence-space.summary"] });
    consents(&server, json!([site("cloud-1", "acme"), confluence])).await;
    let CallbackOutcome::Connected(grant) = outcome(&jira, &[("code", "c0de")], None).await else {
        panic!("a grant");
    };
    assert_eq!(grant.account, account());
    let tokens = grant.tokens.expect("tokens");
    assert_eq!(tokens.expires_at, Some(now() + chrono::Duration::hours(1)));
    assert!(tokens.refresh_token.is_some() && tokens.refresh_expires_at.is_some());
    let asked = server.received_requests().await.expect("requests");
    let exchange: Value = serde_json::from_slice(&asked[0].body).expect("JSON");
    assert_eq!(exchange["code_verifier"], "a verifier");
}

#[tokio::test]
async fn of_several_sites_the_chosen_one_is_connected_and_no_other() {
    let (server, jira, _) = jira().await;
    consents(
        &server,
        json!([site("cloud-2", "zeta"), site("cloud-1", "acme")]),
    )
    .await;
    let CallbackOutcome::Choose { accounts, carry } =
        outcome(&jira, &[("code", "c0de")], None).await
    else {
        panic!("a choice");
    };
    let names: Vec<&str> = accounts
        .iter()
        .map(|account| account.name.as_str())
        .collect();
    assert_eq!(names, ["acme", "zeta"]);
    let chosen = outcome(&jira, &[("account", "cloud-1")], Some(carry.clone())).await;
    let CallbackOutcome::Connected(grant) = chosen else {
        panic!("a grant");
    };
    assert_eq!(grant.account.id, "cloud-1");
    for other in ["cloud-3", ""] {
        let refused = outcome(&jira, &[("account", other)], Some(carry.clone())).await;
        assert!(
            matches!(refused, CallbackOutcome::Denied { .. }),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn what_says_no_is_told_apart() {
    let (server, jira, _) = jira().await;
    consents(&server, json!([])).await;
    for query in [&[("error", "access_denied")][..], &[], &[("code", "c0de")]] {
        let outcome = outcome(&jira, query, None).await;
        assert!(
            matches!(outcome, CallbackOutcome::Denied { .. }),
            "{outcome:?}"
        );
    }
    for (status, code, denied) in [(403, "invalid_grant", true), (401, "access_denied", false)] {
        let (server, jira, _) = super::jira().await;
        answers(
            &server,
            "/auth/oauth/token",
            status,
            json!({ "error": code }),
        )
        .await;
        match jira
            .exchange_token(callback(&[("code", "c0de")], None))
            .await
        {
            Ok(CallbackOutcome::Denied { .. }) => assert!(denied, "{code}"),
            Err(ConnectorError::Permanent(_)) => assert!(!denied, "{code}"),
            other => panic!("{code}: {other:?}"),
        }
    }
}

async fn refresh(jira: &Jira) -> Result<TokenSet, ConnectorError> {
    jira.refresh_token(RefreshRequest {
        access_token: None,
        account: account(),
        refresh_token: Some("r-token".into()),
    })
    .await
}

#[tokio::test]
async fn a_refresh_rotates_and_its_refusals_are_told_apart() {
    let (server, jira, _) = jira().await;
    answers(&server, "/auth/oauth/token", 200, tokens()).await;
    assert!(
        refresh(&jira)
            .await
            .expect("tokens")
            .refresh_token
            .is_some()
    );
    for (status, code, means) in [
        (403, "invalid_grant", "grant_revoked"),
        (401, "unauthorized_client", "grant_revoked"),
        (401, "access_denied", "permanent"),
        (500, "", "transient"),
        (429, "", "rate_limited"),
    ] {
        let (server, jira, _) = super::jira().await;
        answers(
            &server,
            "/auth/oauth/token",
            status,
            json!({ "error": code }),
        )
        .await;
        assert_eq!(
            refresh(&jira).await.expect_err("refused").code(),
            means,
            "{status} {code}"
        );
    }
}

#[tokio::test]
async fn missing_refresh_token_says_nothing_of_the_grant() {
    let (_server, jira, _) = jira().await;
    let refused = jira.refresh_token(RefreshRequest {
        access_token: None,
        account: account(),
        refresh_token: None,
    });
    assert_eq!(refused.await.expect_err("no token").code(), "permanent");
}

#[tokio::test]
async fn unreadable_site_hides_no_other() {
    let (server, jira, _) = jira().await;
    consents(&server, json!([{ "id": {} }, site("cloud-1", "acme")])).await;
    let outcome = outcome(&jira, &[("code", "c0de")], None).await;
    let CallbackOutcome::Connected(grant) = outcome else {
        panic!("a grant: {outcome:?}");
    };
    assert_eq!(grant.account.id, "cloud-1");
}

#[tokio::test]
async fn the_second_client_secret_is_tried_when_the_first_is_refused() {
    let (server, jira, _) = jira().await;
    for (secret, status, answer) in [
        (
            "jira-client-secret",
            401,
            json!({ "error": "access_denied" }),
        ),
        ("the-old-client-secret", 200, tokens()),
    ] {
        Mock::given(method("POST"))
            .and(path("/auth/oauth/token"))
            .and(body_partial_json(json!({ "client_secret": secret })))
            .respond_with(ResponseTemplate::new(status).set_body_json(answer))
            .expect(1)
            .mount(&server)
            .await;
    }
    refresh(&jira).await.expect("tokens");
}

#[tokio::test]
async fn a_registration_that_failed_with_200_has_failed() {
    let wanted = over(vec!["ENG".to_owned()]).remove(0);
    let url = Url::parse("https://hooks.example/webhooks/jira").expect("a URL");
    let place = "/api/ex/jira/cloud-1/rest/api/3/webhook";
    for (answer, registered) in [
        (json!([{ "createdWebhookId": 7 }]), true),
        (
            json!([{ "errors": ["The maximum number of webhooks is reached."] }]),
            false,
        ),
        (json!([]), false),
    ] {
        let (server, jira, _) = jira().await;
        answers(
            &server,
            place,
            200,
            json!({ "webhookRegistrationResult": answer }),
        )
        .await;
        match jira.subscribe(&access(), &wanted, &url).await {
            Ok(held) => {
                assert!(registered);
                assert_eq!(held.route.as_deref(), Some("https://acme.atlassian.net#7"));
                assert_eq!(held.resource, wanted.resource);
            }
            Err(error) => assert!(!registered && error.code() == "permanent", "{error:?}"),
        }
    }
}

#[tokio::test]
async fn a_webhook_that_the_site_does_not_hold_is_not_renewed() {
    let (server, jira, _) = jira().await;
    let base = "/api/ex/jira/cloud-1/rest/api/3/webhook";
    answers(
        &server,
        &format!("{base}/refresh"),
        200,
        json!({ "expirationDate": 1 }),
    )
    .await;
    let listed = json!({ "isLast": true, "values": [
        { "id": 7, "jqlFilter": "project in (\"ENG\")", "events": ["comment_created"],
          "expirationDate": "2023-12-14T22:15:00.000+0000" },
    ] });
    answers(&server, base, 200, listed).await;
    let held = jira
        .subscriptions(&access())
        .await
        .expect("a list")
        .remove(0);
    let renewed = jira.renew(&access(), &held).await.expect("renewed");
    assert_eq!(
        renewed.expires_at.expect("an end").to_rfc3339(),
        "2023-12-14T22:15:00+00:00"
    );
    let mut gone = held;
    gone.external_id = "8".to_owned();
    let refused = jira.renew(&access(), &gone).await;
    assert!(
        matches!(refused, Err(ConnectorError::Permission(_))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_limit_on_the_app_stops_every_site() {
    let (server, jira, gate) = jira().await;
    Mock::given(path_regex("/webhook$"))
        .respond_with(
            ResponseTemplate::new(429)
                .insert_header("ratelimit-reason", "jira-quota-global-based")
                .insert_header("retry-after", "120"),
        )
        .mount(&server)
        .await;
    let error = jira.subscriptions(&access()).await.expect_err("limited");
    assert!(
        matches!(error, ConnectorError::RateLimited { .. }),
        "{error:?}"
    );
    let (_, _, seen) = gate.seen().remove(0);
    assert_eq!(seen.reach, LimitScope::Provider);
    assert_eq!(
        seen.blocked_until,
        Some(now() + chrono::Duration::seconds(120))
    );
}
