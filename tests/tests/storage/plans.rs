//! Query plans of lists and of frequent statements, in tables with many other rows.
//!
//! The tests compare Postgres's statistics before and after the statements, which run as in
//! production, including prepared statements.

mod events;
mod health;
mod lists;
mod streams;

use std::collections::BTreeMap;

use shared::db::{Db, TenantScope};
use shared::inbox::{self, Outcome};
use shared::model::{DeliveryId, JobError, TenantId, WorkerId};
use shared::queue::{
    ClaimRequest, ClaimedJob, DueWork, Finished, JobOutcome, JobQueue, PgJobQueue, WorkClass,
};
use sqlx::{Connection, PgConnection, Row};
use tests::harness::TestDb;

/// Number of jobs per work class.
const JOBS: i32 = 50_000;
const TENANTS: i64 = 200;
/// Number of claims per test: after the fifth execution Postgres may use a generic plan.
const CLAIMS: i64 = 12;
const BATCH_SIZE: i64 = 64;

/// Counts of Postgres's statistics.
#[derive(Debug)]
struct Reads {
    /// Sequential scans.
    table_scans: i64,
    /// Index entries read, by index.
    by_index: BTreeMap<String, i64>,
}

struct Fixture {
    test: TestDb,
    db: Db,
    jobs: PgJobQueue,
    worker: WorkerId,
}

impl Fixture {
    /// Creates a queue with a hundred thousand jobs and one session, whose reads are counted.
    async fn with_many_jobs() -> Self {
        let test = TestDb::create().await;
        sqlx::query(
            "INSERT INTO jobs (tenant_id, id, kind, provider, priority, payload) \
             SELECT ('00000000-0000-7000-8000-' || lpad((n % $2)::text, 12, '0'))::uuid, \
                 gen_random_uuid(), kind, 'any', 60, '{\"kind\":\"redeliver_webhooks\"}' \
             FROM generate_series(1, $1) n, \
                 unnest('{process_deliveries,redeliver_webhooks}'::job_kind[]) kind",
        )
        .bind(JOBS)
        .bind(TENANTS)
        .execute(test.pool())
        .await
        .expect("a hundred thousand jobs");
        // Autovacuum would add reads: rows that its snapshot still sees stay in the indexes.
        for statement in [
            "ALTER TABLE jobs SET (autovacuum_enabled = off)",
            "VACUUM ANALYZE jobs",
        ] {
            sqlx::query(statement)
                .execute(test.pool())
                .await
                .expect("vacuumed");
        }
        Self::with_database(test).await
    }

    /// Opens the queue of this database with a registered worker.
    async fn with_database(test: TestDb) -> Self {
        let db = test.as_worker(1);
        let jobs = PgJobQueue::new(db.clone());
        let worker = WorkerId::generate();
        jobs.heartbeat(worker).await.expect("a heartbeat");
        Self {
            test,
            db,
            jobs,
            worker,
        }
    }

    async fn claim(&self, class: WorkClass) -> Vec<ClaimedJob> {
        let request = ClaimRequest {
            worker: self.worker,
            class,
            limit: BATCH_SIZE,
            per_tenant: BATCH_SIZE / 2,
            saturated: Vec::new(),
        };
        self.jobs.claim(&request).await.expect("claimed")
    }

    async fn finish(&self, jobs: Vec<ClaimedJob>, outcome: &JobOutcome) {
        let finished: Vec<Finished> = jobs
            .into_iter()
            .map(|job| Finished {
                job,
                outcome: outcome.clone(),
            })
            .collect();
        let lost = self.jobs.finish(&finished).await.expect("written");
        assert!(lost.is_empty(), "a lease was lost");
    }

    /// Returns the reads of the jobs table so far.
    async fn reads(&self) -> Reads {
        Reads::so_far(&self.test, &self.db, "jobs").await
    }
}

impl Reads {
    /// Returns the reads of tables with names like `tables`; `db` has one session.
    async fn so_far(test: &TestDb, db: &Db, tables: &str) -> Self {
        sqlx::query("SELECT pg_stat_force_next_flush()")
            .execute(db)
            .await
            .expect("flushed");
        let table_scans = sqlx::query_scalar(
            "SELECT sum(seq_scan)::bigint FROM pg_stat_user_tables WHERE relname LIKE $1",
        )
        .bind(tables)
        .fetch_one(test.pool())
        .await
        .expect("counted");
        let rows = sqlx::query(
            "SELECT indexrelname::text, idx_tup_read FROM pg_stat_user_indexes \
             WHERE relname LIKE $1",
        )
        .bind(tables)
        .fetch_all(test.pool())
        .await
        .expect("counted");
        Self {
            table_scans,
            by_index: rows.iter().map(|row| (row.get(0), row.get(1))).collect(),
        }
    }

