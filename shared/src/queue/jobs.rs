//! Jobs as the API shows them, and the outcomes of its requests.

use crate::model::{Enqueued, JobState};

pub use crate::db::jobs::{Job, JobFilter};

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
