//! Jira webhooks: a connection's own URL and secret, and the app's tokens.

use serde_json::{Value, json};
use shared::clock::{Clock as _, SystemClock};
use tests::harness::{System, eventually};
use uuid::Uuid;

use crate::ingress::{count_deliveries, signature};
use crate::jira::{connect_acme, rotate_webhook_secret};

/// Sends a delivery of an administrator's webhook, signed with `secret`.
async fn post_as_administrator(system: &System, url: &str, secret: &str, body: &Value) -> u16 {
    let body = body.to_string();
    let response = system
        .client
        .post(url)
        .header("x-atlassian-webhook-identifier", Uuid::new_v4().to_string())
        .header("x-hub-signature", signature(secret, body.as_bytes()))
        .body(body)
        .send()
        .await;
    response.expect("an ingress response").status().as_u16()
}

/// Delivery of an issue that the ledger does not have.
fn made_up_issue(url: &str) -> Value {
    json!({
        "webhookEvent": "jira:issue_created", "timestamp": 1_700_000_000_000_i64,
        "issue": { "id": "987654", "key": "ENG-987", "self": format!("{url}/rest/api/2/issue/987654"),
                   "fields": { "summary": "Made up", "created": "2023-11-14T22:13:20.000+0000" } },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_webhook_reaches_that_connection_only() {
    let system = System::with_fast_provider().start().await;
    let (account, first, connection) = connect_acme(&system).await;
    let people = system.account_of("jira", 0).await["people"].clone();
    let second = system.tenant("Globex").await;
    let other = second
        .connect_to("jira", &account, people[1].as_str().expect("a person"))
        .await;
    system.drain().await;
    let before = second.identities().await;
    let webhook = rotate_webhook_secret(&first, connection).await;
    let (url, secret) = (
        webhook["url"].as_str().expect("a URL"),
        webhook["secret"].as_str().expect("a secret"),
    );
    let site = system.account_of("jira", 0).await["url"].clone();
    let issue = made_up_issue(site.as_str().expect("a URL"));
    // The body names a site of both tenants; the URL alone selects the connection.
    assert_eq!(
        post_as_administrator(&system, url, secret, &issue).await,
        200
    );
    system.drain().await;
    let identities = first.identities().await;
    assert!(
        identities
            .iter()
            .any(|(_, key)| key.ends_with(":issue:987654:created")),
        "{identities:?}"
    );
    assert_eq!(second.identities().await, before);
    // The app's URL and another connection's URL reject this secret.
    let app = format!("{}/webhooks/jira", system.ingress);
    assert_eq!(
        post_as_administrator(&system, &app, secret, &issue).await,
        401
    );
    let foreign = format!("{app}/{other}");
    assert_eq!(
        post_as_administrator(&system, &foreign, secret, &issue).await,
        401
    );
    rotate_webhook_secret(&second, other).await;
    let unknown = format!("{app}/{}", Uuid::new_v4());
    assert_eq!(
        post_as_administrator(&system, &unknown, secret, &issue).await,
        404
    );
    let elsewhere = format!("{}/webhooks/github/{connection}", system.ingress);
    assert_eq!(
        post_as_administrator(&system, &elsewhere, secret, &issue).await,
        401
    );
    system.drain().await;
    assert_eq!(second.identities().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_tokens_carry_different_deliveries() {
    let system = System::with_fast_provider().start().await;
    let now = SystemClock.now().timestamp();
    let key =
        jsonwebtoken::EncodingKey::from_secret(system.env["POBLYSH_JIRA_CLIENT_SECRET"].as_bytes());
    let claims = json!({ "iat": now, "exp": now + 180 });
    let token = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key);
    let token = token.expect("a token");
    let post = async |identifier: &str, body: &Value| {
        let response = system
            .client
            .post(format!("{}/webhooks/jira", system.ingress))
            .bearer_auth(&token)
            .header("x-atlassian-webhook-identifier", identifier)
            .body(body.to_string())
            .send()
            .await;
        assert_eq!(response.expect("a response").status().as_u16(), 200);
    };
    let (one, other) = (json!({ "timestamp": 1 }), json!({ "timestamp": 2 }));
    post("d-1", &one).await;
    post("d-1", &one).await;
    post("d-2", &one).await;
    assert_eq!(count_deliveries(&system).await, 1);
    post("d-1", &other).await;
    assert_eq!(count_deliveries(&system).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_webhook_secrets_are_valid_while_rotating() {
    let system = System::with_fast_provider().start().await;
    let (_, tenant, connection) = connect_acme(&system).await;
    let mut secrets = Vec::new();
    let mut url = String::new();
    for number in 0..3 {
        let webhook = rotate_webhook_secret(&tenant, connection).await;
        url = webhook["url"].as_str().expect("a URL").to_owned();
        secrets.push(webhook["secret"].as_str().expect("a secret").to_owned());
        assert_eq!(
            webhook["previous_secret_expires_at"].is_null(),
            number == 0,
            "{webhook}"
        );
    }
    let body = json!({ "webhookEvent": "issue_property_set", "timestamp": 1 });
    for (secret, status) in secrets.iter().zip([401, 200, 200]) {
        assert_eq!(
            post_as_administrator(&system, &url, secret, &body).await,
            status
        );
    }
    let stored: Vec<Vec<u8>> = sqlx::query_scalar("SELECT secret FROM webhook_secrets")
        .fetch_all(system.db.pool())
        .await
        .expect("the query result");
    assert_eq!(stored.len(), 2);
    for secret in &secrets {
        assert!(stored.iter().all(|sealed| {
            !sealed
                .windows(8)
                .any(|part| part == &secret.as_bytes()[..8])
        }));
    }
    // An expired secret is rejected, and a disconnected connection is unknown.
    sqlx::query("UPDATE webhook_secrets SET expires_at = now() WHERE expires_at IS NOT NULL")
        .execute(system.db.pool())
        .await
        .expect("expired");
    eventually("the previous secret has expired", async || {
        post_as_administrator(&system, &url, &secrets[1], &body).await == 401
    })
    .await;
    assert_eq!(
        post_as_administrator(&system, &url, &secrets[2], &body).await,
        200
    );
    let path = format!("/v1/connections/{connection}");
    tenant.request(reqwest::Method::DELETE, &path, None).await;
    eventually("the connection is unknown", async || {
        post_as_administrator(&system, &url, &secrets[2], &body).await == 404
    })
    .await;
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM webhook_secrets")
        .fetch_one(system.db.pool())
        .await
        .expect("the query result");
    assert_eq!(left, 0, "disconnecting deletes the secrets");
    let path = format!("/v1/connections/{connection}/webhook");
    let response = tenant.request(reqwest::Method::POST, &path, None).await;
    assert_eq!(response.status().as_u16(), 409);
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_without_webhook_secret_rejects_deliveries() {
    let system = System::with_fast_provider().start().await;
    let (_, _, connection) = connect_acme(&system).await;
    let url = format!("{}/webhooks/jira/{connection}", system.ingress);
    for secret in ["", "any secret at all"] {
        assert_eq!(
            post_as_administrator(&system, &url, secret, &json!({})).await,
            401
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn webhook_secret_is_rejected_for_unsupported_provider() {
    let system = System::with_fast_provider().start().await;
    let (account, admin) = system.accounts().await.remove(0);
    let tenant = system.tenant("Acme").await;
    let connection = tenant.connect(&account, &admin).await;
    let path = format!("/v1/connections/{connection}/webhook");
    let response = tenant.request(reqwest::Method::POST, &path, None).await;
    assert_eq!(response.status().as_u16(), 409);
    let problem: Value = response.json().await.expect("problem+json");
    assert_eq!(problem["code"], "webhook_not_supported");
    let foreign = system.tenant("Globex").await;
    let response = foreign.request(reqwest::Method::POST, &path, None).await;
    assert_eq!(response.status().as_u16(), 404);
}
