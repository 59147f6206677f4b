//! How the hot statements of the queue reach their rows, among a hundred thousand others: counted
//! by Postgres itself while the queue works as it always does, its prepared statements included.

use std::collections::BTreeMap;

use shared::db::{Db, TenantScope, schedule};
use shared::ids::{DeliveryId, TenantId, WorkerId};
use shared::inbox::{self, Outcome};
use shared::queue::{
    ClaimRequest, ClaimedJob, Finished, JobError, JobOutcome, JobQueue, Lane, PgJobQueue,
};
use sqlx::{Connection, PgConnection, Row};
use tests::harness::TestDb;

/// Jobs of each lane, over this many tenants.
const JOBS: i32 = 50_000;
const TENANTS: i64 = 200;
/// Claims of each test: beyond the fifth, Postgres may plan without looking at the arguments.
const CLAIMS: i64 = 12;
const BATCH: i64 = 64;

/// What Postgres has counted since the statistics were last asked.
#[derive(Debug)]
struct Reads {
    /// Scans of whole tables.
    whole: i64,
    /// Entries read, by index.
    by_index: BTreeMap<String, i64>,
}

struct Fixture {
    test: TestDb,
    db: Db,
    jobs: PgJobQueue,
    worker: WorkerId,
}

impl Fixture {
    /// A queue with a hundred thousand jobs that wait, on one connection, so that what it reads
    /// is counted in one place.
    async fn full() -> Self {
        let test = TestDb::create().await;
        sqlx::query(
            "INSERT INTO jobs (tenant_id, id, kind, provider, priority, payload) \
             SELECT ('00000000-0000-7000-8000-' || lpad((n % $2)::text, 12, '0'))::uuid, \
                 gen_random_uuid(), kind, 'any', 60, '{\"kind\":\"sweep_deliveries\"}' \
             FROM generate_series(1, $1) n, \
                 unnest('{process_deliveries,sweep_deliveries}'::job_kind[]) kind",
        )
        .bind(JOBS)
        .bind(TENANTS)
        .execute(test.pool())
        .await
        .expect("a hundred thousand jobs");
        // Once, now: what an autovacuum's snapshot still sees, claims read again beside their own.
        for statement in [
            "ALTER TABLE jobs SET (autovacuum_enabled = off)",
            "VACUUM ANALYZE jobs",
        ] {
            sqlx::query(statement)
                .execute(test.pool())
                .await
                .expect("looked at");
        }
        Self::on(test).await
    }

