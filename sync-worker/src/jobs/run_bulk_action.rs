//! Retries or cancels all jobs, or replays all deliveries, that match a filter.
//!
//! It works from the newest item to the oldest. The changes of a batch and the position behind it
//! commit in one transaction, so that the next attempt repeats nothing. Items that are newer than
//! the job are left out: the jobs that it creates are never among those that it changes.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use shared::db::deliveries::{self, DeliveryFilter};
use shared::db::page::PageRequest;
use shared::db::{DbError, Tx};
use shared::inbox::{self, ReplayOutcome};
use shared::model::{BulkAction, BulkProgress, RunBulkAction};
use shared::queue::jobs::{CancelOutcome, JobFilter, RetryOutcome};
use shared::queue::{ClaimedJob, JobOutcome, bulk};
use uuid::Uuid;

use super::{Attempt, Job};
use crate::context::Context;
use crate::failure::{JobFailure, error};
use crate::job_transaction::begin;

/// The number of items per transaction.
const BATCH_SIZE: u32 = 50;
/// The time after which an attempt leaves its slot to other jobs.
const TIME_SLICE: Duration = Duration::from_secs(20);
/// The bytes of the tenant's waiting deliveries above which no more are added.
///
/// The ingress rejects deliveries of a tenant above its quota, which is larger by default.
const MAX_WAITING_BYTES: u64 = 16 << 20;
/// The time until waiting deliveries are counted again.
const WAITING_INTERVAL: TimeDelta = TimeDelta::seconds(2);

impl Job for RunBulkAction {
    async fn run(&self, attempt: Attempt<'_>) -> Result<(), JobFailure> {
        let started = Instant::now();
        let mut run = Run {
            context: attempt.context,
            job: attempt.job,
            action: &self.action,
            progress: self.progress,
        };
        run.count().await?;
        loop {
            run.wait_for_deliveries().await?;
            let has_more = run.apply_batch().await?;
            run.context.queue.notify().await?;
            if !has_more {
                return Ok(());
            }
            if attempt.draining.is_cancelled() || started.elapsed() > TIME_SLICE {
                let now = run.context.clock.now();
                let message = "The time slice is over. The action continues in the next one.";
                return Err(snooze(now, "time_slice", message));
            }
        }
    }
}

/// An attempt to run a bulk action.
struct Run<'a> {
    context: &'a Context,
    job: &'a ClaimedJob,
    action: &'a BulkAction,
    progress: BulkProgress,
}

