//! Reading now what would be read later.

mod start;

use shared::db::Tx;
use shared::db::connections::{Connection, ConnectionStatus};
use shared::queue::{self, Enqueued, JobPayload, NewJob, SyncMode};
use shared::telemetry::current_traceparent;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Routes;
use crate::error::{ApiError, Conflict};

pub(crate) fn router() -> Routes {
    OpenApiRouter::new().routes(routes!(start::sync_provider))
}

/// Enqueues the read of an active connection; one of the same mode that waits or runs
/// already covers it.
pub(crate) async fn enqueue_sync(
    tx: &mut Tx,
    connection: &Connection,
    mode: SyncMode,
) -> Result<Enqueued, ApiError> {
    if connection.status != ConnectionStatus::Active {
        return Err(Conflict::ConnectionNotActive.into());
    }
    let word = match mode {
        SyncMode::Incremental => "incremental",
        SyncMode::Full => "full",
    };
    let job = NewJob {
        tenant_id: connection.tenant_id,
        provider: connection.provider.clone(),
        connection_id: Some(connection.id),
        cursor_window: Some(format!("sync:{}:{word}", connection.id)),
        run_at: None,
        payload: JobPayload::SyncConnection { mode, until: None },
        traceparent: current_traceparent(),
    };
    Ok(queue::enqueue(tx, &job).await?)
}
