//! Calls with a token that was made a moment ago.

use std::time::Duration;

use futures::future::BoxFuture;

use super::ConnectorError;

/// How long a refused call waits, each time, before it is made again: some providers accept a new
/// token only after seconds.
const WAITS: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];

/// Makes a call with a new token, and again after a while where the provider does not accept the
/// token yet.
pub async fn with_new_token<'f, T>(
    call: impl Fn() -> BoxFuture<'f, Result<T, ConnectorError>> + Send + Sync,
) -> Result<T, ConnectorError> {
    for wait in WAITS {
        match call().await {
            Err(ConnectorError::Unauthorized(error)) => {
                tracing::debug!(
                    error = &*error as &dyn std::error::Error,
                    "new token refused"
                );
                tokio::time::sleep(wait).await;
            }
            outcome => return outcome,
        }
    }
    call().await
}
