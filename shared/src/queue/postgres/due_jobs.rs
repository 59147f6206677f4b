//! Enqueues due jobs: syncs, probes, token refreshes, subscription reconciliation, rematches.
//!
//! Several workers may run these statements concurrently. Each due job is enqueued once, because
//! the statement that selects a due time also moves it.

use super::insert::insert_jobs_once;
use crate::db::{Db, DbError, Json, TenantScope};
use crate::model::{
    JobId, JobKind, JobPayload, ReconcileSubscriptions, RefreshToken, SyncConnection, SyncMode,
    TenantId,
};
use crate::queue::DueWork;

/// Maximum number of jobs that one statement enqueues.
const BATCH_SIZE: usize = 500;

/// A statement that moves the due time of due routes to `$next` and enqueues a job for each.
///
/// `$due_at` is the column with the due time. A route stays due while one of the jobs `$running` is
/// queued or running: that job began before the due time and may not see the cause of it. Its
/// windows name the route as `c`, because a job has a `connection_id` as well.
macro_rules! enqueue_due {
    ($when:literal, $due_at:literal, $next:literal, $running:literal, $window:literal) => {
        concat!(
            "WITH due AS ( \
                 SELECT tenant_id, connection_id FROM connection_routes c WHERE ",
            $when,
            $due_at,
            " <= now() AND NOT EXISTS (SELECT FROM jobs j \
                 WHERE j.tenant_id = c.tenant_id AND j.provider = c.provider \
                   AND j.cursor_window = ANY (ARRAY[",
            $running,
            "])) ORDER BY ",
            $due_at,
            " LIMIT $4 FOR UPDATE SKIP LOCKED \
             ), moved AS ( \
                 UPDATE connection_routes r SET ",
            $due_at,
            " = ",
            $next,
            " FROM due \
                 WHERE r.tenant_id = due.tenant_id AND r.connection_id = due.connection_id \
                 RETURNING r.tenant_id, r.connection_id, r.provider \
             ), numbered AS (SELECT *, row_number() OVER () AS n FROM moved), new_jobs AS ( \
                 SELECT tenant_id, ($1::uuid[])[n] AS id, $2::job_kind AS kind, provider, \
                     connection_id, ",
            $window,
            " AS cursor_window, $3::smallint AS priority, $5::json AS payload, \
                     0::bigint AS bytes, NULL::text AS traceparent FROM numbered \
             ) ",
            insert_jobs_once!()
        )
    };
}

impl DueWork {
    /// The jobs of routes with a due time, and the statement that enqueues them.
    ///
    /// Rematches have no due time and are enqueued by [`enqueue_rematches`].
    fn of_routes(self) -> Option<(JobPayload, &'static str)> {
        let sync = SyncConnection {
            mode: SyncMode::Incremental,
            upper_bound: None,
            requested_only: false,
        };
        Some(match self {
            Self::Syncs => (
                sync.into(),
                enqueue_due!(
                    "polling AND ",
                    "next_sync_at",
                    "now() + r.poll_interval_seconds * (0.9 + 0.2 * random()) * interval '1 second'",
                    "'sync:' || c.connection_id || ':incremental', \
                     'sync:' || c.connection_id || ':full'",
                    "'sync:' || connection_id || ':incremental'"
                ),
            ),
            Self::RequestedSyncs => (
                SyncConnection {
                    requested_only: true,
                    ..sync
                }
                .into(),
                enqueue_due!(
                    "polling AND NOT EXISTS (SELECT FROM jobs s WHERE s.tenant_id = c.tenant_id \
                         AND s.provider = c.provider AND s.state = 'running' \
                         AND s.cursor_window = ANY (ARRAY[ \
                             'sync:' || c.connection_id || ':incremental', \
                             'sync:' || c.connection_id || ':full'])) AND ",
                    "streams_requested_at",
                    "NULL",
                    "'sync:' || c.connection_id || ':requested'",
                    "'sync:' || connection_id || ':requested'"
                ),
            ),
            Self::Probes => (
                sync.into(),
                enqueue_due!(
                    "",
                    "probe_at",
                    "now() + r.probe_interval, probed_at = now()",
                    "'sync:' || c.connection_id || ':incremental', \
                     'sync:' || c.connection_id || ':full'",
                    "'sync:' || connection_id || ':incremental'"
                ),
            ),
            Self::Refreshes => (
                RefreshToken {}.into(),
                enqueue_due!(
                    "polling AND ",
                    "refresh_at",
                    "now() + interval '1 minute'",
                    "'refresh:' || c.connection_id",
                    "'refresh:' || connection_id"
                ),
            ),
            Self::Subscriptions => (
                ReconcileSubscriptions {}.into(),
                enqueue_due!(
                    "",
                    "subscriptions_at",
                    "now() + interval '5 minutes'",
                    "'subscriptions:' || c.connection_id",
                    "'subscriptions:' || connection_id"
                ),
            ),
            Self::Rematches => return None,
        })
    }
}

