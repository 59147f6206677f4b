//! The queue: leases, fences, fairness, ends.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::TimeDelta;
use shared::clock::{Clock, SystemClock};
use shared::db::jobs::{self, Cancelled, Retried};
use shared::db::{Db, Role};
use shared::ids::{DeliveryId, TenantId, WorkerId};
use shared::queue::{
    ClaimRequest, ClaimedJob, Finished, JobError, JobOutcome, JobPayload, JobQueue, Lane,
    MAX_LOST_ATTEMPTS, NewJob, PgJobQueue, enqueue, hold,
};
use sqlx::Row;
use tests::harness::TestDb;

use crate::connections::scope_of;

struct Fixture {
    test: TestDb,
    db: Db,
    jobs: PgJobQueue,
}

impl Fixture {
    async fn new() -> Self {
        let test = TestDb::create().await;
        let db = test.as_worker(4);
        db.check_role(Role::Worker)
            .await
            .expect("runs as the worker's role");
        Self {
            test,
            jobs: PgJobQueue::new(db.clone()),
            db,
        }
    }

    async fn add(&self, tenant: TenantId, window: Option<&str>) -> bool {
        let mut tx = self.db.begin_unscoped().await.expect("a transaction");
        let job = NewJob {
            tenant_id: tenant,
            provider: "any".to_owned(),
            connection_id: None,
            cursor_window: window.map(str::to_owned),
            payload: JobPayload::SweepDeliveries,
            traceparent: None,
        };
        let enqueued = enqueue(&mut tx, &job).await.expect("enqueued");
        tx.commit().await.expect("committed");
        enqueued.created
    }

    /// A pending delivery of the tenant, and a job that waits for what it names.
    async fn add_delivery(&self, tenant: TenantId) -> DeliveryId {
        let now = SystemClock.now().timestamp_millis();
        let id = DeliveryId::at(u64::try_from(now).expect("after 1970"));
        sqlx::query(
            "INSERT INTO deliveries (tenant_id, received_at, id, provider, dedupe_id, event, \
                 headers, body, outcome) VALUES ($1, $2, $3, 'any', 'd', 'e', '{}', '', 'pending')",
        )
        .bind(tenant)
        .bind(id.received_at())
        .bind(id)
        .execute(self.test.pool())
        .await
        .expect("a row");
        let mut tx = self.db.begin(&scope_of(tenant)).await.expect("begun");
        let job = NewJob {
            tenant_id: tenant,
            provider: "any".to_owned(),
            connection_id: None,
            cursor_window: None,
            payload: JobPayload::LookUp {
                keys: Vec::new(),
                deliveries: vec![id],
            },
            traceparent: None,
        };
        enqueue(&mut tx, &job).await.expect("enqueued");
        tx.commit().await.expect("committed");
        id
    }

    async fn outcome(&self, delivery: DeliveryId) -> (String, Option<String>) {
        sqlx::query_as("SELECT outcome::text, outcome_detail FROM deliveries WHERE id = $1")
            .bind(delivery)
            .fetch_one(self.test.pool())
            .await
            .expect("the delivery")
    }

    async fn worker(&self) -> WorkerId {
        let worker = WorkerId::generate();
        self.jobs.heartbeat(worker).await.expect("a heartbeat");
        worker
    }

    async fn claim(&self, worker: WorkerId, limit: i64, per_tenant: i64) -> Vec<ClaimedJob> {
        let request = ClaimRequest {
            worker,
            lane: Lane::Others,
            limit,
            per_tenant,
            saturated: Vec::new(),
        };
        self.jobs.claim(&request).await.expect("claimed")
    }

    async fn finish(&self, job: &ClaimedJob, outcome: JobOutcome) -> bool {
        let finished = Finished {
            job: job.clone(),
            outcome,
        };
        self.jobs
            .finish(&[finished])
            .await
            .expect("written")
            .is_empty()
    }

    async fn reap(&self, worker: WorkerId, held: &[i64]) -> u64 {
        let reaped = self.jobs.reap(worker, held);
        tokio::time::timeout(Duration::from_secs(5), reaped)
            .await
            .expect("nothing holds it up")
            .expect("reaped")
    }

