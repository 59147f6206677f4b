//! Every error of a request, and its conversion to a response.
//!
//! Clients receive fixed texts. Causes of internal errors are logged here, with their sources and
//! under the request id.

mod conflict;
mod from;
mod messages;

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
use uuid::Uuid;

pub(crate) use conflict::Conflict;
pub(crate) use messages::ProviderFailure;
use messages::not_found;

/// `Retry-After` of a stream above the limit.
const STREAM_RETRY_SECONDS: u64 = 5;

/// An invalid parameter, header or field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct FieldProblem {
    /// The name of the field.
    pub(crate) name: String,
    /// The reason why it is invalid.
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

/// An error of a request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// The credential is missing, unknown, revoked or expired.
    #[error("missing or invalid credential")]
    Unauthorized,
    /// The key lacks the scope.
    #[error("API key lacks the scope {}", .0.as_str())]
    InsufficientScope(ApiScope),
    /// The route is for operators only.
    #[error("operator token required")]
    OperatorOnly,
    /// An operator's request must name a tenant.
    #[error("missing X-Tenant-Id")]
    TenantRequired,
    /// No route has this path.
    #[error("route not found")]
    NoRoute,
    /// The route does not have this method; axum adds `Allow`.
    #[error("method not allowed")]
    MethodNotAllowed,
    /// The object does not exist, or belongs to another tenant.
    #[error("{0} not found")]
    NotFound(&'static str),
    /// Parameters or headers do not match the documentation.
    #[error("invalid parameters")]
    Parameters(Vec<FieldProblem>),
    /// The body is not JSON.
    #[error("malformed JSON body")]
    MalformedBody(String),
    /// The media type of the body is not JSON.
    #[error("unsupported media type")]
    UnsupportedMediaType,
    /// The body is too large.
    #[error("request body too large")]
    PayloadTooLarge,
    /// The body is JSON that does not match the schema.
    #[error("invalid fields in the body")]
    Fields(Vec<FieldProblem>),
    /// The state of a connect flow is unknown, used, expired or bound to another browser.
    #[error("invalid state of a connect flow")]
    InvalidState,
    /// The origin of `return_to` is not allowed.
    #[error("return_to not allowed")]
    ReturnToNotAllowed,
    /// The person or the provider declined; the text is the connector's.
    #[error("connect flow declined")]
    Denied(String),
    /// The request conflicts with the current state.
    #[error("conflict: {0}")]
    Conflict(Conflict),
    /// The `Idempotency-Key` was used with a different request.
    #[error("Idempotency-Key used with a different request")]
    IdempotencyKeyReused,
    /// The response to the `Idempotency-Key`'s first request showed a secret and is not kept.
    #[error("the secret has been shown")]
    SecretAlreadyShown {
        /// The object that the first request created.
        id: Uuid,
    },
    /// Too many credentials of this client were rejected.
    #[error("authentication throttled")]
    AuthenticationThrottled {
        /// The time until the next credential is checked.
        retry_after: Duration,
    },
    /// The key or its tenant exceeds its request limit.
    #[error("too many requests")]
    TooManyRequests {
        /// The time until the next request is served.
        retry_after: Duration,
    },
    /// The key or its tenant has reached its limit of open streams.
    #[error("too many open streams")]
    TooManyStreams,
    /// The cursor is authentic and can no longer be followed.
    #[error("feed cursor expired")]
    CursorExpired,
    /// A call to the provider failed.
    #[error("failed to call the provider")]
    Connector(#[source] ConnectorError),
    /// A call to the provider failed in an earlier request, whose response is repeated.
    #[error("an earlier call to the provider failed")]
    RepeatedProviderFailure(ProviderFailure),
    /// The request exceeded its timeout.
    #[error("request timed out")]
    TimedOut,
    /// The handler panicked; the panic is in the log.
    #[error("request handler panicked")]
    Panicked,
    /// A sealed value cannot be decrypted.
    #[error("failed to decrypt a stored value")]
    Decrypt(#[source] CryptoError),
    /// A stored value cannot be serialized or deserialized.
    #[error("failed to encode or decode a stored value")]
    Codec(#[source] serde_json::Error),
    /// The database failed.
    #[error("database error")]
    Db(#[source] DbError),
}

impl ApiError {
    /// The problem's `code`.
    pub(crate) fn code(&self) -> &'static str {
        self.problem().code
    }

    /// The body of the response.
    pub(crate) fn problem(&self) -> Problem {
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
                "This route requires an operator's token.",
            ),
            Self::InvalidState => Problem::new(
                StatusCode::FORBIDDEN,
                "invalid_state",
                "The connect link or flow is unknown, expired, already used, or belongs to \
                 another browser. Start again with a new link.",
            ),
            Self::ReturnToNotAllowed => Problem::new(
                StatusCode::FORBIDDEN,
                "return_to_not_allowed",
                "`return_to` must be a URL of an origin in POBLYSH_RETURN_TO_ORIGINS.",
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
            Self::Connector(error) => ProviderFailure::of(error).problem(),
            Self::RepeatedProviderFailure(failure) => failure.problem(),
            Self::AuthenticationThrottled { retry_after } => Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "authentication_throttled",
                "Too many credentials from this address were rejected. Check the credential.",
            )
            .with_retry_after(seconds(*retry_after)),
            Self::TooManyRequests { retry_after } => Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_requests",
                "The API key or its tenant exceeds its request limit. See the header RateLimit.",
            )
            .with_retry_after(seconds(*retry_after)),
            Self::TooManyStreams => Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_streams",
                "The API key or its tenant has reached its limit of open streams. Close one first.",
            )
            .with_retry_after(STREAM_RETRY_SECONDS),
            Self::TimedOut => Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "timed_out",
                "The request timed out. Try again.",
            )
            .with_retry_after(1),
            Self::Db(error) if error.is_unavailable() => Problem::unavailable(),
            Self::Db(_) | Self::Panicked | Self::Decrypt(_) | Self::Codec(_) => Problem::internal(),
            _ => self.client_problem(),
        }
    }

    /// The problem for an error in the request.
    fn client_problem(&self) -> Problem {
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
                "The route does not support this method. The header Allow lists the methods.",
            ),
            Self::NotFound(object) => not_found(object),
            Self::Parameters(problems) => fields(
                StatusCode::BAD_REQUEST,
                "invalid_parameters",
                "Parameters or headers are invalid. See `details.fields`.",
                problems,
            ),
            Self::MalformedBody(reason) => Problem::new(
                StatusCode::BAD_REQUEST,
                "malformed_body",
                "The body is not valid JSON.",
            )
            .with_details(json!({ "reason": reason })),
            Self::UnsupportedMediaType => Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "The media type of the body must be application/json.",
            ),
            Self::PayloadTooLarge => Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "payload_too_large",
                "The body exceeds 64 KiB.",
            ),
            Self::IdempotencyKeyReused => Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency_key_reused",
                "This Idempotency-Key was already used with a different request. Use a new key.",
            ),
            Self::SecretAlreadyShown { id } => Problem::new(
                StatusCode::CONFLICT,
                "secret_already_shown",
                "A request with this Idempotency-Key has succeeded, and its secret was shown only \
                 once. If it is lost, create another one with a new key.",
            )
            .with_details(json!({ "id": id })),
            Self::Fields(problems) => fields(
                StatusCode::UNPROCESSABLE_ENTITY,
                "invalid_body",
                "Fields of the body are invalid. See `details.fields`.",
                problems,
            ),
            _ => Problem::new(StatusCode::NOT_FOUND, "not_found", "Route not found."),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let problem = self.problem();
        let was_logged = matches!(self, Self::RepeatedProviderFailure(_));
        if problem.status >= 500 && !was_logged {
            tracing::error!(
                error = &self as &dyn Error,
                error.code = problem.code,
                "request failed with an internal error"
            );
        }
        let mut response = problem.clone().into_response();
        // For pages, which show it in other words.
        response.extensions_mut().insert(problem);
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

/// The duration in seconds, rounded up, so that a client does not retry too early.
fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn response_omits_internal_causes() {
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
