//! The promises that only a queue in Postgres keeps: those of its transactions.

use std::time::Duration;

use chrono::TimeDelta;
use shared::clock::{Clock, SystemClock};
use shared::model::{
    DeliveryId, JobKind, JobPayload, NewJob, ResolveDirectory, TenantId, WorkerId,
};
use shared::queue::jobs::{CancelOutcome, RetryOutcome};
use shared::queue::{JobOutcome, MAX_LOST_ATTEMPTS, WorkClass};

use super::fixture::{Fixture, error, job_of};
use crate::connections::scope_of;

impl Fixture {
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
        let mut tx = self.begin(tenant).await;
        let resolve = ResolveDirectory {
            keys: Vec::new(),
            deliveries: vec![id],
        };
        let job = NewJob::new(tenant, "any", None, resolve);
        self.queue.enqueue(&mut tx, &job).await.expect("enqueued");
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
}

#[tokio::test]
async fn rolled_back_transaction_enqueues_nothing() {
    let fixture = Fixture::postgres().await;
    let tenant = TenantId::generate();
    let mut tx = fixture.begin(tenant).await;
    let enqueued = fixture.queue.enqueue(&mut tx, &job_of(tenant, None)).await;
    assert!(enqueued.expect("enqueued").created);
    drop(tx);
    let worker = fixture.worker().await;
    assert!(fixture.claim(worker, 1, 1).await.is_empty());
}

#[tokio::test]
async fn locked_row_does_not_block_rescue_of_others() {
    let fixture = Fixture::postgres().await;
    let worker = fixture.worker().await;
    for _ in 0..2 {
        fixture.add(TenantId::generate(), None).await;
    }
    let jobs = fixture.claim(worker, 2, 1).await;
    let mut open = fixture.test.pool().begin().await.expect("a transaction");
    sqlx::query("SELECT FROM jobs WHERE id = $1 FOR UPDATE")
        .bind(jobs[0].id)
        .execute(&mut *open)
        .await
        .expect("locked");
    fixture.expire(worker).await;
    assert_eq!(fixture.rescue(WorkerId::generate(), &[]).await, 1);
    open.rollback().await.expect("ended");
    assert_eq!(fixture.rescue(WorkerId::generate(), &[]).await, 1);
}

#[tokio::test]
async fn concurrent_transactions_of_job_prevent_its_rescue() {
    let fixture = Fixture::postgres().await;
    fixture.add(TenantId::generate(), None).await;
    let worker = fixture.worker().await;
    let job = fixture.claim(worker, 1, 1).await.remove(0);
    let mut pages = Vec::new();
    for _ in 0..2 {
        let mut page = fixture.db.begin(&job.scope()).await.expect("a transaction");
        let held = tokio::time::timeout(
            Duration::from_secs(5),
            fixture.queue.verify_lease(&mut page, &job),
        )
        .await
        .expect("not blocked by the other transaction");
        assert!(held.expect("verified"));
        pages.push(page);
    }
    fixture.expire(worker).await;
    for page in pages {
        assert_eq!(fixture.rescue(WorkerId::generate(), &[]).await, 0);
        page.commit().await.expect("committed");
    }
    assert_eq!(fixture.rescue(WorkerId::generate(), &[]).await, 1);
    let mut late = fixture.db.begin(&job.scope()).await.expect("a transaction");
    assert!(
        !fixture
            .queue
            .verify_lease(&mut late, &job)
            .await
            .expect("verified")
    );
}

