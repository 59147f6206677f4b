//! Messages for missing objects and for failures of providers.

use axum::http::StatusCode;
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
        "cursor" => (
            "cursor_not_found",
            "The cursor does not belong to this list. Start again without a cursor.",
        ),
        _ => ("not_found", "Not found."),
    };
    Problem::new(StatusCode::NOT_FOUND, code, message)
}

/// The problem for a failed call to a provider.
pub(super) fn provider_problem(error: &ConnectorError) -> Problem {
    match error {
        ConnectorError::RateLimited { .. } => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "provider_rate_limited",
            "The provider's rate limit is reached. Start again in a few minutes.",
        )
        .with_retry_after(60),
        ConnectorError::Transient(_) => Problem::new(
            StatusCode::BAD_GATEWAY,
            "provider_unavailable",
            "The provider is unavailable. Start again in a few minutes.",
        ),
        _ => Problem::new(
            StatusCode::BAD_GATEWAY,
            "provider_refused",
            "The provider rejected the request. Check the provider's client settings.",
        ),
    }
}
