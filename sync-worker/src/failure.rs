//! Causes of attempts that did not succeed, and the outcomes that follow from them.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use chrono::TimeDelta;
use futures::FutureExt;
use metrics::counter;
use shared::clock::SharedClock;
use shared::connectors::ConnectorError;
use shared::credentials::CredentialError;
use shared::db::DbError;
use shared::model::{JobError, JobKind};
use shared::queue::JobOutcome;
use shared::service::panic_message;
use shared::telemetry::names;

/// The cause of an attempt that did not succeed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JobFailure {
    /// A statement failed.
    #[error(transparent)]
    Db(#[from] DbError),
    /// A provider call failed.
    #[error(transparent)]
    Provider(#[from] ConnectorError),
    /// No valid token is available.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// The lease expired, and another worker may run the job.
    #[error("lease lost")]
    LeaseLost,
    /// Another run advanced the cursor, or the account changed during the run.
    #[error("cursor or account changed during the run")]
    CursorConflict,
    /// The job ends with this outcome.
    #[error("job ended early")]
    Outcome(Box<JobOutcome>),
    /// The job's code panicked.
    #[error("job panicked: {0}")]
    Panicked(String),
}

impl From<JobOutcome> for JobFailure {
    fn from(outcome: JobOutcome) -> Self {
        Self::Outcome(Box::new(outcome))
    }
}

impl JobFailure {
    /// Logs the cause with its sources and decides the outcome of the attempt.
    pub(crate) fn outcome(self, clock: &SharedClock) -> JobOutcome {
        tracing::info!(error = &self as &dyn std::error::Error, "attempt failed");
        let soon = clock.now() + TimeDelta::seconds(1);
        match self {
            Self::Outcome(outcome) => *outcome,
            Self::Panicked(message) => JobOutcome::Failed(panicked(&message)),
            Self::LeaseLost => JobOutcome::Snoozed {
                at: soon,
                error: error("lease_lost", "The worker lost the lease of this job."),
            },
            Self::CursorConflict => JobOutcome::Snoozed {
                at: soon,
                error: error(
                    "cursor_conflict",
                    "Another run advanced a cursor, or the account changed. The run starts again.",
                ),
            },
            Self::Db(error) | Self::Credential(CredentialError::Db(error)) => {
                database_outcome(&error, soon)
            }
            Self::Provider(error) | Self::Credential(CredentialError::Provider(error)) => {
                provider_outcome(&error)
            }
            Self::Credential(CredentialError::Busy) => JobOutcome::Snoozed {
                at: soon,
                error: error("token_busy", "Another process refreshes the token."),
            },
            Self::Credential(CredentialError::RefreshResponseLost(_)) => JobOutcome::Dead(error(
                "rotation_lost",
                "The response to a token refresh was lost. Connect the account again.",
            )),
            Self::Credential(CredentialError::NotFound) => JobOutcome::Dead(error(
                "no_credential",
                "The connection has no stored tokens. Connect the account again.",
            )),
            Self::Credential(CredentialError::Decrypt(_)) => JobOutcome::Dead(error(
                "credential_sealed",
                "A stored token cannot be decrypted. Check POBLYSH_CRYPTO_PREVIOUS_KEYS.",
            )),
        }
    }
}

pub(crate) fn error(code: &str, message: &str) -> JobError {
    JobError::new(code, message)
}

/// The outcome of a job whose payload another release wrote and this one cannot decode.
///
/// It is requeued, because a worker of that release may claim it.
pub(crate) fn unreadable() -> JobOutcome {
    JobOutcome::Interrupted(error(
        "unreadable_job",
        "This release cannot decode the job; a worker of the release that wrote it can.",
    ))
}

pub(crate) fn panicked(message: &str) -> JobError {
    error("panicked", &format!("The job panicked: {message}"))
}

fn database_outcome(cause: &DbError, soon: chrono::DateTime<chrono::Utc>) -> JobOutcome {
    if cause.is_outage() {
        let error = error("database_unavailable", "Postgres is unavailable.");
        return JobOutcome::Snoozed { at: soon, error };
    }
    if cause.is_timeout() {
        return JobOutcome::Interrupted(error(
            "statement_timeout",
            "A statement timed out. The log has the cause.",
        ));
    }
    if cause.is_conflict() {
        return JobOutcome::Interrupted(error(
            "conflict",
            "A statement conflicted with another transaction. The log has the cause.",
        ));
    }
    JobOutcome::Failed(error(
        "database",
        "A statement failed. The log has the cause.",
    ))
}

fn provider_outcome(cause: &ConnectorError) -> JobOutcome {
    let code = cause.code();
    match cause {
        ConnectorError::RateLimited { retry_at, .. } => JobOutcome::Snoozed {
            at: *retry_at,
            error: error(
                code,
                "The provider's rate limit is reached. The job continues when calls are allowed.",
            ),
        },
        ConnectorError::GrantRevoked(_) => JobOutcome::Dead(error(
            code,
            "The provider revoked the grant. Connect the account again.",
        )),
        ConnectorError::GrantSuspended(_) => JobOutcome::Dead(error(
            code,
            "The provider suspended the grant. The service checks it again from time to time.",
        )),
        ConnectorError::Unauthorized(_) => JobOutcome::Failed(error(
            code,
            "The provider rejected a token that it has just issued. The job is retried.",
        )),
        ConnectorError::Denied { stream, .. } => {
            let message = match stream {
                Some(key) => format!("The provider denied permission to read {key}."),
                None => "The provider denied permission for the call.".to_owned(),
            };
            JobOutcome::Dead(error(code, &message))
        }
        ConnectorError::Permanent(_) => JobOutcome::Dead(error(
            code,
            "The provider's response is invalid. The log has the cause.",
        )),
        ConnectorError::CursorExpired(_) | ConnectorError::Transient(_) => {
            JobOutcome::Failed(error(code, "The provider failed temporarily."))
        }
    }
}

/// Runs a part of a job and turns a panic into a failure.
pub(crate) async fn catch_panic<T>(
    kind: JobKind,
    work: impl Future<Output = Result<T, JobFailure>>,
) -> Result<T, JobFailure> {
    AssertUnwindSafe(work)
        .catch_unwind()
        .await
        .unwrap_or_else(|panic| Err(JobFailure::Panicked(count_panic(kind, &*panic))))
}

/// Counts a caught panic and returns its message.
pub(crate) fn count_panic(kind: JobKind, panic: &(dyn Any + Send)) -> String {
    counter!(names::JOB_PANICS_TOTAL, "kind" => kind.as_str()).increment(1);
    panic_message(panic)
}
