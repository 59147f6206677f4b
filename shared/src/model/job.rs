//! Jobs: what is enqueued, states and errors.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::job_kind::JobPayload;
use super::{ConnectionId, JobId, TenantId};

/// A job to be enqueued.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// The tenant; [`TenantId::UNASSIGNED`] for a job of the whole service.
    pub tenant_id: TenantId,
    /// The provider's slug; empty for a job of the whole service.
    pub provider: String,
    /// The connection that the job belongs to.
    pub connection_id: Option<ConnectionId>,
    /// The unique key: at most one job with this window is queued or running.
    pub cursor_window: Option<String>,
    /// The arguments.
    pub payload: JobPayload,
    /// The W3C `traceparent` of the request or job that enqueues it.
    pub traceparent: Option<String>,
}

impl NewJob {
    /// A job with the window of its kind.
    pub fn new(
        tenant_id: TenantId,
        provider: &str,
        connection_id: Option<ConnectionId>,
        payload: impl Into<JobPayload>,
    ) -> Self {
        let payload = payload.into();
        Self {
            tenant_id,
            provider: provider.to_owned(),
            connection_id,
            cursor_window: payload.window(provider, connection_id),
            payload,
            traceparent: None,
        }
    }
}

/// The result of [`enqueue`](crate::queue::JobQueue::enqueue).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enqueued {
    /// The new job, or the one that already holds the window.
    pub job_id: JobId,
    /// Whether the job is new.
    pub created: bool,
}

/// The cause of a failed attempt, as stored and as the API shows it.
///
/// It never quotes a provider's response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobError {
    /// A stable code, such as `rate_limited`, `unauthorized` or `lease_lost`.
    pub code: String,
    /// The explanation for an operator.
    pub message: String,
    /// The scope that the grant lacks; absent in other cases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// The call to the provider that failed; absent if it is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "list_issues")]
    pub operation: Option<String>,
    /// When the provider allows the next call; absent if it does not limit calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<DateTime<Utc>>,
}

impl JobError {
    /// An error without details.
    pub fn new(code: &str, message: &str) -> Self {
        Self {
            code: code.to_owned(),
            message: message.to_owned(),
            scope: None,
            operation: None,
            retry_at: None,
        }
    }

    /// The error of a job whose worker stopped before the attempt ended.
    pub fn worker_lost() -> Self {
        Self::new("worker_lost", "The worker stopped before the job ended.")
    }
}
