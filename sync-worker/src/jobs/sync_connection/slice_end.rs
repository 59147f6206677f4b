//! The end of a slice: the connection's progress and problem, and the outcome of the attempt.

use std::sync::atomic::Ordering;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use metrics::counter;
use shared::connectors::ConnectorError;
use shared::credentials::CredentialError;
use shared::db::connections::{self, Progress};
use shared::db::cursors::StreamProgress;
use shared::db::{DbError, due_times};
use shared::model::{ConnectionId, JobError};
use shared::queue::JobOutcome;
use shared::telemetry::names;

use super::run::Run;
use super::slice::{SliceEnd, SliceReport, is_temporary};
use crate::account_events;
use crate::failure::{JobFailure, error};

/// The maximum time that a due poll waits for the reconciliation pass to read a page.
const MAX_POLL_DELAY: TimeDelta = TimeDelta::minutes(2);
/// The pause after a slice in which the scheduler enqueues a read of requested streams.
///
/// It does not while the run is in a slice. Without the pause, the next slice would begin first.
const REQUEST_PAUSE: TimeDelta = TimeDelta::seconds(2);

/// Records the progress of a slice and decides the outcome of the attempt.
pub(super) async fn end_slice(run: &Run<'_>, report: SliceReport) -> Result<(), JobFailure> {
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
    let is_retried = failure.as_ref().is_some_and(is_temporary) && !run.job.is_last_attempt();
    if end == SliceEnd::Complete && !is_retried {
        connections::adapt_poll_interval(&mut tx, scope, connection).await?;
    }
    let is_requested = due_times::keep_requests_due(&mut tx, scope, connection).await?;
    tx.commit().await.map_err(DbError::from)?;
    if end == SliceEnd::Complete && failure.is_none() && is_denied {
        return Err(JobFailure::from(JobOutcome::Dead(error(
            "permission",
            "The provider denies permission to read all streams.",
        ))));
    }
    let pause = if is_requested {
        REQUEST_PAUSE
    } else {
        TimeDelta::zero()
    };
    outcome_of(end, failure, run.context.clock.now() + pause)
}

/// Decides the outcome of an attempt that read requested streams.
pub(super) async fn end_requested_slice(
    run: &Run<'_>,
    SliceReport { end, failure, .. }: SliceReport,
) -> Result<(), JobFailure> {
    if end == SliceEnd::Complete && failure.is_none() {
        let (scope, connection) = (&run.session.scope, run.session.connection);
        let mut tx = run.begin().await?;
        due_times::keep_requests_due(&mut tx, scope, connection).await?;
        tx.commit().await.map_err(DbError::from)?;
    }
    outcome_of(end, failure, run.context.clock.now())
}

/// The outcome of the attempt after a slice; the next slice begins at `resumes_at` or later.
fn outcome_of(
    end: SliceEnd,
    failure: Option<ConnectorError>,
    resumes_at: DateTime<Utc>,
) -> Result<(), JobFailure> {
    let snooze = |at, code: &str, message: &str| {
        Err(JobFailure::from(JobOutcome::Snoozed {
            at,
            error: error(code, message),
        }))
    };
    match (end, failure) {
        (SliceEnd::Complete, None) => Ok(()),
        (SliceEnd::Complete, Some(failure)) => Err(JobFailure::Provider(failure)),
        (SliceEnd::TimeIsUp, _) => snooze(
            resumes_at,
            "time_slice",
            "The time slice is over. The run resumes in the next one.",
        ),
        (SliceEnd::Limited(at), _) => snooze(at, "rate_limited", LIMITED),
        (SliceEnd::Reconciling(at), _) => snooze(
            at.max(resumes_at),
            "reconciling",
            "Every stream is read. The reconciliation pass continues.",
        ),
    }
}

const LIMITED: &str =
    "The provider's rate limit is reached. The run resumes when calls are allowed.";

