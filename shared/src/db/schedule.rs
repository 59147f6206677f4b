//! What is due: polls, renewals, adoptions and the service's own tasks.
//!
//! Any number of workers may ask at once; each due thing is handed to one of them, because
//! the statement that finds it moves its date.

use sqlx::Row;

use super::{Db, DbError, TenantScope, Tx, storable};
use crate::ids::{ConnectionId, JobId, TenantId};
use crate::queue::{JobKind, insert_jobs_once};

/// Most connections that one step takes on.
const STEP: usize = 500;

/// A statement that takes on what is due by a date of the route, moves the date to `$next`,
/// and enqueues a job for each. What one of the jobs `$busy` is about stays due until that job
/// has ended: it began before the date, and may not see what the date was set for.
macro_rules! enqueue_due {
    ($when:literal, $date:literal, $next:literal, $busy:literal, $window:literal, $suffix:literal, $payload:literal) => {
        concat!(
            "WITH due AS ( \
                 SELECT tenant_id, connection_id FROM connection_routes c WHERE ",
            $when,
            $date,
            " <= now() AND NOT EXISTS (SELECT FROM jobs j \
                 WHERE j.tenant_id = c.tenant_id AND j.provider = c.provider \
                   AND j.cursor_window = ANY (ARRAY[",
            $busy,
            "])) ORDER BY ",
            $date,
            " LIMIT $4 FOR UPDATE SKIP LOCKED \
             ), moved AS ( \
                 UPDATE connection_routes r SET ",
            $date,
            " = ",
            $next,
            " FROM due \
                 WHERE r.tenant_id = due.tenant_id AND r.connection_id = due.connection_id \
                 RETURNING r.tenant_id, r.connection_id, r.provider \
             ), numbered AS (SELECT *, row_number() OVER () AS n FROM moved), new_jobs AS ( \
                 SELECT tenant_id, ($1::uuid[])[n] AS id, $2::job_kind AS kind, provider, \
                     connection_id, '",
            $window,
            ":' || connection_id || '",
            $suffix,
            "' AS cursor_window, $3::smallint AS priority, '",
            $payload,
            "'::json AS payload, 0::bigint AS bytes, NULL::text AS traceparent FROM numbered \
             ) ",
            $crate::queue::insert_jobs_once!()
        )
    };
}

/// Enqueues an incremental sync for every connection whose time has come, and moves its
/// date on by its interval, a little spread. Answers how many there were.
pub async fn enqueue_due_syncs(db: &Db) -> Result<u64, DbError> {
    let statement = enqueue_due!(
        "polling AND ",
        "next_sync_at",
        "now() + r.poll_interval_seconds * (0.9 + 0.2 * random()) * interval '1 second'",
        "'sync:' || connection_id || ':incremental', 'sync:' || connection_id || ':full'",
        "sync",
        ":incremental",
        r#"{"kind":"sync_connection","mode":"incremental"}"#
    );
    enqueue_due(db, statement, JobKind::SyncConnection).await
}

/// Has a connection read as soon as it can be: at once, or when the run under way has ended,
/// whose frozen bound lies before this moment.
pub async fn sync_soon(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE connection_routes SET next_sync_at = now() \
         WHERE tenant_id = $1 AND connection_id = $2",
    )
    .bind(scope.tenant_id())
    .bind(connection)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Enqueues a read of every suspended or refused connection whose probe is due: where the read
/// works, the connection is active again. One without an interval is probed once.
pub async fn enqueue_due_probes(db: &Db) -> Result<u64, DbError> {
    let statement = enqueue_due!(
        "",
        "probe_at",
        "now() + r.probe_interval, probed_at = now()",
        "'sync:' || connection_id || ':incremental', 'sync:' || connection_id || ':full'",
        "sync",
        ":incremental",
        r#"{"kind":"sync_connection","mode":"incremental"}"#
    );
    enqueue_due(db, statement, JobKind::SyncConnection).await
}

/// Has suspended and refused connections probed, because a delivery of theirs was verified; each
/// at most once a minute.
pub async fn probe_soon(
    tx: &mut Tx,
    connections: &[(TenantId, ConnectionId)],
) -> Result<(), DbError> {
    if connections.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "UPDATE connection_routes r \
         SET probe_at = greatest(now(), r.probed_at + interval '1 minute') \
         FROM unnest($1::uuid[], $2::uuid[]) AS k(tenant_id, connection_id) \
         WHERE r.tenant_id = k.tenant_id AND r.connection_id = k.connection_id \
           AND (r.probe_at IS NULL OR r.probe_at > now() + interval '1 minute')",
    )
    .bind(
        connections
            .iter()
            .map(|(tenant, _)| *tenant)
            .collect::<Vec<_>>(),
    )
    .bind(connections.iter().map(|(_, id)| *id).collect::<Vec<_>>())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Enqueues a renewal for every token that ends soon.
