//! Webhooks: verification, deliveries and their outcomes.

use std::collections::BTreeSet;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use secrecy::SecretString;

use super::ProviderDescriptor;
use crate::crypto::PublicKey;
use crate::model::{ConnectionId, DirectoryEntry, ExternalAccount, SignalDraft, Subscription};

/// A webhook request whose signature has not been verified.
#[derive(Debug, Clone, Copy)]
pub struct WebhookRequest<'r> {
    /// All request headers.
    pub headers: &'r HeaderMap,
    /// The raw body.
    pub body: &'r Bytes,
    /// The connection in the request's path; `None` at the app's URL.
    pub connection: Option<ConnectionId>,
}

/// Source of a connection's webhook keys, in addition to the app's secrets.
#[async_trait]
pub trait KeySource: Send + Sync {
    /// Loads the webhook secrets of a connection: none, one, or two during a rotation, the current
    /// one first.
    async fn connection_secrets(
        &self,
        provider: &'static str,
        connection: ConnectionId,
    ) -> Result<Vec<SecretString>, VerifyError>;

    /// Loads the provider's public keys that an administrator registered for a connection.
    ///
    /// There are none, one, or two during a rotation.
    async fn connection_public_keys(
        &self,
        provider: &'static str,
        connection: ConnectionId,
    ) -> Result<Vec<PublicKey>, VerifyError> {
        let _ = (provider, connection);
        Ok(Vec::new())
    }
}

/// Key source without keys.
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

/// Webhook verifier of a provider, used by the ingress.
///
/// It is built from the webhook settings alone, without the app's private key. A verification waits
/// for no call of the provider.
#[async_trait]
pub trait WebhookVerifier: Send + Sync {
    /// Describes the provider.
    fn descriptor(&self) -> &ProviderDescriptor;

    /// Returns whether a secret is configured for deliveries to the app's URL.
    fn is_configured(&self) -> bool;

    /// Prepares for deliveries, in the background: it may fetch the provider's public keys.
    fn prepare(&self) {}

    /// Verifies a webhook's signature over the raw bytes, before the body is parsed.
    async fn verify(
        &self,
        request: &WebhookRequest<'_>,
        keys: &dyn KeySource,
    ) -> Result<WebhookReceipt, VerifyError>;
}

/// Receipt of a verified webhook, with the metadata to store it.
#[derive(Debug, Clone)]
pub struct WebhookReceipt {
    /// Name of the event, such as `issues.opened`.
    pub event: String,
    /// The provider's id of the delivery, the key of deduplication.
    pub dedupe_id: String,
    /// Routes: every connection with one of them receives the delivery.
    ///
    /// An account's id is a route of its connections. Empty if the delivery concerns no account,
    /// and ignored at a connection's URL.
    pub routes: Vec<String>,
    /// Response that the provider requires, sent after the delivery is committed.
    pub acknowledgement: Acknowledgement,
    /// Set if the request is a handshake: it is acknowledged and not stored.
    pub handshake: Option<Handshake>,
    /// Body to store, if the original body contains a secret; empty if only the headers matter.
    pub stored_body: Option<Bytes>,
}

/// The response to a webhook.
#[derive(Debug, Clone, Default)]
pub struct Acknowledgement {
    /// Status; 200 unless the provider requires another.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
}

impl Acknowledgement {
    /// An acknowledgement with status 200 and a body.
    pub fn of(content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let value = HeaderValue::from_static(content_type);
        Self {
            headers: HeaderMap::from_iter([(header::CONTENT_TYPE, value)]),
            body: body.into(),
            ..Self::default()
        }
    }
}

/// A request by which a provider registers before it sends deliveries.
#[derive(Debug, Clone, Default)]
pub struct Handshake {
    /// Secret with which the provider will sign later deliveries.
    ///
    /// The handshake is not authenticated, so the secret is stored only if the connection is armed
    /// to accept one; otherwise the handshake is rejected.
    pub secret: Option<SecretString>,
}

/// Reason for rejecting a webhook.
///
/// The status is 404 for an unknown connection, 503 if keys are unavailable, and 401 otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// No secret is configured.
    #[error("no webhook secret is configured")]
    NotConfigured,
    /// A header that carries or accompanies the signature is missing.
    #[error("the header {0} is missing")]
    MissingHeader(&'static str),
    /// The signature does not have the documented form.
    #[error("the signature is malformed")]
    Malformed,
    /// The signature is too old or from the future.
    #[error("the signature's timestamp is outside the window")]
    Stale,
    /// The signature does not match the secret and the body.
    #[error("the signature does not match")]
    Mismatch,
    /// No connection of this provider has this id.
    #[error("the connection is unknown")]
    UnknownConnection,
    /// A handshake sent a secret to a connection that is not armed to accept one.
    #[error("the connection does not accept a webhook secret now")]
    NotArmed,
    /// The keys could not be read or stored, so the signature was not checked.
    #[error("the keys are unavailable")]
    KeysUnavailable,
}

