//! Retention: expired partitions are dropped without blocking writers.

use shared::db::retention::{self, Retention};
use shared::db::{Db, DbError, Tx};
use shared::model::TenantId;
use shared::queue::{ClaimedJob, JobQueue, PgJobQueue};
use sqlx::{Connection, PgConnection};
use tests::harness::TestDb;

use crate::connections::claimed;

/// The retention of these tests.
const RETENTION: Retention = Retention {
    delivery_days: 7,
    job_days: 7,
};

struct Fixture {
    test: TestDb,
    db: Db,
}

impl Fixture {
    /// Creates a database with an expired partition of deliveries and without a future one.
    async fn new() -> Self {
        let test = TestDb::create().await;
        let db = test.as_worker(2);
        let fixture = Self { test, db };
        fixture
            .run(
                "DO $$ DECLARE day date := (now() AT TIME ZONE 'UTC')::date - 20; BEGIN \
                     EXECUTE format('CREATE TABLE deliveries_p%s PARTITION OF deliveries \
                         FOR VALUES FROM (%L) TO (%L)', to_char(day, 'YYYYMMDD'), \
                         day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC'); \
                     EXECUTE format('DROP TABLE deliveries_p%s', to_char(day + 30, 'YYYYMMDD')); \
                 END $$",
            )
            .await;
        for days in [20, 1] {
            fixture.insert_delivery(days).await;
        }
        fixture
    }

    async fn run(&self, statement: &'static str) {
        sqlx::raw_sql(statement)
            .execute(self.test.pool())
            .await
            .expect("run");
    }

    /// Inserts a delivery that was received `days` ago; fails if it is blocked for two seconds.
    async fn insert_delivery(&self, days: i32) {
        let mut tx = self.test.pool().begin().await.expect("begun");
        sqlx::raw_sql("SET LOCAL lock_timeout = '2s'")
            .execute(&mut *tx)
            .await
            .expect("set");
        sqlx::query(
            "WITH seen AS (INSERT INTO delivery_dedup (tenant_id, provider, dedupe_id, received_at) \
                 VALUES (gen_random_uuid(), 'any', gen_random_uuid()::text, \
                     date_trunc('day', now(), 'UTC') - $1 * interval '1 day') RETURNING *) \
             INSERT INTO deliveries (tenant_id, received_at, id, provider, dedupe_id, event, \
                 headers, body, outcome) \
             SELECT tenant_id, received_at, gen_random_uuid(), provider, dedupe_id, 'any', '{}', '', \
                 'processed' FROM seen",
        )
        .bind(days)
        .execute(&mut *tx)
        .await
        .expect("not blocked");
        tx.commit().await.expect("committed");
    }

    async fn count(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query)
            .fetch_one(self.test.pool())
            .await
            .expect("counted")
    }

    async fn deliveries(&self) -> i64 {
        self.count("SELECT count(*) FROM deliveries").await
    }

    /// Counts the partitions of deliveries from yesterday on.
    async fn future_partitions(&self) -> i64 {
        self.count(
            "SELECT count(*) FROM pg_class WHERE relname ~ '^deliveries_p[0-9]{8}$' \
             AND to_date(right(relname, 8), 'YYYYMMDD') >= (now() AT TIME ZONE 'UTC')::date - 1",
        )
        .await
    }

    async fn apply(&self) -> u64 {
        let job = claimed(TenantId::UNASSIGNED);
        let scope = job.scope();
        retention::apply(|| Box::pin(self.db.begin(&scope)), RETENTION)
            .await
            .expect("applied")
    }
}

#[tokio::test]
async fn expired_rows_are_dropped_with_their_partition() {
    let fixture = Fixture::new().await;
    assert_eq!(
        (
            fixture.deliveries().await,
            fixture.future_partitions().await
        ),
        (2, 15)
    );
    assert_eq!(fixture.apply().await, 1, "the one partition");
    assert_eq!(
        (
            fixture.deliveries().await,
            fixture.future_partitions().await
        ),
        (1, 16)
    );
    // Rows for deduplication are kept longer.
    let dedup = "SELECT count(*) FROM delivery_dedup";
    assert_eq!(fixture.count(dedup).await, 2);
    assert_eq!(fixture.apply().await, 0, "nothing else has expired");
}

#[tokio::test]
async fn retention_does_not_block_writers_while_waiting() {
    let fixture = Fixture::new().await;
    let mut other_session = PgConnection::connect(fixture.test.url())
        .await
        .expect("another session");
    sqlx::raw_sql("BEGIN; SELECT count(*) FROM deliveries; SELECT count(*) FROM job_history")
        .execute(&mut other_session)
        .await
        .expect("an open transaction");
    let (removed, ()) = tokio::join!(fixture.apply(), async {
        for _ in 0..20 {
            fixture.insert_delivery(0).await;
        }
    });
    assert_eq!(removed, 0, "dropping the partition is left to a later run");
    assert_eq!(fixture.future_partitions().await, 15, "so is creating one");
    other_session.close().await.expect("closed");
    assert_eq!(fixture.apply().await, 1);
    assert_eq!(
        (
            fixture.deliveries().await,
            fixture.future_partitions().await
        ),
        (21, 16)
    );
}

/// Begins a transaction of the job if its lease is held.
async fn begin(db: &Db, job: &ClaimedJob) -> Result<Tx, DbError> {
    let mut tx = db.begin(&job.scope()).await?;
    let queue = PgJobQueue::new(db.clone());
    if queue.verify_lease(&mut tx, job).await? {
        Ok(tx)
    } else {
        Err(DbError::Corrupt("jobs"))
    }
}

#[tokio::test]
async fn retention_without_lease_changes_nothing() {
    let fixture = Fixture::new().await;
    let job = claimed(TenantId::UNASSIGNED);
    let applied = retention::apply(|| Box::pin(begin(&fixture.db, &job)), RETENTION).await;
    assert!(applied.is_err());
    assert_eq!(
        (
            fixture.deliveries().await,
            fixture.future_partitions().await
        ),
        (2, 15)
    );
}
