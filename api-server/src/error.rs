//! Every way in which a request can fail, and the one place where it becomes an answer.
//!
//! Clients see fixed words; the causes of failures on our side go to the log here, with
//! their sources, under the request's id.

use std::error::Error;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;
use shared::connectors::{ConnectorError, RegistryError};
use shared::credentials::CredentialError;
use shared::crypto::CryptoError;
use shared::db::DbError;
use shared::db::api_keys::ApiScope;
use shared::db::connections::ConnectError;
use shared::db::page::MalformedCursor;
use shared::problem::Problem;
use shared::signals::FeedError;

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
    /// Only dead jobs can be retried.
    JobNotDead,
    /// The job has ended already.
    JobFinished,
}

impl Conflict {
    const fn message(self) -> &'static str {
        match self {
            Self::AccountAlreadyConnected => {
                "This account is connected already. One account belongs to one connection."
            }
            Self::ConnectionNotActive => {
                "The connection is not active. Resume it, or connect the account again."
            }
            Self::StatusNotChangeable => {
                "A connection that is pending, suspended, disconnected or without a grant \
                 cannot be resumed here. Connect the account again."
            }
            Self::IdempotencyKeyReused => {
                "This Idempotency-Key came with another request before. Use a new one."
            }
            Self::ProviderNotConfigured => "The operator has not set this provider up.",
            Self::JobNotDead => "Only dead jobs can be retried.",
            Self::JobFinished => "The job has ended already.",
        }
    }
}

impl From<Conflict> for ApiError {
    fn from(conflict: Conflict) -> Self {
        Self::Conflict(conflict)
    }
}

impl From<DbError> for ApiError {
    /// The one table of what constraints mean to a client.
    fn from(error: DbError) -> Self {
        match error.constraint() {
            Some("connection_routes_exclusive" | "connections_account_once") => {
                Conflict::AccountAlreadyConnected.into()
            }
            Some("api_keys_tenant_id_fkey" | "oauth_states_tenant_id_fkey") => {
                Self::NotFound("tenant")
            }
            _ => Self::Db(error),
        }
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        DbError::from(error).into()
    }
}

impl From<ConnectError> for ApiError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::AccountTaken => Conflict::AccountAlreadyConnected.into(),
            ConnectError::Db(error) => error.into(),
        }
    }
}

impl From<RegistryError> for ApiError {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Unknown(_) => Self::NotFound("provider"),
            RegistryError::NotConfigured(_) => Conflict::ProviderNotConfigured.into(),
        }
    }
}

impl From<FeedError> for ApiError {
    fn from(error: FeedError) -> Self {
        match error {
            // Of the right form, and not made by us for this tenant and order.
            FeedError::MalformedCursor => Self::NotFound("cursor"),
            FeedError::CursorExpired => Self::CursorExpired,
            FeedError::Db(error) => error.into(),
        }
    }
}

impl From<MalformedCursor> for ApiError {
    fn from(error: MalformedCursor) -> Self {
        Self::Parameters(vec![FieldProblem::new("cursor", error.to_string())])
    }
}

impl From<CredentialError> for ApiError {
    fn from(error: CredentialError) -> Self {
        match error {
            CredentialError::Provider(error) => Self::Connector(error),
            CredentialError::Sealed(error) => Self::Sealed(error),
            CredentialError::Db(error) => error.into(),
            CredentialError::Erased | CredentialError::Busy => Conflict::ConnectionNotActive.into(),
        }
    }
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
                "This connect flow is unknown, over, or was begun in another browser. \
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

fn not_found(what: &str) -> Problem {
    let (code, message) = match what {
        "tenant" => ("tenant_not_found", "There is no such tenant."),
        "provider" => ("provider_not_found", "There is no such provider."),
        "connection" => ("connection_not_found", "There is no such connection."),
        "job" => ("job_not_found", "There is no such job."),
        "signal" => ("signal_not_found", "There is no such Signal."),
        "delivery" => ("delivery_not_found", "There is no such delivery."),
        "api_key" => ("api_key_not_found", "There is no such API key."),
        "cursor" => (
            "cursor_not_found",
            "This cursor does not belong to this list.",
        ),
        _ => ("not_found", "There is no such thing."),
    };
    Problem::new(StatusCode::NOT_FOUND, code, message)
}

/// A provider's failure, in our words.
fn upstream(error: &ConnectorError) -> Problem {
    match error {
        ConnectorError::RateLimited { .. } => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "provider_rate_limited",
            "The provider limits our calls at the moment. Begin again in a while.",
        )
        .with_retry_after(60),
        ConnectorError::Transient(_) => Problem::new(
            StatusCode::BAD_GATEWAY,
            "provider_unavailable",
            "The provider did not answer as it should. Begin again in a while.",
        ),
        _ => Problem::new(
            StatusCode::BAD_GATEWAY,
            "provider_refused",
            "The provider refused us. The operator must look at its settings.",
        ),
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
