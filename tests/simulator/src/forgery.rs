//! Forged delivery bodies, which contain facts that never happened.
//!
//! A receiver that accepts a forged delivery emits a Signal that the ledger does not have. The
//! fields for routing stay unchanged, so that only its signature, age or size can reject it.

use serde_json::Value;

use super::faults::Effect;

/// Offset of forged ids, and of the microseconds in timestamps that are ids.
const SHIFT: u64 = 424_243;
/// Fields by which deliveries are routed.
const ROUTING_FIELDS: [&str; 2] = ["installation", "organization"];

/// Whether receivers must reject a delivery with this fault.
pub(crate) const fn must_be_rejected(effect: Effect) -> bool {
    matches!(
        effect,
        Effect::WrongSignature | Effect::NoSignature | Effect::OldSignature | Effect::Oversize
    )
}

/// Copies a body and replaces the identities of its facts.
pub(crate) fn forge(body: &Value) -> Value {
    match body {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| {
                let forged = match name.as_str() {
                    name if ROUTING_FIELDS.contains(&name) => value.clone(),
                    "id" | "file_id" | "after" => forged_id(value),
                    name if name == "ts" || name.ends_with("_ts") => forged_timestamp(value),
                    _ => forge(value),
                };
                (name.clone(), forged)
            })
            .collect(),
        Value::Array(items) => items.iter().map(forge).collect(),
        other => other.clone(),
    }
}

/// Another id of the same form.
pub(crate) fn forged_id(id: &Value) -> Value {
    match id {
        Value::Number(number) => number.as_u64().map_or(id.clone(), |id| (id + SHIFT).into()),
        Value::String(text) => text.parse::<u64>().map_or_else(
            |_| format!("{text}F").into(),
            |id| (id + SHIFT).to_string().into(),
        ),
        other => forge(other),
    }
}

fn forged_timestamp(timestamp: &Value) -> Value {
    let text = timestamp.as_str().unwrap_or_default();
    match text.split_once('.') {
        Some((seconds, micros)) => {
            let micros = micros.parse::<u64>().unwrap_or_default();
            format!("{seconds}.{:06}", (micros + SHIFT) % 1_000_000).into()
        }
        None => timestamp.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn forged_body_keeps_its_route_and_changes_identities() {
        let body = json!({
            "installation": { "id": 7 }, "team_id": "T1", "matchedWebhookIds": [3],
            "organization": { "id": "9" },
            "issue": { "id": 11, "title": "a" }, "comment": { "id": "12" },
            "event": { "ts": "1700000000.900000", "item": { "ts": "1700000000.000001" } },
        });
        let forged = forge(&body);
        for route in [
            "installation",
            "team_id",
            "matchedWebhookIds",
            "organization",
        ] {
            assert_eq!(forged[route], body[route]);
        }
        assert_eq!(forged["issue"], json!({ "id": 424_254, "title": "a" }));
        assert_eq!(forged["comment"]["id"], "424255");
        assert_eq!(forged["event"]["ts"], "1700000000.324243");
        assert_eq!(forged["event"]["item"]["ts"], "1700000000.424244");
    }
}
