//! Conflicts (409).

/// A state of the service that does not allow a well-formed request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr, strum::Display)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum Conflict {
    /// The account belongs to another connection.
    AccountAlreadyConnected,
    /// The connection's status does not allow the request.
    ConnectionNotActive,
    /// The connection's status cannot be changed by a request.
    StatusNotChangeable,
    /// The provider is not configured.
    ProviderNotConfigured,
    /// The provider sends webhooks to the app's URL only.
    WebhookNotSupported,
    /// The key that seals the webhook secrets of connections is not configured.
    WebhookSecretsNotConfigured,
    /// The job is not dead, so it cannot be retried.
    JobNotDead,
    /// This release cannot read the stored job.
    JobUnreadable,
    /// The job has finished.
    JobFinished,
    /// The delivery is a row that a poll read, not a webhook.
    DeliveryNotReplayable,
}

impl Conflict {
    /// The message: what happened and what to do next.
    pub(super) const fn message(self) -> &'static str {
        match self {
            Self::AccountAlreadyConnected => {
                "The account is already connected. Disconnect it first, or connect another account."
            }
            Self::ConnectionNotActive => {
                "The connection is not active. Resume it, or connect the account again."
            }
            Self::StatusNotChangeable => {
                "A pending, suspended or disconnected connection, or one that needs a new grant, \
                 cannot be resumed by a request. Start a sync to probe the provider, or connect \
                 the account again."
            }
            Self::ProviderNotConfigured => {
                "The provider is not configured. Ask the operator to configure it."
            }
            Self::WebhookNotSupported => {
                "This provider sends webhooks to the app's URL only. A connection needs no \
                 webhook."
            }
            Self::WebhookSecretsNotConfigured => {
                "POBLYSH_INGRESS_CRYPTO_KEY, which seals the webhook secrets of connections, is \
                 not set. Ask the operator to set it."
            }
            Self::JobNotDead => "The job is not dead. Only dead jobs can be retried.",
            Self::JobUnreadable => {
                "Another release wrote this job, and this release cannot read it. Retry it with \
                 that release, or replay its deliveries."
            }
            Self::JobFinished => "The job has already finished.",
            Self::DeliveryNotReplayable => {
                "The delivery is a row that a poll read, not a webhook. Start a full sync of its \
                 connection to read it again."
            }
        }
    }
}