    /// Returns the reads between `self` and `later`.
    fn delta_to(&self, later: &Self) -> Self {
        let by_index = later.by_index.iter().map(|(index, entries)| {
            let before = self.by_index.get(index).copied().unwrap_or_default();
            (index.clone(), entries - before)
        });
        Self {
            table_scans: later.table_scans - self.table_scans,
            by_index: by_index.collect(),
        }
    }

    fn of(&self, index: &str) -> i64 {
        self.by_index.get(index).copied().unwrap_or_default()
    }
}

/// Claims jobs of a class and returns them with the reads of all but the first claim.
async fn claim_repeatedly(queue: &Fixture, class: WorkClass) -> (Vec<ClaimedJob>, Reads) {
    let mut claimed = queue.claim(class).await;
    let before = queue.reads().await;
    for _ in 1..CLAIMS {
        claimed.extend(queue.claim(class).await);
    }
    let all = usize::try_from(CLAIMS * BATCH_SIZE).expect("a few");
    assert_eq!(claimed.len(), all, "every claim is full");
    (claimed, before.delta_to(&queue.reads().await))
}

#[tokio::test]
async fn claim_reads_only_the_claimed_jobs() {
    let queue = Fixture::with_many_jobs().await;
    for class in [WorkClass::Deliveries, WorkClass::Background] {
        let (_, reads) = claim_repeatedly(&queue, class).await;
        assert_eq!(reads.table_scans, 0, "the whole table was read: {reads:?}");
        // Each claimed job is read once to find it and once to update it.
        let claimed_jobs = (CLAIMS - 1) * BATCH_SIZE;
        let read = reads.of("jobs_claim");
        assert!(
            (claimed_jobs..=claimed_jobs * 2).contains(&read),
            "{reads:?}"
        );
        let by_key = reads.of("jobs_pkey");
        assert!(
            by_key <= claimed_jobs * 2,
            "jobs_pkey: {by_key} entries read"
        );
    }
}

#[tokio::test]
async fn open_transaction_does_not_slow_claims() {
    let queue = Fixture::with_many_jobs().await;
    let mut other_session = PgConnection::connect(queue.test.url())
        .await
        .expect("another session");
    sqlx::raw_sql("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT pg_current_xact_id()")
        .execute(&mut other_session)
        .await
        .expect("an open transaction");
    claim_repeatedly(&queue, WorkClass::Background).await;
    let (_, reads) = claim_repeatedly(&queue, WorkClass::Background).await;
    other_session.close().await.expect("closed");
    let claimed_jobs = (CLAIMS - 1) * BATCH_SIZE;
    let read = reads.of("jobs_claim");
    assert!(
        (claimed_jobs..=claimed_jobs * 2).contains(&read),
        "{reads:?}"
    );
}

#[tokio::test]
async fn finishing_jobs_reads_them_by_primary_key() {
    let queue = Fixture::with_many_jobs().await;
    let failed = JobOutcome::Failed(JobError::new("transient", "for a test"));
    for outcome in [JobOutcome::Succeeded, failed] {
        let (claimed, _) = claim_repeatedly(&queue, WorkClass::Background).await;
        let before = queue.reads().await;
        let size = usize::try_from(BATCH_SIZE).expect("a few");
        for batch in claimed.chunks(size) {
            queue.finish(batch.to_vec(), &outcome).await;
        }
        let reads = before.delta_to(&queue.reads().await);
        assert_eq!(reads.table_scans, 0, "the whole table was read: {reads:?}");
        let expected = CLAIMS * BATCH_SIZE..=CLAIMS * BATCH_SIZE * 2;
        for (index, read) in &reads.by_index {
            if index == "jobs_pkey" {
                assert!(
                    expected.contains(read),
                    "{index}: {read} entries read, expected {expected:?}"
                );
            } else {
                assert_eq!(*read, 0, "{index} was read: {reads:?}");
            }
        }
    }
}

/// Inserts pending deliveries into a partition that was never analyzed.
async fn insert_unprocessed(test: &TestDb) -> Vec<(TenantId, DeliveryId)> {
    // There is no partition for this day, so the rows are in the default partition.
    let first = 1_000_000_000_000;
    let ids: Vec<DeliveryId> = (0..20_000).map(|n| DeliveryId::at(first + n)).collect();
    sqlx::raw_sql("ALTER TABLE deliveries_default SET (autovacuum_enabled = off)")
        .execute(test.pool())
        .await
        .expect("never analyzed");
    sqlx::query(
        "INSERT INTO deliveries (tenant_id, received_at, id, provider, account_id, dedupe_id, \
             event, headers, body, outcome) \
         SELECT $1, to_timestamp(($2 + n - 1) / 1000.0), id, 'github', '1', n::text, 'issues', \
             '{}', '{}', 'pending' \
         FROM unnest($3::uuid[]) WITH ORDINALITY AS i(id, n)",
    )
    .bind(TenantId::UNASSIGNED)
    .bind(i64::try_from(first).expect("a time"))
    .bind(&ids)
    .execute(test.pool())
    .await
    .expect("inserted");
    ids.into_iter()
        .map(|id| (TenantId::UNASSIGNED, id))
        .collect()
}

