//! Jobs: queued, running and finished work.

pub(crate) mod bulk;
pub(crate) mod cancel;
pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod retry;

use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::db::{TenantScope, Tx};
use shared::model::{
    BulkProgress, ConnectionId, JobError, JobId, JobKind, JobPayload, JobState, SyncMode,
};
use shared::queue::{JobQueue, jobs};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Routes;
use crate::error::ApiError;

pub(crate) fn router() -> Routes {
    OpenApiRouter::new()
        .routes(routes!(list::list_jobs))
        .routes(routes!(get::get_job))
        .routes(routes!(retry::retry_job))
        .routes(routes!(cancel::cancel_job))
        .routes(routes!(bulk::change_jobs))
}

/// A unit of work.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Job {
    pub(crate) id: JobId,
    pub(crate) kind: JobKind,
    pub(crate) state: JobState,
    /// The provider's slug; empty for jobs of the whole service and of all providers.
    #[schema(example = "github")]
    pub(crate) provider: String,
    /// The connection of the job.
    pub(crate) connection_id: Option<ConnectionId>,
    /// The mode of a sync; null for other kinds.
    pub(crate) mode: Option<SyncMode>,
    /// The progress of a bulk action; null for other kinds.
    progress: Option<JobProgress>,
    /// The uniqueness key: only one unfinished job exists per window.
    #[schema(example = "sync:0198c0de-0000-7000-8000-000000000000:full")]
    pub(crate) cursor_window: Option<String>,
    /// The number of attempts so far.
    pub(crate) attempts: i16,
    /// The maximum number of attempts.
    pub(crate) max_attempts: i16,
    /// The error of the last attempt.
    pub(crate) error: Option<JobError>,
    /// Whether a request asked the running job to stop.
    pub(crate) cancel_requested: bool,
    /// The earliest time of the next attempt; null after the job has finished.
    pub(crate) next_run_at: Option<DateTime<Utc>>,
    pub(crate) created_at: DateTime<Utc>,
    /// When the last attempt began.
    pub(crate) started_at: Option<DateTime<Utc>>,
    /// When the job finished.
    pub(crate) finished_at: Option<DateTime<Utc>>,
}

/// The progress of a bulk action.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobProgress {
    /// The number of matching items when it began, counted up to 100,000, or of those that it has
    /// reached, if that is larger; null before it has counted.
    #[schema(example = 42)]
    matched: Option<i64>,
    /// The number of items that it has changed.
    #[schema(example = 40)]
    done: i64,
    /// The number of items that it could not change: jobs that another release wrote, or that ended
    /// meanwhile.
    #[schema(example = 0)]
    failed: i64,
}

impl From<BulkProgress> for JobProgress {
    fn from(progress: BulkProgress) -> Self {
        let BulkProgress {
            matched,
            done,
            failed,
            ..
        } = progress;
        Self {
            matched: matched.map(|matched| matched.max(done + failed)),
            done,
            failed,
        }
    }
}

impl From<jobs::Job> for Job {
    fn from(job: jobs::Job) -> Self {
        let (mode, progress) = match job.payload {
            JobPayload::SyncConnection(sync) => (Some(sync.mode), None),
            JobPayload::RunBulkAction(bulk) => (None, Some(bulk.progress.into())),
            _ => (None, None),
        };
        Self {
            id: job.id,
            kind: job.kind,
            state: job.state,
            provider: job.provider,
            connection_id: job.connection_id,
            mode,
            progress,
            cursor_window: job.cursor_window,
            attempts: job.attempts,
            max_attempts: job.max_attempts,
            error: job.last_error,
            cancel_requested: job.cancel_requested,
            next_run_at: job.run_at,
            created_at: job.created_at,
            started_at: job.started_at,
            finished_at: job.finished_at,
        }
    }
}

/// The job of a request.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobResponse {
    pub(crate) job: Job,
}

/// Loads the current state of a job.
pub(crate) async fn load(
    queue: &dyn JobQueue,
    tx: &mut Tx,
    scope: &TenantScope,
    id: JobId,
) -> Result<Job, ApiError> {
    Ok(queue
        .get(tx, scope, id)
        .await?
        .ok_or(ApiError::NotFound("job"))?
        .into())
}
