//! Creation and end of watch channels.

use chrono::{Duration, TimeDelta};
use serde_json::{Value, json};
use url::Url;

use super::super::channels::{Watch, stop, watch};
use super::super::client::Call;
use super::super::webhook::channel_token;
use super::{Family, SLUG, access, now};
use crate::connectors::{ConnectorError, SubscribeRequest};
use crate::http::Priority;
use crate::model::{Subscription, SubscriptionSpec};

const CHANNEL: &str = "0b9a1f0e-2f63-4e57-8f0e-55d6a3a3f001";

impl Family {
    async fn watch(&self) -> Result<Subscription, ConnectorError> {
        let access = access();
        let request = SubscribeRequest {
            spec: SubscriptionSpec {
                resource: "changes".to_owned(),
                target: Value::Null,
            },
            planned_id: Some(CHANNEL.to_owned()),
            webhook_url: Url::parse("https://hooks.example/webhooks/any").expect("a URL"),
        };
        let channel = Watch {
            slug: SLUG,
            url: self.client.api_url(&["watch"]),
            secrets: &self.app.webhook_secrets,
            ttl: Duration::days(7),
            default_ttl: Duration::hours(1),
        };
        watch(&self.client, &call(&access), channel, &request).await
    }
}

fn call(access: &crate::connectors::Access) -> Call<'_> {
    Call {
        access,
        operation: "any",
        units: 1,
        scope: "a.scope",
        priority: Priority::Immediate,
    }
}

#[tokio::test]
async fn channel_has_planned_id_and_derived_token() {
    let family = Family::start().await;
    let granted = (now() + TimeDelta::hours(6)).timestamp_millis();
    let response = json!({
        "kind": "api#channel", "id": CHANNEL, "resourceId": "r-1", "expiration": granted.to_string(),
    });
    family.mock("/api/watch", 200, response).await;
    let held = family.watch().await.expect("a channel");
    assert_eq!(held.external_id, CHANNEL);
    assert_eq!(held.route.as_deref(), Some(CHANNEL));
    assert_eq!(held.state, json!({ "resource_id": "r-1" }));
    assert_eq!(held.expires_at, Some(now() + TimeDelta::hours(6)));
    let sent = family.bodies("/api/watch").await;
    let sent: Value = serde_json::from_str(&sent[0]).expect("JSON");
    let secret = &family.app.webhook_secrets[0];
    let week = (now() + TimeDelta::days(7)).timestamp_millis();
    let expected = json!({
        "id": CHANNEL, "type": "web_hook", "address": "https://hooks.example/webhooks/any",
        "token": channel_token(secret, SLUG, CHANNEL), "expiration": week.to_string(),
    });
    assert_eq!(sent, expected);
}

#[tokio::test]
async fn expiration_is_text_number_or_absent() {
    let family = Family::start().await;
    let at = now() + TimeDelta::hours(2);
    for (expiration, expected) in [
        (json!(at.timestamp_millis()), at),
        (json!(at.timestamp_millis().to_string()), at),
        (json!(null), now() + TimeDelta::hours(1)),
        (json!("soon"), now() + TimeDelta::hours(1)),
    ] {
        family.server.reset().await;
        let response = json!({ "resourceId": "r-1", "expiration": expiration });
        family.mock("/api/watch", 200, response).await;
        let held = family.watch().await.expect("a channel");
        assert_eq!(held.expires_at, Some(expected), "{expiration}");
    }
}

#[tokio::test]
async fn unknown_channel_counts_as_ended() {
    let family = Family::start().await;
    let access = access();
    let held = Subscription {
        state: json!({ "resource_id": "r-1" }),
        ..Subscription::planned("changes".to_owned(), CHANNEL.to_owned())
    };
    let unconfirmed = Subscription::planned("changes".to_owned(), CHANNEL.to_owned());
    for (status, subscription, code) in [
        (204, &held, None),
        (404, &held, None),
        (403, &held, Some("permission")),
        (500, &held, Some("transient")),
        (204, &unconfirmed, Some("permission")),
    ] {
        family.server.reset().await;
        family.mock("/api/stop", status, json!({})).await;
        let url = family.client.api_url(&["stop"]);
        let ended = stop(&family.client, &call(&access), url, subscription).await;
        assert_eq!(ended.err().map(|error| error.code()), code, "{status}");
        for body in family.bodies("/api/stop").await {
            let body: Value = serde_json::from_str(&body).expect("JSON");
            assert_eq!(body, json!({ "id": CHANNEL, "resourceId": "r-1" }));
        }
    }
}
