//! The pages of a run: committing their content.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use chrono::{DateTime, TimeDelta, Utc};
use metrics::counter;
use shared::connectors::{ConnectorError, ObservedUpdate, ObservedUpdates, SyncPage};
use shared::db::cursors::{self, Advance, StreamCursor};
use shared::db::{DbError, Tx, connections, directory, due_times, subscriptions};
use shared::model::{Resource, SignalDraft};
use shared::signals::{self, NewSignal};
use shared::telemetry::names;

use super::page_end::{MAX_LATENESS, end_of, part_problem, stream_problem};
use super::run::{PageEnd, Run};
use super::slice::is_temporary;
use super::stream_queue::{Pass, StreamTask};
use crate::failure::JobFailure;
use crate::job_transaction::begin;
use crate::{account_events, resource_ids};

/// The delay of the read of a stream while the feed has all its observed updates.
///
/// A missed fact that precedes a known one of the same subject is found after this time at the
/// latest.
const MAX_DEFERRAL: TimeDelta = TimeDelta::minutes(9);
/// Maximum difference between the times of an update and of its Signal.
const TIME_TOLERANCE: TimeDelta = TimeDelta::seconds(2);
/// The part of the reconcile interval between two passes of a stream that misses deliveries.
const MIN_INTERVAL_RATIO: f64 = 1.0 / 24.0;
/// Time after which a delivery that has not arrived counts as missed.
const MAX_DELIVERY_DELAY: TimeDelta = TimeDelta::minutes(2);

