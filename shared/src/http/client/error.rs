//! The errors of calls.

use url::Url;

use crate::http::RateLimited;

/// Any error, as a cause.
type Source = Box<dyn std::error::Error + Send + Sync>;

/// The error of a call without a response. A response with an error status is not an error here.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The rate limiter did not admit the call.
    #[error("rate limiter rejected the call")]
    RateLimited(#[source] RateLimited),
    /// The URL, or a redirect's target, is not at an allowed origin.
    #[error("origin of {url} is not allowed")]
    Egress {
        /// The rejected URL, without query, fragment and credentials.
        url: String,
    },
    /// The call timed out.
    #[error("call timed out")]
    Timeout(#[source] Source),
    /// The socket could not be opened, or was closed before the response began.
    #[error("failed to send request")]
    Connect(#[source] Source),
    /// The response ended early.
    #[error("failed to read response")]
    Body(#[source] Source),
    /// The response is larger than the limit.
    #[error("response is too large")]
    TooLarge,
    /// The request or a redirect's target is malformed.
    #[error("malformed request")]
    Request(#[source] Source),
}

impl HttpError {
    /// Whether the same call may succeed later.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::RateLimited(_) | Self::Timeout(_) | Self::Connect(_) | Self::Body(_) => true,
            Self::Egress { .. } | Self::TooLarge | Self::Request(_) => false,
        }
    }

    /// The value of the metric's label `status`.
    pub(super) const fn code(&self) -> &'static str {
        match self {
            Self::RateLimited(_) => "rejected",
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

    /// The error of sending a request.
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

    /// The error of reading a response.
    pub(super) fn reading(error: reqwest::Error) -> Self {
        let error = error.without_url();
        if error.is_timeout() {
            Self::Timeout(error.into())
        } else {
            Self::Body(error.into())
        }
    }
}

/// Scheme, host, port and path: the parts of a URL that may be logged.
fn without_secrets(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}
