//! Consent, identity and watches, against a mock server.

use chrono::TimeDelta;
use http::Method;
use serde_json::{Value, json};
use wiremock::matchers::{body_json, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::{SUB, TOPIC, access, account, gmail, now};
use crate::connectors::gmail::Gmail;
use crate::connectors::testing::{authorize_request, callback};
use crate::connectors::{CallbackOutcome, Connector, ConnectorError, Renewal, SubscribeRequest};
use crate::model::SubscriptionSpec;

const METADATA: &str = "https://www.googleapis.com/auth/gmail.metadata";

async fn respond(server: &MockServer, verb: Method, at: &str, status: u16, body: Value) {
    Mock::given(method(verb.as_str()))
        .and(path(at))
        .respond_with(ResponseTemplate::new(status).set_body_json(body))
        .mount(server)
        .await;
}

/// Google's answers to a consent with these scopes.
async fn consent(server: &MockServer, scopes: &str) {
    let tokens = json!({ "access_token": "a-token", "refresh_token": "r-token",
        "expires_in": 3599, "scope": scopes, "token_type": "Bearer" });
    respond(server, Method::POST, "/token", 200, tokens).await;
    let identity = json!({ "sub": SUB, "email": "ada@acme.example", "email_verified": true });
    respond(server, Method::GET, "/v1/userinfo", 200, identity).await;
}

async fn profile(server: &MockServer, status: u16, body: Value) {
    respond(
        server,
        Method::GET,
        "/gmail/v1/users/me/profile",
        status,
        body,
    )
    .await;
}

async fn outcome(gmail: &Gmail) -> CallbackOutcome {
    let query = [("code", "4/0Ab"), ("state", "a state")];
    gmail
        .exchange_token(callback(&query, None))
        .await
        .expect("an outcome")
}

#[tokio::test]
async fn consent_connects_the_mailbox() {
    let (server, gmail) = gmail(&[]).await;
    let page = gmail.authorize(&authorize_request(None)).expect("a URL");
    let scope = page
        .query_pairs()
        .find(|(name, _)| name == "scope")
        .expect("scopes")
        .1;
    assert_eq!(scope, format!("openid email {METADATA}"));

    let granted = format!("{METADATA} openid https://www.googleapis.com/auth/userinfo.email");
    consent(&server, &granted).await;
    profile(
        &server,
        200,
        json!({ "emailAddress": "Ada@Acme.example", "historyId": "7" }),
    )
    .await;
    let CallbackOutcome::Connected(grant) = outcome(&gmail).await else {
        panic!("a grant");
    };
    assert_eq!(grant.account, account());
    assert_eq!(grant.scopes, ["openid", "email", METADATA]);
}

#[tokio::test]
async fn consent_without_mail_scope_is_rejected() {
    let (server, gmail) = gmail(&[]).await;
    consent(&server, "openid email").await;
    let outcome = outcome(&gmail).await;
    assert!(
        matches!(outcome, CallbackOutcome::Rejected { .. }),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn account_without_mailbox_is_rejected() {
    let (server, gmail) = gmail(&[]).await;
    consent(&server, &format!("openid email {METADATA}")).await;
    let disabled = json!({ "error": { "code": 400, "message": "Mail service not enabled",
        "errors": [{ "domain": "global", "reason": "failedPrecondition" }] } });
    profile(&server, 400, disabled).await;
    let outcome = outcome(&gmail).await;
    assert!(
        matches!(outcome, CallbackOutcome::Rejected { .. }),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn changed_address_is_described() {
    let (server, gmail) = gmail(&[]).await;
    profile(
        &server,
        200,
        json!({ "emailAddress": "ada@new.example", "historyId": "7" }),
    )
    .await;
    let described = gmail
        .describe_account(&access())
        .await
        .expect("a description");
    let described = described.expect("an account");
    assert_eq!(
        (described.name.as_str(), described.id.as_str()),
        ("ada@new.example", SUB)
    );
    assert_eq!(described.settings["address"], "ada@new.example");
}

fn request() -> SubscribeRequest {
    SubscribeRequest {
        spec: SubscriptionSpec {
            resource: "mailbox".to_owned(),
            target: Value::Null,
        },
        planned_id: None,
        webhook_url: "https://hooks.example/webhooks/gmail"
            .parse()
            .expect("a URL"),
    }
}

#[tokio::test]
async fn watch_is_routed_by_lower_case_address() {
    let (server, gmail) = gmail(&[("GMAIL_TOPIC", TOPIC)]).await;
    let expiration = now() + TimeDelta::days(7);
    for expiration in [
        json!(expiration.timestamp_millis().to_string()),
        json!(expiration.timestamp_millis()),
        Value::Null,
    ] {
        server.reset().await;
        let body = json!({ "topicName": TOPIC, "labelIds": ["DRAFT", "SPAM"],
                           "labelFilterBehavior": "exclude" });
        Mock::given(method("POST"))
            .and(path("/gmail/v1/users/me/watch"))
            .and(body_json(body))
            .respond_with(
                ResponseTemplate::new(200)
                    .set_body_json(json!({ "historyId": "9", "expiration": expiration })),
            )
            .expect(2)
            .mount(&server)
            .await;
        let created = gmail
            .subscribe(&access(), &request())
            .await
            .expect("a watch");
        assert_eq!(created.route.as_deref(), Some("ada@acme.example"));
        assert_eq!(created.external_id, SUB);
        assert_eq!(created.expires_at, Some(now() + TimeDelta::days(7)));
        let renewed = gmail
            .renew(&access(), &created, &request())
            .await
            .expect("a watch");
        assert_eq!(renewed, Renewal::Extended(created));
    }
}

#[tokio::test]
async fn foreign_topic_is_an_operators_mistake() {
    let (server, gmail) = gmail(&[("GMAIL_TOPIC", TOPIC)]).await;
    let message = "Invalid topicName does not match projects/another/topics/*";
    let error = json!({ "error": { "code": 400, "message": message, "status": "INVALID_ARGUMENT",
        "errors": [{ "domain": "global", "reason": "invalidArgument", "message": message }] } });
    respond(
        &server,
        Method::POST,
        "/gmail/v1/users/me/watch",
        400,
        error,
    )
    .await;
    let result = gmail.subscribe(&access(), &request()).await;
    assert!(
        matches!(result, Err(ConnectorError::Permanent(_))),
        "{result:?}"
    );
}

#[tokio::test]
async fn unsubscribing_stops_the_watch() {
    let (server, gmail) = gmail(&[("GMAIL_TOPIC", TOPIC)]).await;
    Mock::given(method("POST"))
        .and(path("/gmail/v1/users/me/stop"))
        .respond_with(ResponseTemplate::new(204))
        .expect(1)
        .mount(&server)
        .await;
    let watch = crate::model::Subscription {
        resource: "mailbox".to_owned(),
        external_id: SUB.to_owned(),
        route: None,
        state: Value::Null,
        expires_at: None,
        refused_events: Vec::new(),
    };
    gmail.unsubscribe(&access(), &watch).await.expect("success");
}