#[tokio::test]
async fn unreadable_job_keeps_its_deliveries_and_others_run() {
    let fixture = Fixture::postgres().await;
    let tenant = TenantId::generate();
    let delivery = fixture.add_delivery(tenant).await;
    sqlx::query("UPDATE jobs SET payload = json_build_object('deliveries', json_build_array($1))")
        .bind(delivery)
        .execute(fixture.test.pool())
        .await
        .expect("a payload of another release");
    fixture.add(tenant, None).await;
    let worker = fixture.worker().await;
    let jobs = fixture.claim(worker, 10, 10).await;
    let (unreadable, others): (Vec<_>, Vec<_>) = jobs
        .into_iter()
        .partition(|job| matches!(job.payload, JobPayload::Unreadable { .. }));
    assert_eq!((unreadable.len(), others.len()), (1, 1));
    let scope = scope_of(tenant);
    let mut tx = fixture.db.begin(&scope).await.expect("begun");
    let shown = fixture.queue.get(&mut tx, &scope, unreadable[0].id).await;
    assert!(shown.expect("read").is_some(), "the API shows the job");
    tx.commit().await.expect("committed");
    let dead = JobOutcome::Dead(error("unreadable_job"));
    assert!(fixture.finish(&unreadable[0], dead).await);
    assert_eq!(fixture.outcome(delivery).await.0, "failed");
    let mut tx = fixture.db.begin(&scope).await.expect("begun");
    let retried = fixture.queue.retry(&mut tx, &scope, unreadable[0].id).await;
    assert!(matches!(
        retried.expect("retried"),
        RetryOutcome::Unreadable
    ));
}

#[tokio::test]
async fn job_without_success_fails_its_pending_deliveries() {
    let fixture = Fixture::postgres().await;
    let tenant = TenantId::generate();
    let worker = fixture.worker().await;
    let failed = |why: &str| ("failed".to_owned(), Some(why.to_owned()));

    let delivery = fixture.add_delivery(tenant).await;
    let job = fixture.claim(worker, 1, 1).await.remove(0);
    assert!(
        fixture
            .finish(&job, JobOutcome::Dead(error("permanent")))
            .await
    );
    assert_eq!(fixture.outcome(delivery).await, failed("for a test"));

    let delivery = fixture.add_delivery(tenant).await;
    let job = fixture.claim(worker, 1, 1).await.remove(0);
    let at = SystemClock.now() + TimeDelta::hours(1);
    let error = error("rate_limited");
    assert!(
        fixture
            .finish(&job, JobOutcome::Snoozed { at, error })
            .await
    );
    assert_eq!(fixture.outcome(delivery).await.0, "pending");
    let scope = scope_of(tenant);
    let mut tx = fixture.db.begin(&scope).await.expect("begun");
    let cancelled = fixture
        .queue
        .cancel(&mut tx, &scope, job.id)
        .await
        .expect("cancelled");
    assert!(matches!(cancelled, CancelOutcome::Cancelled));
    tx.commit().await.expect("committed");
    assert_eq!(
        fixture.outcome(delivery).await,
        failed("The job was cancelled.")
    );

    let delivery = fixture.add_delivery(tenant).await;
    sqlx::query("UPDATE jobs SET lost_attempts = $1")
        .bind(MAX_LOST_ATTEMPTS)
        .execute(fixture.test.pool())
        .await
        .expect("updated");
    fixture.claim(worker, 1, 1).await.remove(0);
    fixture.expire(worker).await;
    assert_eq!(fixture.rescue(fixture.worker().await, &[]).await, 1);
    assert_eq!(fixture.outcome(delivery).await.0, "failed");
}

#[tokio::test]
async fn job_kinds_are_the_labels_of_their_enum() {
    let fixture = Fixture::postgres().await;
    let mut labels: Vec<String> =
        sqlx::query_scalar("SELECT unnest(enum_range(NULL::job_kind))::text")
            .fetch_all(fixture.test.pool())
            .await
            .expect("the labels");
    let classes = [WorkClass::Deliveries, WorkClass::Background];
    let kinds = classes.into_iter().flat_map(WorkClass::kinds);
    let mut kinds: Vec<&str> = kinds.map(JobKind::as_str).collect();
    labels.sort_unstable();
    kinds.sort_unstable();
    assert_eq!(labels, kinds);
}
