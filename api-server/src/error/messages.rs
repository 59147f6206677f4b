//! Messages for missing objects and for failures of providers.

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use shared::connectors::ConnectorError;
use shared::problem::Problem;

/// A 404 for one kind of object.
pub(super) fn not_found(object: &str) -> Problem {
    let (code, message) = match object {
        "tenant" => ("tenant_not_found", "Tenant not found."),
        "provider" => ("provider_not_found", "Provider not found."),
        "connection" => ("connection_not_found", "Connection not found."),
        "job" => ("job_not_found", "Job not found."),
        "signal" => ("signal_not_found", "Signal not found."),
        "delivery" => ("delivery_not_found", "Delivery not found."),
        "api_key" => ("api_key_not_found", "API key not found."),
        "operator" => ("operator_not_found", "Operator not found."),
        "cursor" => (
            "cursor_not_found",
            "The cursor does not belong to this list. Start again without a cursor.",
        ),
        _ => ("not_found", "Not found."),
    };
    Problem::new(StatusCode::NOT_FOUND, code, message)
}

/// The failure of a call to a provider, as clients see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ProviderFailure {
    /// The provider limits the rate of calls.
    RateLimited,
    /// The provider does not answer.
    Unavailable,
    /// The provider rejected the request.
    Refused,
}

impl ProviderFailure {
    pub(crate) const fn of(error: &ConnectorError) -> Self {
        match error {
            ConnectorError::RateLimited { .. } => Self::RateLimited,
            ConnectorError::Transient(_) => Self::Unavailable,
            _ => Self::Refused,
        }
    }

    pub(super) fn problem(self) -> Problem {
        match self {
            Self::RateLimited => Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "provider_rate_limited",
                "The provider's rate limit is reached. Start again in a few minutes.",
            )
            .with_retry_after(60),
            Self::Unavailable => Problem::new(
                StatusCode::BAD_GATEWAY,
                "provider_unavailable",
                "The provider is unavailable. Start again in a few minutes.",
            ),
            Self::Refused => Problem::new(
                StatusCode::BAD_GATEWAY,
                "provider_refused",
                "The provider rejected the request. Check the provider's client settings.",
            ),
        }
    }
}
