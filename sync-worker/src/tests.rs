//! Tests of the supervised tasks.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use shared::clock::{Clock, DatabaseClock};
use shared::db::{DbError, Tx};
use shared::model::JobId;
use shared::queue::{ClaimRequest, ClaimedJob, Finished, JobQueue};
use shared::service::{Health, LifecycleError};

use super::*;

/// An empty queue whose named operation panics.
struct FaultyQueue(&'static str);

impl FaultyQueue {
    fn enter(&self, operation: &str) {
        assert_ne!(self.0, operation, "this operation panics");
    }
}

#[async_trait]
impl JobQueue for FaultyQueue {
    async fn claim(&self, _: &ClaimRequest) -> Result<Vec<ClaimedJob>, DbError> {
        self.enter("claim");
        Ok(Vec::new())
    }

    async fn finish(&self, _: &[Finished]) -> Result<Vec<JobId>, DbError> {
        Ok(Vec::new())
    }

    async fn finish_in(&self, _: &mut Tx, _: &[Finished]) -> Result<Vec<JobId>, DbError> {
        Ok(Vec::new())
    }

    async fn heartbeat(&self, _: WorkerId) -> Result<DateTime<Utc>, DbError> {
        self.enter("heartbeat");
        Ok(DatabaseClock::default().now())
    }

    async fn release(&self, _: WorkerId) -> Result<u64, DbError> {
        Ok(0)
    }

    async fn rescue(&self, _: WorkerId, _: &[i64]) -> Result<u64, DbError> {
        self.enter("rescue");
        Ok(0)
    }

    async fn cancellations(&self, _: WorkerId) -> Result<Vec<JobId>, DbError> {
        Ok(Vec::new())
    }
}

/// A running worker without Postgres.
fn start_worker(queue: FaultyQueue) -> Lifecycle {
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
    let context = context(config, db, &lifecycle, Registry::new).expect("a context");
    let queue: Arc<dyn JobQueue> = Arc::new(queue);
    let (_, notified) = watch::channel(());
    spawn_tasks(
        &Arc::new(Context { queue, ..context }),
        notified,
        &lifecycle,
    );
    lifecycle
}

#[tokio::test]
async fn panic_of_a_supervised_task_ends_the_worker() {
    for (operation, task) in [
        ("claim", "delivery runner"),
        ("heartbeat", "heartbeat"),
        ("rescue", "scheduler"),
    ] {
        let lifecycle = start_worker(FaultyQueue(operation));
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
    let lifecycle = start_worker(FaultyQueue("none"));
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert!(lifecycle.health().is_ready().await);
    assert!(lifecycle.shut_down().await);
    assert_eq!(lifecycle.failure(), None);
}
