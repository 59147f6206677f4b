//! Consent, choice of a site, token refresh and subscriptions, against a mock server.

use serde_json::{Value, json};
use wiremock::matchers::{body_partial_json, method, path, path_regex};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::{access, account, jira, now, subscribe_request};
use crate::connectors::jira::Jira;
use crate::connectors::testing::{CHALLENGE, REDIRECT, VERIFIER, authorize_request, callback};
use crate::connectors::{
    CallbackOutcome, Connector, ConnectorError, RefreshRequest, Renewal, TokenSet,
};
use crate::model::LimitScope;

async fn mock_path(server: &MockServer, at: &str, status: u16, response: Value) {
    Mock::given(path(at))
        .respond_with(ResponseTemplate::new(status).set_body_json(response))
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

async fn mock_consent(server: &MockServer, sites: Value) {
    mock_path(server, "/auth/oauth/token", 200, tokens()).await;
    mock_path(server, "/api/oauth/token/accessible-resources", 200, sites).await;
    Mock::given(path_regex("^/api/ex/jira/[^/]+/rest/api/3/myself$"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({
            "accountId": "712020:ada", "displayName": "Ada", "timeZone": "America/Los_Angeles",
        })))
        .mount(server)
        .await;
}

async fn outcome(jira: &Jira, query: &[(&str, &str)], context: Option<Value>) -> CallbackOutcome {
    jira.exchange_token(callback(query, context))
        .await
        .expect("an outcome")
}

#[tokio::test]
async fn authorization_url_has_documented_parameters() {
    let (_server, jira, _) = jira().await;
    let url = jira.authorize(&authorize_request(None)).expect("a URL");
    let query: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    for (name, value) in [
        ("audience", "api.atlassian.com"),
        ("client_id", "client-id"),
        ("redirect_uri", REDIRECT),
        ("state", "a state"),
        ("response_type", "code"),
        ("prompt", "consent"),
        ("code_challenge", CHALLENGE),
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
async fn consent_for_one_site_connects_it() {
    let (server, jira, _) = jira().await;
    // Atlassian lists a site once per product.
    let confluence = json!({ "id": "cloud-1", "name": "acme", "url": "https://acme.atlassian.net",
                             "scopes": ["read:confluence-space.summary"] });
    mock_consent(&server, json!([site("cloud-1", "acme"), confluence])).await;
    let CallbackOutcome::Connected(grant) = outcome(&jira, &[("code", "c0de")], None).await else {
        panic!("a grant");
    };
    assert_eq!(grant.account, account());
    let tokens = grant.tokens.expect("tokens");
    assert_eq!(tokens.expires_at, Some(now() + chrono::Duration::hours(1)));
    assert!(tokens.refresh_token.is_some() && tokens.refresh_expires_at.is_some());
    let requests = server.received_requests().await.expect("requests");
    let exchange: Value = serde_json::from_slice(&requests[0].body).expect("JSON");
    assert_eq!(exchange["code_verifier"], VERIFIER);
}

#[tokio::test]
async fn only_the_chosen_site_is_connected() {
    let (server, jira, _) = jira().await;
    mock_consent(
        &server,
        json!([site("cloud-2", "zeta"), site("cloud-1", "acme")]),
    )
    .await;
    let CallbackOutcome::Choose { accounts, context } =
        outcome(&jira, &[("code", "c0de")], None).await
    else {
        panic!("a choice");
    };
    let names: Vec<&str> = accounts
        .iter()
        .map(|account| account.name.as_str())
        .collect();
    assert_eq!(names, ["acme", "zeta"]);
    let chosen = outcome(&jira, &[("account", "cloud-1")], Some(context.clone())).await;
    let CallbackOutcome::Connected(grant) = chosen else {
        panic!("a grant");
    };
    assert_eq!(grant.account.id, "cloud-1");
    for other in ["cloud-3", ""] {
        let result = outcome(&jira, &[("account", other)], Some(context.clone())).await;
        assert!(
            matches!(result, CallbackOutcome::Denied { .. }),
            "{result:?}"
        );
    }
}

#[tokio::test]
async fn exchange_errors_separate_denials_from_faults() {
    let (server, jira, _) = jira().await;
    mock_consent(&server, json!([])).await;
    for query in [&[("error", "access_denied")][..], &[], &[("code", "c0de")]] {
        let outcome = outcome(&jira, query, None).await;
        assert!(
            matches!(outcome, CallbackOutcome::Denied { .. }),
            "{outcome:?}"
        );
    }
    for (status, code, denied) in [(403, "invalid_grant", true), (401, "access_denied", false)] {
        let (server, jira, _) = super::jira().await;
        mock_path(
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
async fn refresh_rotates_and_classifies_errors() {
    let (server, jira, _) = jira().await;
    mock_path(&server, "/auth/oauth/token", 200, tokens()).await;
    assert!(
        refresh(&jira)
            .await
            .expect("tokens")
            .refresh_token
            .is_some()
    );
    for (status, code, expected) in [
        (403, "invalid_grant", "grant_revoked"),
        (401, "unauthorized_client", "grant_revoked"),
        (401, "access_denied", "permanent"),
        (500, "", "transient"),
        (429, "", "rate_limited"),
    ] {
        let (server, jira, _) = super::jira().await;
        mock_path(
            &server,
            "/auth/oauth/token",
            status,
            json!({ "error": code }),
        )
        .await;
        assert_eq!(
            refresh(&jira).await.expect_err("an error").code(),
            expected,
            "{status} {code}"
        );
    }
}

#[tokio::test]
async fn missing_refresh_token_does_not_revoke_the_grant() {
    let (_server, jira, _) = jira().await;
    let result = jira.refresh_token(RefreshRequest {
        access_token: None,
        account: account(),
        refresh_token: None,
    });
    assert_eq!(result.await.expect_err("no token").code(), "permanent");
}

#[tokio::test]
async fn unreadable_site_does_not_hide_others() {
    let (server, jira, _) = jira().await;
    mock_consent(&server, json!([{ "id": {} }, site("cloud-1", "acme")])).await;
    let outcome = outcome(&jira, &[("code", "c0de")], None).await;
    let CallbackOutcome::Connected(grant) = outcome else {
        panic!("a grant: {outcome:?}");
    };
    assert_eq!(grant.account.id, "cloud-1");
}

#[tokio::test]
async fn second_client_secret_is_tried_after_rejection() {
    let (server, jira, _) = jira().await;
    for (secret, status, response) in [
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
            .respond_with(ResponseTemplate::new(status).set_body_json(response))
            .expect(1)
            .mount(&server)
            .await;
    }
    refresh(&jira).await.expect("tokens");
}

#[tokio::test]
async fn rejected_registration_with_200_is_an_error() {
    let request = subscribe_request();
    let endpoint = "/api/ex/jira/cloud-1/rest/api/3/webhook";
    for (response, registered) in [
        (json!([{ "createdWebhookId": 7 }]), true),
        (
            json!([{ "errors": ["The maximum number of webhooks is reached."] }]),
            false,
        ),
        (json!([]), false),
    ] {
        let (server, jira, _) = jira().await;
        mock_path(
            &server,
            endpoint,
            200,
            json!({ "webhookRegistrationResult": response }),
        )
        .await;
        match jira.subscribe(&access(), &request).await {
            Ok(subscription) => {
                assert!(registered);
                assert_eq!(
                    subscription.route.as_deref(),
                    Some("https://acme.atlassian.net#7")
                );
                assert_eq!(subscription.resource, request.spec.resource);
            }
            Err(error) => assert!(!registered && error.code() == "permanent", "{error:?}"),
        }
    }
}

#[tokio::test]
async fn missing_webhook_is_not_renewed() {
    let (server, jira, _) = jira().await;
    let base = "/api/ex/jira/cloud-1/rest/api/3/webhook";
    mock_path(
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
    mock_path(&server, base, 200, listed).await;
    let subscription = jira
        .list_subscriptions(&access())
        .await
        .expect("a list")
        .remove(0);
    let request = subscribe_request();
    let renewed = jira.renew(&access(), &subscription, &request).await;
    let Ok(Renewal::Extended(renewed)) = renewed else {
        panic!("{renewed:?}");
    };
    assert_eq!(
        renewed.expires_at.expect("an expiry").to_rfc3339(),
        "2023-12-14T22:15:00+00:00"
    );
    let mut missing = subscription;
    missing.external_id = "8".to_owned();
    let result = jira.renew(&access(), &missing, &request).await;
    assert!(
        matches!(result, Err(ConnectorError::Denied { .. })),
        "{result:?}"
    );
}

#[tokio::test]
async fn app_rate_limit_blocks_every_site() {
    let (server, jira, rate_limiter) = jira().await;
    Mock::given(path_regex("/webhook$"))
        .respond_with(
            ResponseTemplate::new(429)
                .insert_header("ratelimit-reason", "jira-quota-global-based")
                .insert_header("retry-after", "120"),
        )
        .mount(&server)
        .await;
    let error = jira
        .list_subscriptions(&access())
        .await
        .expect_err("limited");
    assert!(
        matches!(error, ConnectorError::RateLimited { .. }),
        "{error:?}"
    );
    let (_, _, seen) = rate_limiter.seen().remove(0);
    assert_eq!(seen.scope, LimitScope::Provider);
    assert_eq!(
        seen.blocked_until,
        Some(now() + chrono::Duration::seconds(120))
    );
}