impl Run<'_> {
    /// Counts the matching items before the first one is changed.
    async fn count(&mut self) -> Result<(), JobFailure> {
        if self.progress.matched.is_some() || self.progress.position.is_some() {
            return Ok(());
        }
        self.progress.matched = match self.count_matching().await {
            Ok(matched) => Some(matched),
            // The number is for people; the action does not need it.
            Err(error) if error.is_timeout() => None,
            Err(error) => return Err(error.into()),
        };
        let tx = begin(self.context, self.job).await?;
        self.save(tx).await
    }

    async fn count_matching(&self) -> Result<i64, DbError> {
        let (queue, scope) = (&*self.context.queue, &self.job.scope());
        let mut tx = self.context.db.begin(scope).await?;
        let before = Some(self.job.id);
        let matched = bulk::count_matching(queue, &mut tx, scope, self.action, before).await?;
        tx.commit().await?;
        Ok(matched)
    }

    /// Snoozes the job while many deliveries of the tenant wait, unless it adds none.
    async fn wait_for_deliveries(&self) -> Result<(), JobFailure> {
        if matches!(self.action, BulkAction::Cancel(_)) {
            return Ok(());
        }
        let waiting = self.context.queue.waiting_bytes().await?;
        let is_own = |tenant| tenant == self.job.tenant_id;
        let has_many = waiting
            .iter()
            .any(|(tenant, bytes)| is_own(*tenant) && *bytes > MAX_WAITING_BYTES);
        if has_many {
            let at = self.context.clock.now() + WAITING_INTERVAL;
            let message = "Earlier deliveries of the tenant are processed first.";
            return Err(snooze(at, "deliveries_waiting", message));
        }
        Ok(())
    }

    /// Changes the next items; returns whether there are more.
    async fn apply_batch(&mut self) -> Result<bool, JobFailure> {
        match self.action {
            BulkAction::Retry(jobs) => self.retry(&bulk::jobs_to_retry(jobs)).await,
            BulkAction::Cancel(jobs) => self.cancel(&bulk::jobs_to_cancel(jobs)).await,
            BulkAction::Replay(selection) => {
                self.replay(&bulk::deliveries_to_replay(selection)).await
            }
        }
    }

    async fn retry(&mut self, filter: &JobFilter) -> Result<bool, JobFailure> {
        let (context, scope) = (self.context, &self.job.scope());
        let mut tx = begin(context, self.job).await?;
        let page = context
            .queue
            .list(&mut tx, scope, filter, &self.next_page())
            .await?;
        for job in &page.items {
            let outcome = context.queue.retry(&mut tx, scope, job.id).await?;
            self.record(job.id.0, matches!(outcome, RetryOutcome::Enqueued(_)));
        }
        self.save(tx).await?;
        Ok(page.next_cursor.is_some())
    }

    /// Cancels each job in a transaction of its own.
    ///
    /// Other transactions lock several jobs in another order; two that wait for each other would
    /// fail.
    async fn cancel(&mut self, filter: &JobFilter) -> Result<bool, JobFailure> {
        let (context, scope) = (self.context, &self.job.scope());
        let mut tx = context.db.begin(scope).await?;
        let page = context
            .queue
            .list(&mut tx, scope, filter, &self.next_page())
            .await?;
        tx.end_read();
        for job in &page.items {
            let mut tx = begin(context, self.job).await?;
            let outcome = context.queue.cancel(&mut tx, scope, job.id).await?;
            let is_cancelled =
                matches!(outcome, CancelOutcome::Cancelled | CancelOutcome::Requested);
            self.record(job.id.0, is_cancelled);
            self.save(tx).await?;
        }
        Ok(page.next_cursor.is_some())
    }

    async fn replay(&mut self, filter: &DeliveryFilter) -> Result<bool, JobFailure> {
        let (context, scope) = (self.context, &self.job.scope());
        let mut tx = begin(context, self.job).await?;
        let page = deliveries::list(&mut tx, scope, filter, &self.next_page()).await?;
        for delivery in &page.items {
            let traceparent = self.job.traceparent.clone();
            let outcome =
                inbox::replay(&*context.queue, &mut tx, scope, delivery.id, traceparent).await?;
            self.record(delivery.id.0, matches!(outcome, ReplayOutcome::Queued(_)));
        }
        self.save(tx).await?;
        Ok(page.next_cursor.is_some())
    }

    fn next_page(&self) -> PageRequest {
        PageRequest {
            before: Some(self.progress.position.unwrap_or(self.job.id.0)),
            limit: BATCH_SIZE,
        }
    }

    fn record(&mut self, item: Uuid, is_changed: bool) {
        self.progress.position = Some(item);
        if is_changed {
            self.progress.done += 1;
        } else {
            self.progress.failed += 1;
        }
    }

    /// Stores the progress and commits.
    async fn save(&self, mut tx: Tx) -> Result<(), JobFailure> {
        let payload = RunBulkAction {
            action: self.action.clone(),
            progress: self.progress,
        };
        let queue = &self.context.queue;
        if !queue
            .set_payload(&mut tx, self.job, &payload.into())
            .await?
        {
            return Err(JobFailure::LeaseLost);
        }
        tx.commit().await.map_err(DbError::from)?;
        Ok(())
    }
}

fn snooze(at: DateTime<Utc>, code: &str, message: &str) -> JobFailure {
    JobOutcome::Snoozed {
        at,
        error: error(code, message),
    }
    .into()
}