pub async fn enqueue_due_refreshes(db: &Db) -> Result<u64, DbError> {
    let statement = enqueue_due!(
        "polling AND ",
        "refresh_at",
        "now() + interval '1 minute'",
        "'refresh:' || connection_id",
        "refresh",
        "",
        r#"{"kind":"refresh_token"}"#
    );
    enqueue_due(db, statement, JobKind::RefreshToken).await
}

/// Enqueues the care of every connection's subscriptions that need some. One that fails is
/// tried again; the job itself says when it is needed next.
pub async fn enqueue_due_subscriptions(db: &Db) -> Result<u64, DbError> {
    let statement = enqueue_due!(
        "",
        "subscriptions_at",
        "now() + interval '5 minutes'",
        "'subscriptions:' || connection_id",
        "subscriptions",
        "",
        r#"{"kind":"maintain_subscriptions"}"#
    );
    enqueue_due(db, statement, JobKind::MaintainSubscriptions).await
}

async fn enqueue_due(db: &Db, statement: &'static str, kind: JobKind) -> Result<u64, DbError> {
    let done = sqlx::query(statement)
        .bind(job_ids())
        .bind(kind)
        .bind(kind.priority())
        .bind(i64::try_from(STEP).unwrap_or(i64::MAX))
        .execute(db)
        .await?;
    Ok(done.rows_affected())
}

/// Enqueues an adoption wherever deliveries wait that a connection of the last day matches.
/// Asked again and again, it also finds those that were committed while the connection was.
pub async fn enqueue_adoptions(db: &Db) -> Result<u64, DbError> {
    let scope = TenantScope::new(TenantId::UNASSIGNED);
    let mut tx = db.begin(&scope).await?;
    tx.look_up_by_index().await?;
    let done = sqlx::query(concat!(
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
             SELECT tenant_id, ($2::uuid[])[n] AS id, 'adopt_deliveries'::job_kind AS kind, \
                 provider, connection_id, 'adopt:' || connection_id AS cursor_window, \
                 $3::smallint AS priority, 0::bigint AS bytes, NULL::text AS traceparent, \
                 json_build_object('kind', 'adopt_deliveries', 'account_id', account_id) AS payload \
             FROM matched \
         ) ",
        insert_jobs_once!()
    ))
    .bind(TenantId::UNASSIGNED)
    .bind(job_ids())
    .bind(JobKind::AdoptDeliveries.priority())
    .bind(i64::try_from(STEP).unwrap_or(i64::MAX))
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(done.rows_affected())
}

/// Whether this transaction is the one that does the task `name` in this period: it also enqueues
/// the task's job, so that neither is without the other. The first time a task is heard of, it
/// is due at once.
pub async fn take_periodic(tx: &mut Tx, name: &str, period_seconds: f64) -> Result<bool, DbError> {
    let taken = sqlx::query(
        "INSERT INTO periodic_tasks (name, next_at) VALUES ($1, now() + $2 * interval '1 second') \
         ON CONFLICT (name) DO UPDATE SET next_at = excluded.next_at \
         WHERE periodic_tasks.next_at <= now()",
    )
    .bind(name)
    .bind(period_seconds)
    .execute(&mut **tx)
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
    .fetch_all(db)
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

/// The pending connection of `requester` that waits for an account not yet named, if exactly
/// one does. Two tenants that wait for the same person are told apart by nothing we may trust.
pub async fn unnamed_pending(
    tx: &mut Tx,
    provider: &str,
    requester: &str,
) -> Result<Option<(TenantScope, ConnectionId)>, DbError> {
    let rows: Vec<(TenantId, ConnectionId)> = sqlx::query_as(
        "SELECT tenant_id, id FROM connections \
         WHERE status = 'pending' AND provider = $1 AND requester = $2 \
           AND account_stable_id IS NULL AND pending_until > now() LIMIT 2",
    )
    .bind(provider)
    .bind(storable(requester))
    .fetch_all(&mut **tx)
    .await?;
    match rows.as_slice() {
        [(tenant, connection)] => Ok(Some((TenantScope::new(*tenant), *connection))),
        _ => Ok(None),
    }
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
    .fetch_one(db)
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