/// Enqueues the due jobs of this work; returns how many.
pub(super) async fn enqueue_due(db: &Db, work: DueWork) -> Result<u64, DbError> {
    let Some((payload, statement)) = work.of_routes() else {
        return enqueue_rematches(db).await;
    };
    let result = sqlx::query(statement)
        .bind(job_ids())
        .bind(payload.kind())
        .bind(payload.kind().priority())
        .bind(i64::try_from(BATCH_SIZE).unwrap_or(i64::MAX))
        .bind(Json(&payload))
        .execute(db)
        .await?;
    Ok(result.rows_affected())
}

async fn enqueue_rematches(db: &Db) -> Result<u64, DbError> {
    let scope = TenantScope::new(TenantId::UNASSIGNED);
    let mut tx = db.begin(&scope).await?;
    tx.prefer_index_scan().await?;
    let result = sqlx::query(concat!(
        "WITH matched AS ( \
             SELECT r.tenant_id, r.connection_id, r.provider, r.account_id, \
                 row_number() OVER (ORDER BY r.tenant_id, r.connection_id) AS n \
             FROM ( \
                 SELECT tenant_id, connection_id, provider, account_id FROM connection_routes \
                 WHERE routed_at > now() - interval '1 day' \
                 UNION ALL \
                 SELECT tenant_id, connection_id, provider, route FROM delivery_routes \
                 WHERE created_at > now() - interval '1 day' \
             ) r \
             WHERE EXISTS ( \
                 SELECT FROM deliveries d WHERE d.provider = r.provider \
                   AND d.account_id = r.account_id AND d.outcome = 'unmatched' \
                   AND d.tenant_id = $1) \
             LIMIT $4 \
         ), new_jobs AS ( \
             SELECT tenant_id, ($2::uuid[])[n] AS id, 'rematch_deliveries'::job_kind AS kind, \
                 provider, connection_id, 'rematch:' || connection_id AS cursor_window, \
                 $3::smallint AS priority, 0::bigint AS bytes, NULL::text AS traceparent, \
                 json_build_object('kind', 'rematch_deliveries', 'account_id', account_id) AS payload \
             FROM matched \
         ) ",
        insert_jobs_once!()
    ))
    .bind(TenantId::UNASSIGNED)
    .bind(job_ids())
    .bind(JobKind::RematchDeliveries.priority())
    .bind(i64::try_from(BATCH_SIZE).unwrap_or(i64::MAX))
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(result.rows_affected())
}

fn job_ids() -> Vec<JobId> {
    std::iter::repeat_with(JobId::generate)
        .take(BATCH_SIZE)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ConnectionId;

    #[test]
    fn windows_are_those_of_the_job_kinds() {
        let connection = ConnectionId::generate();
        let id = connection.to_string();
        for work in DueWork::ALL {
            let Some((payload, statement)) = work.of_routes() else {
                continue;
            };
            let window = payload.window("any", Some(connection)).expect("a window");
            let sql = format!("'{window}'").replace(&id, "' || connection_id || '");
            let sql = sql.trim_end_matches(" || ''");
            let column = format!("{sql} AS cursor_window");
            assert!(statement.contains(&column), "{work:?}: {column}");
        }
    }
}
