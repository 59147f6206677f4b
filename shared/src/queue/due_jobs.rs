//! Enqueues due jobs: syncs, probes, token refreshes, subscription reconciliation, rematches.
//!
//! Several workers may run these statements concurrently. Each due job is enqueued once, because
//! the statement that selects a due time also moves it.

use super::insert_jobs_once;
use crate::db::{Db, DbError, TenantScope, Tx, sanitize_all};
use crate::model::{ConnectionId, JobId, JobKind, TenantId};

/// Maximum number of jobs that one statement enqueues.
const BATCH_SIZE: usize = 500;

/// A statement that selects due routes, moves their due time to `$next`, and enqueues a job each.
///
/// `$due_at` is the column with the due time. A route stays due while one of the jobs `$running` is
/// queued or running: that job began before the due time and may not see the cause of it. Its
/// windows name the route as `c`, because a job has a `connection_id` as well.
macro_rules! enqueue_due {
    ($when:literal, $due_at:literal, $next:literal, $running:literal, $window:literal, $suffix:literal, $payload:literal) => {
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

/// Enqueues an incremental sync for every due connection; returns how many.
///
/// The next due time is one poll interval later, with 10 % jitter.
pub async fn enqueue_due_syncs(db: &Db) -> Result<u64, DbError> {
    let statement = enqueue_due!(
        "polling AND ",
        "next_sync_at",
        "now() + r.poll_interval_seconds * (0.9 + 0.2 * random()) * interval '1 second'",
        "'sync:' || c.connection_id || ':incremental', 'sync:' || c.connection_id || ':full'",
        "sync",
        ":incremental",
        r#"{"kind":"sync_connection","mode":"incremental"}"#
    );
    enqueue_due(db, statement, JobKind::SyncConnection).await
}

/// Makes a connection due for a sync now.
///
/// If a run is in progress, the sync starts after it, because its upper bound is already fixed.
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

/// Enqueues a sync of the requested streams of every connection that has any.
///
/// It waits while a sync of the connection runs, so that the two do not read one stream at the
/// same time. A sync that is snoozed does not delay it. A paused connection has no job.
pub async fn enqueue_requested_syncs(db: &Db) -> Result<u64, DbError> {
    let statement = enqueue_due!(
        "polling AND NOT EXISTS (SELECT FROM jobs s WHERE s.tenant_id = c.tenant_id \
             AND s.provider = c.provider AND s.state = 'running' AND s.cursor_window = ANY (ARRAY[ \
                 'sync:' || c.connection_id || ':incremental', \
                 'sync:' || c.connection_id || ':full'])) AND ",
        "streams_requested_at",
        "NULL",
        "'sync:' || c.connection_id || ':requested'",
        "sync",
        ":requested",
        r#"{"kind":"sync_connection","mode":"incremental","requested_only":true}"#
    );
    enqueue_due(db, statement, JobKind::SyncConnection).await
}

/// Requests a read of these streams of a connection now.
///
/// Requests of one stream are coalesced until a read of the stream has begun after them. If a
/// stream is unknown, the connection becomes due for a sync, which lists its streams.
pub async fn request_streams(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    streams: &[String],
) -> Result<(), DbError> {
    let known = sqlx::query(
        "WITH locked AS MATERIALIZED ( \
             SELECT stream FROM cursors WHERE tenant_id = $1 AND connection_id = $2 \
               AND stream = ANY ($3) AND retired_at IS NULL \
             ORDER BY stream FOR NO KEY UPDATE \
         ) \
         UPDATE cursors c SET requested_at = clock_timestamp() FROM locked l \
         WHERE c.tenant_id = $1 AND c.connection_id = $2 AND c.stream = l.stream",
    )
    .bind(scope.tenant_id())
    .bind(connection)
    .bind(sanitize_all(streams))
    .execute(&mut **tx)
    .await?
    .rows_affected();
    if known > 0 {
        sqlx::query(
            "UPDATE connection_routes SET streams_requested_at = now() \
             WHERE tenant_id = $1 AND connection_id = $2",
        )
        .bind(scope.tenant_id())
        .bind(connection)
        .execute(&mut **tx)
        .await?;
    }
    if known < streams.len() as u64 {
        sync_soon(tx, scope, connection).await?;
    }
    Ok(())
}

/// Enqueues a sync of every suspended or refused connection whose probe is due.
///
/// A successful read makes the connection active again. A connection without a probe interval is
/// probed once.
pub async fn enqueue_due_probes(db: &Db) -> Result<u64, DbError> {
    let statement = enqueue_due!(
        "",
        "probe_at",
        "now() + r.probe_interval, probed_at = now()",
        "'sync:' || c.connection_id || ':incremental', 'sync:' || c.connection_id || ':full'",
        "sync",
        ":incremental",
        r#"{"kind":"sync_connection","mode":"incremental"}"#
    );
    enqueue_due(db, statement, JobKind::SyncConnection).await
}

/// Makes suspended and refused connections due for a probe, at most once a minute each.
///
/// A verified delivery suggests that the grant is valid again.
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

/// Enqueues a refresh for every token that expires soon.
pub async fn enqueue_due_refreshes(db: &Db) -> Result<u64, DbError> {
    let statement = enqueue_due!(
        "polling AND ",
        "refresh_at",
        "now() + interval '1 minute'",
        "'refresh:' || c.connection_id",
        "refresh",
        "",
        r#"{"kind":"refresh_token"}"#
    );
    enqueue_due(db, statement, JobKind::RefreshToken).await
}

/// Enqueues the reconciliations of subscriptions that are due.
///
/// The due time set here is for a retry; the job sets the next one when it succeeds.
pub async fn enqueue_due_subscriptions(db: &Db) -> Result<u64, DbError> {
    let statement = enqueue_due!(
        "",
        "subscriptions_at",
        "now() + interval '5 minutes'",
        "'subscriptions:' || c.connection_id",
        "subscriptions",
        "",
        r#"{"kind":"reconcile_subscriptions"}"#
    );
    enqueue_due(db, statement, JobKind::ReconcileSubscriptions).await
}

async fn enqueue_due(db: &Db, statement: &'static str, kind: JobKind) -> Result<u64, DbError> {
    let result = sqlx::query(statement)
        .bind(job_ids())
        .bind(kind)
        .bind(kind.priority())
        .bind(i64::try_from(BATCH_SIZE).unwrap_or(i64::MAX))
        .execute(db)
        .await?;
    Ok(result.rows_affected())
}

/// Enqueues a rematch for every connection of the last day that unmatched deliveries match.
///
/// Periodic runs also find deliveries that were committed concurrently with the connection.
pub async fn enqueue_due_rematches(db: &Db) -> Result<u64, DbError> {
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
