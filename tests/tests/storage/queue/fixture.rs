//! A queue under test, with control over its time.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use memory_queue::MemoryJobQueue;
use shared::clock::{Clock, ManualClock, SystemClock};
use shared::db::{Db, Role, Tx};
use shared::model::{
    Enqueued, JobError, JobId, JobState, NewJob, RedeliverWebhooks, RefreshToken, TenantId,
    WorkerId,
};
use shared::queue::jobs::Job;
use shared::queue::{
    ClaimRequest, ClaimedJob, Finished, JobOutcome, JobQueue, PgJobQueue, WorkClass,
};
use sqlx::AssertSqlSafe;
use tests::harness::TestDb;

use crate::connections::scope_of;

/// A queue under test, and a database for the transactions of its callers.
pub(crate) struct Fixture {
    pub(crate) test: TestDb,
    pub(crate) db: Db,
    pub(crate) queue: Arc<dyn JobQueue>,
    time: Time,
}

/// The way to move the queue's time.
enum Time {
    /// The times in the rows are moved.
    Rows,
    /// The clock is moved.
    Clock {
        clock: Arc<ManualClock>,
        /// The workers whose heartbeats last.
        alive: std::sync::Mutex<Vec<WorkerId>>,
    },
}

impl Fixture {
    /// The queue in Postgres.
    pub(crate) async fn postgres() -> Self {
        let test = TestDb::create().await;
        let db = test.as_worker(4);
        db.check_role(Role::Worker)
            .await
            .expect("the worker's role");
        let listening = test.as_worker(1);
        Self {
            queue: Arc::new(PgJobQueue::new(db.clone()).listening(Some(listening))),
            test,
            db,
            time: Time::Rows,
        }
    }

    /// The queue in memory.
    pub(crate) async fn memory() -> Self {
        let test = TestDb::create().await;
        let clock = Arc::new(ManualClock::new(SystemClock.now()));
        Self {
            db: test.as_worker(4),
            test,
            queue: Arc::new(MemoryJobQueue::new(clock.clone())),
            time: Time::Clock {
                clock,
                alive: std::sync::Mutex::default(),
            },
        }
    }

    pub(crate) async fn begin(&self, tenant: TenantId) -> Tx {
        self.db.begin(&scope_of(tenant)).await.expect("begun")
    }

    pub(crate) async fn enqueue(&self, job: &NewJob) -> Enqueued {
        let mut tx = self.db.begin_unscoped().await.expect("a transaction");
        let enqueued = self.queue.enqueue(&mut tx, job).await.expect("enqueued");
        tx.commit().await.expect("committed");
        enqueued
    }

    /// Adds a job of the tenant; returns whether it is new.
    pub(crate) async fn add(&self, tenant: TenantId, window: Option<&str>) -> bool {
        self.enqueue(&job_of(tenant, window)).await.created
    }

    /// Adds many urgent jobs of the tenant.
    pub(crate) async fn add_many(&self, tenant: TenantId, count: i32) {
        match &self.time {
            Time::Rows => {
                sqlx::query(
                    "INSERT INTO jobs (tenant_id, id, kind, provider, priority, payload) \
                     SELECT $1, gen_random_uuid(), 'refresh_token', 'any', 10, \
                         '{\"kind\":\"refresh_token\"}' \
                     FROM generate_series(1, $2)",
                )
                .bind(tenant)
                .bind(count)
                .execute(self.test.pool())
                .await
                .expect("many jobs");
            }
            Time::Clock { .. } => {
                let mut tx = self.begin(tenant).await;
                let job = NewJob {
                    cursor_window: None,
                    ..NewJob::new(tenant, "any", None, RefreshToken {})
                };
                for _ in 0..count {
                    let enqueued = self.queue.enqueue(&mut tx, &job).await;
                    assert!(enqueued.expect("enqueued").created);
                }
            }
        }
    }

    /// A new worker with a heartbeat.
    pub(crate) async fn worker(&self) -> WorkerId {
        let worker = WorkerId::generate();
        self.queue.heartbeat(worker).await.expect("a heartbeat");
        if let Time::Clock { alive, .. } = &self.time {
            alive.lock().expect("not poisoned").push(worker);
        }
        worker
    }

