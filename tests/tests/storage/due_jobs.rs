//! Due jobs: one per connection, and reads of streams that deliveries request.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use shared::clock::{Clock, SystemClock};
use shared::db::cursors::{self, Advance, StreamCursor};
use shared::db::{Db, TenantScope, Tx, due_times};
use shared::model::{ConnectionId, StreamSpec};
use shared::queue::{DueWork, JobQueue, PgJobQueue};
use tests::harness::TestDb;

use crate::bytes::create_connection;

/// Starts a sync of every connection.
const RUNNING_SYNC: &str = "INSERT INTO jobs \
        (tenant_id, id, kind, provider, connection_id, cursor_window, state, priority) \
    SELECT tenant_id, gen_random_uuid(), 'sync_connection', provider, connection_id, \
        'sync:' || connection_id || ':incremental', 'running', 50 \
    FROM connection_routes";

struct Fixture {
    test: TestDb,
    db: Db,
    scope: TenantScope,
    id: ConnectionId,
    /// The upper bound of the run that has read the streams.
    read_at: DateTime<Utc>,
}

impl Fixture {
    /// Creates a connection whose two streams have been read.
    async fn new() -> Self {
        let test = TestDb::create().await;
        let (scope, id) = create_connection(&test, "account").await;
        let fixture = Self {
            db: test.as_worker(2),
            read_at: SystemClock.now() - TimeDelta::minutes(1),
            test,
            scope,
            id,
        };
        sqlx::query(
            "INSERT INTO connection_routes (tenant_id, connection_id, provider, account_id, \
                 exclusive, polling, poll_interval_seconds, next_sync_at) \
             VALUES ($1, $2, 'any', 'account', true, true, 300, now() + interval '5 minutes')",
        )
        .bind(scope.tenant_id())
        .bind(id)
        .execute(fixture.test.pool())
        .await
        .expect("a row");
        let streams = ["events:a", "events:b"].map(|key| StreamSpec {
            key: key.to_owned(),
            resource_id: None,
            target: json!(null),
        });
        let mut tx = fixture.begin().await;
        cursors::list_streams(
            &mut tx,
            &scope,
            id,
            &streams,
            fixture.read_at,
            fixture.read_at,
        )
        .await
        .expect("listed");
        tx.commit().await.expect("committed");
        let keys = streams.each_ref().map(|stream| stream.key.as_str());
        fixture.mark_read(&keys, fixture.read_at).await;
        fixture
    }

    async fn mark_read(&self, streams: &[&str], read_through: DateTime<Utc>) {
        let streams: Vec<String> = streams.iter().map(|key| (*key).to_owned()).collect();
        let mut tx = self.begin().await;
        cursors::mark_read(&mut tx, &self.scope, self.id, &streams, read_through)
            .await
            .expect("read");
        tx.commit().await.expect("committed");
    }

    /// Ends a slice of a run.
    async fn keep_requests_due(&self) -> bool {
        let mut tx = self.begin().await;
        let is_due = due_times::keep_requests_due(&mut tx, &self.scope, self.id).await;
        tx.commit().await.expect("committed");
        is_due.expect("the query result")
    }

    /// Adds another connection of the tenant, which is due.
    async fn add_due_connection(&self) {
        let other = ConnectionId::generate();
        for statement in [
            "INSERT INTO connections (tenant_id, id, provider, status, account_id, \
                 poll_interval_seconds) VALUES ($1, $2, 'any', 'active', 'other', 300)",
            "INSERT INTO connection_routes (tenant_id, connection_id, provider, account_id, \
                 exclusive, polling, poll_interval_seconds) \
             VALUES ($1, $2, 'any', 'other', true, true, 300)",
        ] {
            sqlx::query(statement)
                .bind(self.scope.tenant_id())
                .bind(other)
                .execute(self.test.pool())
                .await
                .expect("a row");
        }
    }

    async fn begin(&self) -> Tx {
        self.db.begin(&self.scope).await.expect("begun")
    }

    async fn request(&self, streams: &[&str]) {
        let streams: Vec<String> = streams.iter().map(|key| (*key).to_owned()).collect();
        let mut tx = self.begin().await;
        due_times::request_streams(&mut tx, &self.scope, self.id, &streams)
            .await
            .expect("requested");
        tx.commit().await.expect("committed");
    }

    async fn enqueue(&self, work: DueWork) -> u64 {
        let enqueued = PgJobQueue::new(self.db.clone()).enqueue_due(work).await;
        enqueued.expect("the query result")
    }

    async fn requested(&self) -> Vec<StreamCursor> {
        let mut tx = self.begin().await;
        let now = SystemClock.now();
        cursors::list_unread(&mut tx, &self.scope, self.id, "root", now, true, 10)
            .await
            .expect("streams")
    }

    /// Commits the last page of a read that began with this stream.
    async fn finish_read(&self, stream: &StreamCursor) {
        let read_through = SystemClock.now();
        let to = Advance {
            cursor: &json!({}),
            pending_upper_bound: None,
            read_through: Some(read_through),
            progress: 1.0,
            reconciled_through: None,
            reconcile_seconds: 60.0,
            answered_request: stream.requested_at,
        };
        let mut tx = self.begin().await;
        let moved = cursors::advance(&mut tx, &self.scope, self.id, stream, &to).await;
        assert!(moved.expect("advanced"));
        tx.commit().await.expect("committed");
    }

    async fn run(&self, statement: &'static str) {
        let result = sqlx::query(statement).execute(self.test.pool()).await;
        result.expect("the query result");
    }
}