impl Run<'_> {
    /// Fetches a page and commits it; returns the state of its stream.
    pub(super) async fn fetch_and_commit(
        &self,
        task: &mut StreamTask,
    ) -> Result<PageEnd, JobFailure> {
        let page = match task.fetched.take() {
            Some(page) => page,
            None => self.fetch(task).await?,
        };
        match task.pass {
            Pass::Root => self.commit_root(&mut task.stream, page).await,
            Pass::Incremental => self.commit(task, page).await,
            Pass::Reconciliation => self.commit_reconciliation(task, page).await,
        }
    }

    /// Commits a page's Signals together with the cursor after it.
    async fn commit(
        &self,
        task: &mut StreamTask,
        mut page: SyncPage,
    ) -> Result<PageEnd, JobFailure> {
        let stream = &mut task.stream;
        let bound = stream
            .pending_upper_bound
            .filter(|_| task.is_left_behind)
            .unwrap_or(self.upper_bound);
        let pending_upper_bound = page.has_more.then_some(bound);
        let part_problem = part_problem(&page).filter(|_| !page.has_more);
        let is_unchanged = page.signals.is_empty()
            && page.covered_through.is_none()
            && page.unreadable_rows.is_empty()
            && page.directory_updates.is_empty()
            && stream.page_size.is_stable()
            && stream.requested_at.is_none()
            && stream.cursor.as_ref() == Some(&page.cursor)
            && stream.pending_upper_bound == pending_upper_bound;
        let has_more = page.has_more;
        if is_unchanged {
            return Ok(end_of(has_more, PageEnd::Unchanged));
        }
        let mut tx = self.begin().await?;
        let interval = self.context.config.reconcile_interval.as_secs_f64();
        let to = Advance {
            cursor: &page.cursor,
            pending_upper_bound,
            read_through: (!page.has_more)
                .then_some(page.covered_through.map_or(bound, |at| at.min(bound))),
            progress: page.progress,
            reconciled_through: (!page.has_more && part_problem.is_none())
                .then_some(bound - MAX_LATENESS),
            reconcile_seconds: interval,
            answered_request: stream.requested_at.filter(|requested_at| {
                !page.has_more && bound == self.upper_bound && *requested_at <= bound
            }),
        };
        self.advance(&mut tx, stream, &to).await?;
        if !page.has_more && page.covered_through.is_some() {
            let (scope, connection) = (&self.session.scope, self.session.connection);
            let key = &stream.spec.key;
            cursors::record_attempt(&mut tx, scope, connection, key, bound).await?;
        }
        // The first read only: later facts of that part are found by reconciliation.
        if stream.read_through.is_none()
            && let Some(problem) = &part_problem
        {
            self.record_reconcile_failure(&mut tx, &stream.spec.key, Some(problem))
                .await?;
        }
        if page.has_list_changed {
            let (scope, connection) = (&self.session.scope, self.session.connection);
            due_times::sync_soon(&mut tx, scope, connection).await?;
        }
        let (missed, unreadable) = self.store_content(&mut tx, stream, &mut page).await?;
        let pause = MAX_LATENESS.as_seconds_f64() + interval * MIN_INTERVAL_RATIO;
        self.record_missed(&mut tx, stream, missed, Some(pause))
            .await?;
        tx.commit().await.map_err(DbError::from)?;
        self.report_missed(missed);
        self.report_unreadable(&stream.spec.key, unreadable);
        update_cursor(stream, page.cursor, pending_upper_bound);
        Ok(end_of(has_more, PageEnd::Complete))
    }

    /// Counts a page's facts that no delivery has reported, in the page's transaction.
    ///
    /// The end of the slice adds the count to the connection, even if the slice fails.
    pub(super) async fn record_missed(
        &self,
        tx: &mut Tx,
        stream: &StreamCursor,
        missed: i64,
        pause: Option<f64>,
    ) -> Result<(), JobFailure> {
        if missed > 0 {
            let (scope, connection) = (&self.session.scope, self.session.connection);
            let key = &stream.spec.key;
            cursors::record_missed(tx, scope, connection, key, missed, pause).await?;
        }
        Ok(())
    }

    pub(super) fn report_missed(&self, missed: i64) {
        let provider = self.session.connector.descriptor().slug;
        counter!(names::WEBHOOK_MISSED_TOTAL, "provider" => provider)
            .increment(missed.unsigned_abs());
    }

    /// Stores the content of a page; returns the numbers of missed facts and new unreadable rows.
    pub(super) async fn store_content(
        &self,
        tx: &mut Tx,
        stream: &StreamCursor,
        page: &mut SyncPage,
    ) -> Result<(i64, u64), JobFailure> {
        let (scope, connection) = (&self.session.scope, self.session.connection);
        directory::save(tx, scope, connection, &page.directory_updates).await?;
        let signals = std::mem::take(&mut page.signals);
        let missed = self.store(tx, signals, stream).await?;
        let unreadable = self
            .keep_unreadable(tx, &stream.spec.key, &page.unreadable_rows)
            .await?;
        Ok((missed, unreadable))
    }

    /// Stores a page's Signals; returns how many of the new ones no delivery has reported.
    ///
    /// Facts from before the webhooks, facts of a stream that no delivery reports, facts of a first
    /// read, facts of a stream that a delivery asked to read, and facts whose delivery may still
    /// arrive do not count.
    async fn store(
        &self,
        tx: &mut Tx,
        drafts: Vec<SignalDraft>,
        stream: &StreamCursor,
    ) -> Result<i64, JobFailure> {
        let received_at = self.context.clock.now();
        let descriptor = self.session.connector.descriptor();
        let traceparent = shared::telemetry::current_traceparent();
        let new = drafts
            .into_iter()
            .map(|draft| NewSignal {
                tenant_id: self.job.tenant_id,
                connection_id: self.session.connection,
                source: descriptor.slug,
                received_at,
                traceparent: traceparent.clone(),
                draft,
            })
            .collect();
        let stored = signals::store(tx, new).await?;
        let Some(since) = self
            .webhooks_since
            .filter(|_| stream.read_through.is_some() && stream.requested_at.is_none())
        else {
            return Ok(0);
        };
        let connector = &self.session.connector;
        Ok(
            match connector.pushed_since(&stream.spec, &self.push_ways) {
                Some(pushed_since) => count_missed(&stored, since.max(pushed_since), received_at),
                None => 0,
            },
        )
    }

    /// Records on a stream why it cannot be read.
    ///
    /// After a temporary failure, the run's next slice reads it again.
    pub(super) async fn record_stream_failure(
        &self,
        stream: &str,
        failure: &ConnectorError,
        last_call: Option<&'static str>,
    ) -> Result<(), JobFailure> {
        let attempted_through = (!is_temporary(failure)).then_some(self.upper_bound);
        let failure = stream_problem(failure, last_call);
        let (scope, connection) = (&self.session.scope, self.session.connection);
        let mut tx = self.begin().await?;
        cursors::record_failure(
            &mut tx,
            scope,
            connection,
            stream,
            &failure,
            attempted_through,
        )
        .await?;
        tx.commit().await.map_err(DbError::from)?;
        Ok(())
    }

    /// Stores the streams and subscriptions that a page of the root lists.
    ///
    /// The last page retires those that no page of the list contains.
    async fn commit_root(
        &self,
        root: &mut StreamCursor,
        page: SyncPage,
    ) -> Result<PageEnd, JobFailure> {
        let (scope, connection) = (&self.session.scope, self.session.connection);
        let listed_at = self.upper_bound;
        let has_subscriptions = self.session.connector.descriptor().subscriptions.is_some();
        let shown = page
            .streams
            .iter()
            .filter_map(Resource::of_stream)
            .collect();
        let id_changes = resource_ids::find_changes(&self.session, shown).await?;
        let mut tx = self.begin().await?;
        // Lock the connection before its streams and routes, in the same order as a disconnect.
        connections::lock(&mut tx, scope, connection).await?;
        for change in &id_changes {
            account_events::apply(self.context, &mut tx, scope, connection, change).await?;
        }
        let to = Advance {
            cursor: &page.cursor,
            pending_upper_bound: page.has_more.then_some(self.upper_bound),
            read_through: (!page.has_more).then_some(self.upper_bound),
            progress: page.progress,
            reconciled_through: None,
            reconcile_seconds: 0.0,
            answered_request: None,
        };
        let to_pending = to.pending_upper_bound;
        self.advance(&mut tx, root, &to).await?;
        cursors::list_streams(
            &mut tx,
            scope,
            connection,
            &page.streams,
            self.backfill_from,
            listed_at,
        )
        .await?;
        if !page.kept_resources.is_empty() {
            let kept = &page.kept_resources;
            cursors::keep_listed(&mut tx, scope, connection, kept, listed_at).await?;
        }
        if has_subscriptions {
            subscriptions::add_desired(&mut tx, scope, connection, &page.subscriptions, listed_at)
                .await?;
        }
        if let Some(observed) = &page.updates {
            self.defer_known(&mut tx, observed).await?;
        }
        if page.is_list_partial {
            self.has_partial_list.store(true, Ordering::Relaxed);
        }
        if !page.has_more && !page.is_list_partial {
            cursors::retire_unlisted(&mut tx, scope, connection, &root.spec.key, listed_at).await?;
            if has_subscriptions {
                subscriptions::retire_unlisted(&mut tx, scope, connection, listed_at).await?;
            }
        }
        directory::save(&mut tx, scope, connection, &page.directory_updates).await?;
        let unreadable = self
            .keep_unreadable(&mut tx, &root.spec.key, &page.unreadable_rows)
            .await?;
        tx.commit().await.map_err(DbError::from)?;
        self.report_unreadable(&root.spec.key, unreadable);
        update_cursor(root, page.cursor, to_pending);
        Ok(end_of(page.has_more, PageEnd::Complete))
    }

    /// Defers the streams of resources whose observed updates are all in the feed.
    ///
    /// A read would cost a call and find nothing new.
    async fn defer_known(&self, tx: &mut Tx, observed: &ObservedUpdates) -> Result<(), JobFailure> {
        let (scope, connection) = (&self.session.scope, self.session.connection);
        let keys: Vec<&str> = observed
            .updates
            .iter()
            .map(|update| update.subject_key.as_str())
            .collect();
        let since = observed.since - TIME_TOLERANCE;
        let known = signals::latest_by_subject(tx, scope, connection, since, &keys).await?;
        let is_known = |update: &ObservedUpdate| {
            known
                .get(&update.subject_key)
                .is_some_and(|at| *at + TIME_TOLERANCE >= update.updated_at)
        };
        let mut resources: BTreeMap<&str, bool> = BTreeMap::new();
        for update in &observed.updates {
            *resources.entry(&update.resource_id).or_insert(true) &= is_known(update);
        }
        let known: Vec<&str> = resources
            .into_iter()
            .filter(|(_, is_known)| *is_known)
            .map(|(resource, _)| resource)
            .collect();
        let read_since = self.upper_bound - MAX_DEFERRAL;
        cursors::defer(
            tx,
            scope,
            connection,
            &known,
            observed.kinds,
            self.upper_bound,
            read_since,
        )
        .await?;
        Ok(())
    }

    /// Marks unchanged streams as read.
    pub(super) async fn mark_read(&self, streams: &[String]) -> Result<(), JobFailure> {
        if streams.is_empty() {
            return Ok(());
        }
        let (scope, connection) = (&self.session.scope, self.session.connection);
        let mut tx = self.begin().await?;
        cursors::mark_read(&mut tx, scope, connection, streams, self.upper_bound).await?;
        tx.commit().await.map_err(DbError::from)?;
        Ok(())
    }

    /// A transaction under the job's lease.
    pub(super) async fn begin(&self) -> Result<Tx, JobFailure> {
        begin(self.context, self.job).await
    }

    async fn advance(
        &self,
        tx: &mut Tx,
        stream: &mut StreamCursor,
        to: &Advance<'_>,
    ) -> Result<(), JobFailure> {
        stream.page_size = stream.page_size.after_page();
        let (scope, connection) = (&self.session.scope, self.session.connection);
        if cursors::advance(tx, scope, connection, stream, to).await? {
            Ok(())
        } else {
            Err(JobFailure::CursorConflict)
        }
    }
}

/// Counts facts that happened while webhooks were active and whose delivery is overdue.
fn count_missed(found: &[DateTime<Utc>], webhooks_since: DateTime<Utc>, now: DateTime<Utc>) -> i64 {
    let is_missed = |at: &&DateTime<Utc>| **at > webhooks_since && **at < now - MAX_DELIVERY_DELAY;
    i64::try_from(found.iter().filter(is_missed).count()).unwrap_or(i64::MAX)
}

fn update_cursor(
    stream: &mut StreamCursor,
    cursor: serde_json::Value,
    pending_upper_bound: Option<DateTime<Utc>>,
) {
    stream.version += 1;
    stream.cursor = Some(cursor);
    stream.pending_upper_bound = pending_upper_bound;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missed_facts_are_overdue_and_after_webhooks() {
        let at = |minutes: i64| {
            DateTime::from_timestamp(1_800_000_000 + minutes * 60, 0).expect("a time")
        };
        let found = [at(-5), at(0), at(1), at(57), at(58), at(59), at(60)];
        assert_eq!(count_missed(&found, at(0), at(60)), 2);
    }
}
