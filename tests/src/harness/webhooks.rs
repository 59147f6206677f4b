//! Signed deliveries of one pattern: alike but for the issue they are about, so that each
//! becomes a Signal of its own.

use aws_lc_rs::hmac;
use bytes::Bytes;
use serde_json::{Value, json};
use sqlx::Row;

use super::{System, Tenant, eventually};

/// Room for a body; it has about 7 KB.
const BODY_BYTES: usize = 8 * 1024;
/// Stands where each delivery has its issue's id; as many digits as any of them.
const FIRST_ID: u64 = 7_000_000_000;
/// What the event is called.
pub const EVENT: &str = "issues";

/// What every delivery is made from.
pub struct Webhooks {
    /// The body before, between and behind the places of the id.
    parts: Vec<Bytes>,
    key: hmac::Key,
}

impl Webhooks {
    /// Connects a simulated account and takes a real delivery of it as the pattern.
    ///
    /// # Panics
    ///
    /// When the account cannot be connected or delivers nothing.
    pub async fn prepare(
        system: &System,
        tenant: &Tenant<'_>,
        (account, person): (&str, &str),
    ) -> Self {
        tenant.connect(account, person).await;
        let opened = system.sim("github/act", opened(account)).await;
        let id = opened["object"]["id"].to_string();
        let delivered = "SELECT convert_from(body, 'UTF8') AS body FROM deliveries \
                         WHERE event LIKE 'issues%' \
                           AND convert_from(body, 'UTF8') LIKE '%\"id\":' || $1 || ',%' LIMIT 1";
        let mut body = String::new();
        eventually("the pattern was delivered", async || {
            let row = sqlx::query(delivered)
                .bind(&id)
                .fetch_optional(system.db.pool())
                .await
                .expect("Postgres answers");
            body = row.map_or_else(String::new, |row| row.get("body"));
            !body.is_empty()
        })
        .await;
        let mut parsed: Value = serde_json::from_str(&body).expect("JSON");
        prune(&mut parsed);
        let body = parsed.to_string();
        let parts = body.split(&id).map(|part| Bytes::from(part.to_owned()));
        Self {
            parts: parts.collect(),
            key: hmac::Key::new(
                hmac::HMAC_SHA256,
                system.env["POBLYSH_GITHUB_WEBHOOK_SECRET"].as_bytes(),
            ),
        }
    }

    /// The body of a delivery, and its signature as a header has it.
    pub fn signed(&self, number: u64) -> (Bytes, String) {
        let body = self.body(number);
        let signature = hex::encode(hmac::sign(&self.key, &body));
        (body, format!("sha256={signature}"))
    }

    /// The body of a delivery.
    pub fn body(&self, number: u64) -> Bytes {
        let id = (FIRST_ID + number).to_string();
        let mut body = Vec::with_capacity(BODY_BYTES);
        for (at, part) in self.parts.iter().enumerate() {
            if at > 0 {
                body.extend_from_slice(id.as_bytes());
            }
            body.extend_from_slice(part);
        }
        Bytes::from(body)
    }
}

/// The dedupe key of the Signal that a delivery becomes.
pub fn key_of(number: u64) -> String {
    format!("github:issue:{}:created", FIRST_ID + number)
}

/// The number of the delivery that an issue's id came by, if it is one of ours.
pub fn number_of(id: &str) -> Option<u64> {
    id.parse::<u64>().ok()?.checked_sub(FIRST_ID)
}

/// Takes out the many addresses of API resources, which would make a body half as large again.
fn prune(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !name.ends_with("_url") || name == "html_url");
            fields.values_mut().for_each(prune);
        }
        Value::Array(items) => items.iter_mut().for_each(prune),
        _ => {}
    }
}

/// An issue whose delivery has about the size that is wanted.
fn opened(account: &str) -> Value {
    let text = "A line of a description that somebody wrote at length. ".repeat(80);
    json!({
        "account": account,
        "repository": "service-1",
        "action": "issues.opened",
        "title": "A pattern",
        "body": text,
    })
}
