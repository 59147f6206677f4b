//! Jobs as people see and steer them: the waiting and running ones together with the
//! finished ones, which live in another table.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::page::{Page, PageRequest};
use super::{DbError, Json, TenantScope, Tx, deliveries};
use crate::ids::{ConnectionId, JobId};
use crate::queue::{self, Enqueued, JobError, JobKind, JobPayload, JobState, NewJob, archive_jobs};

/// A job.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// What it does.
    pub kind: JobKind,
    /// The provider's slug; empty for work on the service as a whole.
    pub provider: String,
    /// The connection it is about.
    pub connection_id: Option<ConnectionId>,
    /// What it covers: no second job of the same window waits or runs.
    pub cursor_window: Option<String>,
    /// Where it stands.
    pub state: JobState,
    /// Tries so far.
    pub attempts: i16,
    /// Tries there are.
    pub max_attempts: i16,
    /// Its arguments.
    pub payload: JobPayload,
    /// Why the last try failed.
    pub last_error: Option<JobError>,
    /// Whether somebody asked for its end while it runs.
    pub cancel_requested: bool,
    /// The trace it belongs to.
    pub traceparent: Option<String>,
    /// When it may run next; `None` once it is finished.
    pub run_at: Option<DateTime<Utc>>,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// When its last try began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
}

/// Which jobs a list shows; everything that is `None` is not asked about.
#[derive(Debug, Clone, Default)]
pub struct JobFilter {
    /// Where they stand.
    pub state: Option<JobState>,
    /// What they do.
    pub kind: Option<JobKind>,
    /// The connection they are about.
    pub connection_id: Option<ConnectionId>,
    /// The provider's slug.
    pub provider: Option<String>,
}

/// What came of asking for a dead job's retry.
#[derive(Debug)]
pub enum Retried {
    /// The new job, or the one that already covers the same window.
    Enqueued(Enqueued),
    /// Only dead jobs can be retried; this one stands elsewhere.
    NotDead(JobState),
    /// This release does not understand the job's stored form.
    Unreadable,
    /// There is no such job.
    Unknown,
}

/// What came of asking for a job's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// It waited and is withdrawn.
    Withdrawn,
    /// It runs; its worker has been asked to stop.
    Requested,
    /// It had ended already.
    Finished,
    /// There is no such job.
    Unknown,
}

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
            payload: JobPayload::read(row.kind, &row.payload.0),
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

// `$also` narrows down in words that a prepared plan can match with a partial index.
macro_rules! filters {
    ($also:literal) => {
        concat!(
            "WHERE tenant_id = $1 AND id < $2 ",
            $also,
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
    ($also:literal) => {
        concat!(
            "(SELECT ",
            active_columns!(),
            " FROM jobs ",
            filters!($also),
            ") UNION ALL (SELECT ",
            finished_columns!(),
            " FROM job_history ",
            filters!($also),
            ") ORDER BY id DESC LIMIT $3",
        )
    };
}

/// A tenant's jobs, newest first. Both primary keys give the order, so a page costs the
/// same wherever it lies; dead jobs, few among many, have an index of their own.
pub async fn list(
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

/// One job, wherever it stands.
pub async fn get(tx: &mut Tx, scope: &TenantScope, id: JobId) -> Result<Option<Job>, DbError> {
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

/// Enqueues a dead job's work again, as a new job in the same trace. Asking twice gives one
/// job: a window that the old job lacked is made of its id.
pub async fn retry(tx: &mut Tx, scope: &TenantScope, id: JobId) -> Result<Retried, DbError> {
    let Some(job) = get(tx, scope, id).await? else {
        return Ok(Retried::Unknown);
    };
    if job.state != JobState::Dead {
        return Ok(Retried::NotDead(job.state));
    }
    let payload = match job.payload {
        // The old bound is long past: a new run reads up to its own beginning.
        JobPayload::SyncConnection { mode, .. } => JobPayload::SyncConnection { mode, until: None },
        JobPayload::Unreadable { .. } => return Ok(Retried::Unreadable),
        other => other,
    };
    let again = NewJob {
        tenant_id: scope.tenant_id(),
        provider: job.provider,
        connection_id: job.connection_id,
        cursor_window: job.cursor_window.or_else(|| Some(format!("retry:{id}"))),
        payload,
        traceparent: job.traceparent,
    };
    deliveries::reopen(tx, scope, again.payload.deliveries()).await?;
    queue::enqueue(tx, &again).await.map(Retried::Enqueued)
}

/// Withdraws a waiting job, or asks the worker of a running one to stop.
pub async fn cancel(tx: &mut Tx, scope: &TenantScope, id: JobId) -> Result<Cancelled, DbError> {
    // The lock waits for a claim that is under way, so that the state read is the true one.
    let state: Option<JobState> =
        sqlx::query_scalar("SELECT state FROM jobs WHERE tenant_id = $1 AND id = $2 FOR UPDATE")
            .bind(scope.tenant_id())
            .bind(id)
            .fetch_optional(&mut **tx)
            .await?;
    match state {
        Some(JobState::Queued) => {
            withdraw(tx, scope, None, Some(id)).await?;
            Ok(Cancelled::Withdrawn)
        }
        Some(_) => {
            request_end(tx, scope, None, Some(id)).await?;
            Ok(Cancelled::Requested)
        }
        None if get(tx, scope, id).await?.is_some() => Ok(Cancelled::Finished),
        None => Ok(Cancelled::Unknown),
    }
}

/// Withdraws every waiting job of a connection and asks the running ones to stop; answers
/// how many were withdrawn.
pub async fn cancel_for_connection(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
) -> Result<u64, DbError> {
    let withdrawn = withdraw(tx, scope, Some(connection), None).await?;
    request_end(tx, scope, Some(connection), None).await?;
    Ok(withdrawn)
}

async fn withdraw(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: Option<ConnectionId>,
    id: Option<JobId>,
) -> Result<u64, DbError> {
    let gone: Vec<(JobKind, Json<serde_json::Value>)> = sqlx::query_as(concat!(
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
    let pending: Vec<_> = gone
        .iter()
        .map(|(kind, payload)| JobPayload::read(*kind, &payload.0))
        .flat_map(|payload| payload.deliveries().to_vec())
        .map(|id| (scope.tenant_id(), id))
        .collect();
    deliveries::fail_pending(tx, &pending, "The job was cancelled.").await?;
    Ok(u64::try_from(gone.len()).unwrap_or(u64::MAX))
}

async fn request_end(
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
