//! The statements that list, show and cancel jobs.
//!
//! Queued and running jobs are in `jobs`, finished ones in `job_history`.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::insert::archive_jobs;
use crate::db::page::{Page, PageRequest};
use crate::db::{DbError, Json, TenantScope, Tx, deliveries};
use crate::model::{ConnectionId, JobError, JobId, JobKind, JobPayload, JobState};
use crate::queue::jobs::{CancelOutcome, Job, JobFilter};

#[derive(sqlx::FromRow)]
struct Row {
    id: JobId,
    kind: JobKind,
    provider: String,
    connection_id: Option<ConnectionId>,
    cursor_window: Option<String>,
    state: JobState,
    attempts: i16,
    max_attempts: i16,
    payload: Json<serde_json::Value>,
    last_error: Option<Json<JobError>>,
    cancel_requested: bool,
    traceparent: Option<String>,
    run_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
}

impl From<Row> for Job {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            kind: row.kind,
            provider: row.provider,
            connection_id: row.connection_id,
            cursor_window: row.cursor_window,
            state: row.state,
            attempts: row.attempts,
            max_attempts: row.max_attempts,
            payload: JobPayload::decode(row.kind, &row.payload.0),
            last_error: row.last_error.map(|Json(error)| error),
            cancel_requested: row.cancel_requested,
            traceparent: row.traceparent,
            run_at: row.run_at,
            created_at: row.created_at,
            started_at: row.started_at,
            finished_at: row.finished_at,
        }
    }
}

macro_rules! active_columns {
    () => {
        "id, kind, provider, connection_id, cursor_window, state, attempts, max_attempts, \
         payload, last_error, cancel_requested, traceparent, run_at, created_at, started_at, \
         NULL::timestamptz AS finished_at"
    };
}

macro_rules! finished_columns {
    () => {
        "id, kind, provider, connection_id, cursor_window, state, attempts, max_attempts, \
         payload, last_error, false AS cancel_requested, traceparent, NULL::timestamptz AS run_at, \
         created_at, started_at, finished_at"
    };
}

// `$constant` is a condition without parameters, which a generic plan can match with a partial
// index.
macro_rules! filters {
    ($constant:literal) => {
        concat!(
            "WHERE tenant_id = $1 AND id < $2 ",
            $constant,
            " \
           AND ($4::job_state IS NULL OR state = $4) \
           AND ($5::job_kind IS NULL OR kind = $5) \
           AND ($6::uuid IS NULL OR connection_id = $6) \
           AND ($7::text IS NULL OR provider = $7) \
         ORDER BY id DESC LIMIT $3"
        )
    };
}

macro_rules! list_query {
    ($constant:literal) => {
        concat!(
            "(SELECT ",
            active_columns!(),
            " FROM jobs ",
            filters!($constant),
            ") UNION ALL (SELECT ",
            finished_columns!(),
            " FROM job_history ",
            filters!($constant),
            ") ORDER BY id DESC LIMIT $3",
        )
    };
}

/// Lists a tenant's jobs, newest first.
///
/// Both primary keys provide the order, so every page costs the same. Dead-lettered jobs have their
/// own index, because they are few among many finished ones.
pub(super) async fn list(
    tx: &mut Tx,
    scope: &TenantScope,
    filter: &JobFilter,
    request: &PageRequest,
) -> Result<Page<Job>, DbError> {
    let statement = match filter.state {
        Some(JobState::Dead) => list_query!("AND state = 'dead'"),
        _ => list_query!(""),
    };
    let rows = sqlx::query_as::<_, Row>(statement)
        .bind(scope.tenant_id())
        .bind(request.before.unwrap_or(Uuid::max()))
        .bind(request.fetch_limit())
        .bind(filter.state)
        .bind(filter.kind)
        .bind(filter.connection_id)
        .bind(filter.provider.as_deref())
        .fetch_all(&mut **tx)
        .await?;
    let jobs = rows.into_iter().map(Job::from).collect();
    Ok(request.page(jobs, |job: &Job| job.id.0))
}

/// Returns a job in any state.
pub(super) async fn get(
    tx: &mut Tx,
    scope: &TenantScope,
    id: JobId,
) -> Result<Option<Job>, DbError> {
    let row = sqlx::query_as::<_, Row>(concat!(
        "SELECT ",
        active_columns!(),
        " FROM jobs WHERE tenant_id = $1 AND id = $2 \
         UNION ALL SELECT ",
        finished_columns!(),
        " FROM job_history WHERE tenant_id = $1 AND id = $2 LIMIT 1",
    ))
    .bind(scope.tenant_id())
    .bind(id)
    .fetch_optional(&mut **tx)
    .await?;
    Ok(row.map(Job::from))
}

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
        None if get(tx, scope, id).await?.is_some() => Ok(CancelOutcome::Finished),
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
        "WITH gone AS (DELETE FROM jobs WHERE tenant_id = $1 AND state = 'queued' \
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
