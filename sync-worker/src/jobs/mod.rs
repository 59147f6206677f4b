//! One file per kind of job. A job is one function that returns an outcome.

mod adopt_deliveries;
mod apply_retention;
mod confirm_grant;
mod fan_out_delivery;
mod look_up;
mod maintain_subscriptions;
pub(crate) mod process_deliveries;
mod refresh_token;
mod sweep_deliveries;
mod sync_connection;

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use chrono::TimeDelta;
use futures::FutureExt;
use metrics::counter;
use shared::connectors::{Connector, ConnectorError};
use shared::credentials::CredentialError;
use shared::db::connections::{self, Connection};
use shared::db::{DbError, Tx};
use shared::ids::ConnectionId;
use shared::queue::{self, ClaimedJob, JobError, JobKind, JobOutcome, JobPayload};
use shared::telemetry::{names, panic_message};
use tokio_util::sync::CancellationToken;

use crate::context::Context;

/// Runs one job of the second lane.
pub(crate) async fn run(
    context: &Context,
    job: &ClaimedJob,
    draining: &CancellationToken,
) -> JobOutcome {
    let work = Box::pin(dispatch(context, job, draining));
    match catch_panic(job.payload.kind(), work).await {
        Ok(()) => JobOutcome::Succeeded,
        Err(failure) => {
            note_panic(context, job, &failure).await;
            failure.outcome(context)
        }
    }
}

/// Notes a panic of a sync on its connection; other jobs have nothing to note it on.
async fn note_panic(context: &Context, job: &ClaimedJob, failure: &JobFailure) {
    let is_sync = job.payload.kind() == JobKind::SyncConnection;
    if !is_sync || !matches!(failure, JobFailure::Panicked(_)) {
        return;
    }
    if let Err(error) = sync_connection::note_panic(context, job).await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "failed to note a panic on its connection"
        );
    }
}

async fn dispatch(
    context: &Context,
    job: &ClaimedJob,
    draining: &CancellationToken,
) -> Result<(), JobFailure> {
    match &job.payload {
        JobPayload::SyncConnection { mode, until } => {
            sync_connection::run(context, job, *mode, *until, draining).await
        }
        JobPayload::AdoptDeliveries { account_id } => {
            adopt_deliveries::run(context, job, account_id).await
        }
        JobPayload::LookUp { keys, deliveries } => {
            look_up::run(context, job, keys, deliveries).await
        }
        JobPayload::FanOutDelivery { delivery } => {
            fan_out_delivery::run(context, job, *delivery).await
        }
        JobPayload::ConfirmGrant => confirm_grant::run(context, job).await,
        JobPayload::MaintainSubscriptions => maintain_subscriptions::run(context, job).await,
        JobPayload::RefreshToken => refresh_token::run(context, job).await,
        JobPayload::SweepDeliveries => sweep_deliveries::run(context, job).await,
        JobPayload::ApplyRetention => apply_retention::run(context, job).await,
        JobPayload::Unreadable { .. } => Err(JobFailure::Outcome(unreadable())),
        JobPayload::ProcessDeliveries { .. } => Err(JobFailure::Outcome(JobOutcome::Dead(error(
            "wrong_lane",
            "Deliveries are processed in batches, not one by one.",
        )))),
    }
}

/// Runs a part of a job; a panic in it becomes the job's failure.
async fn catch_panic<T>(
    kind: JobKind,
    work: impl Future<Output = Result<T, JobFailure>>,
) -> Result<T, JobFailure> {
    AssertUnwindSafe(work)
        .catch_unwind()
        .await
        .unwrap_or_else(|panic| Err(JobFailure::Panicked(count_panic(kind, &*panic))))
}

/// Counts a caught panic and answers its message.
pub(crate) fn count_panic(kind: JobKind, panic: &(dyn Any + Send)) -> String {
    counter!(names::JOB_PANICS_TOTAL, "kind" => kind.as_str()).increment(1);
    panic_message(panic)
}

/// A transaction under the job's lease: nothing that it writes is written for another's job.
pub(crate) async fn begin(context: &Context, job: &ClaimedJob) -> Result<Tx, JobFailure> {
    let mut tx = context.db.begin(&job.scope()).await?;
    hold(&mut tx, job).await?;
    Ok(tx)
}

/// Puts a transaction under the job's lease.
async fn hold(tx: &mut Tx, job: &ClaimedJob) -> Result<(), JobFailure> {
    if queue::hold(tx, job).await? {
        Ok(())
    } else {
        Err(JobFailure::Overtaken)
    }
}

/// A connection of the job's tenant, as it is now.
async fn connection_of(
    context: &Context,
    job: &ClaimedJob,
    id: ConnectionId,
) -> Result<Option<Connection>, JobFailure> {
    let mut tx = context.db.begin(&job.scope()).await?;
    let connection = connections::get(&mut tx, &job.scope(), id).await?;
    tx.commit().await.map_err(DbError::from)?;
    Ok(connection)
}

