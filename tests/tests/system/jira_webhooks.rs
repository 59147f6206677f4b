//! Webhooks of Jira's: a connection's own URL and secret, and the app's tokens.

use serde_json::{Value, json};
use shared::clock::{Clock as _, SystemClock};
use tests::harness::{System, eventually};
use uuid::Uuid;

use crate::ingress::{signature, stored};
use crate::jira::{acme, webhook_of};

/// Posts what an administrator's webhook would, signed with `secret`.
async fn post_as_administrator(system: &System, url: &str, secret: &str, body: &Value) -> u16 {
    let body = body.to_string();
    let answer = system
        .client
        .post(url)
        .header("x-atlassian-webhook-identifier", Uuid::new_v4().to_string())
        .header("x-hub-signature", signature(secret, body.as_bytes()))
        .body(body)
        .send()
        .await;
    answer.expect("the ingress answers").status().as_u16()
}

/// An issue that the ledger does not have.
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
    let (account, first, connection) = acme(&system).await;
    let people = system.account_of("jira", 0).await["people"].clone();
    let second = system.tenant("Globex").await;
    let other = second
        .connect_to("jira", &account, people[1].as_str().expect("a person"))
        .await;
    system.drain().await;
    let before = second.identities().await;
    let made = webhook_of(&first, connection).await;
    let (url, secret) = (
        made["url"].as_str().expect("a URL"),
        made["secret"].as_str().expect("a secret"),
    );
    let site = system.account_of("jira", 0).await["url"].clone();
    let issue = made_up_issue(site.as_str().expect("a URL"));
    // The body names a site that both tenants work with; the URL alone decides.
    assert_eq!(
        post_as_administrator(&system, url, secret, &issue).await,
        200
    );
    system.drain().await;
    let told = first.identities().await;
    assert!(
        told.iter()
            .any(|(_, key)| key.ends_with(":issue:987654:created")),
        "{told:?}"
    );
    assert_eq!(second.identities().await, before);
    // Neither the app's URL nor another connection's takes what this secret signed.
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
    webhook_of(&second, other).await;
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
        let answer = system
            .client
            .post(format!("{}/webhooks/jira", system.ingress))
            .bearer_auth(&token)
            .header("x-atlassian-webhook-identifier", identifier)
            .body(body.to_string())
            .send()
            .await;
        assert_eq!(answer.expect("an answer").status().as_u16(), 200);
    };
    let (one, other) = (json!({ "timestamp": 1 }), json!({ "timestamp": 2 }));
    post("d-1", &one).await;
    post("d-1", &one).await;
    post("d-2", &one).await;
    assert_eq!(stored(&system).await, 1);
    post("d-1", &other).await;
    assert_eq!(stored(&system).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_webhook_secrets_are_valid_while_rotating() {
    let system = System::with_fast_provider().start().await;
    let (_, tenant, connection) = acme(&system).await;
    let mut secrets = Vec::new();
    let mut url = String::new();
    for number in 0..3 {
        let made = webhook_of(&tenant, connection).await;
        url = made["url"].as_str().expect("a URL").to_owned();
        secrets.push(made["secret"].as_str().expect("a secret").to_owned());
        assert_eq!(
            made["previous_secret_expires_at"].is_null(),
            number == 0,
            "{made}"
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
        .expect("Postgres answers");
    assert_eq!(stored.len(), 2);
    for secret in &secrets {
        assert!(stored.iter().all(|sealed| {
            !sealed
                .windows(8)
                .any(|part| part == &secret.as_bytes()[..8])
        }));
    }
    // What is over its day is not valid any more, and a disconnected connection is unknown.
    sqlx::query("UPDATE webhook_secrets SET expires_at = now() WHERE expires_at IS NOT NULL")
        .execute(system.db.pool())
        .await
        .expect("expired");
    eventually("the secret before has ended", async || {
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
        .expect("Postgres answers");
    assert_eq!(left, 0, "secrets end with the connection");
    let path = format!("/v1/connections/{connection}/webhook");
    let answer = tenant.request(reqwest::Method::POST, &path, None).await;
    assert_eq!(answer.status().as_u16(), 409);
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_without_webhook_secret_refuses_deliveries() {
    let system = System::with_fast_provider().start().await;
    let (_, _, connection) = acme(&system).await;
    let url = format!("{}/webhooks/jira/{connection}", system.ingress);
    for secret in ["", "any secret at all"] {
        assert_eq!(
            post_as_administrator(&system, &url, secret, &json!({})).await,
            401
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn webhook_secret_is_refused_where_no_webhook_is_signed_with_it() {
    let system = System::with_fast_provider().start().await;
    let (account, admin) = system.accounts().await.remove(0);
    let tenant = system.tenant("Acme").await;
    let connection = tenant.connect(&account, &admin).await;
    let path = format!("/v1/connections/{connection}/webhook");
    let answer = tenant.request(reqwest::Method::POST, &path, None).await;
    assert_eq!(answer.status().as_u16(), 409);
    let problem: Value = answer.json().await.expect("problem+json");
    assert_eq!(problem["code"], "webhook_not_supported");
    let foreign = system.tenant("Globex").await;
    let answer = foreign.request(reqwest::Method::POST, &path, None).await;
    assert_eq!(answer.status().as_u16(), 404);
}
