//! A provider whose deliveries arrive at connections' own URLs, with keys that it generates.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use secrecy::SecretString;
use serde_json::json;
use shared::connectors::{
    Acknowledgement, AuthorizeRequest, Callback, CallbackOutcome, ConnectionWebhooks, Connector,
    ConnectorDeps, ConnectorError, ConnectorSettings, Directory, Grant, Handshake, KeySource,
    ProviderDescriptor, RefreshRequest, Registry, SyncPage, SyncRequest, TokenSet, VerifyError,
    WebhookDelivery, WebhookOutcome, WebhookReceipt, WebhookRequest, WebhookVerifier,
};
use shared::crypto::{sha256, verify_hmac_sha256_hex};
use shared::http::HttpError;
use shared::model::{
    Actor, ActorKind, Context, ContextKind, SignalDraft, SignalKind, Subject, TimestampSource,
};
use url::Url;

pub(super) const SLUG: &str = "mailbox";
pub(super) const HANDSHAKE_HEADER: &str = "x-hook-secret";
pub(super) const SIGNATURE_HEADER: &str = "x-hook-signature";
pub(super) const KEY_SIGNATURE_HEADER: &str = "x-key-signature";

/// Provider that only sends deliveries to connections' own URLs.
pub(super) struct Mailbox(ProviderDescriptor);

impl Mailbox {
    /// Creates the provider with the remaining fields of another provider.
    pub(super) fn from_descriptor(other: &ProviderDescriptor) -> Self {
        Self(ProviderDescriptor {
            slug: SLUG,
            display_name: "Mailbox",
            polling: false,
            required_headers: &[],
            connection_webhooks: Some(ConnectionWebhooks {
                required_headers: &[SIGNATURE_HEADER],
                handshake_header: Some(HANDSHAKE_HEADER),
                accepts_public_key: true,
                is_only_url: false,
            }),
            ..other.clone()
        })
    }

    async fn receive(
        &self,
        request: &WebhookRequest<'_>,
        keys: &dyn KeySource,
    ) -> Result<WebhookReceipt, VerifyError> {
        let connection = request.connection.ok_or(VerifyError::NotConfigured)?;
        let header = |name| Some(request.headers.get(name)?.to_str().ok()?.to_owned());
        let mut receipt = WebhookReceipt {
            event: "mail".to_owned(),
            dedupe_id: format!("{connection}:{}", hex::encode(sha256(request.body))),
            routes: Vec::new(),
            acknowledgement: Acknowledgement {
                status: StatusCode::ACCEPTED,
                ..Acknowledgement::of("application/json", "{}")
            },
            handshake: None,
            stored_body: None,
        };
        if let Some(secret) = header(HANDSHAKE_HEADER) {
            receipt.acknowledgement = Acknowledgement::of("text/plain", "hello");
            receipt.handshake = Some(Handshake {
                secret: Some(SecretString::from(secret)),
            });
            return Ok(receipt);
        }
        let claimed =
            header(SIGNATURE_HEADER).ok_or(VerifyError::MissingHeader(SIGNATURE_HEADER))?;
        if header(KEY_SIGNATURE_HEADER).is_some() {
            let claimed = STANDARD.decode(claimed);
            let claimed = claimed.map_err(|_| VerifyError::Malformed)?;
            let keys = keys.connection_public_keys(SLUG, connection).await?;
            let genuine = keys
                .iter()
                .any(|key| key.verify_rs256(request.body, &claimed));
            return genuine.then_some(receipt).ok_or(VerifyError::Mismatch);
        }
        let secrets = keys.connection_secrets(SLUG, connection).await?;
        let hex = claimed.strip_prefix("sha256=").unwrap_or_default();
        verify_hmac_sha256_hex(&secrets, &[request.body], hex)
            .then_some(receipt)
            .ok_or(VerifyError::Mismatch)
    }
}

#[async_trait]
impl WebhookVerifier for Mailbox {
    fn descriptor(&self) -> &ProviderDescriptor {
        &self.0
    }

    fn is_configured(&self) -> bool {
        false
    }

    async fn verify(
        &self,
        request: &WebhookRequest<'_>,
        keys: &dyn KeySource,
    ) -> Result<WebhookReceipt, VerifyError> {
        self.receive(request, keys).await
    }
}

fn unsupported<T>() -> Result<T, ConnectorError> {
    Err(ConnectorError::Permanent("not supported".into()))
}

#[async_trait]
impl Connector for Mailbox {
    fn descriptor(&self) -> &ProviderDescriptor {
        &self.0
    }

    fn authorize(&self, _: &AuthorizeRequest) -> Result<Url, ConnectorError> {
        unsupported()
    }

    async fn exchange_token(&self, _: Callback) -> Result<CallbackOutcome, ConnectorError> {
        unsupported()
    }

    async fn refresh_token(&self, _: RefreshRequest) -> Result<TokenSet, ConnectorError> {
        unsupported()
    }

    async fn revoke(&self, _: &Grant) -> Result<(), ConnectorError> {
        unsupported()
    }

    async fn verify_webhook(
        &self,
        request: &WebhookRequest<'_>,
        keys: &dyn KeySource,
    ) -> Result<WebhookReceipt, VerifyError> {
        self.receive(request, keys).await
    }

    fn handle_webhook(
        &self,
        delivery: &WebhookDelivery,
        _: &Directory,
    ) -> Result<WebhookOutcome, ConnectorError> {
        let raw = serde_json::value::RawValue::from_string(
            String::from_utf8_lossy(&delivery.body).into_owned(),
        );
        let raw = raw.map_err(|error| ConnectorError::Permanent(error.into()))?;
        let id = hex::encode(sha256(&delivery.body));
        let draft = SignalDraft {
            kind: SignalKind::MessagePosted,
            dedupe_key: format!("{SLUG}:{id}"),
            timestamp: delivery.received_at,
            timestamp_source: TimestampSource::Received,
            actor: Actor {
                id: None,
                name: None,
                kind: ActorKind::Unknown,
            },
            subject: Subject {
                kind: "message".to_owned(),
                id,
                key: None,
                title: None,
                url: None,
            },
            context: Context {
                kind: ContextKind::Channel,
                id: "inbox".to_owned(),
                name: None,
            },
            normalized: json!({}),
            raw,
        };
        Ok(WebhookOutcome {
            signals: vec![draft],
            ..WebhookOutcome::default()
        })
    }

    async fn sync(&self, _: SyncRequest) -> Result<SyncPage, ConnectorError> {
        unsupported()
    }
}

/// Creates the configured connectors and the one of these tests.
pub(super) fn with_mailbox(
    settings: ConnectorSettings,
    deps: &ConnectorDeps,
) -> Result<Registry, HttpError> {
    let mut registry = Registry::new(settings, deps)?;
    let mailbox = Mailbox::from_descriptor(registry.iter().next().expect("a provider").0);
    registry.replace(Arc::new(mailbox));
    Ok(registry)
}
