//! What must hold for every payload, however strange.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::golden::{delivery, payloads};
use super::{connector, directory};
use crate::connectors::Connector;

/// A place in a payload, as a number that is reduced at every level.
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
        any::<bool>().prop_map(Value::from),
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
        let (slack, _) = connector("http://localhost:1", &[]);
        let all = payloads();
        let mut payload: Value = serde_json::from_slice(&all[which.index(all.len())].1).expect("JSON");
        change(&mut payload, &path, &with);
        let body = Bytes::from(serde_json::to_vec(&payload).expect("JSON"));
        if let Ok(outcome) = slack.handle_webhook(&delivery(body), &directory()) {
            for signal in outcome.signals {
                prop_assert!(signal.dedupe_key.starts_with("slack:T0ACME:"));
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let (slack, _) = connector("http://localhost:1", &[]);
        slack.handle_webhook(&delivery(Bytes::from(body)), &directory()).ok();
    }
}
