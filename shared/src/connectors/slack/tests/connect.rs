//! The connect flow, against a mock server.

use serde_json::{Value, json};
use wiremock::matchers::{basic_auth, body_string_contains, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::{account, now, slack};
use crate::connectors::slack::Slack;
use crate::connectors::testing::{REDIRECT, authorize_request, callback};
use crate::connectors::{CallbackOutcome, Connector, ConnectorError};

pub(super) async fn mock_method(server: &MockServer, name: &str, response: Value) {
    Mock::given(method("POST"))
        .and(path(format!("/api/{name}")))
        .respond_with(ResponseTemplate::new(200).set_body_json(response))
        .mount(server)
        .await;
}

fn installation() -> Value {
    json!({
        "ok": true, "app_id": "A0POBLYSH", "access_token": "xoxb-1", "token_type": "bot",
        "scope": "channels:read,channels:history", "bot_user_id": "U0BOT",
        "team": { "id": "T0ACME", "name": "Acme" }, "enterprise": null,
        "is_enterprise_install": false,
        "authed_user": { "id": "U0ADA" },
    })
}

async fn connect(slack: &Slack) -> CallbackOutcome {
    slack
        .exchange_token(callback(&[("code", "c0de")], None))
        .await
        .expect("an outcome")
}

#[tokio::test]
async fn authorization_url_contains_scopes_and_state() {
    let (_server, slack, _) = slack().await;
    let url = slack.authorize(&authorize_request(None)).expect("a URL");
    assert_eq!(url.path(), "/oauth/v2/authorize");
    let query: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    for (name, value) in [
        ("client_id", "111.222"),
        ("redirect_uri", REDIRECT),
        ("state", "a state"),
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
    assert!(
        scope.1.contains("channels:history,channels:read"),
        "{}",
        scope.1
    );
    assert!(
        !query
            .iter()
            .any(|(name, _)| name.starts_with("code_challenge"))
    );
}

#[tokio::test]
async fn installation_yields_a_grant() {
    for rotation in [false, true] {
        let (server, slack, _) = slack().await;
        let mut response = installation();
        if rotation {
            response["access_token"] = json!("xoxe.xoxb-1");
            response["refresh_token"] = json!("xoxe-1-r");
            response["expires_in"] = json!(43_200);
        }
        Mock::given(path("/api/oauth.v2.access"))
            .and(basic_auth("111.222", "the-new-client-secret"))
            .and(body_string_contains("code=c0de"))
            .respond_with(ResponseTemplate::new(200).set_body_json(response))
            .mount(&server)
            .await;
        let who = json!({ "ok": true, "url": "https://acme.slack.com/", "team": "Acme" });
        mock_method(&server, "auth.test", who).await;
        let CallbackOutcome::Connected(grant) = connect(&slack).await else {
            panic!("a grant");
        };
        assert_eq!(grant.account, account());
        assert_eq!(grant.scopes, ["channels:read", "channels:history"]);
        let tokens = grant.tokens.expect("tokens");
        assert_eq!(tokens.refresh_token.is_some(), rotation);
        let expires_at = rotation.then(|| now() + chrono::Duration::hours(12));
        assert_eq!(tokens.expires_at, expires_at);
    }
}

#[tokio::test]
async fn organization_install_yields_an_organization_account() {
    let (server, slack, _) = slack().await;
    let mut response = installation();
    response["team"] = Value::Null;
    response["enterprise"] = json!({ "id": "E0ORG", "name": "Org" });
    response["is_enterprise_install"] = json!(true);
    mock_method(&server, "oauth.v2.access", response).await;
    let who = json!({ "ok": true, "url": "https://org.enterprise.slack.com/" });
    mock_method(&server, "auth.test", who).await;
    let CallbackOutcome::Connected(grant) = connect(&slack).await else {
        panic!("a grant");
    };
    assert_eq!(grant.account.id, "E0ORG");
    assert_eq!(grant.account.settings["organization"], true);
}

#[tokio::test]
async fn installation_without_workspace_is_rejected() {
    let (server, slack, _) = slack().await;
    let mut tokens = installation();
    tokens["team"]["id"] = json!("");
    mock_method(&server, "oauth.v2.access", tokens).await;
    let outcome = slack
        .exchange_token(callback(&[("code", "c0de")], None))
        .await;
    assert!(
        matches!(outcome, Err(ConnectorError::Permanent(_))),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn exchange_errors_separate_denials_from_faults() {
    for (code, denied) in [
        ("invalid_code", true),
        ("code_already_used", true),
        ("cannot_install_an_org_installed_app", true),
        ("bad_client_secret", false),
        ("invalid_client_id", false),
        ("bad_redirect_uri", false),
    ] {
        let (server, slack, _) = slack().await;
        mock_method(
            &server,
            "oauth.v2.access",
            json!({ "ok": false, "error": code }),
        )
        .await;
        match slack
            .exchange_token(callback(&[("code", "c0de")], None))
            .await
        {
            Ok(CallbackOutcome::Denied { .. }) => assert!(denied, "{code}"),
            Err(ConnectorError::Permanent(_)) => assert!(!denied, "{code}"),
            other => panic!("{code}: {other:?}"),
        }
    }
    let (_server, slack, _) = slack().await;
    for query in [&[("error", "access_denied")][..], &[], &[("code", "")]] {
        let outcome = slack
            .exchange_token(callback(query, None))
            .await
            .expect("an outcome");
        assert!(
            matches!(outcome, CallbackOutcome::Denied { .. }),
            "{outcome:?}"
        );
    }
    let outcome = slack
        .exchange_token(callback(&[("error", "invalid_team")], None))
        .await;
    assert!(
        matches!(outcome, Err(ConnectorError::Permanent(_))),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn second_client_secret_is_tried_after_rejection() {
    let (server, slack, _) = slack().await;
    for (secret, response) in [
        (
            "the-new-client-secret",
            json!({ "ok": false, "error": "bad_client_secret" }),
        ),
        ("the-old-client-secret", installation()),
    ] {
        Mock::given(path("/api/oauth.v2.access"))
            .and(basic_auth("111.222", secret))
            .respond_with(ResponseTemplate::new(200).set_body_json(response))
            .expect(1)
            .mount(&server)
            .await;
    }
    mock_method(&server, "auth.test", json!({ "ok": true })).await;
    assert!(matches!(
        connect(&slack).await,
        CallbackOutcome::Connected(_)
    ));
}
