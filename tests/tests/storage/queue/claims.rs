//! Order, fairness, work classes, windows and notifications.

use std::collections::BTreeSet;
use std::time::Duration;

use shared::model::{ConfirmGrant, JobPayload, NewJob, ProcessDeliveries, RefreshToken, TenantId};
use shared::queue::{ClaimRequest, JobOutcome, WorkClass};
use tokio::sync::watch;
use tokio::time::timeout;

use super::fixture::{Fixture, background, error};

pub(crate) async fn concurrent_claims_return_each_job_once(fixture: &Fixture) {
    let tenant = TenantId::generate();
    for _ in 0..50 {
        fixture.add(tenant, None).await;
    }
    let worker = fixture.worker().await;
    let claims = futures::future::join_all((0..8).map(|_| fixture.claim(worker, 20, 20))).await;
    let mut claimed_ids = BTreeSet::new();
    for job in claims.into_iter().flatten() {
        assert!(claimed_ids.insert(job.id), "claimed twice");
    }
    while let [job, ..] = fixture.claim(worker, 1, 1).await.as_slice() {
        assert!(claimed_ids.insert(job.id), "claimed twice");
    }
    assert_eq!(claimed_ids.len(), 50);
}

pub(crate) async fn claims_follow_priority_and_age(fixture: &Fixture) {
    let tenant = TenantId::generate();
    let mut expected = Vec::new();
    for payload in [
        JobPayload::from(ConfirmGrant::default()),
        ConfirmGrant::default().into(),
        RefreshToken {}.into(),
    ] {
        let job = NewJob::new(tenant, "any", None, payload);
        expected.push(fixture.enqueue(&job).await.job_id);
    }
    expected.rotate_right(1);
    let worker = fixture.worker().await;
    let mut claimed = Vec::new();
    while let [job] = fixture.claim(worker, 1, 1).await.as_slice() {
        claimed.push(job.id);
    }
    assert_eq!(claimed, expected, "the refresh, then the older grant");
}

pub(crate) async fn work_classes_are_claimed_separately(fixture: &Fixture) {
    let tenant = TenantId::generate();
    let process = ProcessDeliveries {
        deliveries: Vec::new(),
    };
    fixture
        .enqueue(&NewJob::new(tenant, "any", None, process))
        .await;
    fixture.add(tenant, None).await;
    let worker = fixture.worker().await;
    for class in [WorkClass::Deliveries, WorkClass::Background] {
        let request = ClaimRequest {
            class,
            ..background(worker)
        };
        let jobs = fixture.claim_as(request).await;
        assert_eq!(jobs.len(), 1);
        assert_eq!(jobs[0].payload.kind().class(), class);
    }
}

pub(crate) async fn saturated_tenants_are_not_claimed(fixture: &Fixture) {
    let (busy, other) = (TenantId::generate(), TenantId::generate());
    for tenant in [busy, other] {
        fixture.add(tenant, None).await;
    }
    let worker = fixture.worker().await;
    let request = ClaimRequest {
        saturated: vec![busy],
        ..background(worker)
    };
    let jobs = fixture.claim_as(request).await;
    let tenants: Vec<_> = jobs.iter().map(|job| job.tenant_id).collect();
    assert_eq!(tenants, [other]);
    assert_eq!(fixture.claim_one(worker).await.tenant_id, busy);
}

pub(crate) async fn large_queue_of_tenant_does_not_delay_others(fixture: &Fixture) {
    let (big, small) = (TenantId::generate(), TenantId::generate());
    fixture.add_many(big, 10_000).await;
    fixture.add(small, None).await;
    let worker = fixture.worker().await;
    // One claim covers both tenants, at whichever tenant it starts.
    for _ in 0..5 {
        let jobs = fixture.claim(worker, 8, 4).await;
        let mine: Vec<_> = jobs.iter().filter(|job| job.tenant_id == small).collect();
        assert_eq!(mine.len(), 1, "the small tenant's job is claimed");
        assert!(jobs.len() <= 5, "at most four jobs of a tenant");
        for job in &jobs {
            let at = fixture.queue.heartbeat(worker).await.expect("a heartbeat");
            let error = error("again");
            fixture.finish(job, JobOutcome::Snoozed { at, error }).await;
        }
    }
}

pub(crate) async fn cursor_window_has_at_most_one_job(fixture: &Fixture) {
    let (tenant, other) = (TenantId::generate(), TenantId::generate());
    assert!(fixture.add(tenant, Some("w")).await);
    assert!(!fixture.add(tenant, Some("w")).await);
    assert!(
        fixture.add(other, Some("w")).await,
        "windows of different tenants are independent"
    );
    let worker = fixture.worker().await;
    let jobs = fixture.claim(worker, 2, 1).await;
    assert!(
        !fixture.add(tenant, Some("w")).await,
        "a running job occupies its window"
    );
    for job in &jobs {
        assert!(fixture.finish(job, JobOutcome::Succeeded).await);
    }
    assert!(
        fixture.add(tenant, Some("w")).await,
        "a finished job frees its window"
    );
}

pub(crate) async fn notification_reaches_listening_workers(fixture: &Fixture) {
    let (sender, mut notified) = watch::channel(());
    let listening = fixture.queue.clone();
    let listener = tokio::spawn(async move { listening.listen(sender).await });
    let reached = async {
        loop {
            fixture.queue.notify().await.expect("sent");
            let changed = timeout(Duration::from_millis(100), notified.changed());
            if let Ok(Ok(())) = changed.await {
                return;
            }
        }
    };
    timeout(Duration::from_secs(10), reached)
        .await
        .expect("notified");
    listener.abort();
}
