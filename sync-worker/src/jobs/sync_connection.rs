//! Reads a connection: first which streams there are, then each stream page by page.
//!
//! A page's Signals and the cursor behind it commit together, under the job's lease and over the
//! version the page was read at. A run has an upper bound, which is frozen when it begins, and
//! remembers for each stream whether it has been read to that bound. It keeps its slot for a time
//! slice; the next slice resumes where this one ended, with the least recently read streams. So
//! does a run after a limit, after a failure, and after the death of its worker.
//!
//! Once every stream is read, the run continues with the reconciliation pass until the next poll is
//! due; the next run resumes the pass.

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
use shared::connectors::{ConnectorError, Directory, ExternalAccount};
use shared::credentials::CredentialError;
use shared::db::connections::{self, Connection, ConnectionStatus, Progress};
use shared::db::cursors::Reached;
use shared::db::{DbError, cursors, directory};
use shared::ids::ConnectionId;
use shared::queue::{self, ClaimedJob, JobError, JobOutcome, SyncMode};
use shared::telemetry::names;
use tokio_util::sync::CancellationToken;

use self::run::{Run, SliceEnd, SliceReport};
use super::{JobFailure, begin as begin_under_lease, connection_of, connector_of, error};
use crate::access::Caller;
use crate::changes;
use crate::context::Context;

/// How long a poll that is due waits for the reconciliation pass to read a page.
const MAX_POLL_DELAY: TimeDelta = TimeDelta::minutes(2);

pub(super) async fn run(
    context: &Context,
    job: &ClaimedJob,
    mode: SyncMode,
    upper_bound: Option<DateTime<Utc>>,
    draining: &CancellationToken,
) -> Result<(), JobFailure> {
    let Some(id) = job.connection_id else {
        return Ok(());
    };
    let connector = connector_of(context, job)?;
    let Some((connection, account)) = readable(context, job, id).await? else {
        return Err(JobFailure::Outcome(JobOutcome::Cancelled));
    };
    let is_backfill = mode == SyncMode::Full || connection.backfilled_at.is_none();
    let was_read = upper_bound.is_some() && connection.last_sync_at >= upper_bound;
    let upper_bound = match upper_bound {
        Some(frozen) => frozen,
        None => begin(context, job, id, mode).await?,
    };
    let run = Run {
        context,
        job,
        caller: Caller {
            context,
            scope: job.scope(),
            connector: &connector,
            connection: id,
            account,
        },
        is_backfill,
        was_read,
        has_partial_list: AtomicBool::new(false),
        webhooks_since: connection.backfilled_at,
        directory: Arc::new(known_names(context, job, id).await?),
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
        Ok(report) => end_slice(&run, report).await,
        Err(failure) => {
            note_failure(&run, &failure).await?;
            Err(failure)
        }
    }
}

