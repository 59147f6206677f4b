//! Streams whose facts webhooks report, by the kind of webhook.

use std::collections::BTreeMap;

use chrono::DateTime;
use serde_json::Value;

use super::connector;
use crate::connectors::Connector;
use crate::model::{PushWays, StreamSpec};

#[test]
fn worklogs_are_pushed_by_administrators_webhooks_only() {
    let (jira, _) = connector("http://localhost:1");
    let at = |seconds| DateTime::from_timestamp(seconds, 0).expect("a time");
    let dynamic = PushWays {
        own_url_since: None,
        subscribed_since: BTreeMap::from([("issues:1".to_owned(), at(20))]),
    };
    let both = PushWays {
        own_url_since: Some(at(30)),
        ..dynamic.clone()
    };
    for (key, by_dynamic, by_both) in [
        ("issues", Some(at(20)), Some(at(20))),
        ("sprints:7", Some(at(20)), Some(at(20))),
        ("worklogs", None, Some(at(30))),
        ("projects", None, Some(at(30))),
    ] {
        let stream = StreamSpec {
            key: key.to_owned(),
            resource_id: None,
            target: Value::Null,
        };
        assert_eq!(jira.pushed_since(&stream, &dynamic), by_dynamic, "{key}");
        assert_eq!(jira.pushed_since(&stream, &both), by_both, "{key}");
        let without = jira.pushed_since(&stream, &PushWays::default());
        assert_eq!(without, None, "{key}");
    }
}