    /// The queue of this database, with a worker that lives.
    async fn on(test: TestDb) -> Self {
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

    async fn claim(&self, lane: Lane) -> Vec<ClaimedJob> {
        let request = ClaimRequest {
            worker: self.worker,
            lane,
            limit: BATCH,
            per_tenant: BATCH / 2,
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

    /// Everything that was read so far.
    async fn reads(&self) -> Reads {
        Reads::so_far(&self.test, &self.db, "jobs").await
    }
}

impl Reads {
    /// What `db`, which has one connection, has read of the tables whose names are like this.
    async fn so_far(test: &TestDb, db: &Db, tables: &str) -> Self {
        sqlx::query("SELECT pg_stat_force_next_flush()")
            .execute(db)
            .await
            .expect("the connection hands in its counts");
        let whole = sqlx::query_scalar(
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
            whole,
            by_index: rows.iter().map(|row| (row.get(0), row.get(1))).collect(),
        }
    }

    /// What `later` counted beyond these.
    fn until(&self, later: &Self) -> Self {
        let by_index = later.by_index.iter().map(|(index, entries)| {
            let before = self.by_index.get(index).copied().unwrap_or_default();
            (index.clone(), entries - before)
        });
        Self {
            whole: later.whole - self.whole,
            by_index: by_index.collect(),
        }
    }

    fn of(&self, index: &str) -> i64 {
        self.by_index.get(index).copied().unwrap_or_default()
    }
}

/// Claims from a lane, and what that read. Who waits has been looked up before.
async fn claims(queue: &Fixture, lane: Lane) -> (Vec<ClaimedJob>, Reads) {
    let mut claimed = queue.claim(lane).await;
    let before = queue.reads().await;
    for _ in 1..CLAIMS {
        claimed.extend(queue.claim(lane).await);
    }
    let all = usize::try_from(CLAIMS * BATCH).expect("a few");
    assert_eq!(claimed.len(), all, "every claim is full");
    (claimed, before.until(&queue.reads().await))
}

#[tokio::test]
async fn a_claim_reads_what_it_takes() {
    let queue = Fixture::full().await;
    for lane in [Lane::Deliveries, Lane::Others] {
        let (_, reads) = claims(&queue, lane).await;
        assert_eq!(reads.whole, 0, "the whole table was read: {reads:?}");
        // What is claimed, each once to find and once to change.
        let taken = (CLAIMS - 1) * BATCH;
        let read = reads.of("jobs_claim");
        assert!((taken..=taken * 2).contains(&read), "{reads:?}");
        let by_key = reads.of("jobs_pkey");
        assert!(by_key <= taken * 2, "jobs_pkey gave {by_key}");
    }
}

#[tokio::test]
async fn what_was_claimed_long_ago_costs_nothing_while_a_transaction_is_open() {
    let queue = Fixture::full().await;
    let mut elsewhere = PgConnection::connect(queue.test.url())
        .await
        .expect("another connection");
    sqlx::raw_sql("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT pg_current_xact_id()")
        .execute(&mut elsewhere)
        .await
        .expect("a transaction that is left open");
    claims(&queue, Lane::Others).await;
    let (_, reads) = claims(&queue, Lane::Others).await;
    elsewhere.close().await.expect("closed");
    let taken = (CLAIMS - 1) * BATCH;
    let read = reads.of("jobs_claim");
    assert!((taken..=taken * 2).contains(&read), "{reads:?}");
}

#[tokio::test]
async fn an_end_of_a_try_reads_its_jobs_by_their_keys() {
    let queue = Fixture::full().await;
    let again = JobOutcome::Failed(JobError {
        code: "transient".to_owned(),
        message: "for a test".to_owned(),
    });
    for outcome in [JobOutcome::Succeeded, again] {
        let (claimed, _) = claims(&queue, Lane::Others).await;
        let before = queue.reads().await;
        let size = usize::try_from(BATCH).expect("a few");
        for batch in claimed.chunks(size) {
            queue.finish(batch.to_vec(), &outcome).await;
        }
        let reads = before.until(&queue.reads().await);
        assert_eq!(reads.whole, 0, "the whole table was read: {reads:?}");
        let few = CLAIMS * BATCH..=CLAIMS * BATCH * 2;
        for (index, read) in &reads.by_index {
            if index == "jobs_pkey" {
                assert!(few.contains(read), "{index} gave {read}, not {few:?}");
            } else {
                assert_eq!(*read, 0, "{index} was read: {reads:?}");
            }
        }
    }
}

/// Deliveries of one tenant, as many as come within a few minutes, on a day whose partition the
/// statistics do not know yet.
async fn unprocessed(test: &TestDb) -> Vec<(TenantId, DeliveryId)> {
    // Of long ago, for which there is no partition: they go where the days go that have none.
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
    .expect("filed");
    ids.into_iter()
        .map(|id| (TenantId::UNASSIGNED, id))
        .collect()
}

#[tokio::test]
async fn deliveries_of_a_new_day_are_reached_one_by_one() {
    let test = TestDb::create().await;
    let keys = unprocessed(&test).await;
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
        inbox::record(&mut tx, &outcomes).await.expect("recorded");
        tx.commit().await.expect("committed");
        processed += outcomes.len();
        rows += i64::try_from(batch.len()).expect("a few");
    }
    assert_eq!(i64::try_from(processed).expect("some"), rows, "all of them");
    let reads = before.until(&Reads::so_far(&test, &db, "deliveries%").await);
    assert_eq!(reads.whole, 0, "a whole partition was read: {reads:?}");
    // Once to load and once to change, and what lies between.
    let read: i64 = reads.by_index.values().sum();
    assert!(
        read <= rows * 4,
        "{rows} deliveries cost {read} entries: {reads:?}"
    );
}

/// So many deliveries of today of a tenant's account.
async fn file(test: &TestDb, tenant: TenantId, account: &str, outcome: &str, count: i32) {
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
    .expect("filed");
}

#[tokio::test]
async fn what_nobody_owns_is_found_among_all_that_is_processed() {
    let test = TestDb::create().await;
    // A day on which everything was processed, as the statistics know.
    file(&test, TenantId::generate(), "1", "processed", 20_000).await;
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
    let queue = Fixture::on(test).await;
    let (test, db) = (&queue.test, &queue.db);
    let before = Reads::so_far(test, db, "deliveries%").await;
    assert_eq!(schedule::enqueue_adoptions(db).await.expect("asked"), 0);
    // One that came before anybody had connected its account.
    file(test, TenantId::UNASSIGNED, "2", "unmatched", 1).await;
    assert_eq!(schedule::enqueue_adoptions(db).await.expect("asked"), 1);

    let job = queue.claim(Lane::Others).await.remove(0);
    let connection = job.connection_id.expect("whose they are");
    let scopes = [job.scope(), TenantScope::unassigned()];
    let mut tx = db.begin_many(&scopes).await.expect("begun");
    let more = inbox::adopt(&mut tx, job.tenant_id, connection, "github", "2").await;
    assert!(!more.expect("adopted"), "it was the only one");
    tx.commit().await.expect("committed");
    assert_eq!(schedule::enqueue_adoptions(db).await.expect("asked"), 0);

    let reads = before.until(&Reads::so_far(test, db, "deliveries%").await);
    assert_eq!(reads.whole, 0, "a whole partition was read: {reads:?}");
    let read: i64 = reads.by_index.values().sum();
    assert!(read <= 20, "one delivery cost {read} entries: {reads:?}");
}
