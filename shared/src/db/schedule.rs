//! What is due: polls, renewals, adoptions and the service's own tasks.
//!
//! Any number of workers may ask at once; each due thing is handed to one of them, because
//! the statement that finds it moves its date.

use sqlx::Row;

use super::{Db, DbError, TenantScope};
use crate::ids::{ConnectionId, JobId, TenantId};
use crate::queue::JobKind;

/// Most connections that one step takes on.
const STEP: usize = 500;

/// Enqueues an incremental sync for every connection whose time has come, and moves its
/// date on by its interval, a little spread. Answers how many there were.
pub async fn enqueue_due_syncs(db: &Db) -> Result<u64, DbError> {
    let done = sqlx::query(
        "WITH due AS ( \
             SELECT tenant_id, connection_id FROM connection_routes \
             WHERE polling AND next_sync_at <= now() \
             ORDER BY next_sync_at LIMIT $3 FOR UPDATE SKIP LOCKED \
         ), moved AS ( \
             UPDATE connection_routes r SET next_sync_at = \
                 now() + r.poll_interval_seconds * (0.9 + 0.2 * random()) * interval '1 second' \
             FROM due WHERE r.tenant_id = due.tenant_id AND r.connection_id = due.connection_id \
             RETURNING r.tenant_id, r.connection_id, r.provider \
         ), numbered AS (SELECT *, row_number() OVER () AS n FROM moved) \
         INSERT INTO jobs (tenant_id, id, kind, provider, connection_id, cursor_window, priority, payload) \
         SELECT tenant_id, ($1::uuid[])[n], 'sync_connection', provider, connection_id, \
             'sync:' || connection_id || ':incremental', $2, \
             '{\"kind\":\"sync_connection\",\"mode\":\"incremental\"}' \
         FROM numbered ORDER BY tenant_id, connection_id \
         ON CONFLICT (tenant_id, provider, cursor_window) WHERE cursor_window IS NOT NULL DO NOTHING",
    )
    .bind(job_ids())
    .bind(JobKind::SyncConnection.priority())
    .bind(i64::try_from(STEP).unwrap_or(i64::MAX))
    .execute(db.pool())
    .await?;
    Ok(done.rows_affected())
}

/// Enqueues a renewal for every token that ends soon.
pub async fn enqueue_due_refreshes(db: &Db) -> Result<u64, DbError> {
    let done = sqlx::query(
        "WITH due AS ( \
             SELECT tenant_id, connection_id FROM connection_routes \
             WHERE polling AND refresh_at <= now() \
             ORDER BY refresh_at LIMIT $3 FOR UPDATE SKIP LOCKED \
         ), moved AS ( \
             UPDATE connection_routes r SET refresh_at = now() + interval '1 minute' \
             FROM due WHERE r.tenant_id = due.tenant_id AND r.connection_id = due.connection_id \
             RETURNING r.tenant_id, r.connection_id, r.provider \
         ), numbered AS (SELECT *, row_number() OVER () AS n FROM moved) \
         INSERT INTO jobs (tenant_id, id, kind, provider, connection_id, cursor_window, priority, payload) \
         SELECT tenant_id, ($1::uuid[])[n], 'refresh_token', provider, connection_id, \
             'refresh:' || connection_id, $2, '{\"kind\":\"refresh_token\"}' \
         FROM numbered ORDER BY tenant_id, connection_id \
         ON CONFLICT (tenant_id, provider, cursor_window) WHERE cursor_window IS NOT NULL DO NOTHING",
    )
    .bind(job_ids())
    .bind(JobKind::RefreshToken.priority())
    .bind(i64::try_from(STEP).unwrap_or(i64::MAX))
    .execute(db.pool())
    .await?;
    Ok(done.rows_affected())
}

/// Enqueues an adoption wherever deliveries wait that a connection of the last day matches.
/// Asked again and again, it also finds those that were committed while the connection was.
pub async fn enqueue_adoptions(db: &Db) -> Result<u64, DbError> {
    let scope = TenantScope::new(TenantId::UNASSIGNED);
    let mut tx = db.begin(&scope).await?;
    let done = sqlx::query(
        "WITH matched AS ( \
             SELECT r.tenant_id, r.connection_id, r.provider, r.account_id, \
                 row_number() OVER (ORDER BY r.tenant_id, r.connection_id) AS n \
             FROM connection_routes r \
             WHERE r.routed_at > now() - interval '1 day' AND EXISTS ( \
                 SELECT FROM deliveries d WHERE d.provider = r.provider \
                   AND d.account_id = r.account_id AND d.outcome = 'unmatched' \
                   AND d.tenant_id = $1) \
             LIMIT $4 \
         ) \
         INSERT INTO jobs (tenant_id, id, kind, provider, connection_id, cursor_window, priority, payload) \
         SELECT tenant_id, ($2::uuid[])[n], 'adopt_deliveries', provider, connection_id, \
             'adopt:' || connection_id, $3, \
             json_build_object('kind', 'adopt_deliveries', 'account_id', account_id) \
         FROM matched ORDER BY tenant_id, connection_id \
         ON CONFLICT (tenant_id, provider, cursor_window) WHERE cursor_window IS NOT NULL DO NOTHING",
    )
    .bind(TenantId::UNASSIGNED)
    .bind(job_ids())
    .bind(JobKind::AdoptDeliveries.priority())
    .bind(i64::try_from(STEP).unwrap_or(i64::MAX))
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(done.rows_affected())
}

