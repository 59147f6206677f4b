//! Syncs a connection: reads the list of its streams, then each stream page by page.
//!
//! A page's Signals and its cursor commit together, under the job's lease and only if the cursor's
//! version is unchanged since the page was read. The upper bound of a run is the time at which it
//! began; each stream records whether it has been read to that bound. A run works in time slices.
//! The next slice resumes with the least recently read streams, as does a run after a rate limit,
//! a failure, or the death of its worker.
//!
//! A run of requested streams reads only those that deliveries asked for, without the list of
//! streams and without the reconciliation pass.
//!
//! After every stream is read, the run continues with the reconciliation pass until the next poll
//! is due; the next run resumes the pass.

mod page_end;
mod pages;
mod probe;
mod reconciliation;
mod run;
mod stream_queue;
mod streams;
mod unreadable;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use metrics::counter;
use shared::connectors::{ConnectorError, Directory};
use shared::credentials::CredentialError;
use shared::db::connections::{self, Connection, ConnectionStatus, Progress};
use shared::db::cursors::StreamProgress;
use shared::db::{DbError, cursors, directory};
use shared::model::{ConnectionId, ExternalAccount, JobError, SyncConnection, SyncMode};
use shared::queue::{ClaimedJob, JobOutcome};
use shared::telemetry::names;

use self::run::{Run, SliceEnd, SliceReport};
use super::{Attempt, Job, connection_of, connector_of};
use crate::account_events;
use crate::context::Context;
use crate::failure::{JobFailure, error};
use crate::job_transaction::begin;
use crate::provider_session::ProviderSession;

/// The maximum time that a due poll waits for the reconciliation pass to read a page.
const MAX_POLL_DELAY: TimeDelta = TimeDelta::minutes(2);

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
        let connector = connector_of(context, job)?;
        let Some((connection, account)) = load_readable(context, job, id).await? else {
            return Err(JobFailure::Outcome(JobOutcome::Cancelled));
        };
        if requested_only && connection.status != ConnectionStatus::Active {
            return Err(JobFailure::Outcome(JobOutcome::Cancelled));
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
            Ok(report) if requested_only => outcome_of(&run, report.end, report.failure),
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
        let scope = &job.scope();
        let mut tx = begin(context, job).await?;
        connections::record_missed(&mut tx, scope, connection).await?;
        connections::record_problem(&mut tx, scope, connection, &problem, None).await?;
        tx.commit().await.map_err(DbError::from)?;
        Ok(())
    }
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
        cursors::restart(&mut tx, scope, id, None, backfill_from).await?;
    }
    tx.commit().await.map_err(DbError::from)?;
    Ok(upper_bound)
}