    async fn due_now(&self) {
        sqlx::query("UPDATE jobs SET run_at = now()")
            .execute(self.test.pool())
            .await
            .expect("moved");
    }

    async fn stop(&self, worker: WorkerId) {
        sqlx::query("UPDATE workers SET expires_at = now() - interval '1 second' WHERE id = $1")
            .bind(worker)
            .execute(self.test.pool())
            .await
            .expect("expired");
    }

    async fn history(&self) -> (String, serde_json::Value, i16) {
        let row = sqlx::query("SELECT state::text, last_error, attempts FROM job_history")
            .fetch_one(self.test.pool())
            .await
            .expect("one finished job");
        let error = row
            .get::<Option<serde_json::Value>, _>("last_error")
            .unwrap_or_default();
        (row.get("state"), error, row.get("attempts"))
    }
}

fn error(code: &str) -> JobError {
    JobError {
        code: code.to_owned(),
        message: "for a test".to_owned(),
    }
}

#[tokio::test]
async fn a_job_is_claimed_by_one_worker_however_many_ask() {
    let queue = Fixture::new().await;
    let tenant = TenantId::generate();
    for _ in 0..50 {
        queue.add(tenant, None).await;
    }
    let worker = queue.worker().await;
    let claims = futures::future::join_all((0..8).map(|_| queue.claim(worker, 20, 20))).await;
    let mut seen = BTreeSet::new();
    for job in claims.into_iter().flatten() {
        assert!(seen.insert(job.id), "claimed twice");
    }
    while let [job, ..] = queue.claim(worker, 1, 1).await.as_slice() {
        assert!(seen.insert(job.id), "claimed twice");
    }
    assert_eq!(seen.len(), 50);
}

#[tokio::test]
async fn one_window_has_one_job() {
    let queue = Fixture::new().await;
    let (tenant, other) = (TenantId::generate(), TenantId::generate());
    assert!(queue.add(tenant, Some("w")).await);
    assert!(!queue.add(tenant, Some("w")).await);
    assert!(
        queue.add(other, Some("w")).await,
        "another tenant's window is another"
    );
    let worker = queue.worker().await;
    let jobs = queue.claim(worker, 2, 1).await;
    assert!(
        !queue.add(tenant, Some("w")).await,
        "a running job covers its window too"
    );
    for job in &jobs {
        assert!(queue.finish(job, JobOutcome::Succeeded).await);
    }
    assert!(
        queue.add(tenant, Some("w")).await,
        "a finished one does not"
    );
}

#[tokio::test]
async fn a_late_completion_changes_nothing() {
    let queue = Fixture::new().await;
    queue.add(TenantId::generate(), None).await;
    let (first, second) = (queue.worker().await, queue.worker().await);
    let stale = queue.claim(first, 1, 1).await.remove(0);
    assert_eq!(
        queue.reap(WorkerId::generate(), &[]).await,
        0,
        "a living worker keeps its jobs"
    );
    queue.stop(first).await;
    assert_eq!(queue.reap(WorkerId::generate(), &[]).await, 1);
    let fresh = queue.claim(second, 1, 1).await.remove(0);
    assert_eq!(fresh.id, stale.id);
    assert_eq!(fresh.attempts, 1, "a lost worker does not cost a try");
    for outcome in [
        JobOutcome::Succeeded,
        JobOutcome::Failed(error("x")),
        JobOutcome::Dead(error("x")),
    ] {
        assert!(
            !queue.finish(&stale, outcome).await,
            "the old lease holds nothing"
        );
    }
    assert!(queue.finish(&fresh, JobOutcome::Succeeded).await);
    assert_eq!(queue.history().await.0, "succeeded");
}

