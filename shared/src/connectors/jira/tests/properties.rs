//! What must hold for every payload, however strange.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::directory;
use super::golden::{delivery, handle, payloads};
use crate::connectors::jira::webhook;

fn change(value: &mut Value, path: &[usize], with: &Value) {
    let Some((first, rest)) = path.split_first() else {
        *value = with.clone();
        return;
    };
    match value {
        Value::Object(object) if !object.is_empty() => {
            let at = first % object.len();
            if let Some(part) = object.values_mut().nth(at) {
                change(part, rest, with);
            }
        }
        Value::Array(list) if !list.is_empty() => {
            let at = first % list.len();
            change(&mut list[at], rest, with);
        }
        other => *other = with.clone(),
    }
}

fn anything() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        Just(json!({})),
        Just(json!([])),
        Just(json!("")),
        Just(json!(-1)),
        Just(json!(1e300)),
        any::<i64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ]
}

proptest! {
    #[test]
    fn no_payload_makes_it_panic(
        which in any::<prop::sample::Index>(),
        path in prop::collection::vec(0_usize..20, 0..6),
        with in anything(),
    ) {
        let all = payloads();
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
        let (_, body) = payloads()
            .into_iter()
            .find(|(name, _)| name == "issue_updated.status_and_assignee")
            .expect("the payload");
        let mut payload: Value = serde_json::from_slice(&body).expect("JSON");
        payload["changelog"]["items"].as_array_mut().expect("items").rotate_left(turn);
        let turned = Bytes::from(payload.to_string());
        let keys = |body: &Bytes| {
            let mut keys: Vec<String> = handle(body, &directory())
                .signals
                .into_iter()
                .map(|signal| signal.dedupe_key)
                .collect();
            keys.sort();
            keys
        };
        prop_assert_eq!(keys(&turned), keys(&body));
    }
}
