//! Progress of connections and streams, poll intervals and probes.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use shared::clock::{Clock, SystemClock};
use shared::db::connections::{self, Connection, ConnectionStatus};
use shared::db::cursors::{self, Advance};
use shared::db::{Db, TenantScope, Tx};
use shared::model::{ConnectionId, JobError, JobId, RefreshToken, StreamSpec, TenantId};
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
    let stream = |key: &str| StreamSpec {
        key: key.to_owned(),
        resource_id: None,
        target: json!(null),
    };
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
async fn unread_streams_are_listed_least_recent_first() {
    let fixture = Fixture::new().await;
    let at =
        |minutes: i64| DateTime::from_timestamp(1_800_000_000 + minutes * 60, 0).expect("a time");
    let streams: Vec<StreamSpec> = ["a", "b", "c", "d"]
        .iter()
        .map(|key| StreamSpec {
            key: (*key).to_owned(),
            resource_id: None,
            target: json!(null),
        })
        .collect();
    let mut tx = fixture.begin().await;
    cursors::list_streams(&mut tx, &fixture.scope, fixture.id, &streams, at(0), at(0))
        .await
        .expect("listed");
    for (key, minutes) in [("a", 9), ("c", 5)] {
        let keys = [key.to_owned()];
        cursors::mark_read(&mut tx, &fixture.scope, fixture.id, &keys, at(minutes))
            .await
            .expect("marked");
    }
    let denied = JobError::new("permission", "denied");
    cursors::record_failure(
        &mut tx,
        &fixture.scope,
        fixture.id,
        "d",
        &denied,
        Some(at(20)),
    )
    .await
    .expect("recorded");
    let progress =
        cursors::measure_progress(&mut tx, &fixture.scope, fixture.id, "root", at(20), None).await;
    let progress = progress.expect("measured");
    assert_eq!((progress.streams, progress.failing), (4, 1));
    assert_eq!(
        progress.read_through, None,
        "one stream has never been read"
    );
    assert_eq!(progress.held_back_by.expect("a stream").stream, "d");
    let unread = async |tx: &mut Tx, minutes| -> Vec<String> {
        let (scope, id) = (&fixture.scope, fixture.id);
        cursors::list_unread(tx, scope, id, "root", at(minutes), false, 10)
            .await
            .expect("streams")
            .into_iter()
            .map(|stream| stream.spec.key)
            .collect()
    };
    assert_eq!(unread(&mut tx, 20).await, ["b", "c", "a"]);
    assert_eq!(unread(&mut tx, 21).await, ["b", "d", "c", "a"]);

    // Streams that the next complete pass does not list are no longer read.
    cursors::list_streams(
        &mut tx,
        &fixture.scope,
        fixture.id,
        &streams[..2],
        at(0),
        at(30),
    )
    .await
    .expect("listed");
    cursors::retire_unlisted(&mut tx, &fixture.scope, fixture.id, "root", at(30))
        .await
        .expect("retired");
    assert_eq!(unread(&mut tx, 30).await, ["b", "a"]);
}

/// Lists two streams and marks them as read through `read_at`.
async fn list_two_streams(fixture: &Fixture, tx: &mut Tx, read_at: DateTime<Utc>) {
    let streams = ["a", "b"].map(|key| StreamSpec {
        key: key.to_owned(),
        resource_id: None,
        target: json!(null),
    });
    cursors::list_streams(tx, &fixture.scope, fixture.id, &streams, read_at, read_at)
        .await
        .expect("listed");
    let keys = ["a".to_owned(), "b".to_owned()];
    cursors::mark_read(tx, &fixture.scope, fixture.id, &keys, read_at)
        .await
        .expect("marked");
}

