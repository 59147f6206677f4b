//! Work under way and done.

mod cancel;
mod get;
mod list;
mod retry;

use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::db::jobs;
use shared::db::{TenantScope, Tx};
use shared::ids::{ConnectionId, JobId};
use shared::queue::{JobError, JobKind, JobPayload, JobState, SyncMode};
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
}

/// A unit of work.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Job {
    pub(crate) id: JobId,
    kind: JobKind,
    state: JobState,
    /// The provider's slug; empty for work on the service as a whole.
    #[schema(example = "github")]
    provider: String,
    /// The connection it is about.
    connection_id: Option<ConnectionId>,
    /// How the connection is read; null for other kinds.
    mode: Option<SyncMode>,
    /// While this job waits or runs, no other of the same window is made.
    #[schema(example = "sync:0198c0de-0000-7000-8000-000000000000:full")]
    cursor_window: Option<String>,
    /// Tries so far.
    attempts: i16,
    /// Tries there are.
    max_attempts: i16,
    /// Why the last try failed.
    error: Option<JobError>,
    /// Somebody asked for its end while it runs.
    cancel_requested: bool,
    /// When it runs next at the earliest; null once it has ended.
    next_run_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    /// When its last try began.
    started_at: Option<DateTime<Utc>>,
    /// When it ended.
    finished_at: Option<DateTime<Utc>>,
}

impl From<jobs::Job> for Job {
    fn from(job: jobs::Job) -> Self {
        let mode = match job.payload {
            JobPayload::SyncConnection { mode, .. } => Some(mode),
            _ => None,
        };
        Self {
            id: job.id,
            kind: job.kind,
            state: job.state,
            provider: job.provider,
            connection_id: job.connection_id,
            mode,
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

/// The job that an action led to.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobAnswer {
    pub(crate) job: Job,
}

/// The job with this id, as it is now.
pub(crate) async fn load(tx: &mut Tx, scope: &TenantScope, id: JobId) -> Result<Job, ApiError> {
    Ok(jobs::get(tx, scope, id)
        .await?
        .ok_or(ApiError::NotFound("job"))?
        .into())
}