/// Whether this call is the one that does the task `name` in this period. The first time a
/// task is heard of, it is due at once.
pub async fn take_periodic(db: &Db, name: &str, period_seconds: f64) -> Result<bool, DbError> {
    let taken = sqlx::query(
        "INSERT INTO periodic_tasks (name, next_at) VALUES ($1, now() + $2 * interval '1 second') \
         ON CONFLICT (name) DO UPDATE SET next_at = excluded.next_at \
         WHERE periodic_tasks.next_at <= now()",
    )
    .bind(name)
    .bind(period_seconds)
    .execute(db.pool())
    .await?;
    Ok(taken.rows_affected() == 1)
}

/// Waiting and running jobs of one kind.
#[derive(Debug)]
pub struct QueueDepth {
    /// The kind.
    pub kind: JobKind,
    /// Jobs that wait, the postponed included.
    pub queued: i64,
    /// Jobs under way.
    pub running: i64,
    /// How long the oldest due job has been waiting.
    pub oldest_seconds: f64,
}

/// The queue's depth and age, by kind, for the metrics.
pub async fn queue_depth(db: &Db) -> Result<Vec<QueueDepth>, DbError> {
    let rows = sqlx::query(
        "SELECT kind, count(*) FILTER (WHERE state = 'queued') AS queued, \
             count(*) FILTER (WHERE state = 'running') AS running, \
             coalesce(extract(epoch FROM now() - min(run_at) \
                 FILTER (WHERE state = 'queued' AND run_at <= now())), 0)::float8 AS oldest \
         FROM jobs GROUP BY kind",
    )
    .fetch_all(db.pool())
    .await?;
    rows.iter()
        .map(|row| {
            Ok(QueueDepth {
                kind: row.try_get("kind")?,
                queued: row.try_get("queued")?,
                running: row.try_get("running")?,
                oldest_seconds: row.try_get("oldest")?,
            })
        })
        .collect()
}

/// A pending connection that waits for the approval `requester` asked for, if exactly one
/// does. Two tenants that wait for the same person are told apart by nothing we may trust.
pub async fn pending_for(
    db: &Db,
    provider: &str,
    requester: &str,
) -> Result<Option<(TenantScope, ConnectionId)>, DbError> {
    let rows: Vec<(TenantId, ConnectionId)> = sqlx::query_as(
        "SELECT tenant_id, id FROM connections \
         WHERE status = 'pending' AND provider = $1 AND requester = $2 LIMIT 2",
    )
    .bind(provider)
    .bind(requester)
    .fetch_all(db.pool())
    .await?;
    match rows.as_slice() {
        [(tenant, connection)] => Ok(Some((TenantScope::new(*tenant), *connection))),
        _ => Ok(None),
    }
}

/// Deletes what has expired and makes and drops partitions. Answers how many rows and
/// partitions went.
pub async fn apply_retention(db: &Db, delivery_days: i32, job_days: i32) -> Result<u64, DbError> {
    let mut gone = 0;
    sqlx::query("SELECT ensure_partitions(14)")
        .execute(db.pool())
        .await?;
    for (parent, days) in [("deliveries", delivery_days), ("job_history", job_days)] {
        let dropped: i32 = sqlx::query_scalar("SELECT drop_partitions($1, $2)")
            .bind(parent)
            .bind(days)
            .fetch_one(db.pool())
            .await?;
        gone += u64::from(dropped.unsigned_abs());
    }
    for statement in [
        "DELETE FROM oauth_states WHERE ctid IN (SELECT ctid FROM oauth_states \
         WHERE expires_at < now() - interval '1 hour' LIMIT 5000)",
        "DELETE FROM idempotency_keys WHERE ctid IN (SELECT ctid FROM idempotency_keys \
         WHERE created_at < now() - interval '1 day' LIMIT 5000)",
        "DELETE FROM delivery_ledger WHERE ctid IN (SELECT ctid FROM delivery_ledger \
         WHERE received_at < now() - interval '90 days' LIMIT 5000)",
    ] {
        loop {
            let rows = sqlx::query(statement)
                .execute(db.pool())
                .await?
                .rows_affected();
            gone += rows;
            if rows < 5000 {
                break;
            }
        }
    }
    Ok(gone)
}

fn job_ids() -> Vec<JobId> {
    std::iter::repeat_with(JobId::generate).take(STEP).collect()
}

/// Transaction ids as they are at the moment.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot {
    /// The oldest that still runs; the feed ends below it.
    pub oldest_running: u64,
    /// The next one to be given out.
    pub next: u64,
}

/// Where transaction ids stand.
pub async fn snapshot(db: &Db) -> Result<Snapshot, DbError> {
    let (oldest_running, next): (String, String) = sqlx::query_as(
        "SELECT pg_snapshot_xmin(s)::text, pg_snapshot_xmax(s)::text FROM pg_current_snapshot() s",
    )
    .fetch_one(db.pool())
    .await?;
    let number = |text: String| {
        text.parse()
            .map_err(|_| DbError::Corrupt("a transaction id is not a number"))
    };
    Ok(Snapshot {
        oldest_running: number(oldest_running)?,
        next: number(next)?,
    })
}
