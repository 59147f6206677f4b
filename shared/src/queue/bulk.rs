//! The jobs and deliveries that a bulk action applies to.

use super::job_queue::JobQueue;
use super::jobs::JobFilter;
use crate::db::deliveries::{self, DeliveryFilter};
use crate::db::{DbError, TenantScope, Tx};
use crate::model::{BulkAction, DeliverySelection, JobId, JobKind, JobSelection, JobState};

/// The number up to which matching items are counted.
pub const MAX_COUNTED: u32 = 100_000;

/// The jobs that a retry applies to: dead-lettered ones.
///
/// Bulk actions are left out, as in [`jobs_to_cancel`].
pub fn jobs_to_retry(selection: &JobSelection) -> JobFilter {
    JobFilter {
        state: Some(JobState::Dead),
        ..filter(selection)
    }
}

/// The jobs that a cancellation applies to: queued and running ones.
///
/// Bulk actions are left out, so that none waits for another one that waits for it.
pub fn jobs_to_cancel(selection: &JobSelection) -> JobFilter {
    JobFilter {
        is_active: true,
        ..filter(selection)
    }
}

fn filter(selection: &JobSelection) -> JobFilter {
    JobFilter {
        state: selection.state,
        kind: selection.kind,
        connection_id: selection.connection_id,
        provider: selection.provider.clone(),
        is_active: false,
        except: Some(JobKind::RunBulkAction),
    }
}

/// The deliveries that a replay applies to.
///
/// Rows of lists and deliveries that are not processed yet are left out.
pub fn deliveries_to_replay(selection: &DeliverySelection) -> DeliveryFilter {
    DeliveryFilter {
        provider: selection.provider.clone(),
        outcome: selection.outcome,
        connection_id: selection.connection_id,
        is_replayable: true,
    }
}

/// Counts the items that an action applies to and that are older than `before`, up to
/// [`MAX_COUNTED`].
pub async fn count_matching(
    queue: &dyn JobQueue,
    tx: &mut Tx,
    scope: &TenantScope,
    action: &BulkAction,
    before: Option<JobId>,
) -> Result<i64, DbError> {
    let filter = match action {
        BulkAction::Retry(selection) => jobs_to_retry(selection),
        BulkAction::Cancel(selection) => jobs_to_cancel(selection),
        BulkAction::Replay(selection) => {
            let filter = deliveries_to_replay(selection);
            let before = before.map(|id| id.0);
            return deliveries::count(tx, scope, &filter, before, MAX_COUNTED).await;
        }
    };
    queue.count(tx, scope, &filter, before, MAX_COUNTED).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_selects_dead_and_cancellation_active_jobs() {
        let any = JobSelection::default();
        assert_eq!(jobs_to_retry(&any).state, Some(JobState::Dead));
        let cancelled = jobs_to_cancel(&any);
        assert_eq!((cancelled.state, cancelled.is_active), (None, true));
        for filter in [jobs_to_retry(&any), cancelled] {
            assert_eq!(filter.except, Some(JobKind::RunBulkAction));
        }
        assert!(deliveries_to_replay(&DeliverySelection::default()).is_replayable);
    }
}
