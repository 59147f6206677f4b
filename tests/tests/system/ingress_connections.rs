//! Connections' own webhook URLs: requests of strangers cost little and keep no delivery out.

use std::time::Duration;

use reqwest::RequestBuilder;
use serde_json::json;
use tests::harness::System;
use tokio::time::{Instant, interval};
use uuid::Uuid;

use crate::ingress::signature;
use crate::jira::{acme, webhook_of};

/// A delivery as an administrator's webhook sends it, signed with `secret`.
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
    let answer = request.send().await.expect("the ingress answers");
    answer.status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn unsigned_delivery_is_refused_without_a_look_up() {
    let system = System::with_fast_provider().workers(0).start().await;
    let unknown = format!("{}/webhooks/jira/{}", system.ingress, Uuid::new_v4());
    let unsigned = system.client.post(&unknown).body("{}");
    assert_eq!(status(unsigned).await, 401);
    let signed = delivery(&system, &unknown, "any secret at all");
    assert_eq!(status(signed).await, 404, "the look-up finds no connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_are_taken_while_keys_cannot_be_read() {
    let system = System::with_fast_provider().start().await;
    let (_, tenant, connection) = acme(&system).await;
    let made = webhook_of(&tenant, connection).await;
    let url = made["url"].as_str().expect("a URL").to_owned();
    let secret = made["secret"].as_str().expect("a secret").to_owned();
    assert_eq!(status(delivery(&system, &url, &secret)).await, 200);
    let mut locked = system.db.pool().begin().await.expect("begun");
    sqlx::query("LOCK TABLE webhook_secrets IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *locked)
        .await
        .expect("locked");
    // Longer than an answer is used without another look-up.
    let began = Instant::now();
    let mut pace = interval(Duration::from_millis(250));
    while began.elapsed() < Duration::from_secs(8) {
        pace.tick().await;
        let genuine = delivery(&system, &url, &secret);
        assert_eq!(status(genuine).await, 200, "after {:?}", began.elapsed());
    }
    let forged = delivery(&system, &url, "another secret");
    assert_eq!(status(forged).await, 401);
    locked.rollback().await.expect("unlocked");
}