/// Records the progress of a slice and decides the outcome of the attempt.
async fn end_slice(run: &Run<'_>, report: SliceReport) -> Result<(), JobFailure> {
    let SliceReport {
        mut end,
        progress,
        failure,
        reconciled,
    } = report;
    let (scope, connection) = (&run.session.scope, run.session.connection);
    let descriptor = run.session.connector.descriptor();
    let mut tx = run.begin().await?;
    connections::record_missed(&mut tx, scope, connection).await?;
    if let SliceEnd::Reconciling(at) = end {
        let current = connections::get(&mut tx, scope, connection).await?;
        let next_poll = current.and_then(|current| current.next_sync_at);
        if !pass_continues(at, next_poll, reconciled > 0) {
            end = SliceEnd::Complete;
        }
    }
    let waiting = match end {
        SliceEnd::Limited(_) => Some(error("rate_limited", LIMITED)),
        _ => None,
    };
    let stream_progress = run.measure_progress(&mut tx, waiting.as_ref()).await?;
    let is_denied =
        stream_progress.streams > 0 && stream_progress.failing == stream_progress.streams;
    let is_read = matches!(end, SliceEnd::Complete | SliceEnd::Reconciling(_))
        && failure.is_none()
        && !is_denied;
    let problem = match problem_of(&end, progress, failure.as_ref(), &stream_progress) {
        Some(problem) => Some(run.name_denied(&mut tx, problem).await?),
        None => None,
    };
    if let Some(problem) = problem.as_ref().filter(|_| progress == 0) {
        report_stalled(run, &problem.code);
    }
    let read_through = match stream_progress.read_through {
        // The list of streams is complete and empty.
        None if stream_progress.streams == 0
            && is_read
            && !run.has_partial_list.load(Ordering::Relaxed) =>
        {
            Some(run.upper_bound)
        }
        other => other,
    };
    let of_slice = Progress {
        complete_through: read_through.map(|at| at.min(run.upper_bound) - descriptor.read_lag),
        reconciled_through: stream_progress.reconciled_through,
        held_back_by: stream_progress.held_back_by,
        ended: (is_read && !run.was_read).then_some(run.is_backfill),
        problem,
    };
    connections::record_progress(&mut tx, scope, connection, &of_slice).await?;
    // The run time excludes the reconciliation pass.
    if is_read && !run.was_read && !run.is_backfill && progress > reconciled {
        let took = run.context.clock.now() - run.upper_bound;
        let seconds = i32::try_from(took.num_seconds()).unwrap_or(i32::MAX);
        connections::record_run_time(&mut tx, scope, connection, seconds).await?;
    }
    let is_retried = failure.as_ref().is_some_and(run::is_temporary) && !run.job.is_last_attempt();
    if end == SliceEnd::Complete && !is_retried {
        connections::adapt_poll_interval(&mut tx, scope, connection).await?;
    }
    tx.commit().await.map_err(DbError::from)?;
    if end == SliceEnd::Complete && failure.is_none() && is_denied {
        return Err(JobFailure::Outcome(JobOutcome::Dead(error(
            "permission",
            "The provider denies permission to read all streams.",
        ))));
    }
    outcome_of(run, end, failure)
}

/// The outcome of the attempt after a slice.
fn outcome_of(
    run: &Run<'_>,
    end: SliceEnd,
    failure: Option<ConnectorError>,
) -> Result<(), JobFailure> {
    let snooze = |at, code: &str, message: &str| {
        Err(JobFailure::Outcome(JobOutcome::Snoozed {
            at,
            error: error(code, message),
        }))
    };
    match (end, failure) {
        (SliceEnd::Complete, None) => Ok(()),
        (SliceEnd::Complete, Some(failure)) => Err(JobFailure::Provider(failure)),
        (SliceEnd::TimeIsUp, _) => snooze(
            run.context.clock.now(),
            "time_slice",
            "The time slice is over. The run resumes in the next one.",
        ),
        (SliceEnd::Limited(at), _) => snooze(at, "rate_limited", LIMITED),
        (SliceEnd::Reconciling(at), _) => snooze(
            at,
            "reconciling",
            "Every stream is read. The reconciliation pass continues.",
        ),
    }
}

const LIMITED: &str =
    "The provider's rate limit is reached. The run resumes when calls are allowed.";

/// Whether a run continues its reconciliation pass at `at` instead of ending for the next poll.
///
/// A due poll waits, for a limited time, only while the pass has not yet read a page.
fn pass_continues(at: DateTime<Utc>, next_poll: Option<DateTime<Utc>>, has_progress: bool) -> bool {
    let delay = if has_progress {
        TimeDelta::zero()
    } else {
        MAX_POLL_DELAY
    };
    next_poll.is_none_or(|next_poll| at < next_poll + delay)
}

fn report_stalled(run: &Run<'_>, reason: &str) {
    let provider = run.session.connector.descriptor().slug;
    count_stalled(run.session.connection, provider, reason);
}

