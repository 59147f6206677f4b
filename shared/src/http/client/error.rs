//! Why a call gives no answer, and what that means to a connector.

use url::Url;

use crate::connectors::{ConnectorError, Source};
use crate::http::Refused;

/// Why a call gave no answer. An answer with an error status is an answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The rate gate let no call through.
    #[error("the rate gate is shut")]
    Refused(#[source] Refused),
    /// The URL, or a redirect's target, is not at an allowed origin.
    #[error("{url} is not at an origin that may be called")]
    Egress {
        /// The refused URL, without query, fragment and credentials.
        url: String,
    },
    /// The call took too long.
    #[error("the call took too long")]
    Timeout(#[source] Source),
    /// The connection could not be made, or was cut before the answer began.
    #[error("the connection failed")]
    Connect(#[source] Source),
    /// The answer broke off.
    #[error("the answer broke off")]
    Body(#[source] Source),
    /// The answer is larger than what is accepted.
    #[error("the answer is too large")]
    TooLarge,
    /// The request itself, or a redirect's target, is malformed.
    #[error("the request is malformed")]
    Request(#[source] Source),
}

impl HttpError {
    /// Whether the same call may succeed later.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Refused(_) | Self::Timeout(_) | Self::Connect(_) | Self::Body(_) => true,
            Self::Egress { .. } | Self::TooLarge | Self::Request(_) => false,
        }
    }

    /// A short word for metrics.
    pub(super) const fn code(&self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::Egress { .. } => "egress",
            Self::Timeout(_) => "timeout",
            Self::Connect(_) => "connect",
            Self::Body(_) => "body",
            Self::TooLarge => "too_large",
            Self::Request(_) => "request",
        }
    }

    pub(super) fn egress(url: &Url) -> Self {
        Self::Egress {
            url: without_secrets(url),
        }
    }

    /// The failure of sending a request.
    pub(super) fn sending(error: reqwest::Error) -> Self {
        let error = error.without_url();
        if error.is_timeout() {
            Self::Timeout(error.into())
        } else if error.is_builder() {
            Self::Request(error.into())
        } else {
            Self::Connect(error.into())
        }
    }

    /// The failure of reading an answer.
    pub(super) fn reading(error: reqwest::Error) -> Self {
        let error = error.without_url();
        if error.is_timeout() {
            Self::Timeout(error.into())
        } else {
            Self::Body(error.into())
        }
    }
}

impl From<HttpError> for ConnectorError {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::Refused(refused) => Self::RateLimited {
                retry_at: refused.retry_at,
                scope: refused.scope,
                operation: refused.operation,
                source: refused.into(),
            },
            transient if transient.is_transient() => Self::Transient(transient.into()),
            permanent => Self::Permanent(permanent.into()),
        }
    }
}

/// Scheme, host, port and path: what of a URL may be logged.
fn without_secrets(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}
