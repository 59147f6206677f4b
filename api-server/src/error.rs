//! Every way in which a request can fail, and the one place where it becomes an answer.
//!
//! Clients see fixed words; the causes of failures on our side go to the log here, with
//! their sources, under the request's id.

mod conflict;
mod conversions;
mod words;

use std::error::Error;
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;
use shared::connectors::ConnectorError;
use shared::crypto::CryptoError;
use shared::db::DbError;
use shared::db::api_keys::ApiScope;
use shared::problem::Problem;

pub(crate) use conflict::Conflict;
use words::{not_found, upstream};

/// When a stream may be tried again that was one too many.
const STREAM_RETRY_SECONDS: u64 = 5;

/// What is wrong with one parameter, header or field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct FieldProblem {
    /// Its name.
    pub(crate) name: String,
    /// What is wrong with it.
    pub(crate) reason: String,
}

impl FieldProblem {
    pub(crate) fn new(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            reason: reason.into(),
        }
    }
}

/// Why a request fails.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// No credential, or one that is unknown, ended or expired.
    #[error("not authenticated")]
    Unauthorized,
    /// The key may not do this.
    #[error("the key lacks a scope")]
    InsufficientScope(ApiScope),
    /// Only operators may do this.
    #[error("not an operator")]
    OperatorOnly,
    /// An operator must say which tenant is meant.
    #[error("no tenant is named")]
    TenantRequired,
    /// No route has this path.
    #[error("no such route")]
    NoRoute,
    /// The route does not have this method; axum adds `Allow`.
    #[error("no such method")]
    MethodNotAllowed,
    /// There is no such thing, or it is another tenant's.
    #[error("no such {0}")]
    NotFound(&'static str),
    /// Parameters or headers are not of the documented form.
    #[error("malformed parameters")]
    Parameters(Vec<FieldProblem>),
    /// The body is not JSON.
    #[error("the body is not JSON")]
    MalformedBody(String),
    /// The body is not of the documented type.
    #[error("the body's type is not JSON")]
    UnsupportedMediaType,
    /// The body is too large.
    #[error("the body is too large")]
    PayloadTooLarge,
    /// The body is JSON, and not of the documented form.
    #[error("the body does not fit")]
    Fields(Vec<FieldProblem>),
    /// The state of a connect flow is unknown, used, expired or another browser's.
    #[error("the state of a connect flow does not hold")]
    InvalidState,
    /// A browser may not be sent there.
    #[error("the browser may not be sent there")]
    ReturnToNotAllowed,
    /// The person or the provider said no; the connector's own words.
    #[error("the connection was declined")]
    Denied(String),
    /// What is asked does not fit how things stand.
    #[error("conflict: {0}")]
    Conflict(Conflict),
    /// Too many credentials of this client were refused.
    #[error("too many credentials were refused")]
    AuthenticationThrottled {
        /// When the next one is checked.
        retry_after: Duration,
    },
    /// The key or its tenant asks more than it may.
    #[error("too many requests")]
    TooManyRequests {
        /// When the next one is answered.
        retry_after: Duration,
    },
    /// The key or its tenant holds as many streams open as it may.
    #[error("too many streams")]
    TooManyStreams,
    /// The cursor was ours and can no longer be followed.
    #[error("the cursor has expired")]
    CursorExpired,
    /// The provider failed us.
    #[error("a provider failed")]
    Connector(#[source] ConnectorError),
    /// The time for a request is over.
    #[error("the request took too long")]
    TimedOut,
    /// A handler panicked; the panic is in the log.
    #[error("a handler panicked")]
    Panicked,
    /// A sealed value does not open.
    #[error("a sealed value does not open")]
    Sealed(#[source] CryptoError),
    /// A stored value cannot be read.
    #[error("a stored value cannot be read")]
    Stored(#[source] serde_json::Error),
    /// Postgres.
    #[error("the database failed")]
    Db(#[source] DbError),
}

impl ApiError {
    /// A short word for the end of a connect flow, when the browser goes back with an error.
    pub(crate) fn code(&self) -> &'static str {
        self.problem().code
    }

    fn problem(&self) -> Problem {
        match self {
            Self::Unauthorized => Problem::new(
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "Send an operator's token or a tenant's API key as `Authorization: Bearer …`.",
            ),
            Self::InsufficientScope(scope) => Problem::new(
                StatusCode::FORBIDDEN,
                "insufficient_scope",
                format!("The API key lacks the scope {}.", scope.as_str()),
            )
            .with_details(json!({ "needed": scope })),
            Self::OperatorOnly => Problem::new(
                StatusCode::FORBIDDEN,
                "operator_only",
                "Only an operator's token opens this route.",
            ),
            Self::InvalidState => Problem::new(
                StatusCode::FORBIDDEN,
                "invalid_state",
                "This connect link or flow is unknown, over, or belongs to another browser. \
                 Begin again.",
            ),
            Self::ReturnToNotAllowed => Problem::new(
                StatusCode::FORBIDDEN,
                "return_to_not_allowed",
                "`return_to` must be a URL of an origin that the operator has allowed.",
            ),
            Self::Denied(reason) => {
                Problem::new(StatusCode::BAD_REQUEST, "access_denied", reason.clone())
            }
            Self::Conflict(conflict) => {
                Problem::new(StatusCode::CONFLICT, conflict.into(), conflict.message())
            }
            Self::CursorExpired => Problem::new(
                StatusCode::GONE,
                "cursor_expired",
                "This cursor can no longer be followed without missing Signals. \
                 Start again without a cursor.",
            ),
            Self::Connector(error) => upstream(error),
            Self::AuthenticationThrottled { retry_after } => Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "authentication_throttled",
                "Too many credentials from this address were refused. Check the credential.",
            )
            .with_retry_after(seconds(*retry_after)),
            Self::TooManyRequests { retry_after } => Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_requests",
                "The API key or its tenant is over its limit; the header RateLimit tells it.",
            )
            .with_retry_after(seconds(*retry_after)),
            Self::TooManyStreams => Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_streams",
                "The API key or its tenant holds as many streams open as it may. End one first.",
            )
            .with_retry_after(STREAM_RETRY_SECONDS),
            Self::TimedOut => Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "timed_out",
                "The request took too long and was given up.",
            )
            .with_retry_after(1),
            Self::Db(error) if error.is_unavailable() => Problem::unavailable(),
            Self::Db(_) | Self::Panicked | Self::Sealed(_) | Self::Stored(_) => Problem::internal(),
            _ => self.of_the_request(),
        }
    }

    /// What is wrong with the request itself.
    fn of_the_request(&self) -> Problem {
        let fields = |status, code, message, fields: &[FieldProblem]| {
            Problem::new(status, code, message).with_details(json!({ "fields": fields }))
        };
        match self {
            Self::TenantRequired => fields(
                StatusCode::BAD_REQUEST,
                "tenant_required",
                "An operator's request must name its tenant in the header X-Tenant-Id.",
                &[FieldProblem::new("X-Tenant-Id", "is missing")],
            ),
            Self::MethodNotAllowed => Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "This route does not have this method; the header Allow lists those it has.",
            ),
            Self::NotFound(what) => not_found(what),
            Self::Parameters(problems) => fields(
                StatusCode::BAD_REQUEST,
                "invalid_parameters",
                "Parameters or headers are not of the documented form.",
                problems,
            ),
            Self::MalformedBody(reason) => Problem::new(
                StatusCode::BAD_REQUEST,
                "malformed_body",
                "The body is not JSON.",
            )
            .with_details(json!({ "reason": reason })),
            Self::UnsupportedMediaType => Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "Send the body as application/json.",
            ),
            Self::PayloadTooLarge => Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "payload_too_large",
                "The body is larger than 64 KiB.",
            ),
            Self::Fields(problems) => fields(
                StatusCode::UNPROCESSABLE_ENTITY,
                "invalid_body",
                "The body does not have the documented form.",
                problems,
            ),
            _ => Problem::new(
                StatusCode::NOT_FOUND,
                "not_found",
                "There is no such route.",
            ),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let problem = self.problem();
        if problem.status >= 500 {
            tracing::error!(
                error = &self as &dyn Error,
                error.code = problem.code,
                "the request fails on our side"
            );
        }
        let mut response = problem.into_response();
        if let Self::InsufficientScope(scope) = self {
            let challenge = format!(
                "Bearer error=\"insufficient_scope\", scope=\"{}\"",
                scope.as_str()
            );
            if let Ok(value) = HeaderValue::from_str(&challenge) {
                response
                    .headers_mut()
                    .insert(header::WWW_AUTHENTICATE, value);
            }
        }
        response
    }
}

/// Whole seconds, so that whoever waits for them has waited long enough.
fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_never_sees_an_internal_cause() {
        let cause = std::io::Error::other("host db-7 user poblysh");
        let failures = [
            ApiError::Db(DbError::Unavailable(sqlx::Error::Io(cause))),
            ApiError::Connector(ConnectorError::Permanent("token ghs_secret".into())),
            ApiError::Panicked,
        ];
        for failure in failures {
            let shown = serde_json::to_string(&failure.problem()).expect("serializable");
            for secret in ["db-7", "poblysh\"", "ghs_secret"] {
                assert!(!shown.contains(secret), "{shown}");
            }
        }
    }
}