#[tokio::test]
async fn deliveries_in_unanalyzed_partition_are_read_by_key() {
    let test = TestDb::create().await;
    let keys = insert_unprocessed(&test).await;
    let db = test.as_worker(1);
    let before = Reads::so_far(&test, &db, "deliveries%").await;
    let (mut processed, mut rows) = (0, 0);
    for batch in keys.chunks(16).step_by(100) {
        let mut tx = db
            .begin_many(&[TenantScope::unassigned()])
            .await
            .expect("begun");
        let found = inbox::load(&mut tx, batch).await.expect("loaded");
        let outcomes: Vec<Outcome> = found
            .iter()
            .map(|delivery| Outcome {
                id: delivery.id,
                tenant_id: delivery.tenant_id,
                outcome: "ignored",
                detail: None,
                signals: 0,
            })
            .collect();
        inbox::record_outcomes(&mut tx, &outcomes)
            .await
            .expect("recorded");
        tx.commit().await.expect("committed");
        processed += outcomes.len();
        rows += i64::try_from(batch.len()).expect("a few");
    }
    assert_eq!(i64::try_from(processed).expect("some"), rows, "all of them");
    let reads = before.delta_to(&Reads::so_far(&test, &db, "deliveries%").await);
    assert_eq!(
        reads.table_scans, 0,
        "a whole partition was read: {reads:?}"
    );
    // Each delivery is read once to load it and once to update it, plus some neighbours.
    let read: i64 = reads.by_index.values().sum();
    assert!(
        read <= rows * 4,
        "{rows} deliveries cost {read} entries: {reads:?}"
    );
}

/// Inserts `count` deliveries of today for a tenant's account.
async fn insert_deliveries(
    test: &TestDb,
    tenant: TenantId,
    account: &str,
    outcome: &str,
    count: i32,
) {
    sqlx::query(
        "INSERT INTO deliveries (tenant_id, received_at, id, provider, account_id, dedupe_id, \
             event, headers, body, outcome) \
         SELECT $1, now(), gen_random_uuid(), 'github', $2, n::text, 'issues', '{}', \
             convert_to(repeat('a body ', 20), 'UTF8'), $3::delivery_outcome \
         FROM generate_series(1, $4) n",
    )
    .bind(tenant)
    .bind(account)
    .bind(outcome)
    .bind(count)
    .execute(test.pool())
    .await
    .expect("inserted");
}

#[tokio::test]
async fn unmatched_deliveries_are_found_by_index() {
    let test = TestDb::create().await;
    // An analyzed partition with processed deliveries only.
    insert_deliveries(&test, TenantId::generate(), "1", "processed", 20_000).await;
    sqlx::raw_sql("VACUUM ANALYZE deliveries")
        .execute(test.pool())
        .await
        .expect("analyzed");
    sqlx::query(
        "WITH one AS (INSERT INTO tenants (id, name) VALUES (gen_random_uuid(), 'Acme') \
             RETURNING id), \
         connected AS (INSERT INTO connections (tenant_id, id, provider, status, account_id, \
                 poll_interval_seconds) \
             SELECT id, gen_random_uuid(), 'github', 'active', '1', 300 FROM one \
             RETURNING tenant_id, id) \
         INSERT INTO delivery_routes (provider, route, tenant_id, connection_id) \
         SELECT 'github', route, tenant_id, id FROM connected, unnest('{1,2}'::text[]) route",
    )
    .execute(test.pool())
    .await
    .expect("routed");
    let queue = Fixture::with_database(test).await;
    let (test, db) = (&queue.test, &queue.db);
    let before = Reads::so_far(test, db, "deliveries%").await;
    let enqueue_due = || async {
        let due = queue.jobs.enqueue_due(DueWork::Rematches).await;
        due.expect("enqueued")
    };
    assert_eq!(enqueue_due().await, 0);
    // A delivery that was received before its account was connected.
    insert_deliveries(test, TenantId::UNASSIGNED, "2", "unmatched", 1).await;
    assert_eq!(enqueue_due().await, 1);

    let job = queue.claim(WorkClass::Background).await.remove(0);
    let connection = job.connection_id.expect("a connection");
    let scopes = [job.scope(), TenantScope::unassigned()];
    let mut tx = db.begin_many(&scopes).await.expect("begun");
    let has_more = inbox::rematch(
        &queue.jobs,
        &mut tx,
        job.tenant_id,
        connection,
        "github",
        "2",
    )
    .await;
    assert!(!has_more.expect("rematched"), "there was one delivery");
    tx.commit().await.expect("committed");
    assert_eq!(enqueue_due().await, 0);

    let reads = before.delta_to(&Reads::so_far(test, db, "deliveries%").await);
    assert_eq!(
        reads.table_scans, 0,
        "a whole partition was read: {reads:?}"
    );
    let read: i64 = reads.by_index.values().sum();
    assert!(read <= 20, "one delivery cost {read} entries: {reads:?}");
}
