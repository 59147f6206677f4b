//! Normalizes stored deliveries into Signals, in batches of jobs.
//!
//! The Signals, the outcomes of the deliveries and the end of the jobs commit in one transaction.
//!
//! A delivery that panics stays pending and its job is retried; the other deliveries are processed.
//! When a batch fails, its jobs run one by one, and then the deliveries of the failing job, so that
//! a delivery that cannot be stored delays no other. When Postgres is unavailable, all jobs of the
//! batch are retried later instead.

mod normalize;
mod work;

use std::time::Instant;

use shared::connectors::AccountChange;
use shared::db::{DbError, TenantScope, Tx, activity, due_times};
use shared::inbox::{self, StoredDelivery};
use shared::model::{ConnectionId, DeliveryId, JobKind, JobPayload, ProcessDeliveries, TenantId};
use shared::queue::{ClaimedJob, Finished, JobOutcome};
use shared::signals;
use tracing::Instrument;

use self::normalize::read_all;
use self::work::{Work, apply};
use super::{Attempt, Job};
use crate::attempt;
use crate::context::Context;
use crate::failure::{JobFailure, catch_panic, error, unreadable};
use crate::job_transaction::verify_lease;

const KIND: JobKind = JobKind::ProcessDeliveries;
/// Maximum bytes of deliveries in memory at a time, unless a single job has more.
const MAX_BATCH_BYTES: u64 = 8 << 20;

impl Job for ProcessDeliveries {
    /// Rejects the job, because this kind has a work class of its own, whose jobs run in batches.
    async fn run(&self, _: Attempt<'_>) -> Result<(), JobFailure> {
        Err(JobFailure::from(JobOutcome::Dead(error(
            "wrong_work_class",
            "Jobs of this kind run in batches and not one by one.",
        ))))
    }
}

/// Processes claimed jobs in batches that fit into memory, and records the failures.
pub(crate) async fn run(context: &Context, jobs: Vec<ClaimedJob>) {
    let (mut fitting, mut bytes) = (Vec::new(), 0);
    let is_unreadable = |job: &ClaimedJob| matches!(job.payload, JobPayload::Unreadable { .. });
    let (unreadable_jobs, jobs): (Vec<_>, Vec<_>) = jobs.into_iter().partition(is_unreadable);
    if !unreadable_jobs.is_empty() {
        finish(context, unreadable_jobs, &unreadable(), Instant::now()).await;
    }
    for job in jobs {
        if bytes + job.bytes > MAX_BATCH_BYTES && !fitting.is_empty() {
            run_batch(context, std::mem::take(&mut fitting)).await;
            bytes = 0;
        }
        bytes += job.bytes;
        fitting.push(job);
    }
    run_batch(context, fitting).await;
}

async fn run_batch(context: &Context, jobs: Vec<ClaimedJob>) {
    let started = Instant::now();
    if jobs.len() > 1 {
        match process(context, &jobs).await {
            Ok(outcomes) => return report_all(&jobs, &outcomes, started),
            Err(JobFailure::Db(error)) if error.is_outage() => {
                let outcome = JobFailure::Db(error).outcome(&context.clock);
                return finish(context, jobs, &outcome, started).await;
            }
            Err(_) => {}
        }
    }
    for job in jobs {
        let span = attempt::span(&job);
        run_single(context, job).instrument(span).await;
    }
}

async fn run_single(context: &Context, job: ClaimedJob) {
    let started = Instant::now();
    let mut result = process(context, std::slice::from_ref(&job)).await;
    if let Err(failure) = &result
        && is_caused_by_content(failure)
        && job.deliveries().count() > 1
    {
        result = process_one_by_one(context, &job).await;
    }
    match result {
        Ok(outcomes) => {
            for outcome in &outcomes {
                attempt::report(KIND.as_str(), outcome, started);
            }
        }
        // Another worker has the job, and this one has written nothing.
        Err(JobFailure::LeaseLost) => {}
        Err(failure) => {
            let outcome = failure.outcome(&context.clock);
            finish(context, vec![job], &outcome, started).await;
        }
    }
}

/// Whether the content of a delivery may be the cause, and not Postgres or the lease.
fn is_caused_by_content(failure: &JobFailure) -> bool {
    match failure {
        JobFailure::Db(error) => !error.is_outage(),
        JobFailure::LeaseLost | JobFailure::CursorConflict => false,
        _ => true,
    }
}

/// Reports the attempts of a batch, which has no span; those that did not succeed get one each.
fn report_all(jobs: &[ClaimedJob], outcomes: &[JobOutcome], started: Instant) {
    for (job, outcome) in jobs.iter().zip(outcomes) {
        if matches!(outcome, JobOutcome::Succeeded) {
            attempt::report(KIND.as_str(), outcome, started);
        } else {
            report_one(job, outcome, started);
        }
    }
}

fn report_one(job: &ClaimedJob, outcome: &JobOutcome, started: Instant) {
    attempt::span(job).in_scope(|| attempt::report(KIND.as_str(), outcome, started));
}

