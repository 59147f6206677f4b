//! Syncs a connection: reads the list of its streams, then each stream page by page.
//!
//! A page's Signals and its cursor commit together, under the job's lease and only if the cursor's
//! version is unchanged since the page was read. The upper bound of a run is the time at which it
//! began; each stream records whether it has been read to that bound. A run works in time slices.
//! The next slice resumes with the least recently read streams, as does a run after a rate limit,
//! a failure, or the death of its worker.
//!
//! A run of requested streams reads only those that deliveries asked for, without the list of
//! streams and without the reconciliation pass. A longer run of the same connection pauses between
//! its slices for it.
//!
//! After every stream is read, the run continues with the reconciliation pass until the next poll
//! is due; the next run resumes the pass.

mod fetch;
mod page_end;
mod pages;
mod probe;
mod reconciliation;
mod resync;
mod run;
mod slice;
mod slice_end;
mod stream_queue;
mod streams;
mod unreadable;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use chrono::{DateTime, SubsecRound, Utc};
use shared::connectors::Directory;
use shared::db::connections::{self, Connection, ConnectionStatus};
use shared::db::{DbError, cursors, directory, push_ways};
use shared::model::{ConnectionId, ExternalAccount, JobError, PushWays, SyncConnection, SyncMode};
use shared::queue::{ClaimedJob, JobOutcome};

use self::run::Run;
use self::slice_end::{count_stalled, end_requested_slice, end_slice, record_failure};
use super::{Attempt, Job, connection_of, connector_of};
use crate::context::Context;
use crate::failure::{JobFailure, error};
use crate::job_transaction::begin;
use crate::provider_session::ProviderSession;

impl Job for SyncConnection {
    async fn run(&self, attempt: Attempt<'_>) -> Result<(), JobFailure> {
        let Attempt {
            context,
            job,
            draining,
        } = attempt;
        let Self {
            mode,
            upper_bound,
            requested_only,
        } = *self;
        let Some(id) = job.connection_id else {
            return Ok(());
        };
        let connector = match connector_of(context, job) {
            Ok(connector) => connector,
            Err(failure) => {
                let problem = error(
                    "provider_not_configured",
                    "The settings of the provider's app are missing.",
                );
                record_run_problem(context, job, id, &problem).await?;
                return Err(failure);
            }
        };
        let Some((connection, account)) = load_readable(context, job, id).await? else {
            return Err(JobOutcome::Cancelled.into());
        };
        if requested_only && connection.status != ConnectionStatus::Active {
            return Err(JobOutcome::Cancelled.into());
        }
        let is_backfill =
            !requested_only && (mode == SyncMode::Full || connection.backfilled_at.is_none());
        let was_read = upper_bound.is_some() && connection.last_sync_at >= upper_bound;
        let upper_bound = match upper_bound {
            Some(stored) => stored,
            None => start_run(context, job, id, self).await?,
        };
        let run = Run {
            context,
            job,
            session: ProviderSession {
                context,
                scope: job.scope(),
                connector: &connector,
                connection: id,
                account,
            },
            is_backfill,
            requested_only,
            granted_scopes: connection.scopes,
            was_read,
            has_partial_list: AtomicBool::new(false),
            webhooks_since: connection.backfilled_at,
            push_ways: load_push_ways(context, job, id).await?,
            directory: Arc::new(load_directory(context, job, id).await?),
            upper_bound,
            backfill_from: upper_bound - context.config.backfill,
            started: Instant::now(),
            draining,
        };
        let probed = match connection.status {
            ConnectionStatus::Active => None,
            _ => Some(run.probe().await?),
        };
        match run.read_slice(probed).await {
            Ok(report) if requested_only => end_requested_slice(&run, report).await,
            Ok(report) => end_slice(&run, report).await,
            Err(failure) => {
                record_failure(&run, &failure).await?;
                Err(failure)
            }
        }
    }