    pub(crate) async fn claim_as(&self, request: ClaimRequest) -> Vec<ClaimedJob> {
        self.queue.claim(&request).await.expect("claimed")
    }

    pub(crate) async fn claim(
        &self,
        worker: WorkerId,
        limit: i64,
        per_tenant: i64,
    ) -> Vec<ClaimedJob> {
        self.claim_as(ClaimRequest {
            limit,
            per_tenant,
            ..background(worker)
        })
        .await
    }

    /// Claims the only due job.
    pub(crate) async fn claim_one(&self, worker: WorkerId) -> ClaimedJob {
        let mut jobs = self.claim(worker, 2, 2).await;
        assert_eq!(jobs.len(), 1, "one job is due");
        jobs.remove(0)
    }

    /// Reports an outcome; returns whether the lease was held.
    pub(crate) async fn finish(&self, job: &ClaimedJob, outcome: JobOutcome) -> bool {
        let finished = Finished {
            job: job.clone(),
            outcome,
        };
        let lost = self.queue.finish(&[finished]).await;
        lost.expect("written").is_empty()
    }

    pub(crate) async fn rescue(&self, worker: WorkerId, held: &[i64]) -> u64 {
        let rescued = self.queue.rescue(worker, held);
        tokio::time::timeout(Duration::from_secs(5), rescued)
            .await
            .expect("not blocked")
            .expect("rescued")
    }

    /// The job in its present state.
    pub(crate) async fn job(&self, tenant: TenantId, id: JobId) -> Job {
        let mut tx = self.begin(tenant).await;
        let job = self.queue.get(&mut tx, &scope_of(tenant), id).await;
        tx.commit().await.expect("committed");
        job.expect("read").expect("the job")
    }

    /// Checks that the job is dead-lettered with this cause.
    pub(crate) async fn assert_dead(&self, tenant: TenantId, id: JobId, code: &str) {
        let job = self.job(tenant, id).await;
        assert_eq!(job.state, JobState::Dead);
        assert_eq!(job.last_error.expect("a cause").code, code);
    }

    /// Makes all queued jobs due.
    pub(crate) async fn make_due(&self) {
        self.pass(TimeDelta::days(1), "UPDATE jobs SET run_at = now()", None)
            .await;
    }

    /// Ends the leases of the worker.
    pub(crate) async fn expire(&self, worker: WorkerId) {
        let statement = format!(
            "UPDATE workers SET expires_at = now() - interval '1 second' WHERE id = '{worker}'"
        );
        self.pass(TimeDelta::seconds(11), &statement, Some(worker))
            .await;
    }

    /// Makes the claims older than a lease lasts without heartbeats.
    pub(crate) async fn age_claims(&self) {
        let statement = "UPDATE jobs SET started_at = now() - interval '11 seconds'";
        self.pass(TimeDelta::seconds(11), statement, None).await;
    }

    /// Lets time pass for all workers except one, by moving the rows or the clock.
    async fn pass(&self, time: TimeDelta, statement: &str, except: Option<WorkerId>) {
        match &self.time {
            Time::Rows => {
                sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
                    .execute(self.test.pool())
                    .await
                    .expect("moved");
            }
            Time::Clock { clock, alive } => {
                clock.advance(time);
                let alive = {
                    let mut alive = alive.lock().expect("not poisoned");
                    alive.retain(|worker| Some(*worker) != except);
                    alive.clone()
                };
                for worker in alive {
                    self.queue.heartbeat(worker).await.expect("a heartbeat");
                }
            }
        }
    }
}

/// A job of the background class without the window of its kind.
pub(crate) fn job_of(tenant: TenantId, window: Option<&str>) -> NewJob {
    NewJob {
        cursor_window: window.map(str::to_owned),
        ..NewJob::new(tenant, "any", None, RedeliverWebhooks {})
    }
}

/// A claim of many background jobs.
pub(crate) const fn background(worker: WorkerId) -> ClaimRequest {
    ClaimRequest {
        worker,
        class: WorkClass::Background,
        limit: 100,
        per_tenant: 100,
        saturated: Vec::new(),
    }
}

pub(crate) fn error(code: &str) -> JobError {
    JobError::new(code, "for a test")
}
