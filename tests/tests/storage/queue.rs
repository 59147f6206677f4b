//! The queue: leases, fencing, fairness, outcomes.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::TimeDelta;
use shared::clock::{Clock, SystemClock};
use shared::db::{Db, Role};
use shared::model::{DeliveryId, JobError, JobPayload, NewJob, TenantId, WorkerId};
use shared::queue::jobs::{self, CancelOutcome, RetryOutcome};
use shared::queue::{
    ClaimRequest, ClaimedJob, Finished, JobOutcome, JobQueue, MAX_LOST_ATTEMPTS, PgJobQueue,
    WorkClass, enqueue, verify_lease,
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
            .expect("the worker's role");
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
            payload: JobPayload::RedeliverWebhooks,
            traceparent: None,
        };
        let enqueued = enqueue(&mut tx, &job).await.expect("enqueued");
        tx.commit().await.expect("committed");
        enqueued.created
    }

    /// Adds a pending delivery of the tenant and a job that resolves its directory entries.
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
            payload: JobPayload::ResolveDirectory {
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
            class: WorkClass::Background,
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

    async fn rescue(&self, worker: WorkerId, held: &[i64]) -> u64 {
        let rescued = self.jobs.rescue(worker, held);
        tokio::time::timeout(Duration::from_secs(5), rescued)
            .await
            .expect("not blocked")
            .expect("rescued")
    }

    async fn make_due(&self) {
        sqlx::query("UPDATE jobs SET run_at = now()")
            .execute(self.test.pool())
            .await
            .expect("moved");
    }

    async fn expire_worker(&self, worker: WorkerId) {
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
async fn concurrent_claims_return_each_job_once() {
    let queue = Fixture::new().await;
    let tenant = TenantId::generate();
    for _ in 0..50 {
        queue.add(tenant, None).await;
    }
    let worker = queue.worker().await;
    let claims = futures::future::join_all((0..8).map(|_| queue.claim(worker, 20, 20))).await;
    let mut claimed_ids = BTreeSet::new();
    for job in claims.into_iter().flatten() {
        assert!(claimed_ids.insert(job.id), "claimed twice");
    }
    while let [job, ..] = queue.claim(worker, 1, 1).await.as_slice() {
        assert!(claimed_ids.insert(job.id), "claimed twice");
    }
    assert_eq!(claimed_ids.len(), 50);
}

#[tokio::test]
async fn cursor_window_has_at_most_one_job() {
    let queue = Fixture::new().await;
    let (tenant, other) = (TenantId::generate(), TenantId::generate());
    assert!(queue.add(tenant, Some("w")).await);
    assert!(!queue.add(tenant, Some("w")).await);
    assert!(
        queue.add(other, Some("w")).await,
        "windows of different tenants are independent"
    );
    let worker = queue.worker().await;
    let jobs = queue.claim(worker, 2, 1).await;
    assert!(
        !queue.add(tenant, Some("w")).await,
        "a running job occupies its window"
    );
    for job in &jobs {
        assert!(queue.finish(job, JobOutcome::Succeeded).await);
    }
    assert!(
        queue.add(tenant, Some("w")).await,
        "a finished job frees its window"
    );
}

#[tokio::test]
async fn completion_after_lost_lease_changes_nothing() {
    let queue = Fixture::new().await;
    queue.add(TenantId::generate(), None).await;
    let (first, second) = (queue.worker().await, queue.worker().await);
    let stale = queue.claim(first, 1, 1).await.remove(0);
    assert_eq!(
        queue.rescue(WorkerId::generate(), &[]).await,
        0,
        "a worker with a heartbeat keeps its jobs"
    );
    queue.expire_worker(first).await;
    assert_eq!(queue.rescue(WorkerId::generate(), &[]).await, 1);
    let fresh = queue.claim(second, 1, 1).await.remove(0);
    assert_eq!(fresh.id, stale.id);
    assert_eq!(fresh.attempts, 1, "a lost worker costs no attempt");
    for outcome in [
        JobOutcome::Succeeded,
        JobOutcome::Failed(error("x")),
        JobOutcome::Dead(error("x")),
    ] {
        assert!(
            !queue.finish(&stale, outcome).await,
            "the old lease is lost"
        );
    }
    assert!(queue.finish(&fresh, JobOutcome::Succeeded).await);
    assert_eq!(queue.history().await.0, "succeeded");
}

#[tokio::test]
async fn lease_unknown_to_its_worker_is_rescued() {
    let queue = Fixture::new().await;
    for _ in 0..2 {
        queue.add(TenantId::generate(), None).await;
    }
    let worker = queue.worker().await;
    let held_job = queue.claim(worker, 1, 1).await.remove(0);
    // The response to this claim is lost.
    let lost_job = queue.claim(worker, 1, 1).await.remove(0);
    let held = [held_job.lease_token];
    assert_eq!(
        queue.rescue(worker, &held).await,
        0,
        "the response may still arrive"
    );
    sqlx::query("UPDATE jobs SET started_at = now() - interval '11 seconds'")
        .execute(queue.test.pool())
        .await
        .expect("moved");
    let other = queue.worker().await;
    assert_eq!(
        queue.rescue(other, &[]).await,
        0,
        "only its own worker knows"
    );
    assert_eq!(queue.rescue(worker, &held).await, 1);
    let rescued_job = queue.claim(other, 2, 2).await.remove(0);
    assert_eq!((rescued_job.id, rescued_job.attempts), (lost_job.id, 1));
    assert!(!queue.finish(&lost_job, JobOutcome::Succeeded).await);
    assert!(queue.finish(&held_job, JobOutcome::Succeeded).await);
}

#[tokio::test]
async fn locked_row_does_not_block_rescue_of_others() {
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
    queue.expire_worker(worker).await;
    assert_eq!(queue.rescue(WorkerId::generate(), &[]).await, 1);
    open.rollback().await.expect("ended");
    assert_eq!(queue.rescue(WorkerId::generate(), &[]).await, 1);
}

#[tokio::test]
async fn concurrent_transactions_of_job_prevent_its_rescue() {
    let queue = Fixture::new().await;
    queue.add(TenantId::generate(), None).await;
    let worker = queue.worker().await;
    let job = queue.claim(worker, 1, 1).await.remove(0);
    let mut pages = Vec::new();
    for _ in 0..2 {
        let mut page = queue.db.begin(&job.scope()).await.expect("a transaction");
        let held = tokio::time::timeout(Duration::from_secs(5), verify_lease(&mut page, &job))
            .await
            .expect("not blocked by the other transaction");
        assert!(held.expect("verified"));
        pages.push(page);
    }
    queue.expire_worker(worker).await;
    for page in pages {
        assert_eq!(queue.rescue(WorkerId::generate(), &[]).await, 0);
        page.commit().await.expect("committed");
    }
    assert_eq!(queue.rescue(WorkerId::generate(), &[]).await, 1);
    let mut late = queue.db.begin(&job.scope()).await.expect("a transaction");
    assert!(!verify_lease(&mut late, &job).await.expect("verified"));
}

#[tokio::test]
async fn job_lost_eleven_times_is_dead_lettered() {
    let queue = Fixture::new().await;
    queue.add(TenantId::generate(), None).await;
    for _ in 0..11 {
        let worker = queue.worker().await;
        assert_eq!(queue.claim(worker, 1, 1).await.len(), 1);
        queue.expire_worker(worker).await;
        assert_eq!(queue.rescue(WorkerId::generate(), &[]).await, 1);
    }
    let (state, error, _) = queue.history().await;
    assert_eq!(
        (state.as_str(), &error["code"]),
        ("dead", &"worker_lost".into())
    );
}

#[tokio::test]
async fn job_is_dead_lettered_after_max_attempts() {
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
                "the retry is delayed"
            );
            queue.make_due().await;
        }
    }
    let (state, error, attempts) = queue.history().await;
    assert_eq!(
        (state.as_str(), &error["code"], attempts),
        ("dead", &"transient".into(), 3)
    );
}

