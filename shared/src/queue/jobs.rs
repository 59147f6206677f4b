//! Jobs as the API shows them, and the outcomes of its requests.

use chrono::{DateTime, Utc};

use crate::model::{ConnectionId, Enqueued, JobError, JobId, JobKind, JobPayload, JobState};

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
}

/// The outcome of a request to retry a dead-lettered job.
#[derive(Debug)]
pub enum RetryOutcome {
    /// The new job, or the one that already covers the same window.
    Enqueued(Enqueued),
    /// The job is in another state than dead-lettered.
    NotDead(JobState),
    /// This release cannot decode the job's payload.
    Unreadable,
    /// The job does not exist.
    NotFound,
}

/// The outcome of a request to cancel a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelOutcome {
    /// It was queued and is cancelled.
    Cancelled,
    /// It is running; its worker is asked to stop.
    Requested,
    /// It had finished already.
    Finished,
    /// The job does not exist.
    NotFound,
}