/// Records the outcome of attempts that did not succeed.
async fn finish(context: &Context, jobs: Vec<ClaimedJob>, outcome: &JobOutcome, started: Instant) {
    let is_batch = jobs.len() > 1;
    let finished: Vec<Finished> = jobs
        .into_iter()
        .map(|job| {
            if is_batch {
                report_one(&job, outcome, started);
            } else {
                attempt::report(KIND.as_str(), outcome, started);
            }
            let outcome = outcome.clone();
            Finished { job, outcome }
        })
        .collect();
    if let Err(error) = context.queue.finish(&finished).await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "failed to record the outcome of jobs, they will be rescued"
        );
    }
}

/// Processes the deliveries of jobs and finishes the jobs, in one transaction.
///
/// Returns the outcome of each job: failed if one of its deliveries panicked, else succeeded.
async fn process(context: &Context, jobs: &[ClaimedJob]) -> Result<Vec<JobOutcome>, JobFailure> {
    catch_panic(KIND, async {
        let keys: Vec<_> = jobs.iter().flat_map(ClaimedJob::deliveries).collect();
        let (mut tx, work) = write(context, jobs, &keys).await?;
        let finished: Vec<Finished> = jobs
            .iter()
            .map(|job| Finished {
                job: job.clone(),
                outcome: work.outcome_of(job),
            })
            .collect();
        let lost = context.queue.finish_in(&mut tx, &finished).await?;
        if !lost.is_empty() {
            return Err(JobFailure::LeaseLost);
        }
        commit(context, tx, &work).await?;
        Ok(finished.into_iter().map(|one| one.outcome).collect())
    })
    .await
}

/// Processes each delivery of a job in a separate transaction.
///
/// A delivery that cannot be stored then delays no other, and a retry skips those that are done.
async fn process_one_by_one(
    context: &Context,
    job: &ClaimedJob,
) -> Result<Vec<JobOutcome>, JobFailure> {
    let mut failure = None;
    for key in job.deliveries() {
        let work = catch_panic(KIND, async {
            let (mut tx, work) = write(context, std::slice::from_ref(job), &[key]).await?;
            if let Some((_, message)) = work.panics.first() {
                return Err(JobFailure::Panicked(message.clone()));
            }
            verify_lease(context, &mut tx, job).await?;
            commit(context, tx, &work).await
        });
        match work.await {
            Ok(()) => {}
            Err(error) if is_caused_by_content(&error) => failure = Some(error),
            Err(error) => return Err(error),
        }
    }
    if let Some(failure) = failure {
        return Err(failure);
    }
    // No delivery is pending now, so this only finishes the job.
    process(context, std::slice::from_ref(job)).await
}

/// Writes the results of deliveries; the caller commits.
async fn write(
    context: &Context,
    jobs: &[ClaimedJob],
    keys: &[(TenantId, DeliveryId)],
) -> Result<(Tx, Work), JobFailure> {
    let mut scopes: Vec<TenantScope> = jobs.iter().map(ClaimedJob::scope).collect();
    scopes.sort_by_key(TenantScope::tenant_id);
    scopes.dedup();
    let mut tx = context.db.begin_many(&scopes).await?;
    let mut deliveries = inbox::load(&mut tx, keys).await?;
    let mut work = read_all(context, &mut tx, &scopes, &deliveries).await?;
    // Later deliveries of the batch name the resource by its new id, so all are read again.
    if apply_resource_ids(&work.changes, &mut deliveries) {
        work = read_all(context, &mut tx, &scopes, &deliveries).await?;
    }
    signals::store(&mut tx, std::mem::take(&mut work.signals)).await?;
    let in_doubt = connections_of(&deliveries, |delivery| delivery.has_ended_grant);
    let unrecorded = connections_of(&deliveries, |delivery| delivery.is_unrecorded);
    apply(context, &mut tx, &scopes, &mut work).await?;
    due_times::probe_soon(&mut tx, &in_doubt).await?;
    activity::record_deliveries(&mut tx, &unrecorded).await?;
    inbox::record_outcomes(&mut tx, &work.outcomes).await?;
    for job in &work.next {
        context.queue.enqueue(&mut tx, job).await?;
    }
    Ok((tx, work))
}

/// The connections of those deliveries that match.
fn connections_of(
    deliveries: &[StoredDelivery],
    matches: impl Fn(&StoredDelivery) -> bool,
) -> Vec<(TenantId, ConnectionId)> {
    let matching = deliveries.iter().filter(|delivery| matches(delivery));
    matching
        .filter_map(|delivery| Some((delivery.tenant_id, delivery.connection_id?)))
        .collect()
}

async fn commit(context: &Context, tx: Tx, work: &Work) -> Result<(), JobFailure> {
    tx.commit().await.map_err(DbError::from)?;
    if !work.next.is_empty() {
        context.queue.notify().await?;
    }
    Ok(())
}

/// Applies the resource id changes of a batch to its deliveries; returns whether there are any.
fn apply_resource_ids(
    changes: &[(TenantId, ConnectionId, AccountChange)],
    deliveries: &mut [StoredDelivery],
) -> bool {
    let mut is_changed = false;
    for (tenant, connection, change) in changes {
        let AccountChange::ResourceIdChanged { from, to } = change else {
            continue;
        };
        is_changed = true;
        for stored in deliveries.iter_mut() {
            if stored.tenant_id == *tenant && stored.connection_id == Some(*connection) {
                stored.delivery.account.note_resource_id(from, to);
            }
        }
    }
    is_changed
}
