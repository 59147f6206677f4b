//! Webhooks: the proof, the delivery, and what it says.

use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::{DirectoryEntry, ExternalAccount};
use crate::signals::SignalDraft;

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
    /// A handshake's answer; such a request is answered and not stored.
    pub reply: Option<HandshakeReply>,
}

/// The answer a provider's handshake demands.
#[derive(Debug, Clone)]
pub struct HandshakeReply {
    /// `Content-Type` of the answer.
    pub content_type: &'static str,
    /// The answer's body.
    pub body: String,
}

/// Why a webhook is refused. Every variant is a 401.
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
    /// Events were missed: an incremental sync must fill the gap.
    GapDetected,
}
