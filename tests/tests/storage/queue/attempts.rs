//! Outcomes of attempts: backoff, snooze, interruption, dead letter.

use chrono::TimeDelta;
use shared::model::TenantId;
use shared::queue::{JobOutcome, MAX_LOST_ATTEMPTS};

use super::fixture::{Fixture, error, job_of};

pub(crate) async fn job_is_dead_lettered_after_max_attempts(fixture: &Fixture) {
    let tenant = TenantId::generate();
    let id = fixture.enqueue(&job_of(tenant, None)).await.job_id;
    let worker = fixture.worker().await;
    for attempt in 1..=3 {
        let job = fixture.claim_one(worker).await;
        assert_eq!(job.attempts, attempt);
        let outcome = JobOutcome::Failed(error("transient"));
        assert!(fixture.finish(&job, outcome).await);
        if attempt < 3 {
            assert!(
                fixture.claim(worker, 1, 1).await.is_empty(),
                "the retry is delayed"
            );
            fixture.make_due().await;
        }
    }
    fixture.assert_dead(tenant, id, "transient").await;
    assert_eq!(fixture.job(tenant, id).await.attempts, 3);
}

pub(crate) async fn rate_limit_snoozes_job_without_costing_attempt(fixture: &Fixture) {
    fixture.add(TenantId::generate(), None).await;
    let worker = fixture.worker().await;
    for _ in 0..10 {
        let job = fixture.claim_one(worker).await;
        assert_eq!(job.attempts, 1);
        let at = job.started_at + TimeDelta::hours(1);
        let error = error("rate_limited");
        assert!(
            fixture
                .finish(&job, JobOutcome::Snoozed { at, error })
                .await
        );
        assert!(fixture.claim(worker, 1, 1).await.is_empty());
        fixture.make_due().await;
    }
}

pub(crate) async fn permanent_error_dead_letters_job_immediately(fixture: &Fixture) {
    let tenant = TenantId::generate();
    let id = fixture.enqueue(&job_of(tenant, None)).await.job_id;
    let worker = fixture.worker().await;
    let job = fixture.claim_one(worker).await;
    let outcome = JobOutcome::Dead(error("permanent"));
    assert!(fixture.finish(&job, outcome).await);
    fixture.assert_dead(tenant, id, "permanent").await;
    assert_eq!(fixture.job(tenant, id).await.attempts, 1);
}

pub(crate) async fn interruptions_are_limited_and_cost_no_attempt(fixture: &Fixture) {
    let tenant = TenantId::generate();
    let id = fixture.enqueue(&job_of(tenant, None)).await.job_id;
    let worker = fixture.worker().await;
    for lost in 0..=MAX_LOST_ATTEMPTS {
        let job = fixture.claim_one(worker).await;
        assert_eq!((job.attempts, job.lost_attempts), (1, lost));
        let outcome = JobOutcome::Interrupted(error("statement_timeout"));
        assert!(fixture.finish(&job, outcome).await);
        assert!(
            fixture.claim(worker, 1, 1).await.is_empty(),
            "the retry is delayed"
        );
        fixture.make_due().await;
    }
    fixture.assert_dead(tenant, id, "statement_timeout").await;
}

pub(crate) async fn completed_attempt_resets_lost_attempts(fixture: &Fixture) {
    fixture.add(TenantId::generate(), None).await;
    let worker = fixture.worker().await;
    let at = fixture.queue.heartbeat(worker).await.expect("a heartbeat");
    let error = error("time_slice");
    for (lost, outcome) in [
        (0, JobOutcome::Interrupted(error.clone())),
        (1, JobOutcome::Snoozed { at, error }),
        (0, JobOutcome::Succeeded),
    ] {
        let job = fixture.claim_one(worker).await;
        assert_eq!(job.lost_attempts, lost);
        assert!(fixture.finish(&job, outcome).await);
        fixture.make_due().await;
    }
}