#[tokio::test]
async fn a_lease_that_its_worker_does_not_know_of_is_put_back() {
    let queue = Fixture::new().await;
    for _ in 0..2 {
        queue.add(TenantId::generate(), None).await;
    }
    let worker = queue.worker().await;
    let known = queue.claim(worker, 1, 1).await.remove(0);
    // The answer to this claim never arrives.
    let unknown = queue.claim(worker, 1, 1).await.remove(0);
    let held = [known.lease_token];
    assert_eq!(queue.reap(worker, &held).await, 0, "it may be on its way");
    sqlx::query("UPDATE jobs SET started_at = now() - interval '11 seconds'")
        .execute(queue.test.pool())
        .await
        .expect("moved");
    let other = queue.worker().await;
    assert_eq!(queue.reap(other, &[]).await, 0, "not another's to judge");
    assert_eq!(queue.reap(worker, &held).await, 1);
    let again = queue.claim(other, 2, 2).await.remove(0);
    assert_eq!((again.id, again.attempts), (unknown.id, 1));
    assert!(!queue.finish(&unknown, JobOutcome::Succeeded).await);
    assert!(queue.finish(&known, JobOutcome::Succeeded).await);
}

#[tokio::test]
async fn a_row_that_a_vanished_worker_locks_holds_up_no_other() {
    let queue = Fixture::new().await;
    let worker = queue.worker().await;
    for _ in 0..2 {
        queue.add(TenantId::generate(), None).await;
    }
    let jobs = queue.claim(worker, 2, 1).await;
    let mut open = queue.test.pool().begin().await.expect("a transaction");
    sqlx::query("SELECT FROM jobs WHERE id = $1 FOR UPDATE")
        .bind(jobs[0].id)
        .execute(&mut *open)
        .await
        .expect("locked");
    queue.stop(worker).await;
    assert_eq!(queue.reap(WorkerId::generate(), &[]).await, 1);
    open.rollback().await.expect("ended");
    assert_eq!(queue.reap(WorkerId::generate(), &[]).await, 1);
}

#[tokio::test]
async fn a_run_writes_from_several_transactions_and_keeps_its_job_meanwhile() {
    let queue = Fixture::new().await;
    queue.add(TenantId::generate(), None).await;
    let worker = queue.worker().await;
    let job = queue.claim(worker, 1, 1).await.remove(0);
    let mut pages = Vec::new();
    for _ in 0..2 {
        let mut page = queue.db.begin(&job.scope()).await.expect("a transaction");
        let held = tokio::time::timeout(Duration::from_secs(5), hold(&mut page, &job))
            .await
            .expect("no page waits for another");
        assert!(held.expect("asked"));
        pages.push(page);
    }
    queue.stop(worker).await;
    for page in pages {
        assert_eq!(queue.reap(WorkerId::generate(), &[]).await, 0);
        page.commit().await.expect("committed");
    }
    assert_eq!(queue.reap(WorkerId::generate(), &[]).await, 1);
    let mut late = queue.db.begin(&job.scope()).await.expect("a transaction");
    assert!(!hold(&mut late, &job).await.expect("asked"));
}

#[tokio::test]
async fn a_job_that_outlives_ten_workers_is_buried() {
    let queue = Fixture::new().await;
    queue.add(TenantId::generate(), None).await;
    for _ in 0..11 {
        let worker = queue.worker().await;
        assert_eq!(queue.claim(worker, 1, 1).await.len(), 1);
        queue.stop(worker).await;
        assert_eq!(queue.reap(WorkerId::generate(), &[]).await, 1);
    }
    let (state, error, _) = queue.history().await;
    assert_eq!(
        (state.as_str(), &error["code"]),
        ("dead", &"worker_lost".into())
    );
}

#[tokio::test]
async fn tries_are_bounded_and_the_cause_is_kept() {
    let queue = Fixture::new().await;
    queue.add(TenantId::generate(), None).await;
    let worker = queue.worker().await;
    for attempt in 1..=3 {
        let job = queue.claim(worker, 1, 1).await.remove(0);
        assert_eq!(job.attempts, attempt);
        assert!(
            queue
                .finish(&job, JobOutcome::Failed(error("transient")))
                .await
        );
        if attempt < 3 {
            assert!(
                queue.claim(worker, 1, 1).await.is_empty(),
                "it waits before the next try"
            );
            queue.due_now().await;
        }
    }
    let (state, error, attempts) = queue.history().await;
    assert_eq!(
        (state.as_str(), &error["code"], attempts),
        ("dead", &"transient".into(), 3)
    );
}

