//! The tasks that a worker cannot do without.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use shared::clock::{Clock, DatabaseClock};
use shared::db::Tx;
use shared::ids::JobId;
use shared::queue::{ClaimRequest, ClaimedJob, Finished, JobQueue};
use shared::telemetry::LifecycleError;

use super::*;

/// A queue without jobs, of which one operation panics.
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

    async fn reap(&self, _: WorkerId, _: &[i64]) -> Result<u64, DbError> {
        self.enter("reap");
        Ok(0)
    }

    async fn cancellations(&self, _: WorkerId) -> Result<Vec<JobId>, DbError> {
        Ok(Vec::new())
    }
}

/// A worker without Postgres, at work.
fn worker(queue: FaultyQueue) -> Lifecycle {
    let env = Env::from_pairs([
        ("POBLYSH_DATABASE_URL", "postgres://nobody@127.0.0.1:1/none"),
        (
            "POBLYSH_CRYPTO_KEY",
            "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=",
        ),
    ]);
    let config = Config::from_env(&env).expect("settings");
    let metrics = MetricsHandle::global().expect("a recorder");
    let life = Lifecycle::new(Health::new(metrics, || async { Ok::<_, DbError>(()) }));
    let db = Db::open(&config.database, Role::Worker).expect("a URL");
    let context = context(config, db, &life, Registry::new).expect("a context");
    let queue: Arc<dyn JobQueue> = Arc::new(queue);
    let (_, woken) = watch::channel(());
    work(&Arc::new(Context { queue, ..context }), woken, &life);
    life
}

#[tokio::test]
async fn panic_of_a_supervised_task_ends_the_worker() {
    for (operation, task) in [
        ("claim", "delivery lane"),
        ("heartbeat", "heartbeat"),
        ("reap", "scheduler"),
    ] {
        let life = worker(FaultyQueue(operation));
        let ended = life.run().await.expect_err("a task failed");
        match ended {
            LifecycleError::Panicked { task: failed, .. } if operation == "claim" => {
                assert!(["delivery lane", "job lane"].contains(&failed), "{failed}");
            }
            LifecycleError::Panicked { task: failed, .. } => assert_eq!(failed, task),
            ended @ LifecycleError::Ended(_) => panic!("{ended}"),
        }
        assert!(!life.health().is_ready().await);
    }
}

#[tokio::test]
async fn worker_without_faults_is_ready_until_it_is_told_to_end() {
    let life = worker(FaultyQueue("none"));
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert!(life.health().is_ready().await);
    assert!(life.shut_down().await);
    assert_eq!(life.failure(), None);
}
