//! Pushes of watch channels: verification over headers, and the wake-up that they mean.
//!
//! A push has no body and states only that something has changed. The channel's token proves that
//! it belongs to a channel that this app created for this product. The channel's id is its route,
//! so only the connection that planned the id receives it; a push of a channel that has ended
//! matches no connection and is acknowledged. The resource's id is compared by the worker, which
//! knows the channel.

use std::marker::PhantomData;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use secrecy::{ExposeSecret, SecretString};

use super::settings::webhook_secrets;
use crate::clock::SharedClock;
use crate::config::Reader;
use crate::connectors::headers::{identifier_header, single_header};
use crate::connectors::settings::{App, AppReader};
use crate::connectors::{
    Acknowledgement, KeySource, ProviderDescriptor, SyncHint, VerifyError, WebhookDelivery,
    WebhookOutcome, WebhookReceipt, WebhookRequest, WebhookVerifier,
};
use crate::crypto::{hmac_sha256, verify_hmac_sha256};

/// Header with the channel's id.
const CHANNEL: &str = "x-goog-channel-id";
/// Header with the channel's token.
const TOKEN: &str = "x-goog-channel-token";
/// Header with the change: `sync` for a new channel, then `change` or `exists`.
const STATE: &str = "x-goog-resource-state";
/// Header with Google's id of the watched resource.
const RESOURCE: &str = "x-goog-resource-id";
/// Header with the number of the push in its channel.
const NUMBER: &str = "x-goog-message-number";

/// Field of a subscription's state with Google's id of the watched resource.
pub(super) const RESOURCE_ID: &str = "resource_id";

/// Maximum size of a push, which has no body.
pub(in crate::connectors) const MAX_PUSH_BYTES: usize = 1024;
/// Headers that every push has.
pub(in crate::connectors) const REQUIRED_HEADERS: &[&str] =
    &[CHANNEL, TOKEN, STATE, RESOURCE, NUMBER];
/// Headers stored with a push. The token is a secret and is not stored.
pub(in crate::connectors) const STORED_HEADERS: &[&str] = &[
    CHANNEL,
    STATE,
    RESOURCE,
    NUMBER,
    "x-goog-channel-expiration",
    "user-agent",
];

/// Verifier of a product's pushes.
pub struct ChannelWebhooks<A> {
    descriptor: ProviderDescriptor,
    secrets: Vec<SecretString>,
    app: PhantomData<fn() -> A>,
}

impl<A: App> ChannelWebhooks<A> {
    /// Reads the settings of verification.
    pub fn from_reader(reader: &mut Reader<'_>, _clock: &SharedClock) -> Self {
        let mut reader = AppReader::new(reader);
        let limits = A::limits(&mut reader);
        Self {
            descriptor: A::descriptor(limits),
            secrets: webhook_secrets(&mut reader),
            app: PhantomData,
        }
    }
}

#[async_trait]
impl<A: App> WebhookVerifier for ChannelWebhooks<A> {
    fn descriptor(&self) -> &ProviderDescriptor {
        &self.descriptor
    }

    fn is_configured(&self) -> bool {
        !self.secrets.is_empty()
    }

    async fn verify(
        &self,
        request: &WebhookRequest<'_>,
        _keys: &dyn KeySource,
    ) -> Result<WebhookReceipt, VerifyError> {
        verify_push(self.descriptor.slug, &self.secrets, request)
    }
}

/// The text that a channel's token authenticates.
fn message(slug: &str, channel: &str) -> String {
    format!("{slug}|{channel}")
}

/// The token of a product's channel, which proves that this app created it.
pub(super) fn channel_token(secret: &SecretString, slug: &str, channel: &str) -> String {
    let message = message(slug, channel);
    let mac = hmac_sha256(secret.expose_secret().as_bytes(), message.as_bytes());
    URL_SAFE_NO_PAD.encode(mac)
}

/// Verifies a push under any of the active secrets.
pub(in crate::connectors) fn verify_push(
    slug: &'static str,
    secrets: &[SecretString],
    request: &WebhookRequest<'_>,
) -> Result<WebhookReceipt, VerifyError> {
    if secrets.is_empty() {
        return Err(VerifyError::NotConfigured);
    }
    let headers = request.headers;
    let channel = identifier_header(headers, CHANNEL)?;
    let mac = URL_SAFE_NO_PAD
        .decode(single_header(headers, TOKEN)?)
        .map_err(|_| VerifyError::Malformed)?;
    if !verify_hmac_sha256(secrets, &[message(slug, channel).as_bytes()], &mac) {
        return Err(VerifyError::Mismatch);
    }
    let state = identifier_header(headers, STATE)?;
    let number = identifier_header(headers, NUMBER)?;
    identifier_header(headers, RESOURCE)?;
    Ok(WebhookReceipt {
        event: state.to_owned(),
        dedupe_id: format!("{channel}:{number}"),
        routes: vec![channel.to_owned()],
        acknowledgement: Acknowledgement::default(),
        handshake: None,
        // Google sends none, and the token does not cover it.
        stored_body: Some(Bytes::new()),
    })
}

/// Wakes up the stream of the push's channel.
///
/// The first push of a channel does so too: it covers the time since the last poll.
pub(in crate::connectors) fn handle_push(delivery: &WebhookDelivery) -> WebhookOutcome {
    let Some(channel) = &delivery.subscription else {
        // The channel has ended since.
        return WebhookOutcome::default();
    };
    // The first push may arrive before the response that states it.
    let known = channel.state.get(RESOURCE_ID).and_then(|id| id.as_str());
    if known.is_some_and(|known| delivery.header(RESOURCE) != Some(known)) {
        return WebhookOutcome {
            refused: Some("the push names another resource than its channel".to_owned()),
            ..WebhookOutcome::default()
        };
    }
    WebhookOutcome {
        sync_hint: Some(SyncHint::stream(channel.desired_resource())),
        ..WebhookOutcome::default()
    }
}