    /// Records on the connection that a run panicked, because the run itself could not.
    async fn record_panic(
        &self,
        Attempt { context, job, .. }: Attempt<'_>,
    ) -> Result<(), JobFailure> {
        let Some(connection) = job.connection_id else {
            return Ok(());
        };
        let provider = connector_of(context, job)?.descriptor().slug;
        count_stalled(connection, provider, "panicked");
        let problem = error(
            "panicked",
            "The last sync failed with an internal error. The job has the details.",
        );
        record_run_problem(context, job, connection, &problem).await
    }
}

/// Records on the connection why a run could not.
async fn record_run_problem(
    context: &Context,
    job: &ClaimedJob,
    connection: ConnectionId,
    problem: &JobError,
) -> Result<(), JobFailure> {
    let scope = &job.scope();
    let mut tx = begin(context, job).await?;
    connections::record_missed(&mut tx, scope, connection).await?;
    connections::record_problem(&mut tx, scope, connection, problem, None).await?;
    tx.commit().await.map_err(DbError::from)?;
    Ok(())
}

/// Loads the connection if it may be read: it is active, or its grant may work again.
///
/// A paused or disconnected connection cancels the job; a resume enqueues another one.
async fn load_readable(
    context: &Context,
    job: &ClaimedJob,
    id: ConnectionId,
) -> Result<Option<(Connection, ExternalAccount)>, JobFailure> {
    let Some(connection) = connection_of(context, job, id).await? else {
        return Ok(None);
    };
    let Some(account) = connection.account.clone() else {
        return Ok(None);
    };
    match connection.status {
        ConnectionStatus::Active | ConnectionStatus::Suspended | ConnectionStatus::NeedsReauth => {
            Ok(Some((connection, account)))
        }
        ConnectionStatus::Pending | ConnectionStatus::Paused | ConnectionStatus::Disconnected => {
            Ok(None)
        }
    }
}

/// Loads the connection's directory of names.
async fn load_directory(
    context: &Context,
    job: &ClaimedJob,
    id: ConnectionId,
) -> Result<Directory, JobFailure> {
    let mut tx = context.db.begin(&job.scope()).await?;
    let known = directory::load_all(&mut tx, &job.scope(), id).await?;
    tx.commit().await.map_err(DbError::from)?;
    Ok(Directory::of(known))
}

async fn load_push_ways(
    context: &Context,
    job: &ClaimedJob,
    id: ConnectionId,
) -> Result<PushWays, JobFailure> {
    let mut tx = context.db.begin(&job.scope()).await?;
    let ways = push_ways::get(&mut tx, &job.scope(), id).await?;
    tx.commit().await.map_err(DbError::from)?;
    Ok(ways)
}

/// Stores the run's upper bound in its first attempt.
///
/// A full run resets the cursors in the same transaction, so that later attempts keep them.
async fn start_run(
    context: &Context,
    job: &ClaimedJob,
    id: ConnectionId,
    arguments: &SyncConnection,
) -> Result<DateTime<Utc>, JobFailure> {
    // Microseconds, as Postgres stores them, so that the stored value is equal.
    let upper_bound = context.clock.now().trunc_subsecs(6);
    let scope = &job.scope();
    let mut tx = context.db.begin(scope).await?;
    let payload = SyncConnection {
        upper_bound: Some(upper_bound),
        ..arguments.clone()
    };
    if !context
        .queue
        .set_payload(&mut tx, job, &payload.into())
        .await?
    {
        return Err(JobFailure::LeaseLost);
    }
    connections::record_backfill_start(&mut tx, scope, id, upper_bound).await?;
    if arguments.mode == SyncMode::Full {
        let backfill_from = upper_bound - context.config.backfill;
        cursors::restart_all(&mut tx, scope, id, backfill_from).await?;
    }
    tx.commit().await.map_err(DbError::from)?;
    Ok(upper_bound)
}