#[tokio::test]
async fn rate_limit_snoozes_job_without_costing_attempt() {
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
                    JobOutcome::Snoozed {
                        at,
                        error: error("rate_limited")
                    }
                )
                .await
        );
        assert!(queue.claim(worker, 1, 1).await.is_empty());
        queue.make_due().await;
    }
}

#[tokio::test]
async fn permanent_error_dead_letters_job_immediately() {
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
async fn large_queue_of_tenant_does_not_delay_others() {
    let queue = Fixture::new().await;
    let (big, small) = (TenantId::generate(), TenantId::generate());
    sqlx::query(
        "INSERT INTO jobs (tenant_id, id, kind, provider, priority, payload) \
         SELECT $1, gen_random_uuid(), 'redeliver_webhooks', 'any', 10, '{\"kind\":\"redeliver_webhooks\"}' \
         FROM generate_series(1, 10000)",
    )
    .bind(big)
    .execute(queue.test.pool())
    .await
    .expect("ten thousand jobs");
    queue.add(small, None).await;
    let worker = queue.worker().await;
    // One claim covers both tenants, at whichever tenant it starts.
    for _ in 0..5 {
        let jobs = queue.claim(worker, 8, 4).await;
        let mine: Vec<_> = jobs.iter().filter(|job| job.tenant_id == small).collect();
        assert_eq!(mine.len(), 1, "the small tenant's job is claimed");
        for job in &jobs {
            let at = queue.jobs.heartbeat(worker).await.expect("a heartbeat");
            queue
                .finish(
                    job,
                    JobOutcome::Snoozed {
                        at,
                        error: error("again"),
                    },
                )
                .await;
        }
    }
}

#[tokio::test]
async fn drained_worker_releases_its_jobs() {
    let queue = Fixture::new().await;
    queue.add(TenantId::generate(), None).await;
    let (first, second) = (queue.worker().await, queue.worker().await);
    assert_eq!(queue.claim(first, 1, 1).await.len(), 1);
    assert_eq!(queue.jobs.release(first).await.expect("released"), 1);
    assert_eq!(queue.claim(second, 1, 1).await.remove(0).attempts, 1);
}

#[tokio::test]
async fn interruptions_are_limited_and_cost_no_attempt() {
    let queue = Fixture::new().await;
    queue.add(TenantId::generate(), None).await;
    let worker = queue.worker().await;
    for lost in 0..=MAX_LOST_ATTEMPTS {
        let job = queue.claim(worker, 1, 1).await.remove(0);
        assert_eq!((job.attempts, job.lost_attempts), (1, lost));
        let outcome = JobOutcome::Interrupted(error("statement_timeout"));
        assert!(queue.finish(&job, outcome).await);
        assert!(
            queue.claim(worker, 1, 1).await.is_empty(),
            "the retry is delayed"
        );
        queue.make_due().await;
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
        .expect("a payload of another release");
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
    assert!(shown.expect("read").is_some(), "the API shows the job");
    tx.commit().await.expect("committed");
    let dead = JobOutcome::Dead(error("unreadable_job"));
    assert!(queue.finish(&unreadable[0], dead).await);
    assert_eq!(queue.outcome(delivery).await.0, "failed");
    let mut tx = queue.db.begin(&scope).await.expect("begun");
    let retried = jobs::retry(&mut tx, &scope, unreadable[0].id).await;
    assert!(matches!(
        retried.expect("retried"),
        RetryOutcome::Unreadable
    ));
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
    assert!(queue.finish(&job, JobOutcome::Snoozed { at, error }).await);
    assert_eq!(queue.outcome(delivery).await.0, "pending");
    let scope = scope_of(tenant);
    let mut tx = queue.db.begin(&scope).await.expect("begun");
    let cancelled = jobs::cancel(&mut tx, &scope, job.id)
        .await
        .expect("cancelled");
    assert!(matches!(cancelled, CancelOutcome::Cancelled));
    tx.commit().await.expect("committed");
    assert_eq!(
        queue.outcome(delivery).await,
        failed("The job was cancelled.")
    );

    let delivery = queue.add_delivery(tenant).await;
    sqlx::query("UPDATE jobs SET lost_attempts = $1")
        .bind(MAX_LOST_ATTEMPTS)
        .execute(queue.test.pool())
        .await
        .expect("updated");
    queue.claim(worker, 1, 1).await.remove(0);
    queue.expire_worker(worker).await;
    assert_eq!(queue.rescue(queue.worker().await, &[]).await, 1);
    assert_eq!(queue.outcome(delivery).await.0, "failed");
}

#[tokio::test]
async fn completed_attempt_resets_lost_attempts() {
    let queue = Fixture::new().await;
    queue.add(TenantId::generate(), None).await;
    let worker = queue.worker().await;
    let at = SystemClock.now();
    for (lost, outcome) in [
        (0, JobOutcome::Interrupted(error("statement_timeout"))),
        (
            1,
            JobOutcome::Snoozed {
                at,
                error: error("time_slice"),
            },
        ),
        (0, JobOutcome::Succeeded),
    ] {
        let job = queue.claim(worker, 1, 1).await.remove(0);
        assert_eq!(job.lost_attempts, lost);
        assert!(queue.finish(&job, outcome).await);
        queue.make_due().await;
    }
}