/// The connection, if it can be read now, or may be again: its grant was suspended or refused. One
/// that is paused or gone ends the job quietly: resuming it enqueues another.
async fn readable(
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

/// What is known of the connection's people and places.
async fn known_names(
    context: &Context,
    job: &ClaimedJob,
    id: ConnectionId,
) -> Result<Directory, JobFailure> {
    let mut tx = context.db.begin(&job.scope()).await?;
    let known = directory::load_all(&mut tx, &job.scope(), id).await?;
    tx.commit().await.map_err(DbError::from)?;
    Ok(Directory::of(known))
}

/// Freezes the run's upper bound at its first try. A full run forgets the cursors in the same
/// transaction, so that a second try does not forget them again.
async fn begin(
    context: &Context,
    job: &ClaimedJob,
    id: ConnectionId,
    mode: SyncMode,
) -> Result<DateTime<Utc>, JobFailure> {
    // As precise as Postgres keeps it, so that it equals what is read back.
    let upper_bound = context.clock.now().trunc_subsecs(6);
    let scope = &job.scope();
    let mut tx = context.db.begin(scope).await?;
    if !queue::freeze_until(&mut tx, job, mode, upper_bound).await? {
        return Err(JobFailure::Overtaken);
    }
    connections::record_backfill_start(&mut tx, scope, id, upper_bound).await?;
    if mode == SyncMode::Full {
        let backfill_from = upper_bound - context.config.backfill;
        cursors::restart(&mut tx, scope, id, None, backfill_from).await?;
    }
    tx.commit().await.map_err(DbError::from)?;
    Ok(upper_bound)
}

/// Writes down how far the run is after a slice, and says what becomes of the job.
async fn end_slice(run: &Run<'_>, report: SliceReport) -> Result<(), JobFailure> {
    let SliceReport {
        mut end,
        progress,
        failure,
        reconciled,
    } = report;
    let (scope, connection) = (&run.caller.scope, run.caller.connection);
    let descriptor = run.caller.connector.descriptor();
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
    let reached = run.reached(&mut tx, waiting.as_ref()).await?;
    let is_denied = reached.streams > 0 && reached.failing == reached.streams;
    let is_read = matches!(end, SliceEnd::Complete | SliceEnd::Reconciling(_))
        && failure.is_none()
        && !is_denied;
    let problem = problem_of(&end, progress, failure.as_ref(), &reached);
    if let Some(problem) = problem.as_ref().filter(|_| progress == 0) {
        report_stalled(run, &problem.code);
    }
    let read_through = match reached.read_through {
        // The list of streams is empty, and whole.
        None if reached.streams == 0
            && is_read
            && !run.has_partial_list.load(Ordering::Relaxed) =>
        {
            Some(run.upper_bound)
        }
        other => other,
    };
    let of_slice = Progress {
        complete_through: read_through.map(|at| at.min(run.upper_bound) - descriptor.visible_after),
        reconciled_through: reached.reconciled_through,
        held_back_by: reached.held_back_by,
        ended: (is_read && !run.was_read).then_some(run.is_backfill),
        problem,
    };
    connections::record_progress(&mut tx, scope, connection, &of_slice).await?;
    // The pass is no part of the time that a read takes.
    if is_read && !run.was_read && !run.is_backfill && progress > reconciled {
        let took = run.context.clock.now() - run.upper_bound;
        let seconds = i32::try_from(took.num_seconds()).unwrap_or(i32::MAX);
        connections::record_run_time(&mut tx, scope, connection, seconds).await?;
    }
    let is_retried = failure.as_ref().is_some_and(run::may_pass) && !run.job.is_last_attempt();
    if end == SliceEnd::Complete && !is_retried {
        connections::adapt_poll_interval(&mut tx, scope, connection).await?;
    }
    tx.commit().await.map_err(DbError::from)?;
    let again = |at, code: &str, message: &str| {
        Err(JobFailure::Outcome(JobOutcome::Postponed {
            at,
            error: error(code, message),
        }))
    };
    match (end, failure) {
        (SliceEnd::Complete, None) if is_denied => {
            Err(JobFailure::Outcome(JobOutcome::Dead(error(
                "permission",
                "The provider denies permission to read every stream.",
            ))))
        }
        (SliceEnd::Complete, None) => Ok(()),
        (SliceEnd::Complete, Some(failure)) => Err(JobFailure::Provider(failure)),
        (SliceEnd::TimeIsUp, _) => again(
            run.context.clock.now(),
            "time_slice",
            "The time slice is over. The run resumes in its next one.",
        ),
        (SliceEnd::Limited(at), _) => again(at, "rate_limited", LIMITED),
        (SliceEnd::Reconciling(at), _) => again(
            at,
            "reconciling",
            "Every stream is read. The reconciliation pass continues.",
        ),
    }
}

const LIMITED: &str =
    "The provider limits the rate of calls. The run resumes when they are allowed.";

/// Whether a run continues its reconciliation pass at `at`, or ends for the next poll. A poll that
/// is due waits only for a slice that has read nothing for the pass.
fn pass_continues(at: DateTime<Utc>, next_poll: Option<DateTime<Utc>>, has_progress: bool) -> bool {
    let delay = if has_progress {
        TimeDelta::zero()
    } else {
        MAX_POLL_DELAY
    };
    next_poll.is_none_or(|next_poll| at < next_poll + delay)
}

fn report_stalled(run: &Run<'_>, reason: &str) {
    let provider = run.caller.connector.descriptor().slug;
    count_stalled(run.caller.connection, provider, reason);
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

/// What a connection's owner must know of a slice.
fn problem_of(
    end: &SliceEnd,
    progress: usize,
    failure: Option<&ConnectorError>,
    reached: &Reached,
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
            "The provider answered no call in time. The run is tried again.",
        )),
        _ => {
            let held = reached.held_back_by.as_ref();
            held.filter(|_| reached.has_problem).map(|held| JobError {
                code: held.code.clone(),
                message: format!(
                    "{} of {} streams cannot be {}; {}: {}",
                    held.streams,
                    reached.streams,
                    if reached.is_unreconciled {
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

/// Notes on the connection that a run panicked: the panic has passed over everything that the run
/// itself would have noted.
pub(super) async fn note_panic(context: &Context, job: &ClaimedJob) -> Result<(), JobFailure> {
    let Some(connection) = job.connection_id else {
        return Ok(());
    };
    let provider = connector_of(context, job)?.descriptor().slug;
    count_stalled(connection, provider, "panicked");
    let problem = error(
        "panicked",
        "The last read ended with a fault of the service. The job has the details.",
    );
    let scope = &job.scope();
    let mut tx = begin_under_lease(context, job).await?;
    connections::record_missed(&mut tx, scope, connection).await?;
    connections::record_problem(&mut tx, scope, connection, &problem, None).await?;
    tx.commit().await.map_err(DbError::from)?;
    Ok(())
}

/// Writes down what a failure of the whole run means for the connection.
async fn note_failure(run: &Run<'_>, failure: &JobFailure) -> Result<(), JobFailure> {
    let (context, scope) = (run.context, &run.caller.scope);
    let connection = run.caller.connection;
    match failure {
        JobFailure::Provider(cause) | JobFailure::Credential(CredentialError::Provider(cause)) => {
            changes::note_word_on_grant(context, run.job, connection, cause).await?;
        }
        JobFailure::Credential(CredentialError::RotationLost(cause)) => {
            changes::note_lost_rotation(context, run.job, connection, cause).await?;
        }
        JobFailure::Outcome(_)
        | JobFailure::Overtaken
        | JobFailure::Db(_)
        | JobFailure::Panicked(_) => return Ok(()),
        JobFailure::Credential(_) => {}
    }
    let code = match failure {
        JobFailure::Provider(cause) | JobFailure::Credential(CredentialError::Provider(cause)) => {
            cause.code()
        }
        JobFailure::Credential(CredentialError::RotationLost(_)) => "rotation_lost",
        _ => "no_token",
    };
    report_stalled(run, code);
    let problem = error(
        code,
        "The last read did not end well. The job has the details.",
    );
    let mut tx = run.begin().await?;
    connections::record_missed(&mut tx, scope, connection).await?;
    let held_back_by = run.reached(&mut tx, Some(&problem)).await?.held_back_by;
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
            |seconds: i64| DateTime::from_timestamp(1_800_000_000 + seconds, 0).expect("a moment");
        for (next_poll, has_progress, continues) in [
            (Some(at(61)), true, true),
            (Some(at(60)), true, false),
            (Some(at(60)), false, true),
            (Some(at(-59)), false, true),
            (Some(at(-60)), false, false),
            (None, true, true),
        ] {
            let continues_in_fact = pass_continues(at(60), next_poll, has_progress);
            assert_eq!(continues_in_fact, continues, "{next_poll:?} {has_progress}");
        }
    }
}
