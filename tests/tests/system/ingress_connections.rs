//! Connections' own webhook URLs: unauthenticated requests are cheap and block no delivery.

use std::time::Duration;

use reqwest::RequestBuilder;
use serde_json::json;
use tests::harness::System;
use tokio::time::{Instant, interval};
use uuid::Uuid;

use crate::ingress::signature;
use crate::jira::{connect_acme, rotate_webhook_secret};

/// Builds a delivery of an administrator's webhook, signed with `secret`.
fn delivery(system: &System, url: &str, secret: &str) -> RequestBuilder {
    let body = json!({ "webhookEvent": "issue_property_set", "timestamp": 1 }).to_string();
    system
        .client
        .post(url)
        .header("x-atlassian-webhook-identifier", Uuid::new_v4().to_string())
        .header("x-hub-signature", signature(secret, body.as_bytes()))
        .body(body)
}

async fn status(request: RequestBuilder) -> u16 {
    let response = request.send().await.expect("an ingress response");
    response.status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn unsigned_delivery_is_rejected_without_lookup() {
    let system = System::with_fast_provider().workers(0).start().await;
    let unknown = format!("{}/webhooks/jira/{}", system.ingress, Uuid::new_v4());
    let unsigned = system.client.post(&unknown).body("{}");
    assert_eq!(status(unsigned).await, 401);
    let signed = delivery(&system, &unknown, "any secret at all");
    assert_eq!(status(signed).await, 404, "the lookup finds no connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_are_accepted_while_keys_are_unreadable() {
    let system = System::with_fast_provider().start().await;
    let (_, tenant, connection) = connect_acme(&system).await;
    let webhook = rotate_webhook_secret(&tenant, connection).await;
    let url = webhook["url"].as_str().expect("a URL").to_owned();
    let secret = webhook["secret"].as_str().expect("a secret").to_owned();
    assert_eq!(status(delivery(&system, &url, &secret)).await, 200);
    let mut locked = system.db.pool().begin().await.expect("a transaction");
    sqlx::query("LOCK TABLE webhook_secrets IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *locked)
        .await
        .expect("locked");
    // Longer than the cache keeps keys without another lookup.
    let started = Instant::now();
    let mut pace = interval(Duration::from_millis(250));
    while started.elapsed() < Duration::from_secs(8) {
        pace.tick().await;
        let genuine = delivery(&system, &url, &secret);
        assert_eq!(status(genuine).await, 200, "after {:?}", started.elapsed());
    }
    let forged = delivery(&system, &url, "another secret");
    assert_eq!(status(forged).await, 401);
    locked.rollback().await.expect("unlocked");
}
