//! What a connection says of its own reading.

use chrono::TimeDelta;
use serde_json::json;
use shared::clock::{Clock, SystemClock};
use shared::connectors::StreamSpec;
use shared::db::connections::{self, Connection, Progress};
use shared::db::cursors::{self, Advance};
use shared::db::{Db, TenantScope, Tx};
use shared::ids::{ConnectionId, JobId, TenantId};
use shared::queue::{ClaimedJob, JobError, JobPayload};
use tests::harness::TestDb;

struct Fixture {
    test: TestDb,
    db: Db,
    scope: TenantScope,
    id: ConnectionId,
}

impl Fixture {
    /// A connection that is polled every five minutes.
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
        found.expect("Postgres answers").expect("the connection")
    }
}

/// The scope of a tenant, as a worker that has claimed one of its jobs has it.
pub(crate) fn scope_of(tenant_id: TenantId) -> TenantScope {
    claimed(tenant_id).scope()
}

/// A claimed job of the tenant: the proof that its rows may be touched.
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
        payload: JobPayload::RefreshToken,
        bytes: 0,
        traceparent: None,
        run_at: SystemClock.now(),
    }
}

#[tokio::test]
async fn interval_grows_beyond_a_long_run_and_shrinks_again() {
    let of = Fixture::new().await;
    for (run_seconds, interval) in [(10, 300), (2_400, 3_000), (200, 300)] {
        let mut tx = of.begin().await;
        connections::record_run_time(&mut tx, &of.scope, of.id, run_seconds)
            .await
            .expect("recorded");
        tx.commit().await.expect("committed");
        let connection = of.connection().await;
        assert_eq!(connection.effective_poll_interval_seconds, interval);
        assert_eq!(connection.poll_interval_seconds, 300, "what was asked for");
    }
    // A shorter interval than the run takes is no shorter in fact.
    let mut tx = of.begin().await;
    connections::update_poll_interval(&mut tx, &of.scope, of.id, 30)
        .await
        .expect("updated");
    tx.commit().await.expect("committed");
    let connection = of.connection().await;
    assert_eq!(connection.poll_interval_seconds, 30);
    assert_eq!(connection.effective_poll_interval_seconds, 250);
}

#[tokio::test]
async fn backfill_tells_how_far_it_is_and_when_it_ends() {
    let of = Fixture::new().await;
    assert_eq!(of.connection().await.backfill, None, "not begun");
    let started_at = SystemClock.now() - TimeDelta::minutes(30);
    let stream = |key: &str| StreamSpec {
        key: key.to_owned(),
        resource_id: None,
        target: json!(null),
    };
    let mut tx = of.begin().await;
    connections::record_backfill_start(&mut tx, &of.scope, of.id, started_at)
        .await
        .expect("started");
    let streams = [stream("issues:1"), stream("pulls:1"), stream("pulls:2")];
    cursors::list_streams(&mut tx, &of.scope, of.id, &streams, started_at, started_at)
        .await
        .expect("listed");
    let unread = cursors::list_unread(&mut tx, &of.scope, of.id, "root", started_at, 10)
        .await
        .expect("streams");
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
        };
        let moved = cursors::advance(&mut tx, &of.scope, of.id, stream, &to).await;
        assert!(moved.expect("advanced"));
    }
    tx.commit().await.expect("committed");

    let backfill = of.connection().await.backfill.expect("under way");
    assert_eq!((backfill.streams, backfill.streams_read), (3, 1));
    assert!((backfill.progress - 0.5).abs() < 1e-6, "{backfill:?}");
    let left = backfill.estimated_end_at.expect("an estimate") - SystemClock.now();
    assert!(
        (left - TimeDelta::minutes(30)).abs() < TimeDelta::minutes(1),
        "half of it has taken half an hour: {left}"
    );

    sqlx::query("UPDATE connections SET backfilled_at = now()")
        .execute(of.test.pool())
        .await
        .expect("read");
    assert_eq!(of.connection().await.backfill, None, "over");
}