#[tokio::test]
async fn held_back_by_names_stream_and_reason() {
    let fixture = Fixture::new().await;
    let at =
        |minutes: i64| DateTime::from_timestamp(1_800_000_000 + minutes * 60, 0).expect("a time");
    let error = |code: &str| JobError::new(code, &format!("{code} message"));
    let mut tx = fixture.begin().await;
    let root = StreamSpec {
        key: "root".to_owned(),
        resource_id: None,
        target: json!(null),
    };
    let root = cursors::get_or_create_root(&mut tx, &fixture.scope, fixture.id, &root, at(0)).await;
    root.expect("the root");
    list_two_streams(&fixture, &mut tx, at(1)).await;
    let progress = async |tx: &mut Tx, bound, waiting: Option<&JobError>| {
        cursors::measure_progress(tx, &fixture.scope, fixture.id, "root", at(bound), waiting)
            .await
            .expect("how far")
    };
    let held = |progress: &cursors::StreamProgress| {
        let held = progress.held_back_by.as_ref().expect("a stream");
        (
            held.stream.clone(),
            held.code.clone(),
            held.since,
            held.streams,
        )
    };
    let expected = |stream: &str, code: &str, minutes, streams| {
        (stream.to_owned(), code.to_owned(), at(minutes), streams)
    };

    let all = progress(&mut tx, 1, None).await;
    assert_eq!((all.held_back_by, all.has_problem), (None, false));
    // A new run has read one of the streams.
    let keys = ["b".to_owned()];
    cursors::mark_read(&mut tx, &fixture.scope, fixture.id, &keys, at(2))
        .await
        .expect("marked");
    let waits = progress(&mut tx, 2, None).await;
    assert_eq!(held(&waits), expected("a", "time_slice", 1, 1));
    assert!(!waits.has_problem);
    let limited = progress(&mut tx, 2, Some(&error("rate_limited"))).await;
    assert_eq!(held(&limited), expected("a", "rate_limited", 1, 1));
    // A search found nothing new in the stream.
    sqlx::query("UPDATE cursors SET attempted_through = $1 WHERE stream = 'a'")
        .bind(at(2))
        .execute(&mut *tx)
        .await
        .expect("deferred");
    let deferred = progress(&mut tx, 2, None).await;
    assert_eq!(held(&deferred), expected("a", "deferred", 1, 1));
    assert!(!deferred.has_problem, "deferral is not a problem");

    // Unreadable streams come before streams that cannot be reconciled, and those before waiting
    // ones.
    let denied = error("permission");
    cursors::record_reconcile_failure(&mut tx, &fixture.scope, fixture.id, "b", Some(&denied))
        .await
        .expect("recorded");
    let unreconciled = progress(&mut tx, 2, None).await;
    let (stream, code, ..) = held(&unreconciled);
    assert_eq!((stream.as_str(), code.as_str()), ("b", "permission"));
    assert!(unreconciled.has_problem && unreconciled.failing == 0);
    let fails = error("transient");
    cursors::record_failure(&mut tx, &fixture.scope, fixture.id, "root", &fails, None)
        .await
        .expect("recorded");
    let root_fails = progress(&mut tx, 2, None).await;
    let (stream, code, ..) = held(&root_fails);
    assert_eq!((stream.as_str(), code.as_str()), ("root", "transient"));
    assert_eq!((root_fails.streams, root_fails.failing), (2, 0));
}

#[tokio::test]
async fn new_stream_is_reported_as_unread() {
    let fixture = Fixture::new().await;
    let at = SystemClock.now() - TimeDelta::minutes(1);
    let mut tx = fixture.begin().await;
    let stream = StreamSpec {
        key: "a".to_owned(),
        resource_id: None,
        target: json!(null),
    };
    cursors::list_streams(&mut tx, &fixture.scope, fixture.id, &[stream], at, at)
        .await
        .expect("listed");
    let progress =
        cursors::measure_progress(&mut tx, &fixture.scope, fixture.id, "root", at, None).await;
    let held = progress.expect("how far").held_back_by.expect("a stream");
    assert_eq!((held.stream.as_str(), held.code.as_str()), ("a", "unread"));
}

