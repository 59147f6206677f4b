//! Requests of people: retry, cancel, list.

use chrono::TimeDelta;
use shared::db::page::PageRequest;
use shared::model::{ConfirmGrant, ConnectionId, JobId, JobKind, JobState, NewJob, TenantId};
use shared::queue::JobOutcome;
use shared::queue::jobs::{CancelOutcome, JobFilter, RetryOutcome};

use super::fixture::{Fixture, error, job_of};
use crate::connections::scope_of;

pub(crate) async fn dead_job_is_retried_once(fixture: &Fixture) {
    let tenant = TenantId::generate();
    let scope = scope_of(tenant);
    let id = fixture.enqueue(&job_of(tenant, None)).await.job_id;
    let retry = async |id| {
        let mut tx = fixture.begin(tenant).await;
        let outcome = fixture.queue.retry(&mut tx, &scope, id).await;
        tx.commit().await.expect("committed");
        outcome.expect("retried")
    };
    assert!(matches!(
        retry(id).await,
        RetryOutcome::NotDead(JobState::Queued)
    ));
    let worker = fixture.worker().await;
    let job = fixture.claim_one(worker).await;
    assert!(fixture.finish(&job, JobOutcome::Dead(error("x"))).await);
    let RetryOutcome::Enqueued(first) = retry(id).await else {
        panic!("not retried");
    };
    let RetryOutcome::Enqueued(second) = retry(id).await else {
        panic!("not retried");
    };
    assert!(first.created && !second.created);
    assert_eq!(first.job_id, second.job_id);
    fixture.assert_dead(tenant, id, "x").await;
    let retried = fixture.claim_one(worker).await;
    assert_eq!((retried.id, retried.attempts), (first.job_id, 1));
    assert_eq!(retried.payload, job.payload);
    let unknown = retry(JobId::generate()).await;
    assert!(matches!(unknown, RetryOutcome::NotFound));
}

pub(crate) async fn cancelled_job_runs_no_more(fixture: &Fixture) {
    let tenant = TenantId::generate();
    let scope = scope_of(tenant);
    let cancel = async |id| {
        let mut tx = fixture.begin(tenant).await;
        let outcome = fixture.queue.cancel(&mut tx, &scope, id).await;
        tx.commit().await.expect("committed");
        outcome.expect("cancelled")
    };
    let worker = fixture.worker().await;
    let id = fixture.enqueue(&job_of(tenant, None)).await.job_id;
    assert_eq!(cancel(id).await, CancelOutcome::Cancelled);
    assert_eq!(cancel(id).await, CancelOutcome::Finished);
    assert_eq!(fixture.job(tenant, id).await.state, JobState::Cancelled);
    assert!(fixture.claim(worker, 1, 1).await.is_empty());

    let id = fixture.enqueue(&job_of(tenant, None)).await.job_id;
    let job = fixture.claim_one(worker).await;
    assert_eq!(cancel(id).await, CancelOutcome::Requested);
    assert!(fixture.job(tenant, id).await.cancel_requested);
    let requested = fixture.queue.cancellations(worker).await;
    assert_eq!(requested.expect("read"), [id]);
    assert!(fixture.finish(&job, JobOutcome::Cancelled).await);
    assert_eq!(fixture.job(tenant, id).await.state, JobState::Cancelled);
    assert_eq!(cancel(JobId::generate()).await, CancelOutcome::NotFound);

    let connection = ConnectionId::generate();
    for owner in [Some(connection), None] {
        let job = NewJob::new(tenant, "any", owner, ConfirmGrant::default());
        fixture.enqueue(&job).await;
    }
    let mut tx = fixture.begin(tenant).await;
    let cancelled = fixture
        .queue
        .cancel_for_connection(&mut tx, &scope, connection)
        .await;
    tx.commit().await.expect("committed");
    assert_eq!(cancelled.expect("cancelled"), 1);
    assert_eq!(fixture.claim_one(worker).await.connection_id, None);
}

pub(crate) async fn jobs_are_counted_by_state(fixture: &Fixture) {
    let tenant = TenantId::generate();
    for _ in 0..5 {
        fixture.enqueue(&job_of(tenant, None)).await;
    }
    let worker = fixture.worker().await;
    let jobs = fixture.claim(worker, 3, 3).await;
    let [dead, snoozed, _running] = &jobs[..] else {
        panic!("{} jobs", jobs.len());
    };
    assert!(fixture.finish(dead, JobOutcome::Dead(error("x"))).await);
    let later = JobOutcome::Snoozed {
        at: snoozed.started_at + TimeDelta::hours(1),
        error: error("x"),
    };
    assert!(fixture.finish(snoozed, later).await);
    let mut tx = fixture.begin(tenant).await;
    let totals = fixture.queue.totals(&mut tx).await.expect("counted");
    tx.commit().await.expect("committed");
    assert_eq!(
        (totals.due, totals.scheduled, totals.running, totals.dead),
        (2, 1, 1, 1)
    );
    assert!(totals.oldest_seconds >= 0.0, "{totals:?}");
}

pub(crate) async fn jobs_are_listed_newest_first(fixture: &Fixture) {
    let (tenant, other) = (TenantId::generate(), TenantId::generate());
    let mut expected = Vec::new();
    for _ in 0..3 {
        expected.insert(0, fixture.enqueue(&job_of(tenant, None)).await.job_id);
    }
    fixture.add(other, None).await;
    let list = async |filter: JobFilter, request: PageRequest| {
        let mut tx = fixture.begin(tenant).await;
        let scope = scope_of(tenant);
        let page = fixture.queue.list(&mut tx, &scope, &filter, &request);
        let page = page.await.expect("listed");
        tx.commit().await.expect("committed");
        let ids: Vec<_> = page.items.into_iter().map(|job| job.id).collect();
        (ids, page.next_cursor)
    };
    let request = |cursor: Option<&str>| PageRequest::parse(cursor, Some(2)).expect("a cursor");
    let (first, cursor) = list(JobFilter::default(), request(None)).await;
    assert_eq!(first, expected[..2]);
    let rest = request(Some(&cursor.expect("another page")));
    assert_eq!(
        list(JobFilter::default(), rest).await,
        (expected[2..].to_vec(), None)
    );
    let worker = fixture.worker().await;
    let jobs = fixture.claim(worker, 2, 1).await;
    let own = jobs.iter().find(|job| job.tenant_id == tenant);
    let own = own.expect("a job of each tenant");
    assert!(fixture.finish(own, JobOutcome::Dead(error("x"))).await);
    let dead = JobFilter {
        state: Some(JobState::Dead),
        ..JobFilter::default()
    };
    let count = async |filter: &JobFilter, before: Option<JobId>, limit: u32| {
        let mut tx = fixture.begin(tenant).await;
        let scope = scope_of(tenant);
        let count = fixture.queue.count(&mut tx, &scope, filter, before, limit);
        let count = count.await.expect("counted");
        tx.commit().await.expect("committed");
        count
    };
    let active = JobFilter {
        is_active: true,
        ..JobFilter::default()
    };
    let other_kind = JobFilter {
        except: Some(JobKind::ConfirmGrant),
        ..JobFilter::default()
    };
    assert_eq!(count(&dead, None, 10).await, 1);
    assert_eq!(count(&active, None, 10).await, 2);
    assert_eq!(count(&active, None, 1).await, 1, "up to the limit");
    assert_eq!(count(&other_kind, None, 10).await, 3);
    let older = count(&JobFilter::default(), Some(expected[1]), 10).await;
    assert_eq!(older, 1, "older than the second one");
    assert_eq!(list(dead, request(None)).await, (vec![own.id], None));
}
