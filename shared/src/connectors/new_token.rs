//! Calls with a newly issued token.

use std::time::Duration;

use futures::future::BoxFuture;

use super::ConnectorError;

/// Delays before the retries of a rejected call.
///
/// Some providers accept a new token only after seconds.
const RETRY_DELAYS: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];

/// Makes a call with a new token and retries it while the provider rejects the token.
pub async fn with_new_token<'f, T>(
    call: impl Fn() -> BoxFuture<'f, Result<T, ConnectorError>> + Send + Sync,
) -> Result<T, ConnectorError> {
    for delay in RETRY_DELAYS {
        match call().await {
            Err(ConnectorError::Unauthorized(error)) => {
                tracing::debug!(
                    error = &*error as &dyn std::error::Error,
                    "new token rejected, retrying"
                );
                tokio::time::sleep(delay).await;
            }
            outcome => return outcome,
        }
    }
    call().await
}
