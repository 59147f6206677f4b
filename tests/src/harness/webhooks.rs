//! Signed deliveries from one template that differ in the issue's id only.
//!
//! Each becomes a separate Signal.

use aws_lc_rs::hmac;
use bytes::Bytes;
use serde_json::Value;
use sqlx::Row;
use uuid::Uuid;

use super::provider::{
    DEFAULT_PROVIDER, EVENT, WEBHOOK_SECRET, open_issue, opened_key, webhook_headers,
};
use super::{System, Tenant, eventually};

/// Capacity of a body's buffer; bodies have about 7 KB.
const BODY_BYTES: usize = 8 * 1024;
/// Issue id of delivery number 0; all ids have the same number of digits.
const FIRST_ID: u64 = 7_000_000_000;

/// Template and signing key of the deliveries.
pub struct Webhooks {
    /// Parts of the body around the occurrences of the issue's id.
    parts: Vec<Bytes>,
    key: hmac::Key,
}

impl Webhooks {
    /// Connects a simulated account and uses one of its deliveries as the template.
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
        let opened = system
            .sim(&format!("{DEFAULT_PROVIDER}/act"), open_issue(account))
            .await;
        let id = opened["object"]["id"].to_string();
        let delivered = "SELECT convert_from(body, 'UTF8') AS body FROM deliveries \
                         WHERE event LIKE $2 || '%' \
                           AND convert_from(body, 'UTF8') LIKE '%\"id\":' || $1 || ',%' LIMIT 1";
        let mut body = String::new();
        eventually("the template was delivered", async || {
            let row = sqlx::query(delivered)
                .bind(&id)
                .bind(EVENT)
                .fetch_optional(system.db.pool())
                .await
                .expect("the query result");
            body = row.map_or_else(String::new, |row| row.get("body"));
            !body.is_empty()
        })
        .await;
        let mut parsed: Value = serde_json::from_str(&body).expect("JSON");
        remove_api_urls(&mut parsed);
        let body = parsed.to_string();
        let parts = body.split(&id).map(|part| Bytes::from(part.to_owned()));
        Self {
            parts: parts.collect(),
            key: hmac::Key::new(hmac::HMAC_SHA256, system.env[WEBHOOK_SECRET].as_bytes()),
        }
    }

    /// Path of the deliveries.
    pub fn path() -> String {
        format!("/webhooks/{DEFAULT_PROVIDER}")
    }

    /// Returns the headers and the body of a delivery with this id.
    pub fn signed(&self, number: u64, delivery: Uuid) -> ([(&'static str, String); 3], Bytes) {
        let body = self.body(number);
        let signature = hex::encode(hmac::sign(&self.key, &body));
        (webhook_headers(delivery, &signature), body)
    }

    /// Returns a delivery's body.
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

/// Returns the dedupe key of a delivery's Signal.
pub fn dedupe_key_of(number: u64) -> String {
    opened_key(FIRST_ID + number)
}

/// Returns the number of the delivery with this issue id, if it is generated.
pub fn delivery_number(id: &str) -> Option<u64> {
    id.parse::<u64>().ok()?.checked_sub(FIRST_ID)
}

/// Removes the URLs of API resources, which make up a third of the body.
fn remove_api_urls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !name.ends_with("_url") || name == "html_url");
            fields.values_mut().for_each(remove_api_urls);
        }
        Value::Array(items) => items.iter_mut().for_each(remove_api_urls),
        _ => {}
    }
}
