//! Streams whose facts a bot reports.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{connector, now};
use crate::connectors::Connector;
use crate::model::{PushWays, StreamSpec};

#[test]
fn only_channels_are_pushed_and_only_with_a_key() {
    let (cliq, _) = connector("http://localhost:1");
    let stream = |key: &str, target: Value| StreamSpec {
        key: key.to_owned(),
        resource_id: None,
        target,
    };
    let since = now() - TimeDelta::hours(1);
    let with_key = PushWays {
        own_url_since: Some(since),
        ..PushWays::default()
    };
    let channel = json!({ "is_channel": true });
    for (key, target, expected) in [
        ("chat:CT_1", channel.clone(), Some(since)),
        ("threads:T1", channel, Some(since)),
        ("chat:CT_2", json!({ "is_channel": false }), None),
        ("channels", json!({}), None),
        ("chats", Value::Null, None),
    ] {
        let stream = stream(key, target);
        assert_eq!(cliq.pushed_since(&stream, &with_key), expected, "{key}");
        let without = cliq.pushed_since(&stream, &PushWays::default());
        assert_eq!(without, None, "{key}: no bot is set up");
    }
}
