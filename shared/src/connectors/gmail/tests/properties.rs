//! Property tests of arbitrary and changed messages.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value;

use super::golden::outcome;
use crate::connectors::gmail::wire::{History, read_record};
use crate::connectors::testing::{json, payloads, remove_at, replace_at, value};

/// Field names of Gmail's messages and lists.
const NAMES: &[&str] = &[
    "id",
    "threadId",
    "labelIds",
    "internalDate",
    "payload",
    "headers",
    "name",
    "value",
    "history",
    "messagesAdded",
    "labelsAdded",
    "message",
    "historyId",
    "nextPageToken",
];

fn keys(body: &Bytes) -> Vec<String> {
    let signals = outcome(body).signals.into_iter();
    signals.map(|signal| signal.dedupe_key).collect()
}

proptest! {
    #[test]
    fn changed_messages_do_not_panic(
        which in any::<prop::sample::Index>(),
        path in prop::collection::vec(0_usize..20, 0..6),
        with in value(),
    ) {
        let all = payloads("gmail");
        let mut message: Value =
            serde_json::from_slice(&all[which.index(all.len())].1).expect("JSON");
        replace_at(&mut message, &path, &with);
        for key in keys(&Bytes::from(message.to_string())) {
            prop_assert!(key.starts_with("gmail:110248495921238986420:message:"), "{}", key);
        }
    }

    #[test]
    fn missing_field_changes_no_dedupe_key(
        which in any::<prop::sample::Index>(),
        path in prop::collection::vec(0_usize..20, 1..6),
    ) {
        let all = payloads("gmail");
        let body = &all[which.index(all.len())].1;
        let mut message: Value = serde_json::from_slice(body).expect("JSON");
        let removed = remove_at(&mut message, &path);
        // Without labels, it is no longer a draft.
        prop_assume!(removed.as_deref() != Some("labelIds"));
        let less = Bytes::from(message.to_string());
        let (before, after) = (keys(body), keys(&less));
        if !after.is_empty() {
            prop_assert_eq!(&after, &before);
        }
        let is_refused = outcome(&less).refused.is_some();
        prop_assert!(after == before || is_refused, "without {:?}: no Signal", removed);
    }

    #[test]
    fn label_order_changes_no_signal(shift in 0_usize..4) {
        for (name, body) in payloads("gmail") {
            let mut message: Value = serde_json::from_slice(&body).expect("JSON");
            let labels = message["labelIds"].as_array_mut().expect("labels");
            let count = labels.len();
            labels.rotate_left(shift % count.max(1));
            let rotated = outcome(&Bytes::from(message.to_string())).signals;
            let kinds = |signals: Vec<crate::model::SignalDraft>| -> Vec<_> {
                signals.into_iter().map(|signal| (signal.kind, signal.dedupe_key)).collect()
            };
            prop_assert_eq!(kinds(rotated), kinds(outcome(&body).signals), "{}", name);
        }
    }

    #[test]
    fn arbitrary_json_does_not_panic(payload in json(NAMES)) {
        let outcome = outcome(&Bytes::from(payload.to_string()));
        prop_assert!(outcome.signals.is_empty() || outcome.refused.is_none());
        if let Ok(history) = serde_json::from_value::<History>(payload) {
            for record in &history.records {
                drop(read_record(record));
            }
        }
    }
}
