//! One file per kind of job. A job is one function that returns an outcome.

mod adopt_deliveries;
mod apply_retention;
mod fan_out_delivery;
mod look_up;
mod maintain_subscriptions;
pub(crate) mod process_deliveries;
mod refresh_token;
mod sweep_deliveries;
mod sync_connection;

use std::sync::Arc;

use chrono::TimeDelta;
use shared::connectors::{Connector, ConnectorError};
use shared::credentials::CredentialError;
use shared::db::DbError;
use shared::queue::{ClaimedJob, JobError, JobOutcome, JobPayload};
use tokio_util::sync::CancellationToken;

use crate::context::Context;

/// Runs one job of the second lane.
pub(crate) async fn run(
    context: &Context,
    job: &ClaimedJob,
    draining: &CancellationToken,
) -> JobOutcome {
    let result = match &job.payload {
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
        JobPayload::MaintainSubscriptions => maintain_subscriptions::run(context, job).await,
        JobPayload::RefreshToken => refresh_token::run(context, job).await,
        JobPayload::SweepDeliveries => sweep_deliveries::run(context, job).await,
        JobPayload::ApplyRetention => apply_retention::run(context).await,
        JobPayload::ProcessDeliveries { .. } => Err(JobFailure::Outcome(JobOutcome::Dead(error(
            "wrong_lane",
            "Deliveries are processed in batches, not one by one.",
        )))),
    };
    match result {
        Ok(()) => JobOutcome::Succeeded,
        Err(failure) => failure.outcome(context),
    }
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
}

impl JobFailure {
    /// Logs the cause, with its sources, and says what becomes of the job.
    pub(crate) fn outcome(self, context: &Context) -> JobOutcome {
        tracing::info!(error = &self as &dyn std::error::Error, "a try failed");
        let soon = context.clock.now() + TimeDelta::seconds(1);
        match self {
            Self::Outcome(outcome) => outcome,
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

fn of_database(cause: &DbError, soon: chrono::DateTime<chrono::Utc>) -> JobOutcome {
    if cause.is_unavailable() {
        let error = error("database_unavailable", "Postgres did not answer.");
        return JobOutcome::Postponed { at: soon, error };
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
        ConnectorError::Unauthorized(_) => JobOutcome::Dead(error(
            code,
            "The provider no longer accepts the grant; the connection must be connected again.",
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