#[tokio::test]
async fn a_rate_limit_reschedules_without_costing_a_try() {
    let queue = Fixture::new().await;
    queue.add(TenantId::generate(), None).await;
    let worker = queue.worker().await;
    for _ in 0..10 {
        let job = queue.claim(worker, 1, 1).await.remove(0);
        assert_eq!(job.attempts, 1);
        let at = job.run_at + TimeDelta::hours(1);
        assert!(
            queue
                .finish(
                    &job,
                    JobOutcome::Postponed {
                        at,
                        error: error("rate_limited")
                    }
                )
                .await
        );
        assert!(queue.claim(worker, 1, 1).await.is_empty());
        queue.due_now().await;
    }
}

#[tokio::test]
async fn a_permanent_error_is_dead_at_once() {
    let queue = Fixture::new().await;
    queue.add(TenantId::generate(), None).await;
    let worker = queue.worker().await;
    let job = queue.claim(worker, 1, 1).await.remove(0);
    assert!(
        queue
            .finish(&job, JobOutcome::Dead(error("permanent")))
            .await
    );
    let (state, error, attempts) = queue.history().await;
    assert_eq!(
        (state.as_str(), &error["code"], attempts),
        ("dead", &"permanent".into(), 1)
    );
}

#[tokio::test]
async fn one_tenants_queue_does_not_delay_anothers() {
    let queue = Fixture::new().await;
    let (big, small) = (TenantId::generate(), TenantId::generate());
    sqlx::query(
        "INSERT INTO jobs (tenant_id, id, kind, provider, priority, payload) \
         SELECT $1, gen_random_uuid(), 'sweep_deliveries', 'any', 10, '{\"kind\":\"sweep_deliveries\"}' \
         FROM generate_series(1, 10000)",
    )
    .bind(big)
    .execute(queue.test.pool())
    .await
    .expect("ten thousand jobs");
    queue.add(small, None).await;
    let worker = queue.worker().await;
    // Wherever the walk round the tenants starts, both are met within one claim.
    for _ in 0..5 {
        let jobs = queue.claim(worker, 8, 4).await;
        let mine: Vec<_> = jobs.iter().filter(|job| job.tenant_id == small).collect();
        assert_eq!(mine.len(), 1, "the single job is among the first claimed");
        for job in &jobs {
            let at = queue.jobs.heartbeat(worker).await.expect("a heartbeat");
            queue
                .finish(
                    job,
                    JobOutcome::Postponed {
                        at,
                        error: error("again"),
                    },
                )
                .await;
        }
    }
}

#[tokio::test]
async fn a_drained_worker_gives_its_jobs_back() {
    let queue = Fixture::new().await;
    queue.add(TenantId::generate(), None).await;
    let (first, second) = (queue.worker().await, queue.worker().await);
    assert_eq!(queue.claim(first, 1, 1).await.len(), 1);
    assert_eq!(queue.jobs.release(first).await.expect("released"), 1);
    assert_eq!(queue.claim(second, 1, 1).await.remove(0).attempts, 1);
}

#[tokio::test]
async fn interruptions_are_bounded_and_cost_no_attempt() {
    let queue = Fixture::new().await;
    queue.add(TenantId::generate(), None).await;
    let worker = queue.worker().await;
    for lost in 0..=MAX_LOST_ATTEMPTS {
        let job = queue.claim(worker, 1, 1).await.remove(0);
        assert_eq!((job.attempts, job.lost_attempts), (1, lost));
        let outcome = JobOutcome::Interrupted(error("statement_timeout"));
        assert!(queue.finish(&job, outcome).await);
        assert!(queue.claim(worker, 1, 1).await.is_empty(), "it pauses");
        queue.due_now().await;
    }
    let (state, error, _) = queue.history().await;
    assert_eq!(
        (state.as_str(), &error["code"]),
        ("dead", &"statement_timeout".into())
    );
}

