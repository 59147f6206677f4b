//! The closed set of ways in which a provider can say no.

use chrono::{DateTime, Utc};

/// What lies beneath a [`ConnectorError`]; kept for the log, never shown to clients.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

/// How far a rate limit reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitScope {
    /// The account (installation, site, workspace) that the call was made for.
    Account,
    /// One operation of the account.
    Operation,
    /// Every call of our app at this provider.
    Provider,
}

/// A call that did not give what was asked. Each provider maps its statuses and bodies to
/// this once, in its `client`.
#[derive(Debug, thiserror::Error)]
pub enum ConnectorError {
    /// This call's token is not accepted. It says nothing of the grant: a new token may be
    /// refused for seconds, and an outage may refuse every one.
    #[error("the provider does not accept the credential")]
    Unauthorized(#[source] Source),
    /// The provider's own word that the grant is gone; only a person can give another.
    #[error("the provider says that the grant is gone")]
    GrantRevoked(#[source] Source),
    /// The provider's own word that the grant is suspended until somebody there ends that.
    #[error("the provider says that the grant is suspended")]
    GrantSuspended(#[source] Source),
    /// Too many calls; `retry_at` says when to come back.
    #[error("the provider limits the rate until {retry_at}")]
    RateLimited {
        /// The earliest moment for another try.
        retry_at: DateTime<Utc>,
        /// Whom the limit concerns.
        scope: LimitScope,
        /// The operation that was refused.
        operation: &'static str,
        /// What the provider answered.
        source: Source,
    },
    /// The provider no longer honours the cursor: the stream starts over, bounded.
    #[error("the provider no longer honours the cursor")]
    CursorExpired(#[source] Source),
    /// The credential is good but may not do this; trying again does not help. From `sync`
    /// it concerns the stream that was read (a repository that is gone, a feature that is
    /// off, a permission that was not granted), not the connection, unless that stream is
    /// the root.
    #[error("the provider denies permission")]
    Permission(#[source] Source),
    /// A fault that passes: timeouts, 5xx, connections cut.
    #[error("the provider failed for the moment")]
    Transient(#[source] Source),
    /// A fault that does not pass by itself: a malformed answer, a setting of the operator.
    #[error("the provider's answer cannot be used")]
    Permanent(#[source] Source),
}

impl ConnectorError {
    /// The same where no grant exists yet: whatever is not accepted or not allowed then
    /// concerns the app.
    #[must_use]
    pub fn of_the_app(self) -> Self {
        match self {
            Self::Unauthorized(source)
            | Self::GrantRevoked(source)
            | Self::GrantSuspended(source)
            | Self::Permission(source) => Self::Permanent(source),
            other => other,
        }
    }

    /// A short word for metrics, job errors and API answers.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unauthorized(_) => "unauthorized",
            Self::GrantRevoked(_) => "grant_revoked",
            Self::GrantSuspended(_) => "grant_suspended",
            Self::RateLimited { .. } => "rate_limited",
            Self::CursorExpired(_) => "cursor_expired",
            Self::Permission(_) => "permission",
            Self::Transient(_) => "transient",
            Self::Permanent(_) => "permanent",
        }
    }
}
