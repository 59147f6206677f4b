//! The reconciliation pass over a stream: its time range and its commits.

use chrono::{DateTime, TimeDelta, Utc};
use shared::connectors::{ConnectorError, SyncPage};
use shared::db::cursors::{self, ReconcileProgress, StreamCursor};
use shared::db::{DbError, Tx};
use shared::model::JobError;

use super::page_end::{MAX_LATENESS, end_of, part_problem, stream_problem};
use super::run::{PageEnd, Run};
use super::slice::is_temporary;
use super::stream_queue::StreamTask;
use crate::failure::JobFailure;

/// Delay of the next pass after a permanent failure, in seconds.
const PERMANENT_FAILURE_DELAY_SECONDS: f64 = 3600.0;
/// Delay of the next pass after a temporary failure, in seconds.
const TEMPORARY_FAILURE_DELAY_SECONDS: f64 = 900.0;

impl Run<'_> {
    pub(super) fn reconcile_window(&self) -> TimeDelta {
        TimeDelta::from_std(self.context.config.reconcile_window).unwrap_or_default()
    }

    /// Commits a page of the reconciliation pass.
    pub(super) async fn commit_reconciliation(
        &self,
        task: &mut StreamTask,
        mut page: SyncPage,
    ) -> Result<PageEnd, JobFailure> {
        let stream = &mut task.stream;
        stream.page_size = stream.page_size.after_page();
        let bound = stream.pending_upper_bound.unwrap_or(self.upper_bound);
        let interval = self.context.config.reconcile_interval.as_secs_f64();
        let problem = part_problem(&page).filter(|_| !page.has_more);
        let has_gap = has_gap(stream, bound, self.reconcile_window());
        let to = ReconcileProgress {
            cursor: Some(&page.cursor).filter(|_| page.has_more),
            upper_bound: bound,
            reconciled_through: (!page.has_more && problem.is_none() && !has_gap)
                .then_some(bound - MAX_LATENESS),
            // If every part was read, the next pass covers the skipped time immediately.
            due_in_seconds: if problem.is_none() && (page.has_more || has_gap) {
                0.0
            } else {
                interval
            },
        };
        let (scope, connection) = (&self.session.scope, self.session.connection);
        let mut tx = self.begin().await?;
        cursors::advance_reconciliation(&mut tx, scope, connection, stream, &to).await?;
        if !page.has_more {
            self.record_reconcile_failure(&mut tx, &stream.spec.key, problem.as_ref())
                .await?;
        }
        let (missed, unreadable) = self.store_content(&mut tx, stream, &mut page).await?;
        self.record_missed(&mut tx, stream, missed, None).await?;
        tx.commit().await.map_err(DbError::from)?;
        self.report_missed(missed);
        self.report_unreadable(&stream.spec.key, unreadable);
        stream.pending_upper_bound = Some(bound);
        stream.cursor = Some(page.cursor);
        Ok(end_of(page.has_more, PageEnd::Complete))
    }

    /// Records why a pass has not reconciled a stream.
    pub(super) async fn record_reconcile_failure(
        &self,
        tx: &mut Tx,
        stream: &str,
        failure: Option<&JobError>,
    ) -> Result<(), JobFailure> {
        let (scope, connection) = (&self.session.scope, self.session.connection);
        cursors::record_reconcile_failure(tx, scope, connection, stream, failure).await?;
        Ok(())
    }

    /// Ends a reconciliation pass that could not read its stream, and records the failure.
    pub(super) async fn abandon_reconciliation(
        &self,
        stream: &StreamCursor,
        failure: &ConnectorError,
        last_call: Option<&'static str>,
    ) -> Result<(), JobFailure> {
        let (scope, connection) = (&self.session.scope, self.session.connection);
        let to = ReconcileProgress {
            cursor: None,
            upper_bound: self.upper_bound,
            reconciled_through: None,
            due_in_seconds: if is_temporary(failure) {
                TEMPORARY_FAILURE_DELAY_SECONDS
            } else {
                PERMANENT_FAILURE_DELAY_SECONDS
            },
        };
        let problem = stream_problem(failure, last_call);
        let mut tx = self.begin().await?;
        cursors::advance_reconciliation(&mut tx, scope, connection, stream, &to).await?;
        self.record_reconcile_failure(&mut tx, &stream.spec.key, Some(&problem))
            .await?;
        tx.commit().await.map_err(DbError::from)?;
        Ok(())
    }
}

/// Start of the reconciliation pass: its window, or earlier if the last pass did not reach it.
///
/// While the provider denies a part of the stream, the uncovered time would grow with every pass.
/// It is then skipped, and the first pass after the denial covers it.
pub(super) fn reconcile_from(
    stream: &StreamCursor,
    bound: DateTime<Utc>,
    window: TimeDelta,
) -> DateTime<Utc> {
    let from = bound - window;
    if stream.is_reconciliation_denied {
        from
    } else {
        from.min(covered_through(stream))
    }
}

/// Whether a pass skips a time before its window.
fn has_gap(stream: &StreamCursor, bound: DateTime<Utc>, window: TimeDelta) -> bool {
    reconcile_from(stream, bound, window) > covered_through(stream)
}

fn covered_through(stream: &StreamCursor) -> DateTime<Utc> {
    stream.reconciled_through.unwrap_or(stream.backfill_from)
}

#[cfg(test)]
mod tests {
    use shared::db::cursors::PageSize;
    use shared::model::StreamSpec;

    use super::*;

    #[test]
    fn pass_starts_where_the_last_one_ended() {
        let at =
            |days: i64| DateTime::from_timestamp(1_800_000_000 + days * 86_400, 0).expect("a time");
        let stream = |reconciled_through| StreamCursor {
            spec: StreamSpec {
                key: "messages:1".to_owned(),
                resource_id: None,
                target: serde_json::Value::Null,
            },
            cursor: None,
            version: 0,
            backfill_from: at(-90),
            resync_from: None,
            pending_upper_bound: None,
            read_through: Some(at(0)),
            reconciled_through,
            is_reconciliation_denied: false,
            requested_at: None,
            page_size: PageSize::default(),
        };
        let window = TimeDelta::days(7);
        let from = |reconciled_through| reconcile_from(&stream(reconciled_through), at(0), window);
        assert_eq!(from(Some(at(-1))), at(-7), "its window");
        assert_eq!(from(Some(at(-10))), at(-10), "a pass is overdue");
        assert_eq!(from(None), at(-90), "there was none");
        let denied = |reconciled_through| StreamCursor {
            is_reconciliation_denied: true,
            ..stream(reconciled_through)
        };
        let long_ago = denied(Some(at(-10)));
        assert_eq!(reconcile_from(&long_ago, at(0), window), at(-7));
        assert!(has_gap(&long_ago, at(0), window), "it is covered later");
        assert!(!has_gap(&denied(Some(at(-1))), at(0), window));
        assert!(!has_gap(&stream(Some(at(-10))), at(0), window));
    }
}
