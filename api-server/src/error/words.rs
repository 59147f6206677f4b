//! Words for what is missing and for what providers did.

use axum::http::StatusCode;
use shared::connectors::ConnectorError;
use shared::problem::Problem;

/// A 404 for one kind of thing.
pub(super) fn not_found(what: &str) -> Problem {
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
pub(super) fn upstream(error: &ConnectorError) -> Problem {
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