fn keys(streams: &[StreamCursor]) -> Vec<&str> {
    streams.iter().map(|one| one.spec.key.as_str()).collect()
}

#[tokio::test]
async fn requests_are_coalesced_into_one_job() {
    let fixture = Fixture::new().await;
    assert_eq!(
        fixture.enqueue(DueWork::RequestedSyncs).await,
        0,
        "nothing was requested"
    );
    for _ in 0..3 {
        fixture.request(&["events:b"]).await;
    }
    assert_eq!(fixture.enqueue(DueWork::RequestedSyncs).await, 1);
    fixture.request(&["events:b"]).await;
    assert_eq!(
        fixture.enqueue(DueWork::RequestedSyncs).await,
        0,
        "the job has not begun"
    );
    assert_eq!(keys(&fixture.requested().await), ["events:b"]);
    let payload: serde_json::Value = sqlx::query_scalar("SELECT payload::jsonb FROM jobs")
        .fetch_one(fixture.test.pool())
        .await
        .expect("the query result");
    assert_eq!(payload["requested_only"], json!(true));
    fixture.run("DELETE FROM jobs").await;
    assert_eq!(
        fixture.enqueue(DueWork::RequestedSyncs).await,
        1,
        "requested after the job"
    );
}

#[tokio::test]
async fn read_answers_no_later_request() {
    let fixture = Fixture::new().await;
    fixture.request(&["events:a"]).await;
    let began = fixture.requested().await;
    fixture.request(&["events:a"]).await;
    fixture.finish_read(&began[0]).await;
    fixture
        .run("UPDATE cursors SET attempted_through = NULL")
        .await;
    let again = fixture.requested().await;
    assert_eq!(keys(&again), ["events:a"], "the second request");
    fixture.finish_read(&again[0]).await;
    fixture
        .run("UPDATE cursors SET attempted_through = NULL")
        .await;
    assert!(fixture.requested().await.is_empty());
}

#[tokio::test]
async fn running_sync_delays_a_requested_one() {
    let fixture = Fixture::new().await;
    fixture.request(&["events:a"]).await;
    fixture.run(RUNNING_SYNC).await;
    assert_eq!(fixture.enqueue(DueWork::RequestedSyncs).await, 0);
    fixture.run("UPDATE jobs SET state = 'queued'").await;
    assert_eq!(
        fixture.enqueue(DueWork::RequestedSyncs).await,
        1,
        "a snoozed sync delays nothing"
    );
}

#[tokio::test]
async fn request_during_first_read_stays_due() {
    let fixture = Fixture::new().await;
    fixture
        .run("UPDATE cursors SET read_through = NULL, attempted_through = NULL")
        .await;
    fixture.request(&["events:a"]).await;
    assert_eq!(fixture.enqueue(DueWork::RequestedSyncs).await, 1);
    assert!(fixture.requested().await.is_empty(), "it skips the stream");
    fixture.run("DELETE FROM jobs").await;
    assert!(!fixture.keep_requests_due().await, "not yet readable");
    fixture.mark_read(&["events:a"], fixture.read_at).await;
    assert!(fixture.keep_requests_due().await, "read before the request");
    assert_eq!(fixture.enqueue(DueWork::RequestedSyncs).await, 1);
    fixture.finish_read(&fixture.requested().await[0]).await;
    assert!(!fixture.keep_requests_due().await, "answered");
}

#[tokio::test]
async fn request_of_failing_stream_waits_for_poll() {
    let fixture = Fixture::new().await;
    fixture.request(&["events:a"]).await;
    assert_eq!(fixture.enqueue(DueWork::RequestedSyncs).await, 1);
    fixture
        .run("UPDATE cursors SET failure = '{}' WHERE stream = 'events:a'")
        .await;
    assert!(!fixture.keep_requests_due().await);
    fixture.run("UPDATE cursors SET failure = NULL").await;
    assert!(fixture.keep_requests_due().await);
}

#[tokio::test]
async fn unknown_stream_requests_the_list() {
    let fixture = Fixture::new().await;
    fixture.request(&["events:new"]).await;
    assert_eq!(fixture.enqueue(DueWork::RequestedSyncs).await, 0);
    assert_eq!(fixture.enqueue(DueWork::Syncs).await, 1);
}

#[tokio::test]
async fn request_of_root_requests_the_list() {
    let fixture = Fixture::new().await;
    let root = StreamSpec {
        key: "root".to_owned(),
        resource_id: None,
        target: json!(null),
    };
    let mut tx = fixture.begin().await;
    cursors::get_or_create_root(&mut tx, &fixture.scope, fixture.id, &root, fixture.read_at)
        .await
        .expect("the root");
    tx.commit().await.expect("committed");
    fixture.request(&["root"]).await;
    assert_eq!(fixture.enqueue(DueWork::RequestedSyncs).await, 0);
    assert_eq!(fixture.enqueue(DueWork::Syncs).await, 1);
    let marked: i64 =
        sqlx::query_scalar("SELECT count(*) FROM cursors WHERE requested_at IS NOT NULL")
            .fetch_one(fixture.test.pool())
            .await
            .expect("the query result");
    assert_eq!(marked, 0, "no run answers a request of the root");
}

#[tokio::test]
async fn running_sync_delays_no_other_connection() {
    let fixture = Fixture::new().await;
    fixture.run(RUNNING_SYNC).await;
    fixture.add_due_connection().await;
    assert_eq!(fixture.enqueue(DueWork::Syncs).await, 1);
}
