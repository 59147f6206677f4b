//! Errors of connectors.

use chrono::{DateTime, Utc};

use crate::http::HttpError;
use crate::model::LimitScope;

/// Source of a [`ConnectorError`]; logged and never shown to clients.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

/// Failure of a call to a provider, each variant with its source.
///
/// The variants are all that a connector may report; each says what the worker does next.
///
/// Each connector maps the provider's statuses and bodies to it in one place, its `client`.
#[derive(Debug, thiserror::Error)]
pub enum ConnectorError {
    /// The provider rejected the call's token.
    ///
    /// This does not mean that the grant ended: a new token may be rejected for seconds, and an
    /// outage may reject every token.
    #[error("the provider rejected the credential")]
    Unauthorized(#[source] Source),
    /// The provider reports that the grant is revoked. Only a person can grant access again.
    #[error("the provider reports that the grant is revoked")]
    GrantRevoked(#[source] Source),
    /// The provider reports that the grant is suspended until an administrator resumes it.
    #[error("the provider reports that the grant is suspended")]
    GrantSuspended(#[source] Source),
    /// The provider limits the rate of calls until `retry_at`.
    #[error("the provider limits the rate of calls until {retry_at}")]
    RateLimited {
        /// Earliest time of the next attempt.
        retry_at: DateTime<Utc>,
        /// Scope of the limit.
        scope: LimitScope,
        /// The rejected operation.
        operation: &'static str,
        /// The provider's response.
        source: Source,
    },
    /// The cursor is no longer valid, so the stream starts over within the backfill's bounds.
    #[error("the cursor is no longer valid")]
    CursorExpired(#[source] Source),
    /// The credential is valid and lacks permission, so that a retry does not help.
    ///
    /// From `sync` it concerns the stream (a deleted repository, a disabled feature, a permission
    /// that was not granted); it concerns the connection only if the stream is the root.
    #[error("the provider denied permission")]
    Denied {
        /// Key of the stream that cannot be read; `None` for a call that reads no stream.
        stream: Option<String>,
        /// The provider's response.
        source: Source,
    },
    /// A temporary failure: a timeout, a 5xx status, a closed socket.
    #[error("the provider failed temporarily")]
    Transient(#[source] Source),
    /// A permanent failure: a malformed response, a wrong setting.
    #[error("the provider's response is not usable")]
    Permanent(#[source] Source),
}

/// Source of a denial: the grant lacks a scope that the person withheld.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the grant lacks the scope {0}")]
pub struct MissingScope(pub &'static str);

impl ConnectorError {
    /// Builds [`Self::Denied`] for a call; [`Self::of_stream`] adds the stream.
    pub fn denied(source: impl Into<Source>) -> Self {
        Self::Denied {
            stream: None,
            source: source.into(),
        }
    }

    /// Adds the stream that was read to a denial of permission.
    #[must_use]
    pub fn of_stream(self, key: &str) -> Self {
        match self {
            Self::Denied {
                stream: None,
                source,
            } => Self::Denied {
                stream: Some(key.to_owned()),
                source,
            },
            other => other,
        }
    }

    /// Converts errors of a token or a grant to permanent errors, for calls of the app itself.
    ///
    /// A call without a grant fails for its credential or permission only because of the app's
    /// settings.
    #[must_use]
    pub fn into_app_error(self) -> Self {
        match self {
            Self::Unauthorized(source)
            | Self::GrantRevoked(source)
            | Self::GrantSuspended(source)
            | Self::Denied { source, .. } => Self::Permanent(source),
            other => other,
        }
    }

    /// Converts the rejection of a call because of its position to an expired cursor.
    ///
    /// Errors that concern no position, such as a limit, stay.
    #[must_use]
    pub fn into_cursor_expired(self) -> Self {
        match self {
            Self::Denied { source, .. } | Self::Permanent(source) => Self::CursorExpired(source),
            other => other,
        }
    }

    /// The same error for another caller that waited for the same call.
    ///
    /// Its source is the text of this one's source.
    #[must_use]
    pub fn for_waiter(&self) -> Self {
        let text = |source: &Source| Source::from(source.to_string());
        match self {
            Self::Unauthorized(source) => Self::Unauthorized(text(source)),
            Self::GrantRevoked(source) => Self::GrantRevoked(text(source)),
            Self::GrantSuspended(source) => Self::GrantSuspended(text(source)),
            Self::RateLimited {
                retry_at,
                scope,
                operation,
                source,
            } => Self::RateLimited {
                retry_at: *retry_at,
                scope: *scope,
                operation,
                source: text(source),
            },
            Self::CursorExpired(source) => Self::CursorExpired(text(source)),
            Self::Denied { stream, source } => Self::Denied {
                stream: stream.clone(),
                source: text(source),
            },
            Self::Transient(source) => Self::Transient(text(source)),
            Self::Permanent(source) => Self::Permanent(text(source)),
        }
    }

    /// Error code for metrics, job errors and API responses.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unauthorized(_) => "unauthorized",
            Self::GrantRevoked(_) => "grant_revoked",
            Self::GrantSuspended(_) => "grant_suspended",
            Self::RateLimited { .. } => "rate_limited",
            Self::CursorExpired(_) => "cursor_expired",
            Self::Denied { .. } => "permission",
            Self::Transient(_) => "transient",
            Self::Permanent(_) => "permanent",
        }
    }
}

impl From<HttpError> for ConnectorError {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::RateLimited(limited) => Self::RateLimited {
                retry_at: limited.retry_at,
                scope: limited.scope,
                operation: limited.operation,
                source: limited.into(),
            },
            transient if transient.is_transient() => Self::Transient(transient.into()),
            permanent => Self::Permanent(permanent.into()),
        }
    }
}

/// Builds a permanent error, which only the operator or a change of the code can correct.
pub(super) fn permanent_error(message: impl Into<String>) -> ConnectorError {
    ConnectorError::Permanent(message.into().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn denial_names_the_stream_that_was_read() {
        let denied = ConnectorError::denied("403").of_stream("events:1");
        assert!(
            matches!(&denied, ConnectorError::Denied { stream: Some(key), .. } if key == "events:1")
        );
        let renamed = denied.of_stream("events:2");
        assert!(
            matches!(renamed, ConnectorError::Denied { stream: Some(key), .. } if key == "events:1")
        );
        let other = ConnectorError::Transient("502".into()).of_stream("events:1");
        assert_eq!(other.code(), "transient");
    }

    #[test]
    fn app_error_never_ends_a_grant() {
        let source = || Source::from("403");
        for error in [
            ConnectorError::Unauthorized(source()),
            ConnectorError::GrantRevoked(source()),
            ConnectorError::GrantSuspended(source()),
            ConnectorError::denied(source()),
        ] {
            assert_eq!(error.into_app_error().code(), "permanent");
        }
    }
}
