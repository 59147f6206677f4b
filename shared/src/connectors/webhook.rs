//! Webhooks: the proof, the delivery, and what it says.

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use secrecy::SecretString;

use super::{DirectoryEntry, ExternalAccount, ProviderDescriptor};
use crate::crypto::PublicKey;
use crate::ids::ConnectionId;
use crate::signals::SignalDraft;

/// A webhook request whose signature has not been verified.
#[derive(Debug, Clone, Copy)]
pub struct WebhookRequest<'r> {
    /// All request headers.
    pub headers: &'r HeaderMap,
    /// The body, byte for byte.
    pub body: &'r Bytes,
    /// The connection in the request's path; `None` at the app's own URL.
    pub connection: Option<ConnectionId>,
}

/// Keys to verify a webhook with, beside the secrets of the app.
#[async_trait]
pub trait KeySource: Send + Sync {
    /// The webhook secrets of a connection of `provider`: none, one, or two while rotating.
    async fn connection_secrets(
        &self,
        provider: &'static str,
        connection: ConnectionId,
    ) -> Result<Vec<SecretString>, VerifyError>;

    /// The provider's public keys that an administrator has given to a connection of `provider`:
    /// none, one, or two while rotating.
    async fn connection_public_keys(
        &self,
        provider: &'static str,
        connection: ConnectionId,
    ) -> Result<Vec<PublicKey>, VerifyError> {
        let _ = (provider, connection);
        Ok(Vec::new())
    }
}

/// A key source without any key.
#[derive(Debug, Clone, Copy)]
pub struct NoKeys;

#[async_trait]
impl KeySource for NoKeys {
    async fn connection_secrets(
        &self,
        _: &'static str,
        _: ConnectionId,
    ) -> Result<Vec<SecretString>, VerifyError> {
        Ok(Vec::new())
    }
}

/// The part of a provider that ingress needs: it verifies webhooks and calls nobody.
///
/// It is built from the webhook settings alone, without the app's private key.
#[async_trait]
pub trait WebhookVerifier: Send + Sync {
    /// Describes the provider.
    fn descriptor(&self) -> &ProviderDescriptor;

    /// Whether the app has a secret that deliveries to its own URL are verified with.
    fn is_configured(&self) -> bool;

    /// Verifies a webhook's authenticity over the raw bytes, before anything is parsed.
    async fn verify(
        &self,
        request: &WebhookRequest<'_>,
        keys: &dyn KeySource,
    ) -> Result<WebhookReceipt, VerifyError>;
}

/// Proof that a webhook is genuine, and what is needed to file it.
#[derive(Debug, Clone)]
pub struct WebhookReceipt {
    /// The event's name, `issues.opened` for example.
    pub event: String,
    /// The provider's id of the delivery: the same id is the same delivery.
    pub dedupe_id: String,
    /// What it is routed by: every connection that has one of these routes gets it. An
    /// account's id is a route of its connections. Empty when it concerns none.
    pub routes: Vec<String>,
    /// The response that the provider demands, sent once the delivery is durable.
    pub acknowledgement: Acknowledgement,
    /// Set where it is a handshake and no delivery: it is answered and not stored.
    pub handshake: Option<Handshake>,
    /// The body to store, where the one that was sent holds a secret.
    pub stored_body: Option<Bytes>,
}

/// The response to a webhook.
#[derive(Debug, Clone, Default)]
pub struct Acknowledgement {
    /// The status, 200 unless the provider demands another.
    pub status: StatusCode,
    /// The response's headers.
    pub headers: HeaderMap,
    /// The response's body.
    pub body: Bytes,
}

impl Acknowledgement {
    /// A 200 with a body.
    pub fn of(content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let value = HeaderValue::from_static(content_type);
        Self {
            headers: HeaderMap::from_iter([(header::CONTENT_TYPE, value)]),
            body: body.into(),
            ..Self::default()
        }
    }
}

/// A request by which a provider makes itself known before it sends deliveries.
#[derive(Debug, Clone, Default)]
pub struct Handshake {
    /// The secret that the provider hands over to sign later deliveries with. It is stored where the
    /// connection is armed; otherwise the handshake is refused. Nothing proves who sends it.
    pub secret: Option<SecretString>,
}

/// How deliveries to a connection's own URL are verified.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionWebhooks {
    /// Request headers without which such a delivery cannot be genuine (lower case).
    pub required_headers: &'static [&'static str],
    /// The header by which the provider hands over the secret that it signs with (lower case);
    /// `None` where we make the secret.
    pub handshake_header: Option<&'static str>,
    /// Whether an administrator may give a public key of the provider's in place of a secret.
    pub takes_public_key: bool,
}

impl ConnectionWebhooks {
    /// The header that a request lacks to be a delivery or a handshake.
    pub fn missing_header(&self, headers: &HeaderMap) -> Option<&'static str> {
        let is_handshake = self
            .handshake_header
            .is_some_and(|name| headers.contains_key(name));
        let mut required = self.required_headers.iter().copied();
        required.find(|name| !is_handshake && !headers.contains_key(*name))
    }
}

