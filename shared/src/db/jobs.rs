//! Jobs for the API: list and detail.
//!
//! Queued and running jobs are in `jobs`, finished ones in `job_history`. [`crate::queue`] moves
//! them from one table to the other; its statements are SQL.

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Asterisk, Expr, Order, Query, SelectStatement, UnionType};
use sea_orm::{
    ColumnTrait, ConnectionTrait, FromQueryResult, QueryFilter, QuerySelect, QueryTrait, Select,
};
use serde_json::Value;
use uuid::Uuid;

use super::entities::{job_history, jobs};
use super::orm::{Scoped, across_tenants, count_rows, equals_literal, newest_first};
use super::page::{Page, PageRequest};
use super::{DbError, Json, OperatorProof, TenantScope, Tx};
use crate::model::{ConnectionId, JobError, JobId, JobKind, JobPayload, JobState, TenantId};

/// A job.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// Its kind.
    pub kind: JobKind,
    /// The provider's slug; empty for jobs of the service.
    pub provider: String,
    /// The connection that it belongs to.
    pub connection_id: Option<ConnectionId>,
    /// Its uniqueness key: at most one job per window is queued or running.
    pub cursor_window: Option<String>,
    /// Its state.
    pub state: JobState,
    /// Attempts so far.
    pub attempts: i16,
    /// Maximum number of attempts.
    pub max_attempts: i16,
    /// Its arguments.
    pub payload: JobPayload,
    /// The reason why the last attempt failed.
    pub last_error: Option<JobError>,
    /// Whether its cancellation was requested while it runs.
    pub cancel_requested: bool,
    /// The trace that it belongs to.
    pub traceparent: Option<String>,
    /// When it may run next; `None` once it is finished.
    pub run_at: Option<DateTime<Utc>>,
    /// When it was enqueued.
    pub created_at: DateTime<Utc>,
    /// When its last attempt began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it finished.
    pub finished_at: Option<DateTime<Utc>>,
}

/// The filter of a list of jobs; `None` matches all.
#[derive(Debug, Clone, Default)]
pub struct JobFilter {
    /// Their state.
    pub state: Option<JobState>,
    /// Their kind.
    pub kind: Option<JobKind>,
    /// The connection that they belong to.
    pub connection_id: Option<ConnectionId>,
    /// The provider's slug.
    pub provider: Option<String>,
    /// Only queued and running jobs.
    pub is_active: bool,
    /// A kind that does not match.
    pub except: Option<JobKind>,
}

