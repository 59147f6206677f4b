//! The statements that cancel jobs.

use super::insert::archive_jobs;
use crate::db::{DbError, Json, TenantScope, Tx, deliveries, jobs};
use crate::model::{ConnectionId, JobId, JobKind, JobPayload, JobState};
use crate::queue::jobs::CancelOutcome;

/// Cancels a queued job, or asks the worker of a running one to stop.
pub(super) async fn cancel(
    tx: &mut Tx,
    scope: &TenantScope,
    id: JobId,
) -> Result<CancelOutcome, DbError> {
    // The lock waits for a concurrent claim, so that the state is up to date.
    let state: Option<JobState> =
        sqlx::query_scalar("SELECT state FROM jobs WHERE tenant_id = $1 AND id = $2 FOR UPDATE")
            .bind(scope.tenant_id())
            .bind(id)
            .fetch_optional(&mut **tx)
            .await?;
    match state {
        Some(JobState::Queued) => {
            cancel_queued(tx, scope, None, Some(id)).await?;
            Ok(CancelOutcome::Cancelled)
        }
        Some(_) => {
            request_cancel(tx, scope, None, Some(id)).await?;
            Ok(CancelOutcome::Requested)
        }
        None if jobs::get(tx, scope, id).await?.is_some() => Ok(CancelOutcome::Finished),
        None => Ok(CancelOutcome::NotFound),
    }
}

/// Cancels a connection's queued jobs and asks the running ones to stop.
///
/// Returns how many queued jobs were cancelled.
pub(super) async fn cancel_for_connection(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
) -> Result<u64, DbError> {
    let cancelled = cancel_queued(tx, scope, Some(connection), None).await?;
    request_cancel(tx, scope, Some(connection), None).await?;
    Ok(cancelled)
}

async fn cancel_queued(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: Option<ConnectionId>,
    id: Option<JobId>,
) -> Result<u64, DbError> {
    let cancelled: Vec<(JobKind, Json<serde_json::Value>)> = sqlx::query_as(concat!(
        "WITH removed AS (DELETE FROM jobs WHERE tenant_id = $1 AND state = 'queued' \
             AND (id = $2 OR connection_id = $3) RETURNING *) ",
        archive_jobs!("'cancelled'", "last_error"),
        "RETURNING kind, payload",
    ))
    .bind(scope.tenant_id())
    .bind(id)
    .bind(connection)
    .fetch_all(&mut **tx)
    .await?;
    let pending: Vec<_> = cancelled
        .iter()
        .map(|(kind, payload)| JobPayload::decode(*kind, &payload.0))
        .flat_map(|payload| payload.deliveries().to_vec())
        .map(|id| (scope.tenant_id(), id))
        .collect();
    deliveries::fail_pending(tx, &pending, "The job was cancelled.").await?;
    Ok(u64::try_from(cancelled.len()).unwrap_or(u64::MAX))
}

async fn request_cancel(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: Option<ConnectionId>,
    id: Option<JobId>,
) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE jobs SET cancel_requested = true WHERE tenant_id = $1 AND state = 'running' \
             AND (id = $2 OR connection_id = $3)",
    )
    .bind(scope.tenant_id())
    .bind(id)
    .bind(connection)
    .execute(&mut **tx)
    .await?;
    Ok(())
}
