//! Arbitrary payloads for properties that must hold for every payload.

use proptest::prelude::*;
use serde_json::{Value, json};

/// Replaces the value at a path of a payload.
///
/// A path has one number per level, reduced modulo the level's length.
pub(in super::super) fn replace_at(value: &mut Value, path: &[usize], new: &Value) {
    let Some((first, rest)) = path.split_first() else {
        *value = new.clone();
        return;
    };
    match value {
        Value::Object(object) if !object.is_empty() => {
            let at = first % object.len();
            if let Some(part) = object.values_mut().nth(at) {
                replace_at(part, rest, new);
            }
        }
        Value::Array(list) if !list.is_empty() => {
            let at = first % list.len();
            replace_at(&mut list[at], rest, new);
        }
        _ => *value = new.clone(),
    }
}

/// Removes the object member at a path of a payload and returns its name, if any.
pub(in super::super) fn remove_at(value: &mut Value, path: &[usize]) -> Option<String> {
    let (first, rest) = path.split_first()?;
    match value {
        Value::Object(object) if !object.is_empty() => {
            let name = object.keys().nth(first % object.len())?.clone();
            let within = object.get_mut(&name)?;
            if rest.is_empty() || !(within.is_object() || within.is_array()) {
                object.remove(&name);
                return Some(name);
            }
            remove_at(within, rest)
        }
        Value::Array(list) if !list.is_empty() => {
            let at = first % list.len();
            remove_at(&mut list[at], rest)
        }
        _ => None,
    }
}

/// Any JSON value without nesting.
pub(in super::super) fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        Just(json!({})),
        Just(json!([])),
        Just(json!("")),
        Just(json!(-1)),
        Just(json!(1e300)),
        Just(json!(u64::MAX)),
        Just(json!("2026-11-23T10:00:00Z")),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ]
}

/// Any JSON value whose objects mostly use these member names.
pub(in super::super) fn json(names: &'static [&'static str]) -> impl Strategy<Value = Value> {
    value().prop_recursive(4, 40, 6, move |inner| {
        let name = prop_oneof![
            8 => prop::sample::select(names).prop_map(str::to_owned),
            1 => any::<String>(),
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(name, inner, 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}
