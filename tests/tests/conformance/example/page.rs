//! Pages of the example provider: its streams and their Signals.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use shared::connectors::SyncPage;
use shared::model::{
    Actor, Context, ContextKind, SignalDraft, SignalKind, StreamSpec, Subject, SubscriptionSpec,
    TimestampSource,
};

/// The kind of streams that have a subscription each.
const SUBSCRIBED: &str = "events:";

/// The streams that the provider lists, with a subscription for each that has pushes.
pub(super) fn list(response: &Value) -> SyncPage {
    let keys = response["streams"].as_array().into_iter().flatten();
    let keys: Vec<&str> = keys.filter_map(Value::as_str).collect();
    let subscribed = keys.iter().filter(|key| key.starts_with(SUBSCRIBED));
    SyncPage {
        streams: keys
            .iter()
            .map(|key| StreamSpec {
                key: (*key).to_owned(),
                resource_id: None,
                target: Value::Null,
            })
            .collect(),
        subscriptions: subscribed
            .map(|key| SubscriptionSpec {
                resource: (*key).to_owned(),
                target: Value::Null,
            })
            .collect(),
        ..SyncPage::empty(Value::Null)
    }
}

/// The Signal of a fact of a stream.
pub(super) fn signal(
    slug: &str,
    stream: &str,
    number: u64,
    timestamp: DateTime<Utc>,
) -> SignalDraft {
    let raw = serde_json::value::to_raw_value(&json!({ "number": number }));
    SignalDraft {
        kind: SignalKind::MessagePosted,
        dedupe_key: format!("{slug}:{stream}:{number}"),
        timestamp,
        timestamp_source: TimestampSource::Received,
        actor: Actor::unknown(),
        subject: Subject {
            kind: "message".to_owned(),
            id: format!("{stream}:{number}"),
            key: None,
            title: None,
            url: None,
        },
        context: Context {
            kind: ContextKind::Calendar,
            id: stream.to_owned(),
            name: None,
        },
        normalized: json!({}),
        raw: raw.expect("JSON"),
    }
}
