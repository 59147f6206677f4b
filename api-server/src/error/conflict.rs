//! What can stand against a well-formed request: every 409.

/// What stands against a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr, strum::Display)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum Conflict {
    /// The account is another connection's.
    AccountAlreadyConnected,
    /// The connection's status forbids it.
    ConnectionNotActive,
    /// The connection's status cannot be changed this way.
    StatusNotChangeable,
    /// The key came with another request before.
    IdempotencyKeyReused,
    /// The operator has not set the provider up.
    ProviderNotConfigured,
    /// Deliveries of this provider come to the app's URL only.
    WebhookNotSupported,
    /// The operator has set no key that connections' webhook secrets are sealed with.
    WebhookSecretsNotConfigured,
    /// Only dead jobs can be retried.
    JobNotDead,
    /// This release does not understand the stored job.
    JobUnreadable,
    /// The job has ended already.
    JobFinished,
    /// The delivery is a row of a list that a poll read.
    DeliveryNotReplayable,
}

impl Conflict {
    /// What it means and what to do about it.
    pub(super) const fn message(self) -> &'static str {
        match self {
            Self::AccountAlreadyConnected => {
                "This account is connected already. One account belongs to one connection."
            }
            Self::ConnectionNotActive => {
                "The connection is not active. Resume it, or connect the account again."
            }
            Self::StatusNotChangeable => {
                "A connection that is pending, suspended, disconnected or without a grant \
                 cannot be resumed here. Start a sync where the provider may answer again, or \
                 connect the account again."
            }
            Self::IdempotencyKeyReused => {
                "This Idempotency-Key came with another request before. Use a new one."
            }
            Self::ProviderNotConfigured => "The operator has not set this provider up.",
            Self::WebhookNotSupported => {
                "This provider sends webhooks to the app's URL only. Nothing has to be set up \
                 for a connection."
            }
            Self::WebhookSecretsNotConfigured => {
                "The operator has not set POBLYSH_INGRESS_CRYPTO_KEY, which seals the webhook \
                 secrets of connections."
            }
            Self::JobNotDead => "Only dead jobs can be retried.",
            Self::JobUnreadable => {
                "Another release has written this job, and this one cannot read it. Retry it \
                 with that release, or replay its deliveries."
            }
            Self::JobFinished => "The job has ended already.",
            Self::DeliveryNotReplayable => {
                "This is a row of a list, not a webhook. Start a full sync of its connection to \
                 read it again."
            }
        }
    }
}
