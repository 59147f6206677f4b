//! Syncs that start now instead of at the next poll.

mod start;

use shared::db::connections::{Connection, ConnectionStatus};
use shared::db::{TenantScope, Tx, due_times};
use shared::model::{Enqueued, NewJob, SyncConnection, SyncMode};
use shared::queue::JobQueue;
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
    queue: &dyn JobQueue,
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
    let job = NewJob {
        traceparent: current_traceparent(),
        ..NewJob::new(
            connection.tenant_id,
            &connection.provider,
            Some(connection.id),
            SyncConnection {
                mode,
                upper_bound: None,
                requested_only: false,
            },
        )
    };
    let enqueued = queue.enqueue(tx, &job).await?;
    if !enqueued.created && is_probe {
        due_times::probe_soon(tx, &[(connection.tenant_id, connection.id)]).await?;
    } else if !enqueued.created {
        due_times::sync_soon(tx, scope, connection.id).await?;
    }
    Ok(enqueued)
}
