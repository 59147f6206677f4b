//! Leases: fencing, verification, rescue, release.

use shared::model::{
    ConnectionId, JobPayload, JobState, NewJob, SyncConnection, SyncMode, TenantId, WorkerId,
};
use shared::queue::jobs::RetryOutcome;
use shared::queue::{ClaimedJob, Finished, JobOutcome};

use super::fixture::{Fixture, error, job_of};

pub(crate) async fn completion_after_lost_lease_changes_nothing(fixture: &Fixture) {
    fixture.add(TenantId::generate(), None).await;
    let (first, second) = (fixture.worker().await, fixture.worker().await);
    let stale = fixture.claim_one(first).await;
    assert_eq!(
        fixture.rescue(WorkerId::generate(), &[]).await,
        0,
        "a worker with a heartbeat keeps its jobs"
    );
    fixture.expire(first).await;
    assert_eq!(fixture.rescue(WorkerId::generate(), &[]).await, 1);
    let fresh = fixture.claim_one(second).await;
    assert_eq!(fresh.id, stale.id);
    assert_eq!(fresh.attempts, 1, "a lost worker costs no attempt");
    for outcome in [
        JobOutcome::Succeeded,
        JobOutcome::Failed(error("x")),
        JobOutcome::Dead(error("x")),
    ] {
        assert!(
            !fixture.finish(&stale, outcome).await,
            "the old lease is lost"
        );
    }
    assert!(fixture.finish(&fresh, JobOutcome::Succeeded).await);
    let job = fixture.job(fresh.tenant_id, fresh.id).await;
    assert_eq!(job.state, JobState::Succeeded);
}

pub(crate) async fn lost_lease_is_not_verified(fixture: &Fixture) {
    for _ in 0..2 {
        fixture.add(TenantId::generate(), None).await;
    }
    let (first, second) = (fixture.worker().await, fixture.worker().await);
    let lost = fixture.claim(first, 1, 1).await.remove(0);
    let held = fixture.claim(second, 1, 1).await.remove(0);
    let verify = async |job: &ClaimedJob| {
        let mut tx = fixture.begin(job.tenant_id).await;
        let verified = fixture.queue.verify_lease(&mut tx, job).await;
        tx.commit().await.expect("committed");
        verified.expect("verified")
    };
    assert!(verify(&lost).await);
    fixture.expire(first).await;
    assert_eq!(fixture.rescue(WorkerId::generate(), &[]).await, 1);
    assert!(!verify(&lost).await);
    // With one lost lease, no job of the batch is finished.
    let finished = [&lost, &held].map(|job| Finished {
        job: job.clone(),
        outcome: JobOutcome::Succeeded,
    });
    let scopes = [lost.scope(), held.scope()];
    let mut tx = fixture.db.begin_many(&scopes).await.expect("begun");
    let reported = fixture.queue.finish_in(&mut tx, &finished).await;
    assert_eq!(reported.expect("written"), [lost.id]);
    drop(tx);
    assert!(verify(&held).await);
}

pub(crate) async fn lease_unknown_to_its_worker_is_rescued(fixture: &Fixture) {
    for _ in 0..2 {
        fixture.add(TenantId::generate(), None).await;
    }
    let worker = fixture.worker().await;
    let held_job = fixture.claim(worker, 1, 1).await.remove(0);
    // The response to this claim is lost.
    let lost_job = fixture.claim(worker, 1, 1).await.remove(0);
    let held = [held_job.lease_token];
    assert_eq!(
        fixture.rescue(worker, &held).await,
        0,
        "the response may still arrive"
    );
    fixture.age_claims().await;
    let other = fixture.worker().await;
    assert_eq!(
        fixture.rescue(other, &[]).await,
        0,
        "only its own worker knows"
    );
    assert_eq!(fixture.rescue(worker, &held).await, 1);
    let rescued_job = fixture.claim_one(other).await;
    assert_eq!((rescued_job.id, rescued_job.attempts), (lost_job.id, 1));
    assert!(!fixture.finish(&lost_job, JobOutcome::Succeeded).await);
    assert!(fixture.finish(&held_job, JobOutcome::Succeeded).await);
}

pub(crate) async fn job_lost_eleven_times_is_dead_lettered(fixture: &Fixture) {
    let tenant = TenantId::generate();
    let id = fixture.enqueue(&job_of(tenant, None)).await.job_id;
    for _ in 0..11 {
        let worker = fixture.worker().await;
        assert_eq!(fixture.claim_one(worker).await.id, id);
        fixture.expire(worker).await;
        assert_eq!(fixture.rescue(WorkerId::generate(), &[]).await, 1);
    }
    fixture.assert_dead(tenant, id, "worker_lost").await;
}

pub(crate) async fn drained_worker_releases_its_jobs(fixture: &Fixture) {
    fixture.add(TenantId::generate(), None).await;
    let (first, second) = (fixture.worker().await, fixture.worker().await);
    fixture.claim_one(first).await;
    assert_eq!(fixture.queue.release(first).await.expect("released"), 1);
    assert_eq!(fixture.claim_one(second).await.attempts, 1);
}

pub(crate) async fn payload_of_running_job_can_be_replaced(fixture: &Fixture) {
    let tenant = TenantId::generate();
    let requested = SyncConnection {
        mode: SyncMode::Incremental,
        upper_bound: None,
        requested_only: true,
    };
    let connection = Some(ConnectionId::generate());
    fixture
        .enqueue(&NewJob::new(tenant, "any", connection, requested.clone()))
        .await;
    let worker = fixture.worker().await;
    let job = fixture.claim_one(worker).await;
    let bounded = JobPayload::from(SyncConnection {
        upper_bound: Some(job.started_at),
        ..requested.clone()
    });
    let replace = async |job: &ClaimedJob| {
        let mut tx = fixture.begin(tenant).await;
        let replaced = fixture.queue.set_payload(&mut tx, job, &bounded).await;
        tx.commit().await.expect("committed");
        replaced.expect("written")
    };
    assert!(replace(&job).await);
    let outcome = JobOutcome::Failed(error("transient"));
    assert!(fixture.finish(&job, outcome).await);
    assert!(!replace(&job).await, "the lease has ended");
    fixture.make_due().await;
    let job = fixture.claim_one(worker).await;
    assert_eq!(job.payload, bounded, "later attempts have it");
    // The retry of a dead run has its own upper bound.
    assert!(fixture.finish(&job, JobOutcome::Dead(error("x"))).await);
    let mut tx = fixture.begin(tenant).await;
    let retried = fixture.queue.retry(&mut tx, &job.scope(), job.id).await;
    tx.commit().await.expect("committed");
    assert!(matches!(
        retried.expect("retried"),
        RetryOutcome::Enqueued(_)
    ));
    assert_eq!(
        fixture.claim_one(worker).await.payload,
        JobPayload::from(requested)
    );
}
