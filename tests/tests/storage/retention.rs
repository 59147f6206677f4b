//! What has expired goes, whole days at a time, and nobody waits for that.

use shared::db::retention::{self, Retention};
use shared::db::{Db, DbError, Tx};
use shared::ids::TenantId;
use shared::queue::{self, ClaimedJob};
use sqlx::{Connection, PgConnection};
use tests::harness::TestDb;

use crate::connections::claimed;

/// Days that deliveries and jobs are kept here.
const KEPT: Retention = Retention {
    delivery_days: 7,
    job_days: 7,
};

struct Fixture {
    test: TestDb,
    db: Db,
}

impl Fixture {
    /// A database with a day of deliveries that has expired, and without a partition for one of
    /// the days to come.
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
            fixture.deliver(days).await;
        }
        fixture
    }

    async fn run(&self, statement: &'static str) {
        sqlx::raw_sql(statement)
            .execute(self.test.pool())
            .await
            .expect("run");
    }

    /// Files a delivery that was received so many days ago. A writer that had to wait for more
    /// than a moment would fail.
    async fn deliver(&self, days: i32) {
        let mut tx = self.test.pool().begin().await.expect("begun");
        sqlx::raw_sql("SET LOCAL lock_timeout = '2s'")
            .execute(&mut *tx)
            .await
            .expect("set");
        sqlx::query(
            "WITH seen AS (INSERT INTO delivery_ledger (tenant_id, provider, dedupe_id, received_at) \
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
        .expect("nobody is in the way");
        tx.commit().await.expect("committed");
    }

    async fn count(&self, of: &'static str) -> i64 {
        sqlx::query_scalar(of)
            .fetch_one(self.test.pool())
            .await
            .expect("counted")
    }

    async fn deliveries(&self) -> i64 {
        self.count("SELECT count(*) FROM deliveries").await
    }

    /// Partitions of deliveries from yesterday on.
    async fn ahead(&self) -> i64 {
        self.count(
            "SELECT count(*) FROM pg_class WHERE relname ~ '^deliveries_p[0-9]{8}$' \
             AND to_date(right(relname, 8), 'YYYYMMDD') >= (now() AT TIME ZONE 'UTC')::date - 1",
        )
        .await
    }

    async fn apply(&self) -> u64 {
        let job = claimed(TenantId::UNASSIGNED);
        let scope = job.scope();
        retention::apply(|| Box::pin(self.db.begin(&scope)), KEPT)
            .await
            .expect("applied")
    }
}

#[tokio::test]
async fn what_has_expired_goes_with_its_partition() {
    let fixture = Fixture::new().await;
    assert_eq!((fixture.deliveries().await, fixture.ahead().await), (2, 15));
    assert_eq!(fixture.apply().await, 1, "the one partition");
    assert_eq!((fixture.deliveries().await, fixture.ahead().await), (1, 16));
    // That they were seen is known for longer.
    let seen = "SELECT count(*) FROM delivery_ledger";
    assert_eq!(fixture.count(seen).await, 2);
    assert_eq!(fixture.apply().await, 0, "there is nothing more");
}

#[tokio::test]
async fn nobody_waits_for_retention_that_waits_for_somebody() {
    let fixture = Fixture::new().await;
    let mut elsewhere = PgConnection::connect(fixture.test.url())
        .await
        .expect("another connection");
    sqlx::raw_sql("BEGIN; SELECT count(*) FROM deliveries; SELECT count(*) FROM job_history")
        .execute(&mut elsewhere)
        .await
        .expect("a transaction that is left open");
    let (gone, ()) = tokio::join!(fixture.apply(), async {
        for _ in 0..20 {
            fixture.deliver(0).await;
        }
    });
    assert_eq!(gone, 0, "it was left for later");
    assert_eq!(fixture.ahead().await, 15, "so was that");
    elsewhere.close().await.expect("closed");
    assert_eq!(fixture.apply().await, 1);
    assert_eq!(
        (fixture.deliveries().await, fixture.ahead().await),
        (21, 16)
    );
}

/// A transaction of the job, if its lease is held.
async fn begin(db: &Db, job: &ClaimedJob) -> Result<Tx, DbError> {
    let mut tx = db.begin(&job.scope()).await?;
    if queue::hold(&mut tx, job).await? {
        Ok(tx)
    } else {
        Err(DbError::Corrupt("jobs"))
    }
}

#[tokio::test]
async fn retention_without_lease_writes_nothing() {
    let fixture = Fixture::new().await;
    let job = claimed(TenantId::UNASSIGNED);
    let applied = retention::apply(|| Box::pin(begin(&fixture.db, &job)), KEPT).await;
    assert!(applied.is_err());
    assert_eq!((fixture.deliveries().await, fixture.ahead().await), (2, 15));
}