fn count_stalled(connection: ConnectionId, provider: &'static str, reason: &str) {
    tracing::warn!(
        connection.id = %connection,
        provider,
        error.code = reason,
        "sync made no progress"
    );
    let reason = reason.to_owned();
    counter!(names::SYNC_STALLED_TOTAL, "provider" => provider, "reason" => reason).increment(1);
}

/// The problem of a slice to show on the connection, if any.
fn problem_of(
    end: &SliceEnd,
    progress: usize,
    failure: Option<&ConnectorError>,
    stream_progress: &StreamProgress,
) -> Option<JobError> {
    if let Some(failure) = failure {
        return Some(error(
            failure.code(),
            "A part of the account could not be read. The job has the details.",
        ));
    }
    match end {
        SliceEnd::Limited(at) if progress == 0 => Some(JobError {
            code: "rate_limited".to_owned(),
            message: format!("The provider allows no call until {}.", at.format("%FT%TZ")),
        }),
        SliceEnd::TimeIsUp if progress == 0 => Some(error(
            "no_progress",
            "The provider did not respond to any call in time. The run is retried.",
        )),
        _ => {
            let held = stream_progress.held_back_by.as_ref();
            held.filter(|_| stream_progress.has_problem)
                .map(|held| JobError {
                    code: held.code.clone(),
                    message: format!(
                        "{} of {} streams cannot be {}; {}: {}",
                        held.streams,
                        stream_progress.streams,
                        if stream_progress.is_unreconciled {
                            "reconciled"
                        } else {
                            "read"
                        },
                        held.stream,
                        held.message
                    ),
                })
        }
    }
}

/// Records the failure of a whole run on the connection.
async fn record_failure(run: &Run<'_>, failure: &JobFailure) -> Result<(), JobFailure> {
    let (context, scope) = (run.context, &run.session.scope);
    let connection = run.session.connection;
    match failure {
        JobFailure::Provider(cause) | JobFailure::Credential(CredentialError::Provider(cause)) => {
            account_events::record_grant_error(context, run.job, connection, cause).await?;
        }
        JobFailure::Credential(CredentialError::RefreshResponseLost(cause)) => {
            account_events::record_lost_refresh(context, run.job, connection, cause).await?;
        }
        JobFailure::Outcome(_)
        | JobFailure::LeaseLost
        | JobFailure::CursorConflict
        | JobFailure::Db(_)
        | JobFailure::Panicked(_) => return Ok(()),
        JobFailure::Credential(_) => {}
    }
    let code = match failure {
        JobFailure::Provider(cause) | JobFailure::Credential(CredentialError::Provider(cause)) => {
            cause.code()
        }
        JobFailure::Credential(CredentialError::RefreshResponseLost(_)) => "rotation_lost",
        _ => "no_token",
    };
    report_stalled(run, code);
    // Only a run of all streams clears the connection's problem.
    if run.requested_only {
        return Ok(());
    }
    let problem = error(code, "The last sync failed. The job has the details.");
    let mut tx = run.begin().await?;
    connections::record_missed(&mut tx, scope, connection).await?;
    let held_back_by = run
        .measure_progress(&mut tx, Some(&problem))
        .await?
        .held_back_by;
    let held_back_by = held_back_by.as_ref();
    connections::record_problem(&mut tx, scope, connection, &problem, held_back_by).await?;
    tx.commit().await.map_err(DbError::from)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pass_yields_to_a_due_poll_after_progress() {
        let at =
            |seconds: i64| DateTime::from_timestamp(1_800_000_000 + seconds, 0).expect("a time");
        for (next_poll, has_progress, continues) in [
            (Some(at(61)), true, true),
            (Some(at(60)), true, false),
            (Some(at(60)), false, true),
            (Some(at(-59)), false, true),
            (Some(at(-60)), false, false),
            (None, true, true),
        ] {
            let result = pass_continues(at(60), next_poll, has_progress);
            assert_eq!(result, continues, "{next_poll:?} {has_progress}");
        }
    }
}