#[derive(FromQueryResult)]
struct Row {
    id: JobId,
    kind: JobKind,
    provider: String,
    connection_id: Option<ConnectionId>,
    cursor_window: Option<String>,
    state: JobState,
    attempts: i16,
    max_attempts: i16,
    payload: Json<Value>,
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

/// The columns of a [`Row`] that both tables have.
macro_rules! common_columns {
    ($table:ident) => {
        [
            $table::Column::Id,
            $table::Column::Kind,
            $table::Column::Provider,
            $table::Column::ConnectionId,
            $table::Column::CursorWindow,
            $table::Column::State,
            $table::Column::Attempts,
            $table::Column::MaxAttempts,
            $table::Column::Payload,
            $table::Column::LastError,
            $table::Column::Traceparent,
            $table::Column::CreatedAt,
            $table::Column::StartedAt,
        ]
    };
}

/// The page of a table that matches a filter.
macro_rules! page {
    ($rows:expr, $table:ident, $filter:ident, $request:ident) => {{
        let matching = $rows
            // A partial index has the dead-lettered jobs.
            .apply_if($filter.state, |rows, state| {
                rows.filter(equals_literal($table::Column::State, state))
            })
            .apply_if($filter.kind, |rows, kind| {
                rows.filter($table::Column::Kind.eq(kind))
            })
            .apply_if($filter.except, |rows, kind| {
                rows.filter($table::Column::Kind.ne(kind))
            })
            .apply_if($filter.connection_id, |rows, connection| {
                rows.filter($table::Column::ConnectionId.eq(connection))
            })
            .apply_if($filter.provider.as_deref(), |rows, provider| {
                rows.filter($table::Column::Provider.eq(provider))
            });
        newest_first(matching, $table::Column::Id, $request).into_query()
    }};
}

/// Selects the tenant's queued and running jobs.
fn active(scope: &TenantScope) -> Select<jobs::Entity> {
    active_of(jobs::Entity::scoped(scope))
}

fn active_of(jobs: Select<jobs::Entity>) -> Select<jobs::Entity> {
    jobs.select_only()
        .columns(common_columns!(jobs))
        .columns([jobs::Column::CancelRequested, jobs::Column::RunAt])
        .expr_as(Expr::cust("NULL::timestamptz"), "finished_at")
}

/// Selects the tenant's finished jobs, with the same columns in the same order.
fn finished(scope: &TenantScope) -> Select<job_history::Entity> {
    finished_of(job_history::Entity::scoped(scope))
}

fn finished_of(jobs: Select<job_history::Entity>) -> Select<job_history::Entity> {
    jobs.select_only()
        .columns(common_columns!(job_history))
        .expr_as(Expr::cust("false"), "cancel_requested")
        .expr_as(Expr::cust("NULL::timestamptz"), "run_at")
        .column(job_history::Column::FinishedAt)
}

/// Builds the statement of a page; a state is in one table only.
///
/// Without a state, one statement reads both tables, so that a job that finishes meanwhile is
/// listed once.
fn page_statement(
    scope: &TenantScope,
    filter: &JobFilter,
    request: &PageRequest,
) -> SelectStatement {
    let active = || page!(active(scope), jobs, filter, request);
    let finished = || page!(finished(scope), job_history, filter, request);
    match filter.state {
        Some(JobState::Queued | JobState::Running) => active(),
        Some(JobState::Succeeded | JobState::Dead | JobState::Cancelled) => finished(),
        None if filter.is_active => active(),
        None => Query::select()
            .column(Asterisk)
            .from_subquery(active(), "active")
            .union(UnionType::All, finished())
            .order_by("id", Order::Desc)
            .limit(request.fetch_limit().unsigned_abs())
            .take(),
    }
}

/// Lists a tenant's jobs, newest first.
///
/// Both primary keys provide the order, so every page costs the same. Dead-lettered jobs have their
/// own index, because they are few among many finished ones.
pub async fn list(
    tx: &mut Tx,
    scope: &TenantScope,
    filter: &JobFilter,
    request: &PageRequest,
) -> Result<Page<Job>, DbError> {
    let statement = page_statement(scope, filter, request);
    let rows = tx.orm().query_all(&statement).await?;
    let jobs = rows
        .iter()
        .map(|row| Row::from_query_result(row, "").map(Job::from))
        .collect::<Result<_, _>>()?;
    Ok(request.page(jobs, |job: &Job| job.id.0))
}

/// Counts the jobs of [`list`] that are older than `before`, up to `limit`.
pub async fn count(
    tx: &mut Tx,
    scope: &TenantScope,
    filter: &JobFilter,
    before: Option<Uuid>,
    limit: u32,
) -> Result<i64, DbError> {
    let request = PageRequest {
        before,
        limit: limit.saturating_sub(1),
    };
    Ok(count_rows(tx, page_statement(scope, filter, &request)).await?)
}

/// A state whose jobs are few over all tenants: queued, running or dead-lettered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListedState {
    /// Queued.
    Queued,
    /// Running.
    Running,
    /// Dead-lettered.
    Dead,
}

/// Lists the jobs of all tenants in one state, newest first, each with its tenant.
///
/// The transaction must be one of [`super::Db::begin_for_operator`]. Scans the table of queued and
/// running jobs, which is small, or the index `job_history_dead`.
pub async fn list_all(
    tx: &mut Tx,
    _proof: OperatorProof,
    state: ListedState,
    request: &PageRequest,
) -> Result<Page<(TenantId, Job)>, DbError> {
    let state = match state {
        ListedState::Queued => JobState::Queued,
        ListedState::Running => JobState::Running,
        ListedState::Dead => JobState::Dead,
    };
    let filter = JobFilter {
        state: Some(state),
        ..JobFilter::default()
    };
    let statement = if state == JobState::Dead {
        let jobs = finished_of(across_tenants()).column(job_history::Column::TenantId);
        page!(jobs, job_history, filter, request)
    } else {
        let jobs = active_of(across_tenants()).column(jobs::Column::TenantId);
        page!(jobs, jobs, filter, request)
    };
    let rows = tx.orm().query_all(&statement).await?;
    let jobs = rows
        .iter()
        .map(|row| {
            let job = Row::from_query_result(row, "").map(Job::from)?;
            Ok((row.try_get("", "tenant_id")?, job))
        })
        .collect::<Result<Vec<_>, DbError>>()?;
    Ok(request.page(jobs, |(_, job): &(TenantId, Job)| job.id.0))
}

/// Returns a job in any state.
pub async fn get(tx: &mut Tx, scope: &TenantScope, id: JobId) -> Result<Option<Job>, DbError> {
    let finished = finished(scope).filter(job_history::Column::Id.eq(id));
    let statement = active(scope)
        .filter(jobs::Column::Id.eq(id))
        .into_query()
        .union(UnionType::All, finished.into_query())
        .limit(1)
        .take();
    let row = tx.orm().query_one(&statement).await?;
    let row = row
        .map(|row| Row::from_query_result(&row, ""))
        .transpose()?;
    Ok(row.map(Job::from))
}
