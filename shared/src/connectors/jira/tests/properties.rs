//! Property tests of arbitrary and changed payloads.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value;

use super::directory;
use super::golden::{delivery, handle};
use crate::connectors::jira::webhook;
use crate::connectors::testing::{json, payload, payloads, remove_at, replace_at, value};

/// Field names of Jira's payloads.
const NAMES: &[&str] = &[
    "webhookEvent",
    "timestamp",
    "matchedWebhookIds",
    "issue",
    "fields",
    "changelog",
    "items",
    "field",
    "fieldId",
    "from",
    "to",
    "comment",
    "worklog",
    "sprint",
    "version",
    "project",
    "user",
    "self",
    "id",
    "key",
    "created",
    "updated",
    "status",
    "author",
    "accountId",
];

fn keys(body: &Bytes) -> Vec<String> {
    let mut keys: Vec<String> = handle(body, &directory())
        .signals
        .into_iter()
        .map(|signal| signal.dedupe_key)
        .collect();
    keys.sort();
    keys
}

proptest! {
    #[test]
    fn changed_payloads_do_not_panic(
        which in any::<prop::sample::Index>(),
        path in prop::collection::vec(0_usize..20, 0..6),
        with in value(),
    ) {
        let all = payloads("jira");
        let mut payload: Value = serde_json::from_slice(&all[which.index(all.len())].1).expect("JSON");
        replace_at(&mut payload, &path, &with);
        let body = Bytes::from(serde_json::to_vec(&payload).expect("JSON"));
        if let Ok(outcome) = webhook::handle(&delivery(body), &directory()) {
            for signal in outcome.signals {
                prop_assert!(signal.dedupe_key.starts_with("jira:cloud-1:"));
            }
        }
    }

    #[test]
    fn arbitrary_bytes_do_not_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        webhook::handle(&delivery(Bytes::from(body)), &directory()).ok();
    }

    #[test]
    fn item_order_does_not_change_keys(shift in 0_usize..2) {
        let body = payload("jira", "issue_updated.status_and_assignee");
        let mut payload: Value = serde_json::from_slice(&body).expect("JSON");
        payload["changelog"]["items"].as_array_mut().expect("items").rotate_left(shift);
        let rotated = Bytes::from(payload.to_string());
        prop_assert_eq!(keys(&rotated), keys(&body));
    }

    #[test]
    fn arbitrary_json_does_not_panic(payload in json(NAMES)) {
        let body = Bytes::from(payload.to_string());
        if let Ok(outcome) = webhook::handle(&delivery(body), &directory()) {
            prop_assert!(outcome.signals.is_empty() || outcome.refused.is_none());
        }
    }

    #[test]
    fn missing_field_changes_no_dedupe_key(
        which in any::<prop::sample::Index>(),
        path in prop::collection::vec(0_usize..20, 1..6),
    ) {
        let all = payloads("jira");
        let body = &all[which.index(all.len())].1;
        let mut payload: Value = serde_json::from_slice(body).expect("JSON");
        let removed = remove_at(&mut payload, &path);
        // Without these fields the item changes another field.
        prop_assume!(!matches!(removed.as_deref(), Some("field" | "fieldId" | "fieldtype")));
        let less = Bytes::from(payload.to_string());
        let whole = keys(body);
        for key in keys(&less) {
            prop_assert!(whole.contains(&key), "{:?}: {} in place of {:?}", removed, key, whole);
        }
        let outcome = handle(&less, &directory());
        let lost = outcome.signals.is_empty() && !whole.is_empty();
        let is_expected = matches!(removed.as_deref(), Some("webhookEvent" | "changelog" | "items"));
        prop_assert!(!lost || is_expected || outcome.refused.is_some(), "without {:?}: no Signal", removed);
    }

    #[test]
    fn multi_step_change_has_one_key_per_field(
        fields in prop::collection::vec(prop::sample::select(&["status", "assignee", "labels"][..]), 0..8),
    ) {
        let body = payload("jira", "issue_updated.status");
        let mut payload: Value = serde_json::from_slice(&body).expect("JSON");
        let items = fields.iter().map(|field| serde_json::json!({ "field": field, "to": "10001" }));
        payload["changelog"]["items"] = items.collect();
        let keys = keys(&Bytes::from(payload.to_string()));
        let mut unique = keys.clone();
        unique.dedup();
        prop_assert_eq!(keys, unique);
    }
}
