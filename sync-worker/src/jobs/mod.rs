//! The jobs: one module per kind, one function per job, which returns an outcome.

mod apply_retention;
mod confirm_grant;
mod fan_out_delivery;
pub(crate) mod process_deliveries;
mod reconcile_subscriptions;
mod redeliver_webhooks;
mod refresh_token;
mod rematch_deliveries;
mod resolve_directory;
mod sync_connection;

use std::sync::Arc;

use shared::connectors::{Connector, ConnectorError};
use shared::db::DbError;
use shared::db::connections::{self, Connection};
use shared::model::{ConnectionId, JobKind, JobPayload};
use shared::queue::{ClaimedJob, JobOutcome};
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::failure::{JobFailure, catch_panic, error, unreadable};

/// Runs one background job.
pub(crate) async fn run(
    context: &Context,
    job: &ClaimedJob,
    draining: &CancellationToken,
) -> JobOutcome {
    let work = Box::pin(dispatch(context, job, draining));
    match catch_panic(job.payload.kind(), work).await {
        Ok(()) => JobOutcome::Succeeded,
        Err(failure) => {
            record_panic(context, job, &failure).await;
            failure.outcome(&context.clock)
        }
    }
}

/// Records a panic of a sync run on its connection. Other kinds have no record of problems.
async fn record_panic(context: &Context, job: &ClaimedJob, failure: &JobFailure) {
    let is_sync = job.payload.kind() == JobKind::SyncConnection;
    if !is_sync || !matches!(failure, JobFailure::Panicked(_)) {
        return;
    }
    if let Err(error) = sync_connection::record_panic(context, job).await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "failed to record a panic on its connection"
        );
    }
}

async fn dispatch(
    context: &Context,
    job: &ClaimedJob,
    draining: &CancellationToken,
) -> Result<(), JobFailure> {
    match &job.payload {
        JobPayload::SyncConnection {
            mode,
            upper_bound,
            requested_only,
        } => {
            let request = sync_connection::Request {
                mode: *mode,
                upper_bound: *upper_bound,
                requested_only: *requested_only,
            };
            sync_connection::run(context, job, request, draining).await
        }
        JobPayload::RematchDeliveries { account_id } => {
            rematch_deliveries::run(context, job, account_id).await
        }
        JobPayload::ResolveDirectory { keys, deliveries } => {
            resolve_directory::run(context, job, keys, deliveries).await
        }
        JobPayload::FanOutDelivery { delivery } => {
            fan_out_delivery::run(context, job, *delivery).await
        }
        JobPayload::ConfirmGrant => confirm_grant::run(context, job).await,
        JobPayload::ReconcileSubscriptions => reconcile_subscriptions::run(context, job).await,
        JobPayload::RefreshToken => refresh_token::run(context, job).await,
        JobPayload::RedeliverWebhooks => redeliver_webhooks::run(context, job).await,
        JobPayload::ApplyRetention => apply_retention::run(context, job).await,
        JobPayload::Unreadable { .. } => Err(JobFailure::Outcome(unreadable())),
        JobPayload::ProcessDeliveries { .. } => Err(JobFailure::Outcome(JobOutcome::Dead(error(
            "wrong_work_class",
            "Jobs of this kind run in batches and not one by one.",
        )))),
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
