//! What must hold for every payload, however strange.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value;

use super::directory;
use super::golden::{delivery, handle};
use crate::connectors::jira::webhook;
use crate::connectors::testing::{change, json, leave_out, payload, payloads, value};

/// What Jira's payloads are made of.
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
    fn no_payload_makes_it_panic(
        which in any::<prop::sample::Index>(),
        path in prop::collection::vec(0_usize..20, 0..6),
        with in value(),
    ) {
        let all = payloads("jira");
        let mut payload: Value = serde_json::from_slice(&all[which.index(all.len())].1).expect("JSON");
        change(&mut payload, &path, &with);
        let body = Bytes::from(serde_json::to_vec(&payload).expect("JSON"));
        if let Ok(outcome) = webhook::handle(&delivery(body), &directory()) {
            for signal in outcome.signals {
                prop_assert!(signal.dedupe_key.starts_with("jira:cloud-1:"));
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        webhook::handle(&delivery(Bytes::from(body)), &directory()).ok();
    }

    #[test]
    fn the_order_of_a_changes_items_does_not_matter(turn in 0_usize..2) {
        let body = payload("jira", "issue_updated.status_and_assignee");
        let mut payload: Value = serde_json::from_slice(&body).expect("JSON");
        payload["changelog"]["items"].as_array_mut().expect("items").rotate_left(turn);
        let turned = Bytes::from(payload.to_string());
        prop_assert_eq!(keys(&turned), keys(&body));
    }

    #[test]
    fn no_json_makes_it_panic(payload in json(NAMES)) {
        let body = Bytes::from(payload.to_string());
        if let Ok(outcome) = webhook::handle(&delivery(body), &directory()) {
            prop_assert!(outcome.signals.is_empty() || outcome.refused.is_none());
        }
    }

    #[test]
    fn what_is_left_out_makes_no_other_fact_of_it(
        which in any::<prop::sample::Index>(),
        path in prop::collection::vec(0_usize..20, 1..6),
    ) {
        let all = payloads("jira");
        let body = &all[which.index(all.len())].1;
        let mut payload: Value = serde_json::from_slice(body).expect("JSON");
        let left_out = leave_out(&mut payload, &path);
        // Without these it is another field's change.
        prop_assume!(!matches!(left_out.as_deref(), Some("field" | "fieldId" | "fieldtype")));
        let less = Bytes::from(payload.to_string());
        let whole = keys(body);
        for key in keys(&less) {
            prop_assert!(whole.contains(&key), "{:?}: {} in place of {:?}", left_out, key, whole);
        }
        let outcome = handle(&less, &directory());
        let lost = outcome.signals.is_empty() && !whole.is_empty();
        let told = matches!(left_out.as_deref(), Some("webhookEvent" | "changelog" | "items"));
        prop_assert!(!lost || told || outcome.refused.is_some(), "without {:?} it says nothing", left_out);
    }

    #[test]
    fn a_change_in_many_steps_has_one_key_for_each_field(
        fields in prop::collection::vec(prop::sample::select(&["status", "assignee", "labels"][..]), 0..8),
    ) {
        let body = payload("jira", "issue_updated.status");
        let mut payload: Value = serde_json::from_slice(&body).expect("JSON");
        let items = fields.iter().map(|field| serde_json::json!({ "field": field, "to": "10001" }));
        payload["changelog"]["items"] = items.collect();
        let told = keys(&Bytes::from(payload.to_string()));
        let mut once = told.clone();
        once.dedup();
        prop_assert_eq!(told, once);
    }
}