impl VerifyError {
    /// Error code for metrics.
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

/// A verified and stored delivery, the input of [`super::Connector::handle_webhook`].
#[derive(Debug, Clone)]
pub struct WebhookDelivery {
    /// Stored headers (lower-case names).
    pub headers: Vec<(String, String)>,
    /// Body as received.
    pub body: Bytes,
    /// Time of receipt.
    pub received_at: DateTime<Utc>,
    /// Account of the connection it was routed to.
    ///
    /// If no connection matched, only its id is known, which is the route.
    pub account: ExternalAccount,
    /// Subscription whose route it matched, if that still exists.
    pub subscription: Option<Subscription>,
}

impl WebhookDelivery {
    /// Value of a stored header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Outcome of a delivery.
#[derive(Debug, Default)]
pub struct WebhookOutcome {
    /// Facts; empty if the event has no kind.
    pub signals: Vec<SignalDraft>,
    /// Reason why an event with a kind yields no fact: the delivery does not identify it.
    ///
    /// The text is for operators and never quotes the content.
    pub refused: Option<String>,
    /// Changes of the connection.
    pub changes: Vec<AccountChange>,
    /// Streams to read now, if the delivery is a wake-up or reports missed events.
    pub sync_hint: Option<SyncHint>,
    /// Directory updates, such as a renamed user.
    pub directory_updates: Vec<DirectoryEntry>,
    /// Whether it has further recipients, which [`super::Connector::list_recipients`] returns.
    pub more_recipients: bool,
}

impl WebhookOutcome {
    /// Builds the outcome from the Signals, or from the reason why there are none.
    pub fn from_signals<E: std::error::Error>(signals: Result<Vec<SignalDraft>, E>) -> Self {
        match signals {
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

/// Streams that a delivery asks to read now.
///
/// Hints of one connection are merged, also with those whose sync has not begun yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyncHint {
    /// These streams, by key. The delivery is a wake-up: it says where facts are, not which.
    ///
    /// The root's key, or one that is not listed yet, asks for the list of streams, like
    /// [`SyncHint::All`].
    Streams(BTreeSet<String>),
    /// Every stream, the list of streams included: events were missed.
    All,
}

impl SyncHint {
    /// A hint for one stream.
    pub fn stream(key: impl Into<String>) -> Self {
        Self::Streams(BTreeSet::from([key.into()]))
    }

    /// Adds the streams of another hint.
    pub fn merge(&mut self, other: Self) {
        match (&mut *self, other) {
            (Self::Streams(known), Self::Streams(more)) => known.extend(more),
            _ => *self = Self::All,
        }
    }
}

/// State of a grant, as the provider reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrantState {
    /// The grant is active.
    Active,
    /// The grant is suspended.
    Suspended,
    /// The grant is revoked; the account can be connected again.
    Revoked,
    /// The app was removed from the account, which ended the grant.
    Removed,
}

/// Change of an account or its grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountChange {
    /// The app was installed, or reinstalled under a new id.
    Installed {
        /// The current account.
        account: ExternalAccount,
        /// The provider's id of the person who requested it, if another person approved.
        requester: Option<String>,
    },
    /// Calls are rejected until [`AccountChange::Unsuspended`].
    Suspended,
    /// The suspension ended; a sync must read the missed facts.
    Unsuspended,
    /// The grant was revoked; only a person can grant access again.
    ///
    /// A revocation from before the current grant concerns an older one.
    Revoked {
        /// Time by the provider's clock.
        at: DateTime<Utc>,
    },
    /// The person who connected the account revoked their user token.
    ///
    /// The account's tokens remain valid.
    UserTokenRevoked {
        /// The provider's id of the person.
        user_id: String,
        /// Time by the provider's clock.
        at: DateTime<Utc>,
    },
    /// The app was removed from the account, which ended the grant.
    Removed {
        /// Time by the provider's clock; a removal before the current grant concerns an older one.
        ///
        /// `None` if ids distinguish the grants.
        at: Option<DateTime<Utc>>,
    },
    /// Streams were added or removed; the root stream must be read again.
    StreamsChanged {
        /// Ids of resources that are no longer readable; their streams are retired immediately.
        removed_resources: Vec<String>,
    },
    /// The grant may have ended or be suspended.
    ///
    /// [`super::Connector::fetch_grant_state`] must confirm it before the connection changes.
    GrantCheckRequired,
    /// The provider changed a resource's id. Its Signals keep the first known id.
    ResourceIdChanged {
        /// Previous id.
        from: String,
        /// New id.
        to: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_hint_covers_both() {
        let mut hint = SyncHint::stream("events:a");
        hint.merge(SyncHint::stream("events:b"));
        hint.merge(SyncHint::stream("events:a"));
        let both = ["events:a", "events:b"].map(str::to_owned);
        assert_eq!(hint, SyncHint::Streams(both.into()));
        hint.merge(SyncHint::All);
        hint.merge(SyncHint::stream("events:c"));
        assert_eq!(hint, SyncHint::All);
    }
}
