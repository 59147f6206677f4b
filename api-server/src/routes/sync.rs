//! Reading now what would be read later.

mod start;

use shared::db::connections::{Connection, ConnectionStatus};
use shared::db::{TenantScope, Tx, schedule};
use shared::queue::{self, Enqueued, JobPayload, NewJob, SyncMode};
use shared::telemetry::current_traceparent;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Routes;
use crate::error::{ApiError, Conflict};

pub(crate) fn router() -> Routes {
    OpenApiRouter::new().routes(routes!(start::sync_provider))
}

/// Enqueues the read of an active connection. One of the same mode that waits already covers
/// it; one that runs has another follow it, because it began before this was asked for.
///
/// A connection that is suspended or has no grant is probed instead, whatever the mode: the job goes
/// on from the cursors where the grant works again, and changes nothing where it does not.
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
    let word = match mode {
        SyncMode::Incremental => "incremental",
        SyncMode::Full => "full",
    };
    let job = NewJob {
        tenant_id: connection.tenant_id,
        provider: connection.provider.clone(),
        connection_id: Some(connection.id),
        cursor_window: Some(format!("sync:{}:{word}", connection.id)),
        payload: JobPayload::SyncConnection { mode, until: None },
        traceparent: current_traceparent(),
    };
    let enqueued = queue::enqueue(tx, &job).await?;
    if !enqueued.created && is_probe {
        schedule::probe_soon(tx, &[(connection.tenant_id, connection.id)]).await?;
    } else if !enqueued.created {
        schedule::sync_soon(tx, scope, connection.id).await?;
    }
    Ok(enqueued)
}