#[tokio::test]
async fn working_page_size_is_stored_with_stream() {
    let fixture = Fixture::new().await;
    let at = SystemClock.now() - TimeDelta::minutes(1);
    let mut tx = fixture.begin().await;
    list_two_streams(&fixture, &mut tx, at).await;
    let size = async |tx: &mut Tx| {
        let streams = cursors::list_unread(
            tx,
            &fixture.scope,
            fixture.id,
            "root",
            SystemClock.now(),
            false,
            10,
        )
        .await;
        streams.expect("streams").remove(0)
    };
    let fails = JobError::new("transient", "fails");
    for _ in 0..2 {
        cursors::record_failure(&mut tx, &fixture.scope, fixture.id, "a", &fails, None)
            .await
            .expect("recorded");
    }
    let mut stream = size(&mut tx).await;
    assert_eq!(
        (stream.spec.key.as_str(), stream.page_size.failures),
        ("a", 2)
    );
    stream.page_size = stream.page_size.after_page();
    let to = Advance {
        cursor: &json!({}),
        pending_upper_bound: Some(at),
        read_through: None,
        progress: 0.5,
        reconciled_through: None,
        reconcile_seconds: 60.0,
        answered_request: None,
    };
    let moved = cursors::advance(&mut tx, &fixture.scope, fixture.id, &stream, &to).await;
    assert!(moved.expect("advanced"));
    let stored_size = size(&mut tx).await.page_size;
    assert_eq!(stored_size, stream.page_size);
    assert_eq!((stored_size.failures, stored_size.halvings), (0, 1));
}

/// Ends a run whose slices have found these numbers of missed facts.
async fn end_run(fixture: &Fixture, missed_in_slices: &[i64]) {
    for missed in missed_in_slices {
        let mut tx = fixture.begin().await;
        cursors::record_missed(&mut tx, &fixture.scope, fixture.id, "a", *missed, None)
            .await
            .expect("recorded");
        tx.commit().await.expect("committed");
        let mut tx = fixture.begin().await;
        connections::record_missed(&mut tx, &fixture.scope, fixture.id)
            .await
            .expect("recorded");
        tx.commit().await.expect("committed");
    }
    let mut tx = fixture.begin().await;
    connections::adapt_poll_interval(&mut tx, &fixture.scope, fixture.id)
        .await
        .expect("adapted");
    tx.commit().await.expect("committed");
}

#[tokio::test]
async fn poll_interval_shrinks_temporarily_after_missed_deliveries() {
    let fixture = Fixture::new().await;
    let mut tx = fixture.begin().await;
    list_two_streams(&fixture, &mut tx, SystemClock.now()).await;
    tx.commit().await.expect("committed");
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
        end_run(&fixture, &[missed]).await;
        let connection = fixture.connection().await;
        assert_eq!(
            connection.effective_poll_interval_seconds, seconds,
            "{missed}"
        );
    }
    let connection = fixture.connection().await;
    assert_eq!(connection.missed_count, 129);
    assert!(connection.missed_at.is_some());
}

#[tokio::test]
async fn missed_facts_are_summed_over_slices_of_run() {
    let fixture = Fixture::new().await;
    let mut tx = fixture.begin().await;
    list_two_streams(&fixture, &mut tx, SystemClock.now()).await;
    tx.commit().await.expect("committed");
    for (slices, seconds) in [
        ([40, 0].as_slice(), 150),
        ([2, 0, 2].as_slice(), 75),
        ([1, 2].as_slice(), 75),
        ([0, 0].as_slice(), 150),
    ] {
        end_run(&fixture, slices).await;
        let connection = fixture.connection().await;
        assert_eq!(
            connection.effective_poll_interval_seconds, seconds,
            "{slices:?}"
        );
    }
    assert_eq!(fixture.connection().await.missed_count, 47);
}

#[tokio::test]
async fn missed_facts_of_failed_slice_are_counted_later() {
    let fixture = Fixture::new().await;
    let mut tx = fixture.begin().await;
    list_two_streams(&fixture, &mut tx, SystemClock.now()).await;
    cursors::record_missed(&mut tx, &fixture.scope, fixture.id, "b", 5, None)
        .await
        .expect("recorded");
    tx.commit().await.expect("committed");
    assert_eq!(
        fixture.connection().await.missed_count,
        0,
        "the slice has not ended"
    );
    end_run(&fixture, &[0]).await;
    let connection = fixture.connection().await;
    assert_eq!(connection.missed_count, 5);
    assert_eq!(connection.effective_poll_interval_seconds, 150);
    end_run(&fixture, &[0]).await;
    assert_eq!(fixture.connection().await.missed_count, 5, "counted once");
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
async fn connections_are_probed_unless_provider_refused_grant() {
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
            None,
            None,
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
