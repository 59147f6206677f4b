//! Tests of the supervised tasks, on a queue in memory and without Postgres.

use std::time::Duration;

use memory_queue::MemoryJobQueue;
use shared::clock::SystemClock;
use shared::db::DbError;
use shared::model::{
    ConnectionId, DeliveryId, JobId, JobKind, JobPayload, JobState, NewJob, RedeliverWebhooks,
    TenantId,
};
use shared::queue::jobs::Job;
use shared::service::{Health, LifecycleError};

use super::*;

fn new_queue() -> MemoryJobQueue {
    MemoryJobQueue::new(Arc::new(SystemClock))
}

/// A running worker without Postgres.
fn start_worker(queue: &Arc<MemoryJobQueue>) -> Lifecycle {
    let env = Env::from_pairs([
        ("POBLYSH_DATABASE_URL", "postgres://unused@127.0.0.1:1/none"),
        (
            "POBLYSH_CRYPTO_KEY",
            "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=",
        ),
    ]);
    let config = Config::from_env(&env).expect("settings");
    let metrics = MetricsHandle::global().expect("a recorder");
    let lifecycle = Lifecycle::new(Health::new(metrics, || async { Ok::<_, DbError>(()) }));
    let db = Db::open(&config.service.database, Role::Worker).expect("a URL");
    let context = context(config, db, queue.clone(), &lifecycle, Registry::new).expect("a context");
    spawn_tasks(&Arc::new(context), &lifecycle);
    lifecycle
}

/// A job that needs no Postgres: its provider does not exist, which is a permanent error.
fn job_of_unknown_provider(tenant: TenantId) -> NewJob {
    NewJob::new(tenant, "unknown", None, RedeliverWebhooks {})
}

/// Waits until a job has this property.
async fn wait_for(
    queue: &MemoryJobQueue,
    tenant: TenantId,
    id: JobId,
    has_property: impl Fn(&Job) -> bool,
) -> Job {
    let found = async {
        loop {
            let job = queue.job(tenant, id).expect("the job");
            if has_property(&job) {
                return job;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let found = tokio::time::timeout(Duration::from_secs(10), found);
    found.await.expect("in time")
}

#[tokio::test]
async fn panic_of_a_supervised_task_ends_the_worker() {
    for (operation, task) in [
        ("claim", "delivery runner"),
        ("heartbeat", "heartbeat"),
        ("rescue", "scheduler"),
    ] {
        let lifecycle = start_worker(&Arc::new(new_queue().with_fault(operation)));
        let ended = lifecycle.run().await.expect_err("a task failed");
        match ended {
            LifecycleError::Panicked { task: failed, .. } if operation == "claim" => {
                assert!(
                    ["delivery runner", "background runner"].contains(&failed),
                    "{failed}"
                );
            }
            LifecycleError::Panicked { task: failed, .. } => assert_eq!(failed, task),
            ended @ LifecycleError::Ended(_) => panic!("{ended}"),
        }
        assert!(!lifecycle.health().is_ready().await);
    }
}

#[tokio::test]
async fn worker_is_ready_until_it_shuts_down() {
    let lifecycle = start_worker(&Arc::new(new_queue()));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(lifecycle.health().is_ready().await);
    assert!(lifecycle.shut_down().await);
    assert_eq!(lifecycle.failure(), None);
}

#[tokio::test]
async fn outcome_of_a_background_job_is_recorded() {
    let queue = Arc::new(new_queue());
    let tenant = TenantId::generate();
    let lifecycle = start_worker(&queue);
    // The worker runs on after the first job.
    for _ in 0..2 {
        let id = queue.add(&job_of_unknown_provider(tenant)).job_id;
        queue.notify().await.expect("notified");
        let job = wait_for(&queue, tenant, id, |job| job.finished_at.is_some()).await;
        assert_eq!((job.state, job.attempts), (JobState::Dead, 1));
        assert_eq!(job.last_error.expect("a cause").code, "permanent");
    }
    assert!(lifecycle.shut_down().await);
}

#[tokio::test]
async fn unreadable_jobs_are_left_to_another_release() {
    let queue = Arc::new(new_queue());
    let tenant = TenantId::generate();
    let add = |kind| {
        let payload = JobPayload::Unreadable {
            kind,
            deliveries: vec![DeliveryId::generate()],
        };
        let connection = Some(ConnectionId::generate());
        let job = NewJob::new(tenant, "unknown", connection, payload);
        queue.add(&job).job_id
    };
    let jobs = [
        add(JobKind::ProcessDeliveries),
        add(JobKind::SyncConnection),
    ];
    let lifecycle = start_worker(&queue);
    for id in jobs {
        let is_requeued = |job: &Job| job.state == JobState::Queued && job.last_error.is_some();
        let job = wait_for(&queue, tenant, id, is_requeued).await;
        assert_eq!(job.attempts, 0, "the attempt is not counted");
        assert_eq!(job.last_error.expect("a cause").code, "unreadable_job");
    }
    assert!(lifecycle.shut_down().await);
}
