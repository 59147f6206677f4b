//! The statements of a sync on its connection's streams.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use shared::clock::{Clock, SystemClock};
use shared::db::cursors::{self, Advance, ReconcileProgress, StreamCursor};
use shared::db::{Db, TenantScope, due_times};
use shared::model::{ConnectionId, StreamSpec, TenantId};
use sqlx::{Connection, PgConnection};
use tests::harness::TestDb;

use super::{CLAIMS, Reads};
use crate::connections::scope_of;

/// Number of streams of the connection.
const STREAMS: i64 = 300;

struct Fixture {
    test: TestDb,
    db: Db,
    scope: TenantScope,
    connection: ConnectionId,
    now: DateTime<Utc>,
}

impl Fixture {
    /// Creates a connection among many others of the same tenant, each with as many streams.
    async fn new() -> Self {
        let test = TestDb::create().await;
        let (tenant, connection) = (TenantId::generate(), ConnectionId::generate());
        let mut session = PgConnection::connect(test.url()).await.expect("a session");
        for statement in [
            "INSERT INTO tenants (id, name) SELECT $1, 'Acme' WHERE $2::uuid IS NOT NULL",
            "INSERT INTO connections (tenant_id, id, provider, status, account_id, \
                 poll_interval_seconds) \
             SELECT $1, CASE n WHEN 1 THEN $2 ELSE gen_random_uuid() END, 'any', 'active', \
                 n::text, 300 FROM generate_series(1, 150) n",
            "INSERT INTO cursors (tenant_id, connection_id, stream, resource_id, target, \
                 backfill_from, read_through, listed_at) \
             SELECT tenant_id, id, 'issues:' || n, n::text, '{}', now(), now(), now() \
             FROM connections, generate_series(1, 300) n \
             WHERE tenant_id = $1 AND $2::uuid IS NOT NULL",
        ] {
            sqlx::query(statement)
                .bind(tenant)
                .bind(connection)
                .execute(&mut session)
                .await
                .expect("rows");
        }
        for statement in [
            "ALTER TABLE cursors SET (autovacuum_enabled = off)",
            "VACUUM ANALYZE",
            "SELECT pg_stat_force_next_flush()",
        ] {
            sqlx::query(statement)
                .execute(&mut session)
                .await
                .expect("executed");
        }
        session.close().await.expect("closed");
        Self {
            db: test.as_worker(1),
            test,
            scope: scope_of(tenant),
            connection,
            now: SystemClock.now(),
        }
    }

    async fn reads(&self) -> Reads {
        Reads::so_far(&self.test, &self.db, "cursors").await
    }

    /// The streams that a run reads next.
    async fn unread(&self, limit: i64) -> Vec<StreamCursor> {
        let mut tx = self.db.begin(&self.scope).await.expect("begun");
        let later = self.now + TimeDelta::minutes(1);
        let (scope, connection) = (&self.scope, self.connection);
        let unread = cursors::list_unread(&mut tx, scope, connection, "root", later, false, limit);
        let unread = unread.await.expect("streams");
        tx.commit().await.expect("committed");
        unread
    }
}

#[tokio::test]
async fn unread_streams_are_read_by_connection() {
    let fixture = Fixture::new().await;
    let before = fixture.reads().await;
    for _ in 0..CLAIMS {
        assert_eq!(fixture.unread(10).await.len(), 10);
    }
    let reads = before.delta_to(&fixture.reads().await);
    assert_eq!(reads.table_scans, 0, "{reads:?}");
    // The order is that of the last reads, so all streams of the connection are read, and no other.
    let read = reads.of("cursors_pkey");
    assert_eq!(read, CLAIMS * STREAMS, "{reads:?}");
}

#[tokio::test]
async fn page_of_stream_is_stored_by_primary_key() {
    let fixture = Fixture::new().await;
    let streams = fixture.unread(CLAIMS).await;
    let (scope, connection) = (&fixture.scope, fixture.connection);
    let before = fixture.reads().await;
    for stream in &streams {
        let mut tx = fixture.db.begin(scope).await.expect("begun");
        let advance = Advance {
            cursor: &json!({ "page": 2 }),
            pending_upper_bound: None,
            read_through: Some(fixture.now),
            progress: 1.0,
            reconciled_through: None,
            reconcile_seconds: 60.0,
            answered_request: None,
        };
        let moved = cursors::advance(&mut tx, scope, connection, stream, &advance).await;
        assert!(moved.expect("stored"), "no other run has advanced it");
        let pass = ReconcileProgress {
            cursor: None,
            upper_bound: fixture.now,
            reconciled_through: Some(fixture.now),
            due_in_seconds: 60.0,
        };
        cursors::advance_reconciliation(&mut tx, scope, connection, stream, &pass)
            .await
            .expect("stored");
        let keys = [stream.spec.key.clone()];
        cursors::mark_read(&mut tx, scope, connection, &keys, fixture.now)
            .await
            .expect("stored");
        let specs: Vec<StreamSpec> = vec![stream.spec.clone()];
        let now = fixture.now;
        cursors::list_streams(&mut tx, scope, connection, &specs, now, now)
            .await
            .expect("stored");
        tx.commit().await.expect("committed");
    }
    let reads = before.delta_to(&fixture.reads().await);
    assert_eq!(reads.table_scans, 0, "{reads:?}");
    // Four statements, one of which locks the row before it updates it; each update may leave an
    // entry of the previous version.
    let read = reads.of("cursors_pkey");
    assert!(
        (CLAIMS * 4..=CLAIMS * 10).contains(&read),
        "{read} entries: {reads:?}"
    );
}

#[tokio::test]
async fn progress_is_measured_by_connection() {
    let fixture = Fixture::new().await;
    let (scope, connection) = (&fixture.scope, fixture.connection);
    let before = fixture.reads().await;
    for _ in 0..CLAIMS {
        let mut tx = fixture.db.begin(scope).await.expect("begun");
        let progress =
            cursors::measure_progress(&mut tx, scope, connection, "root", fixture.now, None).await;
        assert_eq!(progress.expect("measured").streams, STREAMS);
        tx.commit().await.expect("committed");
    }
    let reads = before.delta_to(&fixture.reads().await);
    assert_eq!(reads.table_scans, 0, "{reads:?}");
    let read = reads.of("cursors_pkey");
    assert_eq!(read, CLAIMS * STREAMS, "{reads:?}");
}

#[tokio::test]
async fn streams_are_requested_by_primary_key() {
    let fixture = Fixture::new().await;
    let (scope, connection) = (&fixture.scope, fixture.connection);
    let before = fixture.reads().await;
    for n in 1..=CLAIMS {
        let mut tx = fixture.db.begin(scope).await.expect("begun");
        let keys = [format!("issues:{n}")];
        due_times::request_streams(&mut tx, scope, connection, &keys)
            .await
            .expect("requested");
        tx.commit().await.expect("committed");
    }
    let reads = before.delta_to(&fixture.reads().await);
    assert_eq!(reads.table_scans, 0, "{reads:?}");
    // Each row is read once to lock it and once to update it.
    let read = reads.of("cursors_pkey");
    assert_eq!(read, CLAIMS * 2, "{reads:?}");
}