#[tokio::test]
async fn unreadable_job_keeps_its_deliveries_and_others_run() {
    let queue = Fixture::new().await;
    let tenant = TenantId::generate();
    let delivery = queue.add_delivery(tenant).await;
    sqlx::query("UPDATE jobs SET payload = json_build_object('deliveries', json_build_array($1))")
        .bind(delivery)
        .execute(queue.test.pool())
        .await
        .expect("as another release may have written it");
    queue.add(tenant, None).await;
    let worker = queue.worker().await;
    let jobs = queue.claim(worker, 10, 10).await;
    let (unreadable, others): (Vec<_>, Vec<_>) = jobs
        .into_iter()
        .partition(|job| matches!(job.payload, JobPayload::Unreadable { .. }));
    assert_eq!((unreadable.len(), others.len()), (1, 1));
    let scope = scope_of(tenant);
    let mut tx = queue.db.begin(&scope).await.expect("begun");
    let shown = jobs::get(&mut tx, &scope, unreadable[0].id).await;
    assert!(shown.expect("read").is_some(), "people can look at it");
    tx.commit().await.expect("committed");
    let dead = JobOutcome::Dead(error("unreadable_job"));
    assert!(queue.finish(&unreadable[0], dead).await);
    assert_eq!(queue.outcome(delivery).await.0, "failed");
    let mut tx = queue.db.begin(&scope).await.expect("begun");
    let retried = jobs::retry(&mut tx, &scope, unreadable[0].id).await;
    assert!(matches!(retried.expect("asked"), Retried::Unreadable));
}

#[tokio::test]
async fn job_without_success_fails_its_pending_deliveries() {
    let queue = Fixture::new().await;
    let tenant = TenantId::generate();
    let worker = queue.worker().await;
    let failed = |why: &str| ("failed".to_owned(), Some(why.to_owned()));

    let delivery = queue.add_delivery(tenant).await;
    let job = queue.claim(worker, 1, 1).await.remove(0);
    assert!(
        queue
            .finish(&job, JobOutcome::Dead(error("permanent")))
            .await
    );
    assert_eq!(queue.outcome(delivery).await, failed("for a test"));

    let delivery = queue.add_delivery(tenant).await;
    let job = queue.claim(worker, 1, 1).await.remove(0);
    let at = SystemClock.now() + TimeDelta::hours(1);
    let error = error("rate_limited");
    assert!(
        queue
            .finish(&job, JobOutcome::Postponed { at, error })
            .await
    );
    assert_eq!(queue.outcome(delivery).await.0, "pending");
    let scope = scope_of(tenant);
    let mut tx = queue.db.begin(&scope).await.expect("begun");
    let cancelled = jobs::cancel(&mut tx, &scope, job.id).await.expect("asked");
    assert!(matches!(cancelled, Cancelled::Withdrawn));
    tx.commit().await.expect("committed");
    assert_eq!(
        queue.outcome(delivery).await,
        failed("The job was cancelled.")
    );

    let delivery = queue.add_delivery(tenant).await;
    sqlx::query("UPDATE jobs SET losses = $1")
        .bind(MAX_LOST_ATTEMPTS)
        .execute(queue.test.pool())
        .await
        .expect("lost often");
    queue.claim(worker, 1, 1).await.remove(0);
    queue.stop(worker).await;
    assert_eq!(queue.reap(queue.worker().await, &[]).await, 1);
    assert_eq!(queue.outcome(delivery).await.0, "failed");
}

#[tokio::test]
async fn attempt_that_ends_by_itself_forgives_lost_ones() {
    let queue = Fixture::new().await;
    queue.add(TenantId::generate(), None).await;
    let worker = queue.worker().await;
    let at = SystemClock.now();
    for (lost, outcome) in [
        (0, JobOutcome::Interrupted(error("statement_timeout"))),
        (
            1,
            JobOutcome::Postponed {
                at,
                error: error("time_slice"),
            },
        ),
        (0, JobOutcome::Succeeded),
    ] {
        let job = queue.claim(worker, 1, 1).await.remove(0);
        assert_eq!(job.lost_attempts, lost);
        assert!(queue.finish(&job, outcome).await);
        queue.due_now().await;
    }
}
