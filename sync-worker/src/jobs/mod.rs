//! The jobs: one file per kind.
//!
//! A kind is a [`Job`]: a type of arguments, which has its row in the table of `shared::model`, and
//! the code that runs it. `dispatch!` lists the kinds; one without a line does not compile.

mod apply_retention;
mod confirm_grant;
mod fan_out_delivery;
pub(crate) mod process_deliveries;
mod reconcile_subscriptions;
mod redeliver_webhooks;
mod refresh_token;
mod rematch_deliveries;
mod resolve_directory;
mod run_bulk_action;
mod sync_connection;

use std::sync::Arc;

use shared::connectors::{Connector, ConnectorError};
use shared::db::DbError;
use shared::db::connections::{self, Connection};
use shared::model::{ConnectionId, JobPayload};
use shared::queue::{ClaimedJob, JobOutcome};
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::failure::{JobFailure, catch_panic, unreadable};

/// A job kind, implemented by the type of its arguments.
pub(crate) trait Job {
    /// Runs one attempt.
    async fn run(&self, attempt: Attempt<'_>) -> Result<(), JobFailure>;

    /// Records the panic of an attempt where people see it, if not only on the job.
    async fn record_panic(&self, _attempt: Attempt<'_>) -> Result<(), JobFailure> {
        Ok(())
    }
}

/// An attempt to run a job.
#[derive(Clone, Copy)]
pub(crate) struct Attempt<'a> {
    pub(crate) context: &'a Context,
    pub(crate) job: &'a ClaimedJob,
    /// Cancelled once the process drains: a long job stops at its next step.
    pub(crate) draining: &'a CancellationToken,
}

/// Calls a method of the job of an attempt, by the kind of its payload.
macro_rules! dispatch {
    ($attempt:ident, $method:ident, unreadable: $unreadable:expr) => {
        dispatch!(
            $attempt,
            $method,
            $unreadable,
            [
                ApplyRetention,
                ConfirmGrant,
                FanOutDelivery,
                ProcessDeliveries,
                ReconcileSubscriptions,
                RedeliverWebhooks,
                RefreshToken,
                RematchDeliveries,
                ResolveDirectory,
                RunBulkAction,
                SyncConnection,
            ]
        )
    };
    ($attempt:ident, $method:ident, $unreadable:expr, [$($kind:ident,)+]) => {
        match &$attempt.job.payload {
            $(JobPayload::$kind(arguments) => Job::$method(arguments, $attempt).await,)+
            JobPayload::Unreadable { .. } => $unreadable,
        }
    };
}

/// Runs one background job.
pub(crate) async fn run(
    context: &Context,
    job: &ClaimedJob,
    draining: &CancellationToken,
) -> JobOutcome {
    let attempt = Attempt {
        context,
        job,
        draining,
    };
    let work =
        Box::pin(async move { dispatch!(attempt, run, unreadable: Err(unreadable().into())) });
    match catch_panic(job.payload.kind(), work).await {
        Ok(()) => JobOutcome::Succeeded,
        Err(failure) => {
            if let JobFailure::Panicked(_) = failure {
                record_panic(attempt).await;
            }
            failure.outcome(&context.clock)
        }
    }
}

async fn record_panic(attempt: Attempt<'_>) {
    let recorded: Result<(), JobFailure> = dispatch!(attempt, record_panic, unreadable: Ok(()));
    if let Err(error) = recorded {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "failed to record the panic of a job"
        );
    }
}

/// The current state of a connection of the job's tenant.
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