#[tokio::test]
async fn least_recently_read_streams_come_first_and_finished_ones_not_at_all() {
    let of = Fixture::new().await;
    let at = |minutes: i64| {
        chrono::DateTime::from_timestamp(1_800_000_000 + minutes * 60, 0).expect("a moment")
    };
    let streams: Vec<StreamSpec> = ["a", "b", "c", "d"]
        .iter()
        .map(|key| StreamSpec {
            key: (*key).to_owned(),
            resource_id: None,
            target: json!(null),
        })
        .collect();
    let mut tx = of.begin().await;
    cursors::list_streams(&mut tx, &of.scope, of.id, &streams, at(0), at(0))
        .await
        .expect("listed");
    for (key, minutes) in [("a", 9), ("c", 5)] {
        let keys = [key.to_owned()];
        cursors::mark_read(&mut tx, &of.scope, of.id, &keys, at(minutes))
            .await
            .expect("marked");
    }
    let denied = JobError {
        code: "permission".to_owned(),
        message: "denied".to_owned(),
    };
    cursors::note_failure(&mut tx, &of.scope, of.id, "d", &denied, Some(at(20)))
        .await
        .expect("noted");
    let reached = cursors::reached(&mut tx, &of.scope, of.id, "root").await;
    let reached = reached.expect("how far");
    assert_eq!((reached.streams, reached.failing), (4, 1));
    assert_eq!(reached.read_through, None, "one has never been read");
    assert_eq!(reached.held_back_by.expect("a stream").stream, "d");
    let unread = async |tx: &mut Tx, minutes| -> Vec<String> {
        cursors::list_unread(tx, &of.scope, of.id, "root", at(minutes), 10)
            .await
            .expect("streams")
            .into_iter()
            .map(|stream| stream.spec.key)
            .collect()
    };
    assert_eq!(unread(&mut tx, 20).await, ["b", "c", "a"]);
    assert_eq!(unread(&mut tx, 21).await, ["b", "d", "c", "a"]);

    // What the next whole pass does not list is read no more.
    cursors::list_streams(&mut tx, &of.scope, of.id, &streams[..2], at(0), at(30))
        .await
        .expect("listed");
    cursors::retire_unlisted(&mut tx, &of.scope, of.id, "root", at(30))
        .await
        .expect("retired");
    assert_eq!(unread(&mut tx, 30).await, ["b", "a"]);
}

#[tokio::test]
async fn connection_that_misses_deliveries_is_polled_more_often_for_a_while() {
    let of = Fixture::new().await;
    for (missed, seconds) in [
        (3, 300),
        (4, 150),
        (40, 75),
        (40, 37),
        (40, 37),
        (2, 37),
        (0, 75),
        (0, 150),
        (0, 300),
        (0, 300),
    ] {
        let progress = Progress {
            missed,
            ended: Some(false),
            ..Progress::default()
        };
        let mut tx = of.begin().await;
        connections::record_progress(&mut tx, &of.scope, of.id, &progress)
            .await
            .expect("recorded");
        connections::record_run_time(&mut tx, &of.scope, of.id, 1)
            .await
            .expect("recorded");
        tx.commit().await.expect("committed");
        let shown = of.connection().await;
        assert_eq!(shown.effective_poll_interval_seconds, seconds, "{missed}");
    }
    let shown = of.connection().await;
    assert_eq!(shown.missed_count, 129);
    assert!(shown.missed_at.is_some());
}

#[tokio::test]
async fn interval_that_is_set_keeps_its_boost() {
    let of = Fixture::new().await;
    for (boost, asked, interval) in [(0_i16, 600, 600), (2, 600, 150), (3, 120, 30), (1, 30, 30)] {
        sqlx::query("UPDATE connections SET poll_boost = $1")
            .bind(boost)
            .execute(of.test.pool())
            .await
            .expect("boosted");
        let mut tx = of.begin().await;
        connections::update_poll_interval(&mut tx, &of.scope, of.id, asked)
            .await
            .expect("updated");
        tx.commit().await.expect("committed");
        let connection = of.connection().await;
        assert_eq!(connection.poll_interval_seconds, asked);
        assert_eq!(connection.effective_poll_interval_seconds, interval);
    }
}