/// Whether a run continues its reconciliation pass at `at`.
///
/// Otherwise it ends, so that the next poll can begin.
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

pub(super) fn count_stalled(connection: ConnectionId, provider: &'static str, reason: &str) {
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
    let held = stream_progress.held_back_by.as_ref();
    if let Some(failure) = failure {
        return Some(JobError {
            operation: held.and_then(|held| held.operation.clone()),
            ..error(
                failure.code(),
                "A part of the account could not be read. The job has the details.",
            )
        });
    }
    match end {
        SliceEnd::Limited(at) if progress == 0 => Some(JobError {
            retry_at: Some(at.trunc_subsecs(6)),
            ..error(
                "rate_limited",
                &format!("The provider allows no call until {}.", at.format("%FT%TZ")),
            )
        }),
        SliceEnd::TimeIsUp if progress == 0 => Some(error(
            "no_progress",
            "The provider did not respond to any call in time. The run is retried.",
        )),
        _ => held
            .filter(|_| stream_progress.has_problem)
            .map(|held| JobError {
                code: held.code.clone(),
                scope: held.scope.clone(),
                operation: held.operation.clone(),
                retry_at: None,
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
            }),
    }
}

/// Records the failure of a whole run on the connection.
pub(super) async fn record_failure(run: &Run<'_>, failure: &JobFailure) -> Result<(), JobFailure> {
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
        | JobFailure::Credential(CredentialError::Db(_))
        | JobFailure::Panicked(_) => return Ok(()),
        JobFailure::Credential(_) => {}
    }
    let code = match failure {
        JobFailure::Provider(cause) | JobFailure::Credential(CredentialError::Provider(cause)) => {
            cause.code()
        }
        JobFailure::Credential(CredentialError::RefreshResponseLost(_)) => "rotation_lost",
        JobFailure::Credential(CredentialError::NotFound) => "no_credential",
        JobFailure::Credential(CredentialError::Decrypt(_)) => "credential_sealed",
        _ => "token_busy",
    };
    report_stalled(run, code);
    // Only a run of all streams clears the connection's problem.
    if run.requested_only {
        return Ok(());
    }
    let retry_at = match failure {
        JobFailure::Provider(ConnectorError::RateLimited { retry_at, .. })
        | JobFailure::Credential(CredentialError::Provider(ConnectorError::RateLimited {
            retry_at,
            ..
        })) => Some(retry_at.trunc_subsecs(6)),
        _ => None,
    };
    let mut problem = JobError {
        retry_at,
        ..error(code, "The last sync failed. The job has the details.")
    };
    let mut tx = run.begin().await?;
    connections::record_missed(&mut tx, scope, connection).await?;
    let held_back_by = run
        .measure_progress(&mut tx, Some(&problem))
        .await?
        .held_back_by;
    let held_back_by = held_back_by.as_ref();
    if let Some(held) = held_back_by.filter(|held| held.code == code) {
        (problem.scope, problem.operation) = (held.scope.clone(), held.operation.clone());
    }
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

    #[test]
    fn long_run_pauses_for_requested_streams() {
        let at = |seconds: i64| DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds);
        for (end, resumes_at, snoozed_until) in [
            (SliceEnd::TimeIsUp, at(2), Some(at(2))),
            (SliceEnd::Reconciling(at(0)), at(2), Some(at(2))),
            (SliceEnd::Reconciling(at(60)), at(2), Some(at(60))),
            (SliceEnd::Limited(at(60)), at(2), Some(at(60))),
            (SliceEnd::Complete, at(2), None),
        ] {
            let until = match outcome_of(end, None, resumes_at) {
                Err(JobFailure::Outcome(outcome)) => match *outcome {
                    JobOutcome::Snoozed { at, .. } => Some(at),
                    _ => None,
                },
                _ => None,
            };
            assert_eq!(until, snoozed_until, "{end:?}");
        }
    }
}
