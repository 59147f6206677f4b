//! A webhook request before and after its signature check.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::HeaderMap;

use super::ConnectionRoute;
use crate::connectors::{
    Acknowledgement, Handshake, KeySource, VerifyError, WebhookReceipt, WebhookRequest,
    WebhookVerifier,
};
use crate::model::DeliveryId;
use crate::queue::DELIVERY_ROW_BYTES;

/// The maximum time of a verification.
///
/// Two lookups of a connection's keys fit into it. Providers repeat a request that gets 503.
const VERIFY_TIMEOUT: Duration = Duration::from_secs(2);

/// A request as received, of unknown origin.
#[derive(Debug)]
pub struct RawDelivery {
    /// All request headers.
    pub headers: HeaderMap,
    /// The raw body.
    pub body: Bytes,
    /// The time of receipt, by the clock that all processes share.
    pub received_at: DateTime<Utc>,
    /// The connection whose own URL it was sent to; `None` for the app's URL.
    pub connection: Option<ConnectionRoute>,
}

/// A request with a valid signature; only [`RawDelivery::verify`] makes one.
#[derive(Debug)]
pub struct VerifiedDelivery {
    pub(super) id: DeliveryId,
    pub(super) received_at: DateTime<Utc>,
    pub(super) provider: &'static str,
    pub(super) receipt: WebhookReceipt,
    pub(super) headers: String,
    pub(super) body: Bytes,
    pub(super) traceparent: Option<String>,
    /// The connection whose own URL it was sent to.
    pub(super) connection: Option<ConnectionRoute>,
    /// The receipt's routes, each with the id of its row should it be unmatched.
    pub(super) routes: Vec<(String, DeliveryId)>,
}

impl RawDelivery {
    /// Checks the signature, then reads the fields that storing the delivery needs.
    pub async fn verify(
        self,
        verifier: &dyn WebhookVerifier,
        keys: &dyn KeySource,
        traceparent: Option<String>,
    ) -> Result<VerifiedDelivery, VerifyError> {
        let request = WebhookRequest {
            headers: &self.headers,
            body: &self.body,
            connection: self.connection.map(|route| route.connection),
        };
        let mut receipt = within(VERIFY_TIMEOUT, verifier.verify(&request, keys)).await?;
        let body = receipt.stored_body.take();
        let descriptor = verifier.descriptor();
        let milliseconds = u64::try_from(self.received_at.timestamp_millis()).unwrap_or(0);
        let id = DeliveryId::at(milliseconds);
        // A connection's own key does not prove that the connection owns the accounts in the body.
        let is_own_url = self.connection.is_some();
        let named = receipt.routes.iter().filter(|_| !is_own_url);
        let routes = named.enumerate().map(|(number, route)| {
            let row = if number == 0 {
                id
            } else {
                DeliveryId::at(milliseconds)
            };
            (route.clone(), row)
        });
        Ok(VerifiedDelivery {
            routes: routes.collect(),
            connection: self.connection,
            received_at: id.received_at(),
            id,
            provider: descriptor.slug,
            headers: stored_headers(&self.headers, descriptor.stored_headers),
            receipt,
            body: body.unwrap_or(self.body),
            traceparent,
        })
    }
}

/// Waits for a verification; keys that do not arrive in time are unavailable.
async fn within(
    limit: Duration,
    verification: impl Future<Output = Result<WebhookReceipt, VerifyError>>,
) -> Result<WebhookReceipt, VerifyError> {
    let result = tokio::time::timeout(limit, verification).await;
    result.unwrap_or(Err(VerifyError::KeysUnavailable))
}

impl VerifiedDelivery {
    /// The bytes that it adds to the backlog.
    pub(super) fn size(&self) -> u64 {
        (self.body.len() + self.headers.len()) as u64 + u64::from(DELIVERY_ROW_BYTES.unsigned_abs())
    }

    /// The response that the provider requires.
    pub fn acknowledgement(&self) -> Acknowledgement {
        self.receipt.acknowledgement.clone()
    }

    /// The handshake, if it is one: it gets a response and is not stored.
    pub const fn handshake(&self) -> Option<&Handshake> {
        self.receipt.handshake.as_ref()
    }
}

/// The stored headers, as a JSON object.
///
/// Signatures are not stored: nothing verifies them later, and a stored one could be replayed.
fn stored_headers(headers: &HeaderMap, kept: &[&str]) -> String {
    let mut object = serde_json::Map::new();
    for name in kept {
        if let Some(value) = headers.get(*name) {
            let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
            object.insert((*name).to_owned(), text.into());
        }
    }
    serde_json::Value::Object(object).to_string()
}

/// A delivery with a body of this size.
#[cfg(test)]
pub(super) fn with_body_size(bytes: usize) -> VerifiedDelivery {
    VerifiedDelivery {
        id: DeliveryId::generate(),
        received_at: DateTime::UNIX_EPOCH,
        provider: "any",
        receipt: WebhookReceipt {
            dedupe_id: String::new(),
            event: String::new(),
            routes: Vec::new(),
            acknowledgement: Acknowledgement::default(),
            handshake: None,
            stored_body: None,
        },
        headers: String::new(),
        body: Bytes::from(vec![0; bytes]),
        traceparent: None,
        connection: None,
        routes: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn verification_without_keys_ends_in_time() {
        let result = within(Duration::from_millis(1), std::future::pending()).await;
        assert_eq!(result.err(), Some(VerifyError::KeysUnavailable));
        let result = within(VERIFY_TIMEOUT, async { Err(VerifyError::Mismatch) }).await;
        assert_eq!(result.err(), Some(VerifyError::Mismatch));
    }

    #[test]
    fn generated_id_carries_the_time_of_receipt() {
        let id = DeliveryId::generate();
        let at = id.received_at();
        assert!(at.timestamp() > 1_700_000_000);
        assert_eq!(at, id.received_at());
        assert!(id.carries_time());
        assert!(!DeliveryId(uuid::Uuid::new_v4()).carries_time());
    }
}
