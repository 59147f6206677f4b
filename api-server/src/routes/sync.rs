//! Syncs that start now instead of at the next poll.

mod start;

use shared::db::connections::{Connection, ConnectionStatus};
use shared::db::{TenantScope, Tx};
use shared::model::{Enqueued, JobPayload, NewJob, SyncMode};
use shared::queue;
use shared::queue::due_jobs;
use shared::telemetry::current_traceparent;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Routes;
use crate::error::{ApiError, Conflict};

pub(crate) fn router() -> Routes {
    OpenApiRouter::new().routes(routes!(start::sync_provider))
}

/// Enqueues a sync of a connection.
///
/// A queued sync of the same mode covers the request; a running one is followed by another, because
/// it started before the request. A connection that is suspended or has no grant is probed by an
/// incremental sync in any mode: the job continues from the cursors if the grant works again, and
/// has no effect if it does not.
pub(crate) async fn enqueue_sync(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: &Connection,
    mode: SyncMode,
) -> Result<Enqueued, ApiError> {
    let (mode, is_probe) = match connection.status {
        ConnectionStatus::Active => (mode, false),
        ConnectionStatus::Suspended | ConnectionStatus::NeedsReauth => {
            (SyncMode::Incremental, true)
        }
        ConnectionStatus::Pending | ConnectionStatus::Paused | ConnectionStatus::Disconnected => {
            return Err(Conflict::ConnectionNotActive.into());
        }
    };
    let mode_name = match mode {
        SyncMode::Incremental => "incremental",
        SyncMode::Full => "full",
    };
    let job = NewJob {
        tenant_id: connection.tenant_id,
        provider: connection.provider.clone(),
        connection_id: Some(connection.id),
        cursor_window: Some(format!("sync:{}:{mode_name}", connection.id)),
        payload: JobPayload::SyncConnection {
            mode,
            upper_bound: None,
            requested_only: false,
        },
        traceparent: current_traceparent(),
    };
    let enqueued = queue::enqueue(tx, &job).await?;
    if !enqueued.created && is_probe {
        due_jobs::probe_soon(tx, &[(connection.tenant_id, connection.id)]).await?;
    } else if !enqueued.created {
        due_jobs::sync_soon(tx, scope, connection.id).await?;
    }
    Ok(enqueued)
}