/// Why a webhook is refused: 404 for an unknown connection, 503 where keys cannot be read, else
/// 401.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// No secret is configured, so nothing can be genuine.
    #[error("no webhook secret is configured")]
    NotConfigured,
    /// A header that carries or accompanies the signature is missing.
    #[error("the header {0} is missing")]
    MissingHeader(&'static str),
    /// The signature is not of the form the provider documents.
    #[error("the signature is malformed")]
    Malformed,
    /// The signature is too old or from the future.
    #[error("the signature's time is outside the window")]
    Stale,
    /// The signature belongs to another secret or another body.
    #[error("the signature does not match")]
    Mismatch,
    /// No connection of this provider has this id.
    #[error("the connection is unknown")]
    UnknownConnection,
    /// A secret was handed over to a connection that is not armed to take one.
    #[error("the connection does not take a secret at the moment")]
    NotArmed,
    /// The keys could not be read or stored, so that nothing is known of the signature.
    #[error("the keys are unavailable")]
    KeysUnavailable,
}

impl VerifyError {
    /// A short word for metrics.
    pub const fn code(self) -> &'static str {
        match self {
            Self::NotConfigured => "not_configured",
            Self::MissingHeader(_) => "missing_header",
            Self::Malformed => "malformed",
            Self::Stale => "stale",
            Self::Mismatch => "mismatch",
            Self::UnknownConnection => "unknown_connection",
            Self::NotArmed => "not_armed",
            Self::KeysUnavailable => "keys_unavailable",
        }
    }
}

/// A delivery that was verified and stored, as handed to [`super::Connector::handle_webhook`].
#[derive(Debug, Clone)]
pub struct WebhookDelivery {
    /// The kept headers (lower-case names).
    pub headers: Vec<(String, String)>,
    /// The body as received.
    pub body: Bytes,
    /// When we received it.
    pub received_at: DateTime<Utc>,
    /// The account of the connection it was routed to. Of one that matches no connection,
    /// only the route is known, which then stands for the id.
    pub account: ExternalAccount,
}

impl WebhookDelivery {
    /// The value of a kept header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// What a delivery says.
#[derive(Debug, Default)]
pub struct WebhookOutcome {
    /// Facts; empty when the event has no kind.
    pub signals: Vec<SignalDraft>,
    /// Why there is no fact although the event has a kind: what would identify it is not in
    /// the delivery. In words for operators, which never quote the content.
    pub refused: Option<String>,
    /// What it changes about the connection.
    pub changes: Vec<AccountChange>,
    /// What it tells about the directory: somebody was renamed.
    pub learned: Vec<DirectoryEntry>,
    /// Whether it is for others as well, whom [`super::Connector::recipients`] names.
    pub more_recipients: bool,
}

impl WebhookOutcome {
    /// The outcome of a delivery that tells these facts, or that cannot, for this reason.
    pub fn telling<E: std::error::Error>(facts: Result<Vec<SignalDraft>, E>) -> Self {
        match facts {
            Ok(signals) => Self {
                signals,
                ..Self::default()
            },
            Err(reason) => Self {
                refused: Some(reason.to_string()),
                ..Self::default()
            },
        }
    }
}

/// Whether the provider honours a grant, by its own word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrantState {
    /// It does.
    Active,
    /// It does not for the time being.
    Suspended,
    /// The provider has revoked it; the account can be connected again.
    Revoked,
    /// The app was removed from the account, and the grant is gone with it.
    Removed,
}

/// What a provider tells about the grant itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountChange {
    /// The app was installed, or installed again under a new id.
    Installed {
        /// The account as it is now.
        account: ExternalAccount,
        /// The provider's id of the person who had asked for it, if somebody else approved.
        requester: Option<String>,
    },
    /// Calls are refused until [`AccountChange::Unsuspended`].
    Suspended,
    /// The suspension is over; what was missed must be read again.
    Unsuspended,
    /// The grant was withdrawn; only a person can renew it. What was told before the
    /// present grant was given concerns an older one.
    Revoked {
        /// When, by the provider's clock.
        at: DateTime<Utc>,
    },
    /// The person who connected the account withdrew their own tokens; the account's stand.
    PersonRevoked {
        /// When, by the provider's clock.
        at: DateTime<Utc>,
    },
    /// The app was removed from the account, and the grant is gone with it.
    Removed {
        /// When, by the provider's clock; what was told before the present grant was given
        /// concerns an older one. `None` where ids tell grants apart.
        at: Option<DateTime<Utc>>,
    },
    /// Streams came or went: the root stream must be read again.
    StreamsChanged {
        /// Ids of resources that are no longer ours to read; their streams retire at once.
        removed_resources: Vec<String>,
    },
    /// The grant may be suspended or gone. The provider must be asked, with
    /// [`super::Connector::grant_state`], before anything changes.
    GrantInDoubt,
    /// The provider has given a resource another id. What is known of it goes on under the id
    /// that it was first known by.
    ResourceIdChanged {
        /// The id so far.
        from: String,
        /// The id from now on.
        to: String,
    },
    /// Events were missed: an incremental sync must fill the gap.
    GapDetected,
}
