//! A webhook request before and after its signature was checked.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::HeaderMap;

use super::ConnectionRoute;
use crate::connectors::{
    Acknowledgement, Handshake, KeySource, VerifyError, WebhookReceipt, WebhookRequest,
    WebhookVerifier,
};
use crate::ids::DeliveryId;
use crate::queue::DELIVERY_ROW_BYTES;

/// A request as it came in: nothing about it is known to be true.
#[derive(Debug)]
pub struct RawDelivery {
    /// All request headers.
    pub headers: HeaderMap,
    /// The body, byte for byte.
    pub body: Bytes,
    /// When it came in, by the clock that all processes share.
    pub received_at: DateTime<Utc>,
    /// The connection whose own URL it was sent to, if it was not the app's.
    pub connection: Option<ConnectionRoute>,
}

/// A request whose signature was checked. Made by [`RawDelivery::verify`] alone.
#[derive(Debug)]
pub struct VerifiedDelivery {
    pub(super) id: DeliveryId,
    pub(super) received_at: DateTime<Utc>,
    pub(super) provider: &'static str,
    pub(super) receipt: WebhookReceipt,
    pub(super) headers: String,
    pub(super) body: Bytes,
    pub(super) traceparent: Option<String>,
    /// The only connection that it is for.
    pub(super) connection: Option<ConnectionRoute>,
    /// The receipt's routes, each with the id of the row it would be kept in.
    pub(super) routes: Vec<(String, DeliveryId)>,
}

impl RawDelivery {
    /// Checks the signature and, only then, reads what is needed to file the delivery.
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
        let mut receipt = verifier.verify(&request, keys).await?;
        let body = receipt.stored_body.take();
        let descriptor = verifier.descriptor();
        let milliseconds = u64::try_from(self.received_at.timestamp_millis()).unwrap_or(0);
        let id = DeliveryId::at(milliseconds);
        let routes = receipt.routes.iter().enumerate().map(|(number, route)| {
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
            headers: kept_headers(&self.headers, descriptor.kept_headers),
            receipt,
            body: body.unwrap_or(self.body),
            traceparent,
        })
    }
}

impl VerifiedDelivery {
    /// Bytes that it takes while it waits.
    pub(super) fn size(&self) -> u64 {
        (self.body.len() + self.headers.len()) as u64 + u64::from(DELIVERY_ROW_BYTES.unsigned_abs())
    }

    /// The response that the provider demands.
    pub fn acknowledgement(&self) -> Acknowledgement {
        self.receipt.acknowledgement.clone()
    }

    /// The handshake that it is, which is answered and not stored.
    pub const fn handshake(&self) -> Option<&Handshake> {
        self.receipt.handshake.as_ref()
    }
}

/// The headers that are kept, as a JSON object. Signatures are not among them: they prove
/// nothing any more, and a stored one could be replayed.
fn kept_headers(headers: &HeaderMap, kept: &[&str]) -> String {
    let mut object = serde_json::Map::new();
    for name in kept {
        if let Some(value) = headers.get(*name) {
            let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
            object.insert((*name).to_owned(), text.into());
        }
    }
    serde_json::Value::Object(object).to_string()
}

/// A delivery whose body has a size, and nothing else.
#[cfg(test)]
pub(super) fn of_bytes(bytes: usize) -> VerifiedDelivery {
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

    #[test]
    fn an_id_carries_the_time_of_receipt() {
        let id = DeliveryId::generate();
        let at = id.received_at();
        assert!(at.timestamp() > 1_700_000_000);
        assert_eq!(at, id.received_at());
        assert!(id.carries_time());
        assert!(!DeliveryId(uuid::Uuid::new_v4()).carries_time());
    }
}
