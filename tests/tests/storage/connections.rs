//! Progress of connections, poll intervals and probes.

mod missed;
mod streams;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use shared::clock::{Clock, SystemClock};
use shared::db::connections::{self, Connection, ConnectionStatus};
use shared::db::cursors::{self, Advance};
use shared::db::{Db, TenantScope, Tx};
use shared::model::{ConnectionId, JobId, RefreshToken, StreamSpec, TenantId};
use shared::queue::{ClaimedJob, DueWork, JobQueue, PgJobQueue};
use tests::harness::TestDb;

struct Fixture {
    test: TestDb,
    db: Db,
    scope: TenantScope,
    id: ConnectionId,
}

impl Fixture {
    /// Creates a connection that is polled every five minutes.
    async fn new() -> Self {
        let test = TestDb::create().await;
        let (tenant, id) = (TenantId::generate(), ConnectionId::generate());
        for statement in [
            "INSERT INTO tenants (id, name) SELECT $1, $2::text",
            "INSERT INTO connections (tenant_id, id, provider, status, account_id, \
                 poll_interval_seconds) VALUES ($1, $2, 'any', 'active', 'account', 300)",
            "INSERT INTO connection_routes (tenant_id, connection_id, provider, account_id, \
                 exclusive, polling, poll_interval_seconds) \
             VALUES ($1, $2, 'any', 'account', true, true, 300)",
        ] {
            sqlx::query(statement)
                .bind(tenant)
                .bind(id)
                .execute(test.pool())
                .await
                .expect("a row");
        }
        let db = test.as_worker(2);
        Self {
            test,
            db,
            scope: claimed(tenant).scope(),
            id,
        }
    }

    async fn begin(&self) -> Tx {
        self.db.begin(&self.scope).await.expect("begun")
    }

    async fn connection(&self) -> Connection {
        let mut tx = self.begin().await;
        let found = connections::get(&mut tx, &self.scope, self.id).await;
        found.expect("the query result").expect("the connection")
    }
}

fn stream(key: &str) -> StreamSpec {
    StreamSpec {
        key: key.to_owned(),
        resource_id: None,
        target: json!(null),
    }
}

/// Lists two streams and marks them as read through `read_at`.
async fn list_two_streams(fixture: &Fixture, tx: &mut Tx, read_at: DateTime<Utc>) {
    let streams = ["a", "b"].map(stream);
    cursors::list_streams(tx, &fixture.scope, fixture.id, &streams, read_at, read_at)
        .await
        .expect("listed");
    let keys = ["a".to_owned(), "b".to_owned()];
    cursors::mark_read(tx, &fixture.scope, fixture.id, &keys, read_at)
        .await
        .expect("marked");
}

/// The scope of a tenant, like that of a worker with a claimed job.
pub(crate) fn scope_of(tenant_id: TenantId) -> TenantScope {
    claimed(tenant_id).scope()
}

/// A claimed job of the tenant, which proves access to its rows.
pub(crate) fn claimed(tenant_id: TenantId) -> ClaimedJob {
    ClaimedJob {
        id: JobId::generate(),
        lease_token: 1,
        tenant_id,
        provider: "any".to_owned(),
        connection_id: None,
        attempts: 1,
        max_attempts: 3,
        lost_attempts: 0,
        payload: RefreshToken {}.into(),
        bytes: 0,
        traceparent: None,
        run_at: SystemClock.now(),
        started_at: SystemClock.now(),
    }
}

#[tokio::test]
async fn poll_interval_follows_run_duration() {
    let fixture = Fixture::new().await;
    for (run_seconds, interval) in [(10, 300), (2_400, 3_000), (200, 300)] {
        let mut tx = fixture.begin().await;
        connections::record_run_time(&mut tx, &fixture.scope, fixture.id, run_seconds)
            .await
            .expect("recorded");
        tx.commit().await.expect("committed");
        let connection = fixture.connection().await;
        assert_eq!(connection.effective_poll_interval_seconds, interval);
        assert_eq!(connection.poll_interval_seconds, 300, "as configured");
    }
    // The effective interval is not shorter than a run.
    let mut tx = fixture.begin().await;
    connections::update_poll_interval(&mut tx, &fixture.scope, fixture.id, 30)
        .await
        .expect("updated");
    tx.commit().await.expect("committed");
    let connection = fixture.connection().await;
    assert_eq!(connection.poll_interval_seconds, 30);
    assert_eq!(connection.effective_poll_interval_seconds, 250);
}

