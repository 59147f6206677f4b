//! Streams whose facts watch channels report.

use std::collections::BTreeMap;

use chrono::DateTime;
use serde_json::Value;

use super::connector;
use crate::connectors::Connector;
use crate::model::{PushWays, StreamSpec};

#[test]
fn stream_without_a_channel_is_polled_only() {
    let (drive, _) = connector("http://localhost:1");
    let since = DateTime::from_timestamp(1_800_000_000, 0).expect("a time");
    let ways = PushWays {
        own_url_since: None,
        subscribed_since: BTreeMap::from([("files".to_owned(), since)]),
    };
    for (key, expected) in [("files", Some(since)), ("drive:D1", None)] {
        let stream = StreamSpec {
            key: key.to_owned(),
            resource_id: None,
            target: Value::Null,
        };
        assert_eq!(drive.pushed_since(&stream, &ways), expected, "{key}");
    }
}