/// The connector of a job's provider.
fn connector_of(context: &Context, job: &ClaimedJob) -> Result<Arc<dyn Connector>, JobFailure> {
    let found = context.registry.get(&job.provider);
    Ok(found.map_err(|error| ConnectorError::Permanent(Box::new(error)))?)
}

/// How a job can end other than well.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JobFailure {
    /// Postgres did not answer.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The provider did not.
    #[error(transparent)]
    Provider(#[from] ConnectorError),
    /// There is no token.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// Another run of the same streams got there first, or the lease passed on.
    #[error("another run has moved the cursor")]
    Overtaken,
    /// The connection is not one that can be read.
    #[error("the connection cannot be read")]
    Outcome(JobOutcome),
    /// Code of ours panicked.
    #[error("job panicked: {0}")]
    Panicked(String),
}

impl JobFailure {
    /// Logs the cause, with its sources, and says what becomes of the job.
    pub(crate) fn outcome(self, context: &Context) -> JobOutcome {
        tracing::info!(error = &self as &dyn std::error::Error, "a try failed");
        let soon = context.clock.now() + TimeDelta::seconds(1);
        match self {
            Self::Outcome(outcome) => outcome,
            Self::Panicked(message) => JobOutcome::Failed(panicked(&message)),
            Self::Overtaken => JobOutcome::Postponed {
                at: soon,
                error: error(
                    "overtaken",
                    "Another run reads the same streams; this one waits.",
                ),
            },
            Self::Db(error) | Self::Credential(CredentialError::Db(error)) => {
                of_database(&error, soon)
            }
            Self::Provider(error) | Self::Credential(CredentialError::Provider(error)) => {
                of_provider(&error)
            }
            Self::Credential(CredentialError::Busy) => JobOutcome::Postponed {
                at: soon,
                error: error("token_busy", "Another process is renewing the token."),
            },
            Self::Credential(CredentialError::RotationLost(_)) => JobOutcome::Dead(error(
                "rotation_lost",
                "A renewed token was lost on its way here, and the old one is refused; the connection must be connected again.",
            )),
            Self::Credential(CredentialError::Erased) => JobOutcome::Dead(error(
                "no_credential",
                "The connection's tokens were erased; it must be connected again.",
            )),
            Self::Credential(CredentialError::Sealed(_)) => JobOutcome::Dead(error(
                "credential_sealed",
                "A stored token does not open. Is a previous key missing from POBLYSH_CRYPTO_PREVIOUS_KEYS?",
            )),
        }
    }
}

pub(crate) fn error(code: &str, message: &str) -> JobError {
    JobError {
        code: code.to_owned(),
        message: message.to_owned(),
    }
}

/// The outcome of a job that another release has written: a worker of that release may claim it
/// meanwhile.
fn unreadable() -> JobOutcome {
    JobOutcome::Interrupted(error(
        "unreadable_job",
        "Another release has written this job, and this one cannot read it.",
    ))
}

fn panicked(message: &str) -> JobError {
    error("panicked", &format!("The job panicked: {message}"))
}

fn of_database(cause: &DbError, soon: chrono::DateTime<chrono::Utc>) -> JobOutcome {
    if cause.is_outage() {
        let error = error("database_unavailable", "Postgres did not answer.");
        return JobOutcome::Postponed { at: soon, error };
    }
    if cause.is_timeout() {
        return JobOutcome::Interrupted(error(
            "statement_timeout",
            "A statement took longer than it may; the log has the cause.",
        ));
    }
    if cause.is_conflict() {
        return JobOutcome::Interrupted(error(
            "conflict",
            "Another transaction was in the way; the log has the cause.",
        ));
    }
    JobOutcome::Failed(error(
        "database",
        "A statement failed; the log has the cause.",
    ))
}

fn of_provider(cause: &ConnectorError) -> JobOutcome {
    let code = cause.code();
    match cause {
        ConnectorError::RateLimited { retry_at, .. } => JobOutcome::Postponed {
            at: *retry_at,
            error: error(
                code,
                "The provider limits the rate; the job goes on when it may.",
            ),
        },
        ConnectorError::GrantRevoked(_) => JobOutcome::Dead(error(
            code,
            "The provider says that the grant is gone; the connection must be connected again.",
        )),
        ConnectorError::GrantSuspended(_) => JobOutcome::Dead(error(
            code,
            "The provider has suspended the grant; it is asked again from time to time.",
        )),
        ConnectorError::Unauthorized(_) => JobOutcome::Failed(error(
            code,
            "The provider refuses a token that it has just renewed; it is tried again.",
        )),
        ConnectorError::Permission(_) => {
            JobOutcome::Dead(error(code, "The provider denies permission for this."))
        }
        ConnectorError::Permanent(_) => JobOutcome::Dead(error(
            code,
            "The provider's answer cannot be used; the log has the cause.",
        )),
        ConnectorError::CursorExpired(_) | ConnectorError::Transient(_) => {
            JobOutcome::Failed(error(code, "The provider failed for the moment."))
        }
    }
}