#[tokio::test]
async fn backfill_reports_progress_and_estimated_end() {
    let fixture = Fixture::new().await;
    assert_eq!(fixture.connection().await.backfill, None, "not started");
    let started_at = SystemClock.now() - TimeDelta::minutes(30);
    let mut tx = fixture.begin().await;
    connections::record_backfill_start(&mut tx, &fixture.scope, fixture.id, started_at)
        .await
        .expect("started");
    let streams = [stream("issues:1"), stream("pulls:1"), stream("pulls:2")];
    cursors::list_streams(
        &mut tx,
        &fixture.scope,
        fixture.id,
        &streams,
        started_at,
        started_at,
    )
    .await
    .expect("listed");
    let (scope, id) = (&fixture.scope, fixture.id);
    let unread = cursors::list_unread(&mut tx, scope, id, "root", started_at, false, 10);
    let unread = unread.await.expect("streams");
    assert_eq!(unread.len(), 3);
    for (stream, read_through, progress) in
        [(&unread[0], Some(started_at), 1.0), (&unread[1], None, 0.5)]
    {
        let to = Advance {
            cursor: &json!({}),
            pending_upper_bound: None,
            read_through,
            progress,
            reconciled_through: read_through,
            reconcile_seconds: 60.0,
            answered_request: None,
        };
        let moved = cursors::advance(&mut tx, &fixture.scope, fixture.id, stream, &to).await;
        assert!(moved.expect("advanced"));
    }
    tx.commit().await.expect("committed");

    let backfill = fixture.connection().await.backfill.expect("running");
    assert_eq!((backfill.streams, backfill.streams_read), (3, 1));
    assert!((backfill.progress - 0.5).abs() < 1e-6, "{backfill:?}");
    let left = backfill.estimated_end_at.expect("an estimate") - SystemClock.now();
    assert!(
        (left - TimeDelta::minutes(30)).abs() < TimeDelta::minutes(1),
        "half of the backfill has taken half an hour: {left}"
    );

    sqlx::query("UPDATE connections SET backfilled_at = now()")
        .execute(fixture.test.pool())
        .await
        .expect("updated");
    assert_eq!(fixture.connection().await.backfill, None, "finished");
}

#[tokio::test]
async fn configured_poll_interval_keeps_its_boost() {
    let fixture = Fixture::new().await;
    for (boost, requested, interval) in
        [(0_i16, 600, 600), (2, 600, 150), (3, 120, 30), (1, 30, 30)]
    {
        sqlx::query("UPDATE connections SET poll_boost = $1")
            .bind(boost)
            .execute(fixture.test.pool())
            .await
            .expect("boosted");
        let mut tx = fixture.begin().await;
        connections::update_poll_interval(&mut tx, &fixture.scope, fixture.id, requested)
            .await
            .expect("updated");
        tx.commit().await.expect("committed");
        let connection = fixture.connection().await;
        assert_eq!(connection.poll_interval_seconds, requested);
        assert_eq!(connection.effective_poll_interval_seconds, interval);
    }
}

#[tokio::test]
async fn connections_with_lost_grants_are_probed() {
    let fixture = Fixture::new().await;
    let queue = PgJobQueue::new(fixture.db.clone());
    let minutes = async || -> Option<i64> {
        sqlx::query_scalar(
            "SELECT round(extract(epoch FROM probe_at - now()) / 60)::bigint FROM connection_routes",
        )
        .fetch_one(fixture.test.pool())
        .await
        .expect("the query result")
    };
    let run = async |statement: &'static str| {
        let result = sqlx::query(statement).execute(fixture.test.pool()).await;
        result.expect("the query result");
    };
    for (status, reason, first, next) in [
        (
            ConnectionStatus::Suspended,
            "suspended_at_provider",
            Some(5),
            Some(30),
        ),
        (
            ConnectionStatus::NeedsReauth,
            "rotation_lost",
            Some(360),
            Some(360),
        ),
        (
            ConnectionStatus::NeedsReauth,
            connections::GRANT_REFUSED,
            Some(360),
            Some(360),
        ),
    ] {
        let mut tx = fixture.begin().await;
        let changed =
            connections::set_status(&mut tx, &fixture.scope, fixture.id, status, Some(reason));
        assert!(changed.await.expect("set"), "{reason}");
        tx.commit().await.expect("committed");
        assert_eq!(minutes().await, first, "{reason}");
        run("UPDATE connection_routes SET probe_at = now()").await;
        let probed = queue.enqueue_due(DueWork::Probes).await;
        assert_eq!(probed.expect("enqueued"), 1, "{reason}");
        assert_eq!(minutes().await, next, "{reason}");
        run("DELETE FROM jobs").await;
    }
}
